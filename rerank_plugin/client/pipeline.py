"""What a client keeps between searches: settings, the ranker, the vector index, remembered metas and orders."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar, cast

from rerank_plugin.client.dense import Dense, DenseRanker, FolderDense
from rerank_plugin.client.forking import after_fork
from rerank_plugin.client.guard import Guard, Guarded
from rerank_plugin.client.meta import MetaCache
from rerank_plugin.client.order import Order
from rerank_plugin.client.paging import is_whole
from rerank_plugin.client.ttl_cache import TtlCache
from rerank_plugin.config import Rerank
from rerank_plugin.domain.candidate import Ranking
from rerank_plugin.errors import RerankError
from rerank_plugin.ranking.types import Ranker, RankRequest, RefusingRanker

#: How long an order is kept for later pages.
ORDER_TTL_SECONDS = 300.0
#: Documents in all orders kept: 256 windows of 100. Each takes about 1 kB.
DOCUMENTS_IN_ORDERS = 25_600
#: What a model gets beyond a deadline before it is left to itself: it looks at the clock between waves only.
GRACE_SECONDS = 0.25
#: What a model gets where the caller set no deadline.
PATIENCE_SECONDS = 60.0


Result = TypeVar("Result")


def _load(settings: Rerank) -> Ranker:
    from rerank_plugin.ranking.load import open_ranker

    return open_ranker(settings)


def _wall_clock() -> datetime:
    return datetime.now(UTC)


def _fulfil(future: Future[Result], work: Callable[[], Result]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:
        future.set_exception(error)


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
            DOCUMENTS_IN_ORDERS, ORDER_TTL_SECONDS, clock, cost=lambda order: len(order) + 1
        )
        self.guard = Guard(settings.max_concurrent, clock)
        self._load = load
        self._given = ranker
        self._renew()
        after_fork(self._renew)
        self._dense = dense
        folders = {each.vectors for each in (settings, *settings.indices.values()) if each.vectors is not None}
        self._folders = {folder: FolderDense(folder, lambda: cast(DenseRanker, self.ranker())) for folder in folders}

    def _renew(self) -> None:
        """A forked worker opens a model of its own: sessions and their threads do not survive a fork."""
        self._lock = threading.Lock()
        self._ranker: Ranker | None = self._given
        #: Whether the model is open: a look at it then takes less than a tenth of a millisecond.
        self.ready = False

    def ranker(self) -> Ranker:
        """The ranker, opened once; a process and its forks have one each.

        :raises RerankError: the model folder cannot be used.
        """
        with self._lock:
            if self._ranker is None:
                try:
                    self._ranker = self._load(self.settings.with_environment())
                except Exception:
                    self.guard.failed()
                    raise
            return self._ranker

    def look(self, query: str, deadline: float | None) -> tuple[str, str]:
        """The model's name, and why the query is not to be ranked, in one line: empty when it is.

        The first look opens the model, which takes longer than many a deadline: it then goes on alone.

        :raises OverloadedError: a window would not be ranked now, so that none need be fetched.
        :raises RerankError: the model cannot be used, or is not open in time.
        """
        self.guard.check()
        if self.ready or deadline is None:
            return self._look(query)
        looking: Future[tuple[str, str]] = Future()
        threading.Thread(target=_fulfil, args=(looking, partial(self._look, query)), daemon=True).start()
        try:
            return looking.result(max(deadline - self.clock(), 0.0) + GRACE_SECONDS)
        except TimeoutError as error:
            if looking.done():
                return looking.result()
            raise RerankError("the model is still being opened; the next searches will have it") from error

    def _look(self, query: str) -> tuple[str, str]:
        ranker = self.ranker()
        refusal = ranker.refusal(query) if isinstance(ranker, RefusingRanker) else ""
        self.ready = True
        return ranker.model, refusal

    def rank(self, requests: Sequence[RankRequest]) -> Guarded[list[Ranking]]:
        """One ranking per request, in their order, on its way in a thread.

        Its errors come with its result: the model failed, lost candidates or gave scores that are no numbers.

        :raises OverloadedError: the model has all the work it may have, or failed too often of late.
        """
        ends = [request.deadline for request in requests if request.deadline is not None]
        bounded = bool(ends) and len(ends) == len(requests)
        seconds = max(max(ends) - self.clock(), 0.0) + GRACE_SECONDS if bounded else PATIENCE_SECONDS
        return self.guard.start(partial(self._ranked, requests), seconds)

    def _ranked(self, requests: Sequence[RankRequest]) -> list[Ranking]:
        rankings = self.ranker().rank(requests)
        if len(rankings) != len(requests):
            raise RerankError(f"the ranker answered {len(rankings)} of {len(requests)} requests")
        for request, ranking in zip(requests, rankings, strict=True):
            if not ranking.refusal and not is_whole(ranking, request.candidates):
                raise RerankError("the ranker lost documents, repeated some or gave scores that are no numbers")
        return rankings

    def encode(self, query: str) -> list[float]:
        """The query's vector, for the engine's own k-NN field.

        :raises RerankError: the model makes no vectors, or cannot be used.
        """
        ranker = self.ranker()
        if not hasattr(ranker, "encode_query"):
            raise RerankError(f"{ranker.model} makes no vectors")
        return [float(each) for each in cast(DenseRanker, ranker).encode_query(query)]

    def dense(self, settings: Rerank) -> Dense | None:
        """The vector index of a search's settings, where one is configured."""
        return self._folders.get(settings.vectors) if self._dense is None and settings.vectors else self._dense
