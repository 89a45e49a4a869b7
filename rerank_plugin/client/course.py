"""The course of one search, from plan to response, as steps: nothing here talks to an engine or a model itself."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from opensearchpy.exceptions import TransportError

from rerank_plugin.client.candidates import Reader
from rerank_plugin.client.engine_vectors import engine_similarity
from rerank_plugin.client.meta import Metas, read_metas
from rerank_plugin.client.order import Order
from rerank_plugin.client.paging import (
    Placed,
    clock_hour,
    order_id_of,
    page_slices,
    place,
    query_digest,
    tail_score,
    window_score,
)
from rerank_plugin.client.pipeline import Pipeline
from rerank_plugin.client.plan import Plan, Search
from rerank_plugin.client.render import Status, tail_hit, window_hit, with_hits
from rerank_plugin.client.rewrite import (
    Key,
    allowed_body,
    documents_body,
    hits_only_params,
    is_costly,
    key_of,
    tail_body,
    window_body,
)
from rerank_plugin.client.similarity import Similarity, near_among, similarity, waived_clauses
from rerank_plugin.client.source import narrow_source, wider_source
from rerank_plugin.client.steps import Fetch, Local, Rank, ReadMapping
from rerank_plugin.domain.candidate import Ranking
from rerank_plugin.errors import RefusedError
from rerank_plugin.ranking.types import RankRequest

#: Documents among which the vector index searches where a filter lets through no more.
MOST_ALLOWED = 5_000

Hit = Mapping[str, Any]
Response = dict[str, Any]
Steps = Generator[ReadMapping | Fetch | Local | Rank, Any, Any]


@dataclass(frozen=True, slots=True)
class _Reordered:
    """The window in first-stage order, vectors' additions at its end, and the order it is to be shown in."""

    hits: tuple[Hit, ...]
    order: Order


