"""What the signals share: features as plain floats of six digits, and a map to [0, 1] that keeps the order."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Digits of a stored feature: enough to keep any order that matters, few enough to read.
DIGITS = 6


def feature(value: float) -> float:
    """``value`` clipped to [0, 1] with six digits."""
    return round(min(max(float(value), 0.0), 1.0), DIGITS)


def mid_quantile(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of values below each value plus half the share equal to it: in (0, 1), order kept, ties equal.

    Their mean is exactly 1/2, which is also what a missing feature counts as (DESIGN 3): a document drawn at random
    gains nothing. One value, or all equal: 1/2. Values must be finite.
    """
    import numpy as np

    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    below = np.cumsum(counts) - counts
    shares: NDArray[np.float64] = (below + counts / 2.0)[inverse] / max(len(values), 1)
    return shares
