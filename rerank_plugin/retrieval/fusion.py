"""Two ways to make one list of several, by scores or by ranks; a document that a list lacks gets 0 from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

#: Cormack, Clarke and Büttcher, SIGIR 2009; OpenSearch, Elasticsearch and Vespa use the same.
RANK_CONSTANT = 60


def min_max(scores: Mapping[str, float]) -> dict[str, float]:
    """Each score as (score - lowest) / (highest - lowest), in [0, 1]; finite scores expected.

    Where all are equal, each is 1: being found must count for more than being absent, which is 0.
    """
    if not scores:
        return {}
    low, high = min(scores.values()), max(scores.values())
    if high == low:
        return dict.fromkeys(scores, 1.0)
    return {doc_id: (score - low) / (high - low) for doc_id, score in scores.items()}


def min_max_sum(a: Mapping[str, float], b: Mapping[str, float], *, weight: float = 1.0) -> dict[str, float]:
    """``min_max(a) + weight * min_max(b)`` for every document of either list, those of ``a`` first."""
    left, right = min_max(a), min_max(b)
    return {doc_id: left.get(doc_id, 0.0) + weight * right.get(doc_id, 0.0) for doc_id in {**left, **right}}


def reciprocal_rank(*rankings: Sequence[str], constant: int = RANK_CONSTANT) -> dict[str, float]:
    """Sum over the rankings (best first) of 1 / (constant + rank), ranks from 1.

    An id that a ranking repeats counts at its best place only.
    """
    fused: dict[str, float] = {}
    for ranking in rankings:
        for rank, doc_id in enumerate(dict.fromkeys(ranking), start=1):
            fused[doc_id] = fused.get(doc_id, 0.0) + 1.0 / (constant + rank)
    return fused
