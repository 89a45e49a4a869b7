"""How far calibrated relevance can be believed: of the candidates that are said to be relevant with 30 %, are 30 %?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rerank_plugin.domain.factors import Weights
from rerank_plugin.errors import DataError
from rerank_plugin.training.calibrate import fit_head, in_final_order

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rerank_plugin.training.calibrate import Window

#: Bins of the diagram, and parts that the queries are cut into: one is measured by what the others fit.
BINS = 10
FOLDS = 2


def reliability(collections: Mapping[str, Sequence[Window]], *, seed: int = 0) -> dict[str, Any]:
    """Per collection the expected calibration error and the reliability diagram of the fitted head, out of fold.

    The error is the mean distance of what was said from what was found over bins of equally many candidates (Guo et al.
    2017; equal bins as Nixon et al. 2019 have them: nearly all candidates of a search are irrelevant, and bins of equal
    width would hold them all in the first). Unjudged candidates count as not relevant, as in the fit.

    :param collections: the windows that the head is fitted on, by name.
    :return: name -> ``error`` in [0, 1], ``base_rate``, and ``bins`` from the lowest: mean of what was said, share that
        is relevant, candidates. Empty where a part of the queries is not enough to fit a head.
    """
    parts = {
        name: np.random.default_rng(seed).permutation(len(windows)) % FOLDS for name, windows in collections.items()
    }
    said: dict[str, list[float]] = {name: [] for name in collections}
    found: dict[str, list[bool]] = {name: [] for name in collections}
    for fold in range(FOLDS):
        rest = [
            [window for window, part in zip(windows, parts[name], strict=True) if part != fold]
            for name, windows in collections.items()
        ]
        try:
            head = fit_head(rest)
        except DataError:
            return {}
        for name, windows in collections.items():
            for window, part in zip(windows, parts[name], strict=True):
                if part == fold:
                    ranked = in_final_order(window, head, Weights())
                    said[name] += [each.final_score for each in ranked]
                    found[name] += [window.judgments.get(each.candidate.doc_id, 0) > 0 for each in ranked]
    return {
        name: diagram(np.array(said[name]), np.array(found[name], dtype=np.bool_)) for name in collections if said[name]
    }


def diagram(said: NDArray[np.float64], relevant: NDArray[np.bool_]) -> dict[str, Any]:
    """The error, the base rate and the bins of :func:`reliability`.

    :param said, relevant: (candidates,), at least one.
    """
    order = np.argsort(said, kind="stable")
    bins = [each for each in np.array_split(order, BINS) if len(each)]
    rows = [(float(said[each].mean()), float(relevant[each].mean()), len(each)) for each in bins]
    error = sum(abs(mean - share) * count for mean, share, count in rows) / len(said)
    return {
        "error": round(error, 4),
        "base_rate": round(float(relevant.mean()), 4),
        "bins": [[round(mean, 4), round(share, 4), count] for mean, share, count in rows],
    }
