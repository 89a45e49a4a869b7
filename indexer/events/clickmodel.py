"""Clicks by position: how likely a place is looked at, and what a document's clicks say once that is taken out.

The position-based model (Craswell et al., WSDM 2008): a click needs a look, whose chance depends on the position
alone, and a liking, whose chance depends on query and document alone. Both are found by expectation maximisation,
accelerated by SQUAREM (Varadhan and Roland, Scandinavian Journal of Statistics 35, 2008; step length 3, not monotone):
two rounds tell a direction and its bend, which are followed further. As it stands, EM takes thousands of rounds here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Rounds of expectation maximisation at most; it ends when one moves no propensity by more than ``TOLERANCE``.
ROUNDS = 500
TOLERANCE = 1e-6
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
    counts = _Counts(pairs, places, impressions, clicks, len(kinds))
    point = counts.start()
    looks, rounds, moved = np.ones(len(kinds)), 0, 0.0 if len(kinds) < 2 else float("inf")
    while rounds < ROUNDS and moved > TOLERANCE:
        first = counts.round(point)
        second = counts.round(first)
        rounds += 2
        before, looks = (each[: len(kinds)] / each[: len(kinds)].max() for each in (first, second))
        moved = float(np.abs(looks - before).max())
        step, bend = first - point, second - 2.0 * first + point
        # At 1 this is the second round's point; the rounds to come heal what lies off the way or out of bounds.
        far = max(1.0, float(np.sqrt((step**2).sum() / max((bend**2).sum(), 1e-300))))
        point = counts.clipped(point + 2.0 * far * step + far**2 * bend)
    return Propensities(kinds, looks, rounds, moved <= TOLERANCE)


class _Counts:
    """The counts of a log. A point is the looks of all positions and then the likings of all pairs, in one array."""

    def __init__(
        self,
        pairs: NDArray[np.int64],
        places: NDArray[np.int64],
        impressions: NDArray[np.float64],
        clicks: NDArray[np.float64],
        kinds: int,
    ) -> None:
        import numpy as np

        self._pairs, self._places, self._clicks, self._missed = pairs, places, clicks, impressions - clicks
        self._kinds, self._count = kinds, int(pairs.max()) + 1 if len(pairs) else 0
        self._average = max(float(clicks.sum() / max(impressions.sum(), 1.0)), LEAST_RATE)
        self._prior = PRIOR_LOOKS * self._average
        self._shown = np.maximum(np.bincount(places, impressions, kinds), 1e-12)
        self._seen = np.bincount(pairs, impressions, self._count) + PRIOR_LOOKS
        #: Looks and likings that are known of each place and each pair: their clicks, and the prior's.
        liked = np.bincount(pairs, clicks, self._count) + self._prior
        self._clicked = np.concatenate([np.bincount(places, clicks, kinds), liked])

    def start(self) -> NDArray[np.float64]:
        import numpy as np

        return np.repeat([0.5, min(self._average, 0.5)], [self._kinds, self._count])

    def clipped(self, point: NDArray[np.float64]) -> NDArray[np.float64]:
        import numpy as np

        point = np.clip(point, 1e-6, 1.0)
        np.minimum(point[self._kinds :], 1.0 - 1e-6, out=point[self._kinds :])
        return point

    def round(self, point: NDArray[np.float64]) -> NDArray[np.float64]:
        """One round of expectation maximisation."""
        import numpy as np

        look, like = point[: self._kinds][self._places], point[self._kinds :][self._pairs]
        both = look * like
        # Of the impressions without a click, those looked at all the same, and those liked.
        missed = self._missed / (1.0 - both)
        looked = np.bincount(self._places, missed * (look - both), self._kinds)
        liked = np.bincount(self._pairs, missed * (like - both), self._count)
        seen = np.concatenate([self._shown, self._seen])
        return self.clipped((self._clicked + np.concatenate([looked, liked])) / seen)


def smoothed_rates(looks: NDArray[np.float64], clicks: NDArray[np.float64]) -> NDArray[np.float64]:
    """(w + clicks) / (w / rate + looks), with w ``PRIOR_CLICKS`` and rate the average, at least ``LEAST_RATE``.

    :param looks: impressions, each times the propensity of its position.
    """
    average = max(float(clicks.sum()) / max(float(looks.sum()), 1e-12), LEAST_RATE)
    rates: NDArray[np.float64] = (PRIOR_CLICKS + clicks) / (PRIOR_CLICKS / min(average, 1.0) + looks)
    return rates
