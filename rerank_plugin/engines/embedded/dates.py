"""Dates of the engines: formats, date math, rounding; everything in milliseconds since 1970, UTC."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from rerank_plugin.engines.embedded.refusal import Refusal, illegal, unparsable

#: What a date field without ``format`` understands.
DEFAULT_FORMATS = ("strict_date_optional_time", "epoch_millis")

_ISO = re.compile(
    r"(?P<year>\d{4})(?:-(?P<month>\d{2})(?:-(?P<day>\d{2})(?:T(?:(?P<hour>\d{2})(?::(?P<minute>\d{2})"
    r"(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?)?)?(?P<zone>Z|[+-]\d{2}(?::?\d{2})?)?)?)?)?"
)
_LENIENT_ISO = re.compile(_ISO.pattern.replace(r"\d{2})", r"\d{1,2})"))
_SPACED = re.compile(_ISO.pattern.replace("T(?:", " (?:"))
#: Formats -> how their text looks, all with the groups of ``_ISO``.
_PATTERNS = {
    "strict_date_optional_time": _ISO,
    "strict_date_optional_time_nanos": _ISO,
    "date_optional_time": _LENIENT_ISO,
    "strict_date": re.compile(r"(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})"),
    "date": re.compile(r"(?P<year>\d{4})-(?P<month>\d{1,2})-(?P<day>\d{1,2})"),
    "yyyy-MM-dd": re.compile(r"(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})"),
    "yyyy/MM/dd": re.compile(r"(?P<year>\d{4})/(?P<month>\d{2})/(?P<day>\d{2})"),
    "yyyy-MM": re.compile(r"(?P<year>\d{4})-(?P<month>\d{2})"),
    "yyyy": re.compile(r"(?P<year>\d{4})"),
    "yyyy-MM-dd HH:mm:ss": re.compile(
        r"(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2}) (?P<hour>\d{2}):(?P<minute>\d{2}):(?P<second>\d{2})"
    ),
}
_EPOCH = {"epoch_millis": 1, "epoch_second": 1000}
FORMATS = frozenset(_PATTERNS) | frozenset(_EPOCH)
#: Milliseconds a date may have: years 1 to 9999, what Python's datetime can say.
LOWEST, HIGHEST = -62_135_596_800_000, 253_402_300_799_999

_WHOLE = re.compile(r"-?[0-9]{1,18}")
_MATH = re.compile(r"([+-]\d*|/)([yMwdhHms])")
_EXACT = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "H": 3_600_000, "m": 60_000, "s": 1000}
#: Milliseconds that a date written down to this part stands for.
_WIDTH = {"fraction": 1, "second": 1000, "minute": 60_000, "hour": 3_600_000, "day": 86_400_000}


@dataclass(frozen=True, slots=True)
class Span:
    """The milliseconds a written date covers, both ends included: a day for ``2020-05-31``, and for ``2020``."""

    first: int
    last: int


def parse_formats(text: str) -> tuple[str, ...]:
    """The formats of a mapping's or a query's ``format``, joined there by ``||``.

    :raises Refusal: 400 for a format that is not in ``FORMATS``.
    """
    formats = tuple(part.strip() for part in text.split("||"))
    for each in formats:
        if each not in FORMATS:
            raise illegal(f"Invalid format: [{each}]: the embedded engine knows {', '.join(sorted(FORMATS))}")
    return formats


def parse_span(text: str, formats: Sequence[str]) -> Span:
    """The span of a written date.

    :raises Refusal: 400 in the engines' words when no format fits.
    """
    for each in formats:
        try:
            span = _epoch(text, _EPOCH[each]) if each in _EPOCH else _civil(text, _PATTERNS[each])
        except (ValueError, OverflowError):
            continue
        if span is not None and span.first >= LOWEST and span.last <= HIGHEST:
            return span
    raise unparsable_date(text, formats)


def unparsable_date(text: str, formats: Sequence[str]) -> Refusal:
    """The engines' error for a text that is no date."""
    return illegal(f"failed to parse date field [{text[:100]}] with format [{'||'.join(formats)}]")


