"""A model that fails, hangs or has too much to do: searches go on, and the status says what happened (DESIGN 6.1)."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from fakes_library import GRAPH, Ticking, books, ids, pipeline, reranking
from fakes_search import BrokenRanker, FakeRanker
from rerank_plugin.client.guard import FAILURES, OPEN_SECONDS, Guard, OverloadedError
from rerank_plugin.client.opensearch import wrap
from rerank_plugin.client.pipeline import Pipeline
from rerank_plugin.config import Rerank
from rerank_plugin.domain.candidate import Ranking
from rerank_plugin.errors import ModelFolderError, RerankError
from rerank_plugin.ranking.types import RankRequest

BODY = {"query": GRAPH, "size": 4}


class Gate(FakeRanker):
    """A ranker that works only while its gate is open; ``entered`` counts those inside."""

    def __init__(self) -> None:
        super().__init__()
        self.open = threading.Event()
        self.entered = threading.Semaphore(0)

    def rank(self, requests: Sequence[RankRequest]) -> list[Ranking]:
        self.entered.release()
        assert self.open.wait(30)
        return super().rank(requests)


def failing(guard: Guard) -> None:
    def work() -> None:
        raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        guard.start(work, 5).result()


def test_five_failures_open_the_circuit_and_one_success_closes_it() -> None:
    clock = Ticking()
    guard = Guard(3, clock)
    for _ in range(FAILURES - 1):
        failing(guard)
    assert guard.start(lambda: 1, 5).result() == 1  # not in a row
    for _ in range(FAILURES):
        guard.check()
        failing(guard)
    with pytest.raises(OverloadedError, match=r"failed 5 times in a row and is left in peace for 10\.0 s"):
        guard.check()
    with pytest.raises(OverloadedError):
        guard.start(lambda: 1, 5)
    clock.now += OPEN_SECONDS
    failing(guard)  # the one that tries
    with pytest.raises(OverloadedError, match="failed 6 times"):
        guard.check()
    clock.now += OPEN_SECONDS
    assert guard.start(lambda: 2, 5).result() == 2
    guard.check()


def test_one_alone_tries_a_model_that_failed() -> None:
    clock = Ticking()
    guard, gate = Guard(3, clock), threading.Event()
    for _ in range(FAILURES):
        failing(guard)
    clock.now += OPEN_SECONDS
    probe = guard.start(gate.wait, 30)
    with pytest.raises(OverloadedError, match="while one search tries it"):
        guard.start(lambda: 1, 5)
    gate.set()
    assert probe.result()
    assert guard.start(lambda: 1, 5).result() == 1


def test_the_limit_counts_what_runs_also_what_was_given_up() -> None:
    guard, gate = Guard(2, Ticking()), threading.Event()
    hung = guard.start(gate.wait, 0.01)
    with pytest.raises(RerankError, match="did not answer within 10 ms and was left to itself"):
        hung.result()
    other = guard.start(gate.wait, 30)
    with pytest.raises(OverloadedError, match="2 windows are at the model, at most 2 may be"):
        guard.start(lambda: 1, 5)
    gate.set()
    assert other.result()
    hung.future.result(30)
    assert guard.start(lambda: 1, 5).result() == 1


def test_a_timeout_of_the_works_own_is_its_error() -> None:
    def work() -> None:
        raise TimeoutError("remote")

    with pytest.raises(TimeoutError, match="remote"):
        Guard(1, Ticking()).start(work, 5).result()
    with pytest.raises(TimeoutError, match="remote"):
        asyncio.run(Guard(1, Ticking()).start(work, 5).awaited())


def test_a_hanging_model_costs_its_deadline_and_the_search_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rerank_plugin.client.pipeline.GRACE_SECONDS", 0.02)
    ranker = Gate()
    client = reranking(books(), ranker, deadline_ms=1, clock=None)
    response = client.search(index="books", body=BODY)
    assert (response["rerank"]["status"], ids(response)) == ("fallback", ["b1", "b2", "b4", "b5"])
    assert "did not answer within" in response["rerank"]["reason"]
    ranker.open.set()


def test_a_model_folder_that_vanished_is_looked_for_five_times_and_then_left_in_peace() -> None:
    tried: list[Rerank] = []
    clock = Ticking()

    def load(settings: Rerank) -> Any:
        tried.append(settings)
        if len(tried) <= FAILURES:
            raise ModelFolderError("no model there; name another folder")
        return FakeRanker()

    engine = books()
    client = wrap(engine.client(), pipeline=Pipeline(Rerank(), load=load, clock=clock))
    said = [client.search(index="books", body=BODY)["rerank"]["reason"] for _ in range(8)]
    assert said[:5] == ["no model there; name another folder"] * 5
    assert all("left in peace" in each for each in said[5:])
    assert len(tried) == FAILURES
    assert [each["size"] for each in engine.searches] == [4] * 8  # no window was fetched in vain
    clock.now += OPEN_SECONDS
    assert client.search(index="books", body=BODY)["rerank"]["status"] == "applied"


def test_a_model_that_opens_slowly_goes_on_opening_after_the_deadline() -> None:
    asked, opened = threading.Event(), threading.Event()

    def load(settings: Rerank) -> Any:
        asked.set()
        assert opened.wait(30)
        return FakeRanker()

    engine = books()
    kept = Pipeline(Rerank(deadline_ms=1), load=load, clock=Ticking())
    client = wrap(engine.client(), pipeline=kept)
    said = client.search(index="books", body=BODY)["rerank"]
    assert (said["status"], said["reason"]) == (
        "fallback",
        "the model is still being opened; the next searches will have it",
    )
    assert asked.is_set()
    assert [each["size"] for each in engine.searches] == [4]  # no window was fetched in vain
    opened.set()
    kept.ranker()
    assert client.search(index="books", body=BODY)["rerank"]["status"] == "applied"


def test_bad_rankings_open_the_circuit_too() -> None:
    ranker = BrokenRanker(change=lambda ranking: replace(ranking, ranked=ranking.ranked[1:]))
    client = reranking(books(), ranker)
    said = [client.search(index="books", body=BODY)["rerank"]["reason"] for _ in range(6)]
    assert ["lost documents" in each for each in said] == [True] * 5 + [False]
    assert "left in peace" in said[5]


def test_64_at_once_are_all_answered_and_those_over_the_limit_keep_the_engines_order() -> None:
    ranker = Gate()
    client = reranking(books(), ranker, max_concurrent=32)
    with ThreadPoolExecutor(64) as pool:
        first = [pool.submit(client.search, index="books", body=BODY) for _ in range(32)]
        for _ in range(32):
            assert ranker.entered.acquire(timeout=30)
        rest = [pool.submit(client.search, index="books", body=BODY) for _ in range(32)]
        refused = [each.result(30) for each in rest]
        ranker.open.set()
        reranked = [each.result(30) for each in first]
    assert {each["rerank"]["status"] for each in reranked} == {"applied"}
    assert {each["rerank"]["status"] for each in refused} == {"fallback"}
    assert {each["rerank"]["reason"] for each in refused} == {
        "overload: 32 windows are at the model, at most 32 may be"
    }
    assert {tuple(ids(each)) for each in refused} == {("b1", "b2", "b4", "b5")}
    assert client.search(index="books", body=BODY)["rerank"]["status"] == "applied"


def test_64_at_once_on_one_loop() -> None:
    async def searched() -> list[Any]:
        ranker = Gate()
        client = wrap(books().async_client(), pipeline=pipeline(ranker, max_concurrent=32))
        searches = [asyncio.ensure_future(client.search(index="books", body=BODY)) for _ in range(64)]
        done, waiting = await asyncio.wait(searches, timeout=30, return_when=asyncio.FIRST_COMPLETED)
        while len(done) < 32:
            done, waiting = await asyncio.wait(searches, timeout=0.01)
        ranker.open.set()
        await asyncio.wait(waiting)
        return [each.result()["rerank"]["status"] for each in searches]

    said = asyncio.run(searched())
    assert (said.count("applied"), said.count("fallback")) == (32, 32)


FORKING = """
import os, sys, threading
sys.path[:0] = {paths!r}
from fakes_library import GRAPH, books
from rerank_plugin.client.opensearch import wrap
client = wrap(books().client(), {{"window": 10}})
assert client.search(index="books", body={{"query": GRAPH}})["rerank"]["status"] == "applied"
pipeline = client.transport.pipeline
parents = pipeline.ranker()
for lock in (pipeline._lock, pipeline.guard._lock, pipeline.orders._lock, pipeline.metas._found._lock):
    lock.acquire()  # as a thread of the parent may have done at the moment of the fork
child = os.fork()
if child == 0:
    answer = client.search(index="books", body={{"query": GRAPH}})
    fresh = pipeline.ranker() is not parents
    os._exit(0 if answer["rerank"]["status"] == "applied" and fresh else 3)
assert os.waitpid(child, 0)[1] == 0
assert pipeline._ranker is parents
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_worker_opens_a_model_of_its_own_whatever_was_locked() -> None:
    program = FORKING.format(paths=[path for path in sys.path if path])
    told = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    assert told.returncode == 0, told.stderr
