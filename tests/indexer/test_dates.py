"""Dates in the forms that collections have, each to the second; what could be two days is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.dates import any_date
from indexer.evidence import half_life_of
from indexer.signal_config import SignalConfig
from rerank_plugin.errors import ConfigError, DataError

DAY = datetime(2020, 5, 31, tzinfo=UTC)
NOON = datetime(2020, 5, 31, 12, 30, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2020", datetime(2020, 1, 1, tzinfo=UTC)),
        (2020, datetime(2020, 1, 1, tzinfo=UTC)),
        ("2020-05", datetime(2020, 5, 1, tzinfo=UTC)),
        ("2020-05-31", DAY),
        ("20200531", DAY),
        ("20200531T123015Z", NOON),
        ("2020-05-31T12:30:15Z", NOON),
        ("2020-05-31 12:30:15", NOON),
        ("2020-05-31T14:30:15+02:00", NOON),
        ("2020-05-31T12:30:15.000000000Z", NOON),
        ("1590928215", NOON),
        (1590928215, NOON),
        (1590928215000, NOON),
        ("1590928215000", NOON),
        (1590928215.0, NOON),
        ("Sun, 31 May 2020 12:30:15 GMT", NOON),
        ("Sun, 31 May 2020 14:30:15 +0200", NOON),
        ("31 May 2020", DAY),
        ("May 31, 2020", DAY),
        ("May 31 2020 12:30:15", NOON),
        ("31-May-2020", DAY),
        ("2020/05/31", DAY),
        ("2020/05/31 12:30:15", NOON),
        ("31/05/2020", DAY),
        ("05/31/2020", DAY),
        ("31.05.2020", DAY),
        ("Sun May 31 12:30:15 2020", NOON),
        ("07/07/2020", datetime(2020, 7, 7, tzinfo=UTC)),
    ],
)
def test_common_forms(written: object, meant: datetime) -> None:
    assert any_date(written) == meant


@pytest.mark.parametrize(
    "written",
    [
        "05/06/2020",
        "5.6.20",
        "May",
        "May 2020",
        "31 May",
        "monday",
        "soon",
        "12:30",
        "2020-13-01",
        "2020-02-30",
        "31/31/2020",
        "x" * 500,
        "May 31, 2020 and more",
        True,
        None,
        [],
        {},
        float("nan"),
        float("inf"),
        -1.5e300,
        "0/0/0",
        "99999999",
    ],
)
def test_what_is_no_date_or_several_is_refused(written: object) -> None:
    with pytest.raises(DataError):
        any_date(written)


@given(st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1)), st.integers(-12, 14))
def test_every_moment_survives_the_ways_it_is_written(moment: datetime, hours: int) -> None:
    moment = moment.replace(microsecond=0, tzinfo=timezone(timedelta(hours=hours)))
    assert any_date(format_datetime(moment)) == moment
    assert any_date(moment.isoformat()) == moment
    assert any_date(moment.strftime("%d %B %Y %H:%M:%S %z")) == moment


def test_types_and_their_half_lives() -> None:
    config = SignalConfig(half_lives={"news": 7.0}, evergreen=("manual",))
    kinds = [
        half_life_of(config, fields) for fields in ({"type": "news"}, {"metadata": {"content_type": "manual"}}, {})
    ]
    assert kinds == [7.0, 0.0, None]
    assert half_life_of(SignalConfig(), {"type": "news"}) is None
    with pytest.raises(ConfigError, match=r"half_lives\.news must be above 0 days, got 0"):
        SignalConfig(half_lives={"news": 0})
