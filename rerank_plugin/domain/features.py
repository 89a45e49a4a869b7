"""Stored per-document numbers, and what they say at query time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from typing import Any

from rerank_plugin.domain.factors import PRIORS
from rerank_plugin.domain.numbers import is_finite_number
from rerank_plugin.domain.records import record
from rerank_plugin.errors import DataError

SECONDS_PER_DAY = 86_400.0


@record(frozen=True, slots=True, kw_only=True)
class Features:
    """Per-document numbers in [0, 1] for the factors beside relevance; ``None`` means unknown, never best or worst."""

    authority: float | None = None
    freshness: float | None = None
    novelty: float | None = None
    popularity: float | None = None
    #: Age in days at query time, where a date is known; for reports, not for the blend.
    age_days: float | None = None

    def __getitem__(self, factor: str) -> float | None:
        value: float | None = getattr(self, factor)
        return value

    @property
    def missing(self) -> int:
        """How many of the four factors are unknown for this document."""
        return priors_of(self).count(None)


#: The four factors of a document, in the order of ``PRIORS``.
priors_of: Callable[[Features], tuple[float | None, ...]] = attrgetter(*PRIORS)


NO_FEATURES = Features()


def unit_or_none(value: Any) -> float | None:
    """A stored feature as a float in [0, 1]; ``None`` for anything absent, not a number, NaN or infinite. Clips."""
    if value is None or (type(value) is float and 0.0 <= value <= 1.0):
        return value  # nearly all there are, a hundred documents a search: the rest need a closer look
    if not is_finite_number(value):
        return None
    return min(max(float(value), 0.0), 1.0)


def freshness_utility(published_at: datetime, *, now: datetime, half_life_days: float) -> float:
    """1 / (1 + age / half-life): 1 for a document of now or of the future, 1/2 at one half-life."""
    return freshness_of_age(age_in_days(published_at, now=now), half_life_days=half_life_days)


def freshness_of_age(age_days: float, *, half_life_days: float) -> float:
    """The same for an age, which counts as 0 where it is negative."""
    return 1.0 / (1.0 + max(age_days, 0.0) / half_life_days)


def age_in_days(published_at: datetime, *, now: datetime) -> float:
    """Days from publication to ``now``; negative for future dates."""
    return (now - published_at).total_seconds() / SECONDS_PER_DAY


def parse_date(value: Any) -> datetime:
    """A stored date in UTC: ISO 8601 (``2020``, ``2020-05``, full, with or without zone) or epoch milliseconds.

    Whole numbers from 1000 to 9999 and strings of four digits are years. A string of digits longer than that is epoch
    milliseconds, as the engines read it.

    :raises DataError: the value is none of these.
    """
    if isinstance(value, bool) or value is None:
        raise DataError(f"a date is written 2020-05-31, 2020-05-31T12:00:00Z or in epoch milliseconds; got {value!r}")
    try:
        if isinstance(value, (int, float)):
            if 1000 <= value <= 9999 and float(value).is_integer():
                return datetime(int(value), 1, 1, tzinfo=UTC)
            return datetime.fromtimestamp(value / 1000.0, tz=UTC)
        return _date_in(str(value))
    except (ValueError, OverflowError, OSError) as error:
        raise DataError(
            f"a date is written 2020-05-31, 2020-05-31T12:00:00Z or in epoch milliseconds; got {str(value)[:40]!r}"
        ) from error


@lru_cache(maxsize=4096)  # dates repeat, and a window holds a hundred
def _date_in(text: str) -> datetime:
    text = text.strip()
    if text.lstrip("-").isdigit() and len(text) > 8:
        return datetime.fromtimestamp(int(text) / 1000.0, tz=UTC)
    if len(text) == 4 and text.isdigit():
        return datetime(int(text), 1, 1, tzinfo=UTC)
    if len(text) == 7 and text[4] == "-":
        return datetime(int(text[:4]), int(text[5:]), 1, tzinfo=UTC)
    parsed = datetime.fromisoformat(text)
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


def stored_features(enriched: Mapping[str, Any], *, now: datetime, half_life_days: float) -> Features:
    """The features of the ``rerank`` object that the indexer writes (DESIGN 4), freshness computed for ``now``.

    A document's own ``half_life_days`` goes before the index's. Values that are no numbers count as missing.
    """
    freshness: float | None = None
    age_days: float | None = None
    if "published_at" in enriched:
        own = enriched.get("half_life_days")
        if own is not None and is_finite_number(own) and own > 0:
            half_life_days = float(own)
        try:
            published_at = parse_date(enriched["published_at"])
        except DataError:
            pass  # a date nobody can read is a missing feature, counted as such
        else:
            age_days = max(age_in_days(published_at, now=now), 0.0)
            freshness = freshness_of_age(age_days, half_life_days=half_life_days)
    return Features(
        authority=unit_or_none(enriched.get("authority")),
        freshness=freshness if freshness is not None else unit_or_none(enriched.get("freshness")),
        novelty=unit_or_none(enriched.get("novelty")),
        popularity=unit_or_none(enriched.get("popularity")),
        age_days=age_days,
    )
