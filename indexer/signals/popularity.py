"""Popularity: counts of what people did with a document (views, clicks, votes, comments ...), log-scaled to [0, 1].

For each kind of count, u = log(1 + x) / log(1 + top), at most 1, where ``top`` is the kind's knot: the 99th percentile
of the counts above 0, at least 10 so that a handful of events in a quiet collection does not make a star. Counts below
0 (net votes) count as 0. A document's popularity is the weighted mean of u over the kinds known of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import quantiles

from indexer.signals.scaling import feature

#: A knot is never below this count.
LEAST_TOP = 10.0


def fit_knots(counts: Sequence[Mapping[str, float]], weights: Mapping[str, float]) -> dict[str, float]:
    """The knot of every weighted kind that occurs, by name; recorded with the index so that refreshes reuse them."""
    knots: dict[str, float] = {}
    for kind in sorted(weights):
        seen = [each[kind] for each in counts if each.get(kind, 0.0) > 0]
        if seen or any(kind in each for each in counts):
            top = quantiles(seen, n=100, method="inclusive")[98] if len(seen) > 1 else max(seen, default=0.0)
            knots[kind] = round(max(LEAST_TOP, top), 3)
    return knots


def popularity(
    counts: Sequence[Mapping[str, float]], *, knots: Mapping[str, float], weights: Mapping[str, float]
) -> list[float | None]:
    """One feature per document; ``None`` where no kind with a knot and a weight above 0 is known."""
    return [_popularity(each, knots, weights) for each in counts]


def _popularity(counts: Mapping[str, float], knots: Mapping[str, float], weights: Mapping[str, float]) -> float | None:
    known = [kind for kind in knots if kind in counts and weights.get(kind, 0.0) > 0]
    if not known:
        return None
    total = math.fsum(
        weights[kind] * min(1.0, math.log1p(max(counts[kind], 0.0)) / math.log1p(knots[kind])) for kind in known
    )
    return feature(total / math.fsum(weights[kind] for kind in known))
