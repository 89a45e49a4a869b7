"""Logistic regression on vectors, its penalty chosen out of fold: small models on top of what a trunk says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

#: Strengths of the penalty that are tried, and the parts that the rows are cut into to choose one.
PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
FOLDS = 5


def soft_logistic(vectors: Values, targets: Values, penalty: float) -> tuple[Values, float]:
    """Slopes (dimensions,) and intercept of least mean cross-entropy + penalty / 2 * |slopes|^2.

    :param vectors: (rows, dimensions).
    :param targets: (rows,), in [0, 1].
    """
    from scipy.optimize import minimize

    count, dimensions = vectors.shape

    def loss(parameters: Values) -> tuple[float, Values]:
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


def predicted(vectors: Values, slopes: Values, intercept: float) -> Values:
    """(rows,), in (0, 1)."""
    shares: Values = 1.0 / (1.0 + np.exp(-(vectors @ slopes + intercept)))
    return shares


def chosen_penalty(vectors: Values, targets: Values, *, seed: int) -> tuple[float, float]:
    """The penalty with the least squared error out of fold, and that error, a mean over the rows.

    :param vectors: (rows, dimensions), at least ``FOLDS`` rows.
    :param targets: (rows,), in [0, 1].
    """
    parts = np.random.default_rng(seed).permutation(len(targets)) % FOLDS
    best: tuple[float, float] = (np.inf, PENALTIES[-1])
    for penalty in PENALTIES:
        squared = 0.0
        for fold in range(FOLDS):
            held = parts == fold
            slopes, intercept = soft_logistic(vectors[~held], targets[~held], penalty)
            squared += float(((predicted(vectors[held], slopes, intercept) - targets[held]) ** 2).sum())
        best = min(best, (squared, penalty))
    return best[1], best[0] / len(targets)
