"""An arm with diversity as its last step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from rerank_plugin.evaluation.arms import Answer, Arm, Found
from rerank_plugin.evaluation.collection import Query
from rerank_plugin.ranking.diversity import aspects_of, mmr, xquad

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Method = Literal["mmr", "xquad"]
METHODS: tuple[Method, ...] = ("mmr", "xquad")
#: The share of diversity where none is given.
TRADE = 0.3
#: Hits that may change places; those behind them stay.
REACH = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class DiverseArm:
    """Answers with another arm's first hits in an order of less repetition."""

    arm: Arm
    method: Method
    trade: float
    #: Document ids -> their vectors, (documents, dimensions); zeros for one that has none.
    vectors: Callable[[Sequence[str]], NDArray[np.float32]]

    def answer(self, query: Query) -> Answer:
        """The arm's answer, its first ``REACH`` hits rearranged; scores are those of the places."""
        import numpy as np

        given = self.arm.answer(query)
        scored = [each for each in given.found[:REACH] if each.said.get("z") is not None]
        if not scored:  # nothing was reranked: there is no relevance to weigh against
            return given
        relevance = np.array([_log_odds(each) for each in scored])
        vectors = self.vectors([each.doc_id for each in scored]).astype(np.float64)
        if self.method == "mmr":
            order = mmr(relevance, vectors @ vectors.T, trade=self.trade)
        else:
            order = xquad(relevance, *aspects_of(vectors, relevance), trade=self.trade)
        placed = [replace(scored[place], score=scored[rank].score) for rank, place in enumerate(order)]
        return replace(given, found=(*placed, *given.found[len(scored) :]))


def _log_odds(found: Found) -> float:
    """What the client sorted on: z and one term per factor."""
    terms = found.said["factors"].values()
    return float(found.said["z"]) + math.fsum(term["contribution"] for term in terms)
