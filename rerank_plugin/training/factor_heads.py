"""Fitting the heads that predict a document's features from its vector, where the features themselves are missing.

A head is a logistic regression with soft labels on the vector that serving has anyway: it is fitted on the vectors that
the exported model makes, rounding included, so what was fitted is what serves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Strengths of the penalty that are tried, and the parts that the documents are cut into to choose one.
PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
FOLDS = 5
#: Fewer documents with a known feature teach nothing.
FEWEST = 50


def soft_logistic(
    vectors: NDArray[np.float64], targets: NDArray[np.float64], penalty: float
) -> tuple[NDArray[np.float64], float]:
    """Slopes (dimensions,) and intercept of least mean cross-entropy + penalty / 2 * |slopes|^2.

    :param vectors: (documents, dimensions).
    :param targets: (documents,), in [0, 1].
    """
    from scipy.optimize import minimize

    count, dimensions = vectors.shape

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        slopes, intercept = parameters[:dimensions], parameters[dimensions]
        logits = vectors @ slopes + intercept
        error = (1.0 / (1.0 + np.exp(-logits)) - targets) / count
        value = float(np.mean(np.logaddexp(0.0, logits) - targets * logits)) + penalty / 2 * float(slopes @ slopes)
        return value, np.concatenate([vectors.T @ error + penalty * slopes, [error.sum()]])

    mean = float(np.clip(targets.mean(), 1e-6, 1 - 1e-6))
    start = np.zeros(dimensions + 1)
    start[dimensions] = np.log(mean / (1.0 - mean))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500}).x
    return found[:dimensions], float(found[dimensions])


def predicted(vectors: NDArray[np.float64], slopes: NDArray[np.float64], intercept: float) -> NDArray[np.float64]:
    """(documents,), in (0, 1)."""
    values: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-(vectors @ slopes + intercept)))
    return values


def chosen_penalty(vectors: NDArray[np.float64], targets: NDArray[np.float64], *, seed: int) -> tuple[float, float]:
    """The penalty with the least squared error out of fold, and its share of the targets' variance explained (R^2)."""
    parts = np.random.default_rng(seed).permutation(len(targets)) % FOLDS
    best: tuple[float, float] = (np.inf, PENALTIES[-1])
    for penalty in PENALTIES:
        squared = 0.0
        for fold in range(FOLDS):
            held = parts == fold
            slopes, intercept = soft_logistic(vectors[~held], targets[~held], penalty)
            squared += float(((predicted(vectors[held], slopes, intercept) - targets[held]) ** 2).sum())
        best = min(best, (squared, penalty))
    spread = float(((targets - targets.mean()) ** 2).sum())
    return best[1], 1.0 - best[0] / spread if spread > 0 else 0.0


def usable(targets: Sequence[float | None]) -> NDArray[np.intp]:
    """Where a target is known."""
    return np.flatnonzero([each is not None for each in targets])
