"""The ranker as the client sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from rerank_plugin.domain.candidate import Candidate, Ranking
from rerank_plugin.domain.factors import Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class RankRequest:
    """One query with its window."""

    query: str
    candidates: tuple[Candidate, ...]
    #: Given by the caller: every gate is then 1. ``None`` takes the model's weights and the query's own gates.
    weights: Weights | None = None
    #: ``time.monotonic()`` at which scoring must stop; what is not scored by then keeps its place behind the rest.
    deadline: float | None = None
    #: Pieces of a long text that the model reads; the best counts.
    passages: int = 1


class Ranker(Protocol):
    """Turns windows into orders; many at once, so that msearch costs one batched scoring call."""

    @property
    def model(self) -> str:
        """Name of the model, as it stands in the status block."""
        ...

    def rank(self, requests: Sequence[RankRequest]) -> list[Ranking]:
        """One ranking per request, in their order.

        :raises RerankError: the model cannot be used; the client then falls back to the engine's order.
        """
        ...


@runtime_checkable
class RefusingRanker(Protocol):
    """A ranker that can say before anything is fetched that it would not rank."""

    def refusal(self, query: str) -> str:
        """Why a query is not to be ranked, in one line; empty when it is."""
        ...
