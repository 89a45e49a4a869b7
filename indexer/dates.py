"""Dates as collections write them. What could be two different days is refused, not guessed."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from rerank_plugin.domain.features import parse_date
from rerank_plugin.errors import DataError

#: No date is longer; dateutil takes time in proportion to what it is given.
LONGEST = 60
#: Ten digits are seconds since 1970 (2001 to 2286): as milliseconds they would all lie in its first four months.
_SECONDS = range(1_000_000_000, 10_000_000_000)


def any_date(value: Any) -> datetime:
    """A date in UTC, in any common form.

    Those of :func:`parse_date`; seconds since 1970 in ten digits; a mail's or feed's (RFC 2822); and what dateutil
    reads (``31 May 2020``, ``May 31, 2020 14:30``, ``2020/05/31``), if it names one day: ``05/06/2020`` names two.

    :raises DataError: none of these, or a day of two readings.
    """
    number = _whole(value)
    if number is not None and number in _SECONDS:
        return datetime.fromtimestamp(number, tz=UTC)
    try:
        return parse_date(value)
    except DataError:
        if not isinstance(value, str) or not 6 <= len(value.strip()) <= LONGEST:
            raise
    text = value.strip()
    try:
        parsed = parsedate_to_datetime(text) if text[:3].isalpha() and "," in text[:5] else _only_reading(text)
    except (ValueError, OverflowError, TypeError) as error:
        raise DataError(f"{text!r} is no date that can be read: write 2020-05-31 or 2020-05-31T12:00:00Z") from error
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


def _whole(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        return int(value) if value.strip().isdecimal() and len(value) <= LONGEST else None
    return int(value) if isinstance(value, (int, float)) and value == value // 1 else None


def _only_reading(text: str) -> datetime:
    """The one date a text can mean: read with the day first and with the month first, on two different blanks."""
    from dateutil import parser

    blanks = (datetime(2001, 1, 1), datetime(2002, 2, 2))
    readings: set[datetime] = {
        parser.parse(text, default=blank, dayfirst=day_first) for blank in blanks for day_first in (False, True)
    }
    if len({each.replace(tzinfo=None) for each in readings}) > 1:
        raise DataError(f"{text!r} may be several days: write 2020-05-31")
    return readings.pop()
