"""Freshness: 1 / (1 + age / half-life) of each dated document, as DESIGN 4 computes it again at query time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from statistics import median
from typing import Any

from indexer.signals.scaling import feature
from rerank_plugin.domain.features import age_in_days, freshness_utility

#: Half-life where none is given and the collection is younger than this.
DEFAULT_HALF_LIFE_DAYS = 365.0


def half_life_for(dates: Sequence[datetime | None], *, now: datetime) -> float:
    """The half-life to use where none is given: the median age in days, at least 365.

    The slope of u = 1 / (1 + a / h) at age a is h / (h + a)^2, steepest at h = a: at the median age, documents differ
    as much as this formula can make them. Where all are about as old (an archive read today) that is still little;
    then the clock should be set to the archive's time. Future dates are of age 0.
    """
    ages = [max(age_in_days(date, now=now), 0.0) for date in dates if date is not None]
    return round(max(DEFAULT_HALF_LIFE_DAYS, median(ages)), 3) if ages else DEFAULT_HALF_LIFE_DAYS


def freshness(
    dates: Sequence[datetime | None],
    *,
    now: datetime,
    half_life_days: float,
    own: Sequence[float | None] | None = None,
) -> list[float | None]:
    """One feature per document at the time ``now``; ``None`` without a date or for one that does not age.

    A future date is of age 0.

    :param own: half-lives in days of the documents' own types, 0 for those that do not age; ``None`` is the common one.
    """
    return [
        None
        if date is None or its == 0
        else feature(freshness_utility(date, now=now, half_life_days=its or half_life_days))
        for date, its in zip(dates, own or [None] * len(dates), strict=True)
    ]


def aging(date: datetime | None, own: float | None, *, common: float) -> dict[str, Any]:
    """What the ``rerank`` object says of age: nothing without a date or for what does not age (DESIGN 4)."""
    if date is None or own == 0:
        return {}
    written = {"published_at": iso_z(date)}
    return written if own is None or own == common else {**written, "half_life_days": own}


def iso_z(date: datetime) -> str:
    """``2020-05-31T12:00:00Z``, with a fraction only where the date has one."""
    return date.astimezone(UTC).isoformat().replace("+00:00", "Z")
