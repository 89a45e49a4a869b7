"""Text templates: separators, arrays, missing fields, and what is no template."""

import pytest

from rerank_plugin.domain.text_template import TextTemplate
from rerank_plugin.errors import ConfigError

DOCUMENT = {"title": ["Graph search"], "tags": ["a", " ", "b"], "body": ["Long text."], "empty": []}


def filled(template: str) -> str:
    return TextTemplate.parse(template).fill(lambda path: DOCUMENT.get(path, []))


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{title}. {body}", "Graph search. Long text."),
        ("{title}\nTags: {tags}\n{body}", "Graph search\nTags: a, b\nLong text."),
        ("{title} ({tags: | })", "Graph search (a | b)"),
        ("{title}\nTags: {empty}\n{body}", "Graph search\nLong text."),
        ("{absent}\n{body} end", "Long text. end"),
        ("{absent} and {empty}.", ""),
        ("{{{title}}}", "{Graph search}"),
    ],
)
def test_a_field_that_is_missing_takes_the_words_before_it_along(template: str, text: str) -> None:
    assert filled(template) == text


@pytest.mark.parametrize(
    "template", ["", "no field", "{", "{title", "{}", "{a[0]}", "{title!r}", "{meta.*}", "{a:{b}}"]
)
def test_what_is_no_template_is_refused_in_one_line(template: str) -> None:
    with pytest.raises(ConfigError, match="text_template"):
        TextTemplate.parse(template)


def test_the_paths_are_those_of_its_fields() -> None:
    assert TextTemplate.parse("{a.b}, {c}, {a.b}").paths == ("a.b", "c")