class Course:
    """Runs one plan; ``status`` is filled in on the way."""

    def __init__(self, search: Search, plan: Plan, pipeline: Pipeline, status: Status, started: float) -> None:
        self._search = search
        self._plan = plan
        self._pipeline = pipeline
        self._status = status
        self._started = started
        self._now = clock_hour(plan, pipeline.wall())
        self._digest = query_digest(plan)
        #: Equal for all pages of a query, so that an engine with replicas answers them from the same copy.
        self._preference = {"preference": f"rerank-{self._digest}"}
        self._metas = Metas()
        self._several = False

    def run(self) -> Steps:
        """The response, without its status block.

        :raises RefusedError: the model cannot read this; the caller's own search must be sent instead.
        :raises RerankError: a part of ours failed; the same.
        :raises TransportError: so did the engine.
        """
        plan, status = self._plan, self._status
        self._metas = yield from read_metas(plan.index, self._pipeline.metas)
        look = partial(self._pipeline.look, plan.text, self._deadline())
        status.model, refusal = yield Local(look, brief=self._pipeline.ready)
        if refusal:
            raise RefusedError(refusal)
        status.order_id = order_id_of(plan, model=str(status.model), now=self._now)
        extend = plan.settings.dense == "extend"
        reach = plan.window + (plan.settings.dense_size if extend else 0)
        if plan.from_ >= reach and not extend:
            return (yield from self._beyond())
        source = wider_source(plan.source, self._reader().needed())
        size = max(plan.window, plan.end) if plan.from_ < reach else plan.window
        response = yield from self._fetch(window_body(plan, size=size, source=source), plan.params)
        hits: list[Hit] = list(response["hits"]["hits"])
        yield from self._look_at_indices(hits)
        window = hits[: plan.window]
        reordered = yield from self._kept(window, source)
        if reordered is None:
            reordered = yield from self._ranked(window, source)
        status.ranked(reordered.order)
        if plan.from_ < reach:
            page = yield from self._page(reordered, hits[plan.window :])
        else:
            page = yield from self._tail_page(reordered)
        best = place(reordered.order, slice(1))
        return with_hits(response, page, window_score(best[0].final_score) if best else response["hits"]["max_score"])

    def _reader(self) -> Reader:
        plan = self._plan
        return Reader(settings=plan.settings, metas=self._metas.metas, searched=plan.fields, now=self._now)

    def _deadline(self) -> float | None:
        """When our share of the call ends, on the pipeline's clock."""
        milliseconds = self._plan.settings.deadline_ms
        return None if milliseconds is None else self._started + milliseconds / 1000.0

    def _fetch(self, body: Mapping[str, Any], params: Mapping[str, Any]) -> Steps:
        began = self._pipeline.clock()
        response = yield Fetch({**self._preference, **params}, body)
        self._status.fetched += 1
        self._status.retrieve_ms += 1000.0 * (self._pipeline.clock() - began)
        return response

    def _documents(self, keys: Sequence[Key], *, optional: bool, cheap_source: Any = None) -> Steps:
        """Hits by key: the caller's search among the given documents."""
        if not keys:
            return {}
        waived = waived_clauses(self._plan, self._metas) if optional else ()
        several = self._several or len({index for index, _ in keys}) > 1
        body = documents_body(self._plan, keys, several=several, optional=waived, cheap_source=cheap_source)
        response = yield from self._fetch(body, hits_only_params(self._plan.params))
        return {key_of(hit): hit for hit in response["hits"]["hits"]}

    def _look_at_indices(self, hits: Sequence[Hit]) -> Steps:
        seen = frozenset(str(hit.get("_index", "")) for hit in hits)
        self._metas = yield from read_metas(self._plan.index, self._pipeline.metas, seen=seen)
        self._several = len(self._metas.indices) > 1
        self._status.meta = self._metas.note

    def _beyond(self) -> Steps:
        """A page behind the window: the engine's own, its scores brought below the window's."""
        plan = self._plan
        kept = self._pipeline.orders.get(plan.order_id or str(self._status.order_id))
        if kept is not None:
            self._status.weights = kept.said.weights.as_dict()
        elif plan.settings.weights is not None:
            self._status.weights = plan.settings.weights.as_dict()
        self._status.reason = "the page lies behind the window"
        response = yield from self._fetch(plan.own_body, self._search.params)
        hits = response["hits"]["hits"]
        page = [tail_hit(hit, rank) for rank, hit in enumerate(hits, start=plan.from_ + 1)]
        return with_hits(response, page, tail_score(response["hits"].get("max_score")))

    def _kept(self, window: Sequence[Hit], source: Any) -> Steps:
        """The order of an earlier page of this query, where it is still kept and still fits; else None."""
        plan, status = self._plan, self._status
        wanted = plan.order_id or str(status.order_id)
        kept = self._pipeline.orders.get(wanted)
        if kept is None or kept.digest != self._digest:
            if plan.order_id and plan.order_id != status.order_id:
                status.reason = f"the order {plan.order_id[:40]} is no longer kept; this page belongs to another"
            return None
        if plan.from_ == 0 and kept.scored < len(kept):
            return None  # a first page may try again what the deadline cut short
        by_key = {key_of(hit): hit for hit in window}
        added = kept.keys[len(kept.keys) - kept.added :]
        by_key.update((yield from self._documents(added, optional=True, cheap_source=source)))
        if by_key.keys() != set(kept.keys):
            if plan.from_ > 0:
                status.reason = "documents changed since an earlier page of this order; this page belongs to a new one"
            return None
        status.order_id = wanted
        if kept.added:
            status.dense = f"{kept.added} documents added"
        return _Reordered(tuple(by_key[key] for key in kept.keys), kept)

    def _ranked(self, window: Sequence[Hit], source: Any) -> Steps:
        """A fresh order of the window and of what vectors add to it."""
        plan, status, clock = self._plan, self._status, self._pipeline.clock
        keys = [key_of(hit) for hit in window]
        began = clock()
        similar = yield from self._similar(keys)
        status.features_ms += 1000.0 * (clock() - began)
        found = yield from self._documents(list(similar.near), optional=True, cheap_source=source)
        if similar.index and 2 * len(found) < len(similar.near):
            similar = yield from self._similar_among_the_allowed(similar, keys)
            found = yield from self._documents(list(similar.near), optional=True, cheap_source=source)
        added = [key for key in similar.near if key in found]
        status.dense = similar.note or (f"{len(added)} documents added" if plan.settings.dense == "extend" else "")
        hits = (*window, *(found[key] for key in added))
        began = clock()
        cosines = [*similar.cosines, *(similar.near[key] for key in added)]
        candidates = self._reader().candidates(hits, cosines)
        status.features_ms += 1000.0 * (clock() - began)
        request = RankRequest(
            query=plan.text,
            candidates=candidates,
            weights=plan.settings.weights,
            passages=plan.settings.passages,
            deadline=self._deadline(),
        )
        ranking: Ranking = yield Rank(request)
        if ranking.refusal:
            raise RefusedError(ranking.refusal)
        status.model_ms = ranking.model_ms
        order = Order.of(self._digest, (*keys, *added), len(added), ranking)
        if len(set(order.keys)) == len(order.keys):
            self._pipeline.orders.put(str(status.order_id), order)
        return _Reordered(hits, order)

    def _similar(self, keys: Sequence[Key]) -> Generator[Any, Any, Similarity]:
        """What vectors say, the engine's own or a folder's."""
        plan, pipeline = self._plan, self._pipeline
        if plan.settings.vector_field and plan.settings.dense != "off":
            return (yield from engine_similarity(plan, pipeline.encode, self._metas, keys, self._fetch_hits))
        return (yield from similarity(plan, pipeline.dense(plan.settings), self._metas, keys))

    def _similar_among_the_allowed(self, similar: Similarity, keys: Sequence[Key]) -> Generator[Any, Any, Similarity]:
        """Most of what is near may not be shown: where few documents may be, the nearest of those are looked for."""
        plan, dense = self._plan, self._pipeline.dense(self._plan.settings)
        body = allowed_body(plan, waived_clauses(plan, self._metas), size=MOST_ALLOWED)
        try:
            response = yield from self._fetch_hits(body)
        except TransportError as error:
            if not isinstance(error.status_code, int):
                raise
            return similar  # the index hands out fewer hits at a time
        allowed = [key_of(hit) for hit in response["hits"]["hits"]]
        if dense is None or len(allowed) == MOST_ALLOWED:
            return similar
        return (yield from near_among(plan, dense, similar, allowed, keys))

    def _fetch_hits(self, body: Mapping[str, Any]) -> Steps:
        return (yield from self._fetch(body, hits_only_params(self._plan.params)))

    def _page(self, reordered: _Reordered, rest: Sequence[Hit]) -> Steps:
        """The page's hits, cut from the reordered window and from the engine's order behind it."""
        plan, order = self._plan, reordered.order
        in_window, in_tail = page_slices(plan.from_, plan.size, len(reordered.hits))
        shown = place(order, in_window)
        added = order.keys[len(order.keys) - order.added :]
        ranked_rest = [(rank, hit) for rank, hit in enumerate(rest, plan.window + 1) if key_of(hit) not in added]
        tail = ranked_rest[in_tail]
        whole: dict[Key, Hit] = {}
        if is_costly(plan):
            keys = [order.keys[each.retrieval_rank - 1] for each in shown] + [key_of(hit) for _, hit in tail]
            whole.update((yield from self._documents([each for each in keys if each not in added], optional=False)))
            whole.update((yield from self._documents([each for each in keys if each in added], optional=True)))

        def final(hit: Hit) -> Hit:
            return whole.get(key_of(hit)) or narrow_source(hit, plan.source)

        return [
            *(window_hit(final(_hit_of(reordered, each)), each) for each in shown),
            *(tail_hit({**final(hit), "_score": hit.get("_score")}, rank) for rank, hit in tail),
        ]

    def _tail_page(self, reordered: _Reordered) -> Steps:
        """A page far behind a window that vectors extended: the engine's order less what they added."""
        plan, order = self._plan, reordered.order
        _, in_tail = page_slices(plan.from_, plan.size, len(reordered.hits))
        added = order.keys[len(order.keys) - order.added :]
        from_ = plan.window + in_tail.start
        body = tail_body(plan, added, from_=from_, several=self._several)
        response = yield from self._fetch(body, hits_only_params(plan.params))
        return [tail_hit(hit, None if added else rank) for rank, hit in enumerate(response["hits"]["hits"], from_ + 1)]


def _hit_of(reordered: _Reordered, placed: Placed) -> Hit:
    return reordered.hits[placed.retrieval_rank - 1]
