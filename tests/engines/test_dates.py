"""Dates as the engines read them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_plugin.engines.connect import connect
from rerank_plugin.engines.embedded.dates import DEFAULT_FORMATS, evaluate, looks_like_date, parse_formats, parse_span
from rerank_plugin.engines.embedded.refusal import Refusal

NOW = datetime(2024, 2, 29, 12, 30, 45, tzinfo=UTC)
DAY = 86_400_000


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2020-05-31", "2020-05-31T00:00:00", "2020-05-31T23:59:59.999"),
        ("2020", "2020-01-01T00:00:00", "2020-01-01T23:59:59.999"),
        ("2020-05", "2020-05-01T00:00:00", "2020-05-01T23:59:59.999"),
        ("2020-05-31T12", "2020-05-31T12:00:00", "2020-05-31T12:59:59.999"),
        ("2020-05-31T12:30Z", "2020-05-31T12:30:00", "2020-05-31T12:30:59.999"),
        ("2020-05-31T12:30:15.250Z", "2020-05-31T12:30:15.250", "2020-05-31T12:30:15.250"),
        ("2020-05-31T12:30:15.123456789+02:00", "2020-05-31T10:30:15.123", "2020-05-31T10:30:15.123"),
        ("0", "1970-01-01T00:00:00", "1970-01-01T00:00:00"),
        ("1600000000000", "2020-09-13T12:26:40", "2020-09-13T12:26:40"),
    ],
)
def test_a_written_date_is_a_span(text, first, last):
    span = parse_span(text, DEFAULT_FORMATS)
    assert (span.first, span.last) == (ms(first), ms(last))


@pytest.mark.parametrize(
    "text", ["", "soon", "2020-13-01", "2020-02-30", "2020-1-1", "2020-05-31T25", "20-01-01", "9" * 30, "2020 "]
)
def test_what_is_no_date(text):
    with pytest.raises(Refusal, match="failed to parse date field"):
        parse_span(text, DEFAULT_FORMATS)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("now", "2024-02-29T12:30:45"),
        ("now/d", "2024-02-29T00:00:00"),
        ("now-7d/d", "2024-02-22T00:00:00"),
        ("now-1y", "2023-02-28T12:30:45"),  # there is no 29th of February 2023
        ("now-1M/M", "2024-01-01T00:00:00"),
        ("now/w", "2024-02-26T00:00:00"),  # a Monday
        ("now+1h/h", "2024-02-29T13:00:00"),
        ("now+90s-1m", "2024-02-29T12:31:15"),
        ("2020-01-31||+1M", "2020-02-29T00:00:00"),
        ("2020-06-15||/y", "2020-01-01T00:00:00"),
    ],
)
def test_date_math(text, first):
    assert evaluate(text, DEFAULT_FORMATS, NOW).first == ms(first)


def test_rounding_covers_the_unit():
    assert evaluate("now/M", DEFAULT_FORMATS, NOW).last == ms("2024-02-29T23:59:59.999")
    assert evaluate("2020-06-15||/y", DEFAULT_FORMATS, NOW).last == ms("2020-12-31T23:59:59.999")
    assert evaluate("now/w", DEFAULT_FORMATS, NOW).last == ms("2024-03-03T23:59:59.999")


@pytest.mark.parametrize("text", ["now-", "now*2d", "now+1q", "now-9999999y", "2020-01-01||/x"])
def test_math_that_is_none(text):
    with pytest.raises(Refusal):
        evaluate(text, DEFAULT_FORMATS, NOW)


def test_formats_that_are_unknown_are_named():
    assert parse_formats("yyyy-MM-dd||epoch_second") == ("yyyy-MM-dd", "epoch_second")
    with pytest.raises(Refusal, match=r"Invalid format: \[dd\.MM\.yyyy\]"):
        parse_formats("dd.MM.yyyy")
    assert parse_span("1", ("epoch_second",)).first == 1000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2020-05-31", True),
        ("2020-05", True),
        ("2020", False),
        ("word", False),
        ("2020-05-31T10:00:00Z", True),
        ("2020-99-99", False),
        ("", False),
    ],
)
def test_which_strings_become_date_fields(text, expected):
    assert looks_like_date(text) is expected


@given(st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)))
def test_iso_dates_come_back(moment):
    span = parse_span(moment.isoformat(timespec="milliseconds"), DEFAULT_FORMATS)
    assert datetime.fromtimestamp(span.first / 1000, tz=UTC).replace(tzinfo=None, microsecond=0) == moment.replace(
        microsecond=0
    )


def test_now_is_the_clock_that_connect_was_given(tmp_path):
    client = connect(f"embedded:{tmp_path}", clock=lambda: NOW)
    client.index(index="i", id="old", body={"day": "2024-02-21"})
    client.index(index="i", id="new", body={"day": "2024-02-22"}, refresh=True)
    found = client.search(index="i", body={"query": {"range": {"day": {"gte": "now-7d/d"}}}})["hits"]["hits"]
    assert [hit["_id"] for hit in found] == ["new"]
    client.close()