def evaluate(text: str, formats: Sequence[str], now: datetime) -> Span:
    """The span of a date expression of a query: a date, ``now`` or ``date||``, then ``+1M``, ``-7d``, ``/d`` ...

    :raises Refusal: 400 when it is none.
    """
    if text.startswith("now"):
        moment = int(now.timestamp() * 1000)
        span, rest = Span(moment, moment), text[3:]
    else:
        date, bars, rest = text.partition("||")
        span = parse_span(date, formats)
        if not bars:
            return span
    position = 0
    while position < len(rest):
        step = _MATH.match(rest, position)
        if step is None:
            raise unparsable(
                f"failed to parse date field [{text[:100]}]: operator not supported at [{rest[position:]}]"
            )
        span = _round(span.first, step[2]) if step[1] == "/" else _shift(span, step[1], step[2])
        position = step.end()
    return span


def looks_like_date(text: str) -> bool:
    """Whether dynamic mapping makes a date field of this string."""
    if len(text) < 7 or not text[:4].isdigit():
        return False
    for pattern in (_ISO, _PATTERNS["yyyy/MM/dd"]):
        try:
            if _civil(text, pattern) is not None:
                return pattern is _ISO
        except (ValueError, OverflowError):
            continue
    return False


def _epoch(text: str, unit_ms: int) -> Span | None:
    if _WHOLE.fullmatch(text) is None:
        return None
    moment = int(text) * unit_ms
    return Span(moment, moment + unit_ms - 1)


def _civil(text: str, pattern: re.Pattern[str]) -> Span | None:
    match = pattern.fullmatch(text)
    if match is None:
        return None
    parts = {name: value for name, value in match.groupdict().items() if value is not None}
    year, month, day = int(parts["year"]), int(parts.get("month", 1)), int(parts.get("day", 1))
    start = datetime(year, month, day, tzinfo=UTC)
    first = _milliseconds(start) + _milliseconds_of_day(parts)
    # As the engines round up: a missing time of day is its end, a missing month or day is the first one.
    smallest = next((unit for unit in ("fraction", "second", "minute", "hour") if unit in parts), "day")
    last = first + _WIDTH[smallest] - 1
    offset = _offset(parts.get("zone", "Z"))
    return Span(first - offset, last - offset)


def _milliseconds(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def _milliseconds_of_day(parts: dict[str, str]) -> int:
    hour, minute, second = (int(parts.get(name, 0)) for name in ("hour", "minute", "second"))
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError("no time of day")
    return ((hour * 60 + minute) * 60 + second) * 1000 + int(parts.get("fraction", "0").ljust(3, "0")[:3])


def _offset(zone: str) -> int:
    if zone == "Z":
        return 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    hours, minutes = int(digits[:2]), int(digits[2:])
    if hours > 18 or minutes > 59:
        raise ValueError("no zone")
    return (1 if zone[0] == "+" else -1) * (hours * 60 + minutes) * 60_000


def _add_months(moment: datetime, months: int) -> datetime:
    index = moment.year * 12 + moment.month - 1 + months
    year, month = divmod(index, 12)
    following = datetime(year + (month == 11), (month + 1) % 12 + 1, 1, tzinfo=UTC)
    last_day = (following - timedelta(days=1)).day
    return moment.replace(year=year, month=month + 1, day=min(moment.day, last_day))


def _shift(span: Span, sign_and_number: str, unit: str) -> Span:
    count = int(sign_and_number + "1" if sign_and_number in "+-" else sign_and_number)
    try:
        if unit in _EXACT:
            moved = span.first + count * _EXACT[unit]
            _from_milliseconds(moved)
        else:
            moved = _milliseconds(_add_months(_from_milliseconds(span.first), count * (12 if unit == "y" else 1)))
    except (ValueError, OverflowError) as error:
        raise illegal(f"date math [{sign_and_number}{unit}] leaves the years 1 to 9999") from error
    return Span(moved, moved + span.last - span.first)


def _round(moment_ms: int, unit: str) -> Span:
    if unit in {"h", "H", "m", "s", "d"}:
        first = moment_ms - moment_ms % _EXACT[unit]
        return Span(first, first + _EXACT[unit] - 1)
    day = _from_milliseconds(moment_ms).replace(hour=0, minute=0, second=0, microsecond=0)
    if unit == "w":
        first = _milliseconds(day - timedelta(days=day.weekday()))
        return Span(first, first + _EXACT["w"] - 1)
    start = day.replace(day=1, month=1 if unit == "y" else day.month)
    return Span(_milliseconds(start), _milliseconds(_add_months(start, 12 if unit == "y" else 1)) - 1)


def _from_milliseconds(moment_ms: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=moment_ms)
