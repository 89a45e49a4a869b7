"""The engines' ``_source`` filtering; tests/client holds it against a real engine."""

import pytest

from rerank_plugin.domain.source_filter import SourceFilter
from rerank_plugin.errors import DataError

DOCUMENT = {
    "title": "T",
    "user": {"name": "N", "mail": "M", "tags": ["a", "b"]},
    "parts": [{"x": 1, "y": 2}, {"y": 3}],
    "n": None,
}


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        (None, DOCUMENT),
        (True, DOCUMENT),
        ("title", {"title": "T"}),
        (["title", "user.name"], {"title": "T", "user": {"name": "N"}}),
        ("user", {"user": DOCUMENT["user"]}),
        ("user.*", {"user": DOCUMENT["user"]}),
        ("*.name", {"user": {"name": "N"}}),
        ("u*", {"user": DOCUMENT["user"]}),
        ("parts.x", {"parts": [{"x": 1}]}),
        ({"excludes": ["user.mail", "parts"]}, {"title": "T", "user": {"name": "N", "tags": ["a", "b"]}, "n": None}),
        ({"includes": ["user"], "excludes": ["*.tags"]}, {"user": {"name": "N", "mail": "M"}}),
        ({"include": "n"}, {"n": None}),
        ("absent", {}),
    ],
)
def test_filters(option: object, expected: object) -> None:
    parsed = SourceFilter.parse(option)
    assert parsed.fetch
    assert parsed.apply(DOCUMENT) == expected


def test_false_fetches_nothing_and_nonsense_is_refused() -> None:
    assert SourceFilter.parse(False).fetch is False
    with pytest.raises(DataError, match="_source must be"):
        SourceFilter.parse(3)
