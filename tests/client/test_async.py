"""The drop-in client for asyncio: the same answers as the sync one, and a loop that goes on while the model works."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

import opensearchpy
import pytest
from opensearchpy._async.helpers.search import AsyncSearch
from opensearchpy.exceptions import NotFoundError, RequestError

from fakes_library import GRAPH, books, ids, pipeline, reranking
from fakes_search import BrokenRanker, FakeAsyncConnection, FakeRanker, SearchEngine
from rerank_plugin import AsyncOpenSearch, wrap
from rerank_plugin.domain.candidate import Ranking
from rerank_plugin.errors import ConfigError
from rerank_plugin.ranking.types import RankRequest


def dropped_in(engine: SearchEngine, ranker: FakeRanker | None = None, **settings: Any) -> AsyncOpenSearch:
    client = AsyncOpenSearch(
        [{"host": "fake", "engine": engine}], connection_class=FakeAsyncConnection, max_retries=0, rerank=settings
    )
    client.transport.pipeline._ranker = ranker or FakeRanker()
    return client


def test_it_answers_as_the_sync_client_does() -> None:
    async def searched() -> tuple[Any, Any]:
        async with dropped_in(books(), window=10, now="2026-01-01T12:00:00Z") as client:
            one = await client.search(index="books", body={"query": GRAPH, "size": 12, "aggs": {"n": {}}})
            lines = [{}, {"query": GRAPH, "size": 3}, {}, {"query": {"match": {"text": "absent"}}}]
            return one, await client.msearch(index="books", body=lines)

    one, several = asyncio.run(searched())
    alone = reranking(books(), window=10, now="2026-01-01T12:00:00Z")
    expected = alone.search(index="books", body={"query": GRAPH, "size": 12, "aggs": {"n": {}}})
    for each in (one, expected):
        each["rerank"].pop("took_ms")
    assert one == expected
    assert [each["rerank"]["status"] for each in several["responses"]] == ["applied", "applied"]
    assert ids(several["responses"][0]) == ids(expected)[:3]


def test_wrap_keeps_the_class_and_the_namespaces_belong_to_the_new_client() -> None:
    class Own(opensearchpy.AsyncOpenSearch):
        pass

    async def searched() -> None:
        plain = Own([{"host": "fake", "engine": books()}], connection_class=FakeAsyncConnection)
        wrapped = wrap(plain, pipeline=pipeline(window=10))
        assert type(wrapped) is Own
        assert "rerank" not in await plain.search(index="books", body={"query": GRAPH})
        assert (await wrapped.search(index="books", body={"query": GRAPH}))["rerank"]["status"] == "applied"
        assert (await wrapped.http.post("/books/_search", body={"query": GRAPH}))["rerank"]["status"] == "applied"
        assert wrapped.indices.client is wrapped
        assert plain.indices.client is plain
        found = await AsyncSearch(using=wrapped, index="books").query("match", text="graph")[:2].execute()
        assert [hit.meta.id for hit in found] == ["b14", "b13"]
        await wrapped.close()

    asyncio.run(searched())


class Waiting(FakeRanker):
    """Works until the test lets it go, and notes in which thread."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()
        self.thread = 0

    def rank(self, requests: Sequence[RankRequest]) -> list[Ranking]:
        self.thread = threading.get_ident()
        assert self.let_go.wait(30)
        return super().rank(requests)


def test_the_loop_goes_on_while_the_model_works() -> None:
    async def searched() -> None:
        ranker = Waiting()
        client = dropped_in(books(), ranker)
        search = asyncio.ensure_future(client.search(index="books", body={"query": GRAPH}))
        other = await client.search(index="books", body={"query": {"match_all": {}}})
        assert other["rerank"]["status"] == "skipped"  # answered while the first one's model is at work
        assert not search.done()
        ranker.let_go.set()
        assert (await search)["rerank"]["status"] == "applied"
        assert ranker.thread != threading.get_ident()

    asyncio.run(searched())


class Asked(FakeRanker):
    """Notes in which threads it is asked whether it can read a query."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[int] = []

    def refusal(self, query: str) -> str:
        self.threads.append(threading.get_ident())
        return ""


def test_a_model_is_opened_in_a_thread_and_an_open_one_is_asked_on_the_loop() -> None:
    async def searched() -> None:
        ranker = Asked()
        client = dropped_in(books(), ranker)
        for word in ("graph", "book"):
            found = await client.search(index="books", body={"query": {"match": {"text": word}}})
            assert found["rerank"]["status"] == "applied"
        first, second = ranker.threads
        assert first != threading.get_ident()
        assert second == threading.get_ident()

    asyncio.run(searched())


def test_a_cancelled_search_is_cancelled_and_sends_nothing_more() -> None:
    async def searched() -> None:
        engine, ranker = books(), Waiting()
        client = dropped_in(engine, ranker)
        search = asyncio.ensure_future(client.search(index="books", body={"query": GRAPH}))
        while not ranker.thread:
            await asyncio.sleep(0.001)
        sent = len(engine.requests)
        search.cancel()
        with pytest.raises(asyncio.CancelledError):
            await search
        ranker.let_go.set()
        assert len(engine.requests) == sent

    asyncio.run(searched())


def test_it_fails_open_and_the_engines_errors_are_the_callers() -> None:
    async def searched() -> None:
        client = dropped_in(books(), BrokenRanker(ValueError("secret")))
        response = await client.search(index="books", body={"query": GRAPH, "size": 3})
        assert (response["rerank"]["status"], ids(response)) == ("fallback", ["b1", "b2", "b4"])
        with pytest.raises(RequestError, match=r"unknown key rerank\.windo"):
            await client.search(index="books", body={"query": GRAPH, "rerank": {"windo": 0}})
        engine = books()
        engine.refuse = lambda path, body: (404, "index_not_found_exception") if path.endswith("_search") else None
        with pytest.raises(NotFoundError):
            await dropped_in(engine).search(index="absent", body={"query": GRAPH})

    asyncio.run(searched())


def test_what_cannot_be_had_is_told_in_one_line() -> None:
    with pytest.raises(ConfigError, match="embedded engine has no async client"):
        AsyncOpenSearch("embedded:somewhere")
    with pytest.raises(ConfigError, match="window must be a whole number"):
        AsyncOpenSearch("localhost", rerank={"window": 0})
    with pytest.raises(ConfigError, match="wrap takes an OpenSearch or AsyncOpenSearch"):
        wrap("localhost")
    program = "import sys; sys.modules['aiohttp'] = None; import rerank_plugin; rerank_plugin.AsyncOpenSearch"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "AsyncOpenSearch needs aiohttp: pip install 'rerank-plugin[async]'" in told.stderr.splitlines()[-1]
