"""The hits of a query in order: by score, ties by order of indexing, whatever tantivy's segments look like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rerank_plugin.engines.embedded.clause import Clause
from rerank_plugin.engines.embedded.segments import ORDER, View

if TYPE_CHECKING:
    import tantivy

#: Scores closer than this share of each other are ties: float32 sums of the same parts in another order differ by less.
TIE = 5e-7
#: Hits fetched beyond the cut at first, to see whether it goes through a tie.
_MARGIN = 32


@dataclass(frozen=True, slots=True)
class Scored:
    """A match, not fetched yet."""

    score: float
    address: tantivy.DocAddress


@dataclass(frozen=True, slots=True)
class Top:
    """The first hits, and how many matched in all."""

    hits: list[Scored]
    total: int


def top(view: View, clause: Clause, size: int) -> Top:
    """The ``size`` best matches by (-score, order of indexing).

    A tie at the cut is fetched as a whole, up to every match, so that the earliest of the tied documents get in.
    """
    documents = view.searcher.num_docs
    if size == 0 or documents == 0:
        return Top([], count(view, clause))
    if clause.constant:
        return _in_order(view, clause, size)
    limit = min(size + _MARGIN, documents)
    while True:
        result = view.searcher.search(clause.query, limit=limit)
        hits = result.hits
        complete = len(hits) < limit or limit == documents
        if complete or hits[-1][0] < hits[size - 1][0] * (1 - TIE):
            return Top(in_order_of_score(view, hits)[:size], int(result.count))
        limit = min(limit * 4, documents)


def count(view: View, clause: Clause) -> int:
    """How many documents match."""
    return int(view.searcher.search(clause.query, limit=1).count) if view.searcher.num_docs else 0


def every(view: View, clause: Clause) -> list[Scored]:
    """All matches, by (-score, order of indexing)."""
    if view.searcher.num_docs == 0:
        return []
    result = view.searcher.search(clause.query, limit=view.searcher.num_docs, count=False)
    return in_order_of_score(view, result.hits)


def _in_order(view: View, clause: Clause, size: int) -> Top:
    """For clauses that score all their matches the same: the first ones by order of indexing."""
    import tantivy

    best = view.searcher.search(clause.query, limit=1)
    if not best.hits:
        return Top([], 0)
    score = float(best.hits[0][0])
    first = view.searcher.search(clause.query, limit=size, count=False, order_by_field=ORDER, order=tantivy.Order.Asc)
    return Top([Scored(score, address) for _, address in first.hits], int(best.count))


def in_order_of_score(view: View, hits: list[tuple[float, tantivy.DocAddress]]) -> list[Scored]:
    """Hits that come by descending score, tied ones put in the order of indexing and given one score."""
    orders = view.searcher.fast_field_values(ORDER, [address for _, address in hits])
    ordered: list[Scored] = []
    tied: list[tuple[int, tantivy.DocAddress]] = []
    leader = 0.0
    for (score, address), order in zip(hits, orders, strict=True):
        if tied and score < leader * (1 - TIE):
            ordered += [Scored(leader, each) for _, each in sorted(tied, key=lambda pair: pair[0])]
            tied = []
        if not tied:
            leader = score
        tied.append((int(order or 0), address))
    return ordered + [Scored(leader, each) for _, each in sorted(tied, key=lambda pair: pair[0])]
