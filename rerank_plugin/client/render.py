"""The engine's response with the new order in it, and the status block that says what happened (DESIGN 6.1, 6.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rerank_plugin.client.options import KEY
from rerank_plugin.client.order import Order
from rerank_plugin.client.paging import Placed, tail_score, window_score
from rerank_plugin.domain.candidate import FactorTerm


@dataclass(slots=True, kw_only=True)
class Status:
    """What happened to one search; every response carries it under ``rerank``."""

    #: ``applied``, ``partial`` (the deadline cut the scoring), ``skipped`` (not ours to rerank), ``fallback`` (failed),
    #: ``shadow`` (ranked, and the engine's own answer returned).
    status: str
    #: One line; None when there is nothing to explain.
    reason: str | None = None
    order_id: str | None = None
    #: Candidates rescored per query, at most.
    window: int = 0
    #: Documents that were scored.
    reranked: int = 0
    #: Of the candidates, those with at least one unknown factor.
    features_missing: int = 0
    #: Requests of ours that the engine answered; not shown.
    fetched: int = 0
    retrieve_ms: float = 0.0
    features_ms: float = 0.0
    model_ms: float = 0.0
    total_ms: float = 0.0
    model: str | None = None
    weights: Mapping[str, float] | None = None
    truncated: int = 0
    #: What is missing of the index's own ``_meta.rerank``; empty when nothing is, and then not shown.
    meta: str = ""
    #: What the vector index did or why it did nothing; shown when there is something to say.
    dense: str = ""
    #: Documents in a language that the model does not know; shown when there are some.
    unknown_language: int = 0
    #: Documents of which nothing could be read: they kept the engine's place; shown when there are some.
    unread: int = 0
    #: The hits that the page would have shown, in order; of ``shadow`` alone.
    shadow: list[dict[str, str]] | None = None

    def ranked(self, order: Order) -> None:
        """Takes over what the ranking behind an order says of itself."""
        ranking, unscored = order.said, len(order) - order.scored
        self.reranked = order.scored
        self.features_missing = ranking.features_missing
        self.truncated = ranking.truncated
        self.unknown_language = ranking.unknown
        self.unread = ranking.unread
        self.dense = self.dense or ranking.dense
        self.model = ranking.model
        self.weights = ranking.weights.as_dict()
        if unscored:
            self.status = "partial"
            self.reason = f"the deadline left {unscored} documents unscored"

    def to_json(self) -> dict[str, Any]:
        """The block as it stands in a response."""
        block: dict[str, Any] = {
            "status": self.status,
            "reason": self.reason,
            "order_id": self.order_id,
            "window": self.window,
            "reranked": self.reranked,
            "features_missing": self.features_missing,
            "took_ms": {
                "retrieve": round(self.retrieve_ms, 3),
                "features": round(self.features_ms, 3),
                "model": round(self.model_ms, 3),
                "total": round(self.total_ms, 3),
            },
            "model": self.model,
            "weights": None if self.weights is None else dict(self.weights),
            "truncated": self.truncated,
        }
        sometimes = {"meta": self.meta, "dense": self.dense, "unknown_language": self.unknown_language}
        sometimes["unread"] = self.unread
        sometimes["shadow"] = self.shadow
        block.update((name, said) for name, said in sometimes.items() if said)
        return block


def with_status(response: Any, status: Status) -> Any:
    """A copy of the response that carries the status; anything but a search response comes back as it is."""
    if not isinstance(response, Mapping) or "hits" not in response:
        return response
    return {**response, KEY: status.to_json()}


def with_hits(
    response: Mapping[str, Any], hits: Sequence[Mapping[str, Any]], max_score: float | None
) -> dict[str, Any]:
    """A copy of the response with other hits; totals, aggregations and the rest stay the engine's own."""
    return {**response, "hits": {**response["hits"], "max_score": max_score, "hits": list(hits)}}


def window_hit(hit: Mapping[str, Any], placed: Placed) -> dict[str, Any]:
    """A copy of the hit with its new score and what it is made of."""
    ranked = placed.ranked
    explained = {
        "final_score": placed.final_score,
        "z": None if ranked is None else ranked.z,
        "retrieval_rank": placed.retrieval_rank,
        "retrieval_score": placed.retrieval_score,
        "factors": {} if ranked is None else {factor: _term(term) for factor, term in ranked.factors.items()},
    }
    return {**hit, "_score": window_score(placed.final_score), "_rerank": explained}


def _term(term: FactorTerm) -> dict[str, Any]:
    return {
        "utility": term.utility,
        "weight": term.weight,
        "gate": term.gate,
        "contribution": term.contribution,
        "origin": term.origin,
    }


def tail_hit(hit: Mapping[str, Any], retrieval_rank: int | None) -> dict[str, Any]:
    """A copy of a hit beyond the window, its score brought below the window's.

    :param retrieval_rank: None where the engine's own rank is not known.
    """
    score = hit.get("_score")
    explained: dict[str, Any] = {
        "final_score": None,
        "z": None,
        "retrieval_rank": retrieval_rank,
        "retrieval_score": score,
        "factors": {},
    }
    return {**hit, "_score": tail_score(score), "_rerank": explained}
