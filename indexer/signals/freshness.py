"""Freshness: 1 / (1 + age / half-life) of each dated document, as DESIGN 4 computes it again at query time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from statistics import median

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


def freshness(dates: Sequence[datetime | None], *, now: datetime, half_life_days: float) -> list[float | None]:
    """One feature per document at the time ``now``; ``None`` without a date, 1 for a future one."""
    return [
        None if date is None else feature(freshness_utility(date, now=now, half_life_days=half_life_days))
        for date in dates
    ]
