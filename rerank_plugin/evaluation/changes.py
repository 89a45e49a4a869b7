"""What reranking changes, where nobody has judged anything yet: overlap and shift of the first ten."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rerank_plugin.evaluation.runs import Run

CUT = 10
#: How fast rank-biased overlap forgets: the first ten places have 86 % of its weight.
PERSISTENCE = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One query: how a candidate's first ten differ from a baseline's."""

    #: Share of the first ten that both have; 1 where both found nothing.
    overlap: float
    #: Rank-biased overlap of the first ten, extrapolated: 1 for the same list in the same order.
    rbo: float
    #: Mean number of places that the candidate's first ten moved; one that the baseline lacks moved from behind its
    #: last.
    shift: float
    #: Whether another document is first.
    first: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """All queries of one pair of arms."""

    baseline: str
    candidate: str
    overlap: float
    rbo: float
    shift: float
    #: Share of queries with another first document.
    first_changed: float
    #: Share of queries whose first ten are the same in the same order.
    unchanged: float


def changes(baseline: Run, candidate: Run, queries: Sequence[str]) -> dict[str, Change]:
    """The change of every query."""
    return {query: change(baseline.ids(query), candidate.ids(query)) for query in queries}


def change(before: Sequence[str], after: Sequence[str]) -> Change:
    """How the first ten of ``after`` differ from those of ``before``."""
    old, new = before[:CUT], after[:CUT]
    ranks = {document: rank for rank, document in enumerate(before, start=1)}
    moved = [abs(ranks.get(document, len(before) + 1) - rank) for rank, document in enumerate(new, start=1)]
    longest = max(len(old), len(new))
    return Change(
        overlap=len(set(old) & set(new)) / longest if longest else 1.0,
        rbo=rank_biased_overlap(old, new),
        shift=math.fsum(moved) / len(moved) if moved else 0.0,
        first=old[:1] != new[:1],
    )


def rank_biased_overlap(a: Sequence[str], b: Sequence[str], *, persistence: float = PERSISTENCE) -> float:
    """Extrapolated rank-biased overlap (Webber, Moffat and Zobel, TOIS 2010, equation 32), in [0, 1].

    Lists of different length are compared to the length of the longer, as if the shorter went on with documents that
    the other lacks; two empty lists are the same.
    """
    depth = max(len(a), len(b))
    if depth == 0:
        return 1.0
    total, shared = 0.0, 0.0
    for place in range(1, depth + 1):
        shared = len(set(a[:place]) & set(b[:place])) / place
        total += shared * persistence**place
    return shared * persistence**depth + (1 - persistence) / persistence * total


def summary(baseline: str, candidate: str, found: Mapping[str, Change]) -> Summary:
    """Means over the queries; without queries nothing has changed."""
    count = max(len(found), 1)
    each = found.values()
    return Summary(
        baseline=baseline,
        candidate=candidate,
        overlap=math.fsum(one.overlap for one in each) / count if found else 1.0,
        rbo=math.fsum(one.rbo for one in each) / count if found else 1.0,
        shift=math.fsum(one.shift for one in each) / count,
        first_changed=sum(one.first for one in each) / count,
        unchanged=sum(one.rbo > 1 - 1e-12 for one in each) / count,
    )


def most_changed(found: Mapping[str, Change]) -> list[str]:
    """Queries, the most changed first: the lowest rank-biased overlap, then the greatest shift."""
    return sorted(found, key=lambda query: (found[query].rbo, -found[query].shift, query))
