"""Gates learned from queries that say which factors they ask for (DESIGN 2: the word list first)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rerank_plugin.domain.factors import PRIORS
from rerank_plugin.ranking.gate import query_gates
from rerank_plugin.training.logistic import chosen_penalty, soft_logistic

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Queries that ask for a factor, and that do not, below which nothing is learned of it.
LEAST = 10


def fit_gates(
    queries: Sequence[str], asks: Sequence[frozenset[str]], vectors: NDArray[np.float32], *, seed: int = 0
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A manifest's ``gate``, and an account: by factor how many asked, and the squared errors out of fold.

    A logistic regression on the query's vector and on whether a word of the list stands in it. A factor keeps the list
    alone where fewer than ``LEAST`` queries ask for it, or do not, and where out of fold the list is no worse.

    :param asks: of each query, the factors that it asks for.
    :param vectors: (queries, dimensions), L2-normalised.
    """
    gates: dict[str, Any] = {}
    account: dict[str, Any] = {}
    for factor in PRIORS:
        targets = np.array([float(factor in each) for each in asks])
        if min(int(targets.sum()), len(targets) - int(targets.sum())) < LEAST:
            continue
        words = np.array([float(query_gates(query)[factor] == 1.0) for query in queries])
        rows = np.concatenate([vectors.astype(np.float64), words[:, None]], axis=1)
        penalty, error = chosen_penalty(rows, targets, seed=seed)
        by_list = float(((words - targets) ** 2).mean())
        kept = error < by_list
        account[factor] = {
            "queries": len(targets),
            "asking": int(targets.sum()),
            "squared_error": {"list": round(by_list, 4), "learned": round(error, 4)},
            "kept": "learned" if kept else "list",
        }
        if kept:
            slopes, intercept = soft_logistic(rows, targets, penalty)
            numbers = [round(float(each), 6) for each in slopes]
            gates[factor] = {"intercept": round(intercept, 6), "word": numbers[-1], "slopes": numbers[:-1]}
    return gates, account
