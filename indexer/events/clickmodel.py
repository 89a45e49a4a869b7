"""Clicks by position: how likely a place is looked at, and what a document's clicks say once that is taken out.

The position-based model (Craswell et al., WSDM 2008): a click needs a look, whose chance depends on the position
alone, and a liking, whose chance depends on query and document alone. Both are found by expectation maximisation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Rounds of expectation maximisation at most; it ends when no propensity moves by more than ``TOLERANCE``.
ROUNDS = 200
TOLERANCE = 1e-4
#: Looks that every pair of query and document is thought to have had before, at the average rate of clicks: a pair
#: seen once says little of its position.
PRIOR_LOOKS = 1.0
#: Impressions that a rate is thought to have had before, times the average rate: the ``w`` of ``smoothed_rates``.
PRIOR_CLICKS = 2.0
#: The average rate is never taken to be lower: with next to no clicks the prior would be without bounds.
LEAST_RATE = 0.001


@dataclass(frozen=True, slots=True)
class Propensities:
    """How likely each position is looked at, relative to the first one seen."""

    #: (positions,), those that occur, rising.
    positions: NDArray[np.int64]
    #: (positions,), in (0, 1]; the likeliest is 1.
    looks: NDArray[np.float64]
    rounds: int
    converged: bool


def fit_propensities(
    pairs: NDArray[np.int64],
    positions: NDArray[np.int64],
    impressions: NDArray[np.float64],
    clicks: NDArray[np.float64],
) -> Propensities:
    """Propensities by expectation maximisation over counts: one row per pair of query and document and position.

    :param pairs: number of the pair, from 0.
    :param impressions: how often it was shown there; at least ``clicks``.
    """
    import numpy as np

    kinds, places = np.unique(positions, return_inverse=True)
    count = int(pairs.max()) + 1 if len(pairs) else 0
    average = float(clicks.sum() / max(impressions.sum(), 1.0))
    looks = np.full(len(kinds), 0.5)
    likes = np.full(count, min(max(average, LEAST_RATE), 0.5))
    shown = np.bincount(places, impressions, len(kinds))
    missed = impressions - clicks
    prior = PRIOR_LOOKS * max(average, LEAST_RATE)
    seen = np.bincount(pairs, impressions, count) + PRIOR_LOOKS
    rounds, moved = 0, float("inf")
    while rounds < ROUNDS and moved > TOLERANCE and len(kinds) > 1:
        rounds += 1
        look, like = looks[places], likes[pairs]
        unclicked = np.maximum(1.0 - look * like, 1e-12)
        looked = clicks + missed * look * (1.0 - like) / unclicked
        liked = clicks + missed * like * (1.0 - look) / unclicked
        updated = np.clip(np.bincount(places, looked, len(kinds)) / np.maximum(shown, 1e-12), 1e-6, 1.0)
        likes = np.clip((np.bincount(pairs, liked, count) + prior) / seen, 1e-6, 1.0 - 1e-6)
        moved = float(np.abs(updated / updated.max() - looks / looks.max()).max())
        looks = updated
    looks = looks / looks.max() if len(looks) else looks
    return Propensities(kinds, looks, rounds, moved <= TOLERANCE or len(kinds) < 2)


def smoothed_rates(looks: NDArray[np.float64], clicks: NDArray[np.float64]) -> NDArray[np.float64]:
    """(w + clicks) / (w / rate + looks), with w ``PRIOR_CLICKS`` and rate the average, at least ``LEAST_RATE``.

    :param looks: impressions, each times the propensity of its position.
    """
    average = max(float(clicks.sum()) / max(float(looks.sum()), 1e-12), LEAST_RATE)
    rates: NDArray[np.float64] = (PRIOR_CLICKS + clicks) / (PRIOR_CLICKS / min(average, 1.0) + looks)
    return rates
