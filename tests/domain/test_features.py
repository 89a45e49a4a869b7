"""Features: what stored numbers and dates mean at query time."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_plugin.domain.features import freshness_utility, parse_date, stored_features, unit_or_none
from rerank_plugin.errors import DataError

NOW = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1958, datetime(1958, 1, 1, tzinfo=UTC)),
        ("1958", datetime(1958, 1, 1, tzinfo=UTC)),
        ("1958-12", datetime(1958, 12, 1, tzinfo=UTC)),
        ("1958-12-31", datetime(1958, 12, 31, tzinfo=UTC)),
        ("2018-03-12T17:18:12", datetime(2018, 3, 12, 17, 18, 12, tzinfo=UTC)),
        ("2018-03-12T17:18:12+02:00", datetime(2018, 3, 12, 15, 18, 12, tzinfo=UTC)),
        ("2018-03-12T17:18:12Z", datetime(2018, 3, 12, 17, 18, 12, tzinfo=UTC)),
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        (1_500_000_000_000, datetime(2017, 7, 14, 2, 40, tzinfo=UTC)),
        ("1500000000000", datetime(2017, 7, 14, 2, 40, tzinfo=UTC)),
    ],
)
def test_dates_are_read(value: object, expected: datetime) -> None:
    assert parse_date(value) == expected


@pytest.mark.parametrize(
    "value", ["", "yesterday", "2020-13-01", "2020-02-30", None, True, math.inf, math.nan, 10**30, [], {}]
)
def test_what_is_no_date_is_refused(value: object) -> None:
    with pytest.raises(DataError, match="a date is written"):
        parse_date(value)


def test_freshness_by_hand() -> None:
    def fresh(days: float) -> float:
        return freshness_utility(NOW - timedelta(days=days), now=NOW, half_life_days=100)

    assert [fresh(0), fresh(100), fresh(300), fresh(-50)] == [1.0, 0.5, 0.25, 1.0]


@given(st.floats(0, 1e5), st.floats(0, 1e5), st.floats(0.1, 1e4))
def test_older_is_never_fresher(one: float, other: float, half_life: float) -> None:
    younger, older = sorted((one, other))
    assert freshness_utility(NOW - timedelta(days=younger), now=NOW, half_life_days=half_life) >= freshness_utility(
        NOW - timedelta(days=older), now=NOW, half_life_days=half_life
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.25, 0.25),
        (0, 0.0),
        (7, 1.0),
        (-1, 0.0),
        (None, None),
        ("0.5", None),
        (True, None),
        (math.nan, None),
        (math.inf, None),
    ],
)
def test_only_finite_numbers_are_features(value: object, expected: float | None) -> None:
    assert unit_or_none(value) == expected


def test_the_stored_object_becomes_features() -> None:
    read = stored_features(
        {"authority": 0.9, "popularity": math.nan, "published_at": "2019-12-22", "half_life_days": 10},
        now=NOW,
        half_life_days=365,
    )
    assert (read.authority, read.freshness, read.novelty, read.popularity) == (0.9, 0.5, None, None)
    assert read.age_days == 10.0
    assert read.missing == 2


def test_without_a_readable_date_the_stored_freshness_serves() -> None:
    assert stored_features({"freshness": 0.3}, now=NOW, half_life_days=365).freshness == 0.3
    assert stored_features({"freshness": 0.3, "published_at": "soon"}, now=NOW, half_life_days=365).freshness == 0.3
    assert stored_features({"published_at": "soon"}, now=NOW, half_life_days=365).freshness is None


def test_whole_numbers_of_any_length_cost_a_feature_not_the_search() -> None:
    stored = {"authority": 10**400, "published_at": "0001-01-01T00:00:00+14:00", "half_life_days": 10**400}
    found = stored_features(stored, now=NOW, half_life_days=100.0)
    assert (found.authority, found.freshness) == (None, None)
    dated = stored_features({**stored, "published_at": "2020"}, now=NOW, half_life_days=100.0)
    assert dated == stored_features({"published_at": "2020"}, now=NOW, half_life_days=100.0)
