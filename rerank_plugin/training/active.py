"""Which documents to judge next: those that the served order is least sure of, not all of one query.

Two ways of active learning (Settles 2009) are added up, each from 0 to 1 bit. Query by committee: whether a document
belongs to the first ten is voted on by the words, the vectors and the model, and what counts is the entropy of the
votes (Dagan and Engelson 1995). Uncertainty sampling (Lewis and Gale 1994): the entropy of the model's own chance that
the document belongs there, which is that of its log-odds against those at the cut-off. So that one hard query does not
fill the list, the k-th document of a query counts a k-th of its bits.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rerank_plugin.ranking.blend import sigmoid
from rerank_plugin.training.calibrate import in_final_order

if TYPE_CHECKING:
    from rerank_plugin.domain.candidate import Candidate
    from rerank_plugin.domain.factors import Weights
    from rerank_plugin.ranking.relevance import RelevanceHead
    from rerank_plugin.training.calibrate import Window

#: Documents that users see first: judgments decide there.
CUT = 10


@dataclass(frozen=True, slots=True)
class Doubt:
    """A document without a judgment, and how unsure the order is of it."""

    candidate: Candidate
    #: 1-based places by the first stage's score, by the cosine, and in the served order.
    ranks: tuple[int, int, int]
    #: Documents of the window that belong to its first ones: ``CUT``, or half of a window that is no larger.
    cut: int
    #: z_final less that of the cut-off, in log-odds.
    distance: float

    @property
    def bits(self) -> float:
        """From 0 to 2: the entropy of the votes and that of the model's own chance."""
        votes = sum(rank <= self.cut for rank in self.ranks)
        return entropy(votes / len(self.ranks)) + entropy(sigmoid(self.distance))

    @property
    def why(self) -> str:
        """The same in words."""
        words, vectors, served = self.ranks
        place = f"place {words} by words, {vectors} by vectors, {served} as served"
        return f"{place}; {self.distance:+.2f} log-odds from place {self.cut}"


def entropy(chance: float) -> float:
    """Bits of a choice between two, from 0 to 1.

    :param chance: of one of them, from 0 to 1.
    """
    parts = (chance, 1.0 - chance)
    return -math.fsum(part * math.log2(part) for part in parts if part > 0.0)


def doubts(window: Window, head: RelevanceHead, weights: Weights) -> list[Doubt]:
    """The window's documents with a text and without a judgment; none of a window of one document."""
    served = in_final_order(window, head, weights)
    cut = min(CUT, len(served) // 2)
    if cut == 0:
        return []
    limit = (served[cut - 1].z_final + served[cut].z_final) / 2
    candidates = window.request.candidates
    words = _ranks(candidates, [each.retrieval_score or 0.0 for each in candidates])
    vectors = _ranks(candidates, [each.cosine or 0.0 for each in candidates])
    found = []
    for rank, each in enumerate(served, start=1):
        doc_id = each.candidate.doc_id
        if each.candidate.text.strip() and doc_id not in window.judgments:
            ranks = words[doc_id], vectors[doc_id], rank
            found.append(Doubt(each.candidate, ranks, cut, each.z_final - limit))
    return found


def queue(
    windows: Sequence[Window], head: RelevanceHead, weights: Weights, *, count: int, seed: int
) -> list[tuple[int, Doubt]]:
    """What to judge, most useful first: the place of the window, and the document; at most ``count``.

    :param windows: of different queries; what is judged in them is not asked again.
    :param seed: decides between documents of the same use.
    """
    found = []
    for place, window in enumerate(windows):
        ranked = sorted(
            doubts(window, head, weights), key=lambda each: (-each.bits, _lot(seed, place, each.candidate.doc_id))
        )
        found += [(place, each, each.bits / turn) for turn, each in enumerate(ranked, start=1)]
    found.sort(key=lambda each: (-each[2], _lot(seed, each[0], each[1].candidate.doc_id)))
    return [(place, each) for place, each, _ in found[:count]]


def _ranks(candidates: Sequence[Candidate], scores: Sequence[float]) -> dict[str, int]:
    """1-based places by falling score, equal ones as they were retrieved."""
    order = sorted(range(len(scores)), key=lambda place: (-scores[place], candidates[place].retrieval_rank))
    return {candidates[place].doc_id: rank for rank, place in enumerate(order, start=1)}


def _lot(seed: int, place: int, doc_id: str) -> bytes:
    """A draw that depends on nothing but its subject."""
    return hashlib.sha256(f"{seed} {place} {doc_id}".encode()).digest()
