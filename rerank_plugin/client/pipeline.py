"""What a client keeps between searches: settings, the ranker, the vector index, remembered metas and orders."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from rerank_plugin.client.dense import Dense, DenseRanker, FolderDense
from rerank_plugin.client.meta import MetaCache
from rerank_plugin.client.rewrite import Key
from rerank_plugin.client.ttl_cache import TtlCache
from rerank_plugin.config import Rerank
from rerank_plugin.domain.candidate import Ranking
from rerank_plugin.errors import RerankError
from rerank_plugin.ranking.types import Ranker, RankRequest, RefusingRanker

#: How long an order is kept for later pages.
ORDER_TTL_SECONDS = 300.0
#: Documents in all orders kept: 256 windows of 100. Each takes about 1 kB.
DOCUMENTS_IN_ORDERS = 25_600


@dataclass(frozen=True, slots=True)
class Order:
    """The order of one query, kept so that its later pages need no scoring and cannot differ."""

    #: Of the query, so that no other query can claim the order.
    digest: str
    #: The documents in first-stage order, those added by vectors at the end; ``retrieval_rank`` 1 is the first.
    keys: tuple[Key, ...]
    #: How many of them the vector index added.
    added: int
    #: Its candidates have no texts.
    ranking: Ranking


def _load(settings: Rerank) -> Ranker:
    from rerank_plugin.ranking.load import load_ranker

    return load_ranker(settings)


def _wall_clock() -> datetime:
    return datetime.now(UTC)


class Pipeline:
    """Builds the ranker and the vector index when they are first needed; threads may share it.

    :param ranker: used in place of the one that ``settings.model`` names.
    :param dense: used in place of the folder ``settings.vectors``.
    :param clock: seconds, monotonic: deadlines, times in the status, lifetimes.
    :param wall: the time of a search, for freshness.
    """

    def __init__(
        self,
        settings: Rerank,
        *,
        ranker: Ranker | None = None,
        dense: Dense | None = None,
        load: Callable[[Rerank], Ranker] = _load,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], datetime] = _wall_clock,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.wall = wall
        self.metas = MetaCache(clock)
        self.orders: TtlCache[Order] = TtlCache(
            DOCUMENTS_IN_ORDERS, ORDER_TTL_SECONDS, clock, cost=lambda order: len(order.keys) + 1
        )
        self._load = load
        self._ranker = ranker
        self._lock = threading.Lock()
        self._dense = dense
        if dense is None and settings.vectors is not None:
            self._dense = FolderDense(settings.vectors, lambda: cast(DenseRanker, self.ranker()))

    def ranker(self) -> Ranker:
        """The ranker, opened once.

        :raises RerankError: the model folder cannot be used.
        """
        with self._lock:
            if self._ranker is None:
                self._ranker = self._load(self.settings.with_environment())
            return self._ranker

    def model(self) -> str:
        """The model's name."""
        return self.ranker().model

    def refusal(self, query: str) -> str:
        """Why a query is not to be ranked, in one line; empty when it is."""
        ranker = self.ranker()
        return ranker.refusal(query) if isinstance(ranker, RefusingRanker) else ""

    def rank(self, requests: Sequence[RankRequest]) -> list[Ranking]:
        """One ranking per request, in their order.

        :raises RerankError: the model failed, or did not answer every request.
        """
        rankings = self.ranker().rank(requests)
        if len(rankings) != len(requests):
            raise RerankError(f"the ranker answered {len(rankings)} of {len(requests)} requests")
        return rankings

    @property
    def dense(self) -> Dense | None:
        """The vector index, where one is configured."""
        return self._dense
