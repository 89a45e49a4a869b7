"""Reranking never makes a search fail, and never hides that it did not happen (DESIGN 6.1)."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from opensearchpy.exceptions import (
    AuthenticationException,
    ConnectionError,
    ConnectionTimeout,
    NotFoundError,
    RequestError,
    TransportError,
)

from fakes_library import GRAPH, Ticking, books, pipeline, reranking
from fakes_search import BrokenRanker, FakeRanker
from rerank_plugin.client.meta import UNREACHED_SECONDS
from rerank_plugin.client.opensearch import wrap
from rerank_plugin.client.pipeline import Pipeline
from rerank_plugin.config import Rerank
from rerank_plugin.domain.candidate import Ranking
from rerank_plugin.errors import ModelFolderError, RerankError

BODY = {"query": GRAPH, "size": 4, "_source": ["title"], "aggs": {"n": {}}}


def lost(ranking: Ranking) -> Ranking:
    return replace(ranking, ranked=ranking.ranked[1:])


def repeated(ranking: Ranking) -> Ranking:
    return replace(ranking, ranked=(*ranking.ranked[1:], ranking.ranked[1]))


def not_a_number(ranking: Ranking) -> Ranking:
    return replace(ranking, ranked=(replace(ranking.ranked[0], final_score=math.nan), *ranking.ranked[1:]))


@pytest.mark.parametrize(
    ("ranker", "reason"),
    [
        (BrokenRanker(RerankError("the model\nis broken")), "the model is broken"),
        (BrokenRanker(ValueError("secret text")), "unforeseen ValueError; the log has more"),
        (BrokenRanker(MemoryError()), "unforeseen MemoryError; the log has more"),
        (BrokenRanker(), "the ranker answered 0 of 1 requests"),
        (BrokenRanker(change=lost), "the ranker lost documents"),
        (BrokenRanker(change=repeated), "the ranker lost documents"),
        (BrokenRanker(change=not_a_number), "the ranker lost documents"),
        (FakeRanker(lambda each: math.nan), "the ranker lost documents"),
    ],
    ids=["RerankError", "ValueError", "MemoryError", "too few", "lost", "repeated", "NaN", "z NaN"],
)
def test_a_failing_ranker_costs_the_order_only(
    ranker: FakeRanker, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    expected = books().client().search(index="books", body=BODY)
    engine = books()
    with caplog.at_level(logging.CRITICAL):
        response = reranking(engine, ranker).search(index="books", body=BODY)
    status = response.pop("rerank")
    assert response == expected
    assert engine.searches[-1] == BODY
    assert (status["status"], status["reranked"], status["order_id"]) == ("fallback", 0, None)
    assert reason in status["reason"]
    assert "\n" not in status["reason"]


def test_a_model_that_cannot_be_opened() -> None:
    def load(settings: Rerank) -> Any:
        raise ModelFolderError("no model there; name another folder")

    client = wrap(books().client(), pipeline=Pipeline(Rerank(), load=load))
    status = client.search(index="books", body=BODY)["rerank"]
    assert (status["status"], status["reason"]) == ("fallback", "no model there; name another folder")


@pytest.mark.parametrize("status_code", [400, 403, 429, 500])
def test_an_engine_that_refuses_our_search_gets_the_callers_own(status_code: int) -> None:
    engine = books()
    engine.refuse = lambda path, body: (status_code, "too_much") if body and body.get("size") == 100 else None
    response = reranking(engine).search(index="books", body={**BODY, "rerank": {"query_text": "graph"}})
    assert response["rerank"]["status"] == "fallback"
    assert response["rerank"]["reason"] == (
        f"the engine refused the rewritten search: {status_code} refused by the test: too_much"
    )
    assert engine.searches[-1] == BODY
    ignoring = reranking(engine).search(index="books", body=BODY, ignore=status_code)
    assert ignoring["rerank"]["reason"].startswith("the engine refused the rewritten search")
    assert [hit["_id"] for hit in response["hits"]["hits"]] == ["b1", "b2", "b4", "b5"]


def test_the_second_request_for_the_page_may_fail_too() -> None:
    engine = books()
    engine.refuse = lambda path, body: (400, "no_bool") if body and "bool" in body.get("query", {}) else None
    body = {**BODY, "highlight": {"fields": {"text": {}}}}
    response = reranking(engine).search(index="books", body=body)
    assert response["rerank"]["status"] == "fallback"
    assert all("highlight" in hit for hit in response["hits"]["hits"])


def test_the_callers_own_mistake_is_the_callers_own_error() -> None:
    engine = books()
    engine.refuse = lambda path, body: (404, "index_not_found_exception") if path.endswith("_search") else None
    with pytest.raises(NotFoundError):
        reranking(engine).search(index="books", body=BODY)
    engine.refuse = lambda path, body: (400, "parsing_exception")
    with pytest.raises(RequestError) as raised:
        reranking(engine).search(index="books", body=BODY)
    assert raised.value.error == "parsing_exception"
    ignored = reranking(engine).search(index="books", body=BODY, ignore=400)
    assert ignored["error"]["type"] == "parsing_exception"
    assert "rerank" not in ignored


def test_an_engine_that_cannot_be_reached_is_asked_once() -> None:
    engine = books()

    def down(path: str, body: Any) -> None:
        if path.endswith("_search"):
            raise ConnectionError("N/A", "refused", OSError("refused"))

    engine.refuse = down
    with pytest.raises(ConnectionError):
        reranking(engine).search(index="books", body=BODY)
    assert len(engine.searches) == 1


def test_a_mapping_that_does_not_come_in_time_is_asked_for_again_soon() -> None:
    engine, clock = books(), Ticking()

    def electing(path: str, body: Any) -> None:
        if path.endswith("_mapping") and clock.now < 1001.0:
            raise ConnectionTimeout("TIMEOUT", "timed out", OSError("timed out"))

    engine.refuse = electing
    client = wrap(engine.client(), pipeline=pipeline(clock=clock))
    first = client.search(index="books", body=BODY)["rerank"]
    assert (first["status"], first["meta"]) == ("applied", "not readable (TIMEOUT)")
    clock.now += UNREACHED_SECONDS - 1
    assert client.search(index="books", body={**BODY, "size": 3})["rerank"]["meta"] == "not readable (TIMEOUT)"
    clock.now += 1
    assert "meta" not in client.search(index="books", body={**BODY, "size": 2})["rerank"]


def test_a_second_request_of_ours_that_is_lost_on_the_way_costs_the_order_only() -> None:
    engine = books()

    def lost_on_the_way(path: str, body: Any) -> None:
        if body and "bool" in body.get("query", {}):
            raise ConnectionError("N/A", "reset", OSError("reset"))

    engine.refuse = lost_on_the_way
    response = reranking(engine).search(index="books", body={**BODY, "highlight": {"fields": {"text": {}}}})
    assert response["rerank"]["status"] == "fallback"
    assert engine.searches[-1]["size"] == 4


def test_who_is_not_known_knocks_no_third_time() -> None:
    engine = books()
    engine.refuse = lambda path, body: (401, "security_exception")
    with pytest.raises(AuthenticationException):
        reranking(engine).search(index="books", body=BODY)
    assert [path for _, path, _, _ in engine.requests] == ["/books/_mapping", "/books/_search"]


def test_an_answer_without_hits_is_not_ours_to_read() -> None:
    engine = books()
    client = reranking(engine)
    answers: list[Any] = [{"timed_out": True}, {"hits": {"hits": []}}]
    client.transport.inner.perform_request = lambda method, path, **rest: {} if "_mapping" in path else answers.pop(0)
    response = client.search(index="books", body=BODY)
    assert response["rerank"]["reason"] == "the engine's answer to the rewritten search has no hits"
    assert response["hits"] == {"hits": []}


def test_a_query_too_deep_for_us_is_still_the_engines() -> None:
    query: dict[str, Any] = GRAPH
    for _ in range(600):
        query = {"bool": {"must": [query]}}
    client = reranking(books())
    bodies: list[Any] = []

    def perform(method: str, path: str, *, body: Any, **rest: Any) -> Any:
        bodies.append(body)
        return {} if "_mapping" in path else {"hits": {"hits": []}}

    client.transport.inner.perform_request = perform
    response = client.search(index="books", body={"query": query})
    assert response["rerank"]["status"] == "fallback"
    assert bodies[-1]["query"] is query


def test_a_body_that_is_no_json_is_left_to_the_engine() -> None:
    client = reranking(books())
    sent: list[Any] = []
    client.transport.inner.perform_request = lambda method, path, *, body, **rest: sent.append(body) or {"hits": {}}
    response = client.transport.perform_request("POST", "/books/_search", body="{nonsense")
    assert sent == ["{nonsense"]
    assert response["rerank"]["reason"] == "the body is no JSON object"


def test_a_wrong_mode_in_the_environment_stops_no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    client = reranking(books())
    monkeypatch.setenv("RERANK_MODE", "loud")
    response = client.search(index="books", body=BODY)
    assert response["rerank"]["status"] == "skipped"
    assert response["rerank"]["reason"].startswith("RERANK_MODE must be one of on, off")


def test_deadline_counts_from_the_start_of_the_call() -> None:
    ranker = FakeRanker()
    kept = pipeline(ranker, deadline_ms=250.0)
    client = wrap(books().client(), pipeline=kept)
    client.search(index="books", body=BODY)
    assert ranker.calls[0][0].deadline == 1000.25


@pytest.mark.parametrize("mark", ["timeout", "headers"])
def test_timeouts_and_headers_reach_every_request(mark: str) -> None:
    seen: list[tuple[Any, Any]] = []
    client = reranking(books())
    inner = client.transport.inner
    perform: Callable[..., Any] = inner.perform_request

    def spying(method: str, path: str, *, timeout: Any, headers: Any, **rest: Any) -> Any:
        seen.append((timeout, headers))
        return perform(method, path, timeout=timeout, headers=headers, **rest)

    inner.perform_request = spying
    body = {**BODY, "highlight": {"fields": {}}}
    given: dict[str, Any] = {"timeout": 7} if mark == "timeout" else {"headers": {"x-user": "me"}}
    client.transport.perform_request("POST", "/books/_search", body=json.dumps(body), **given)
    assert len(seen) >= 3
    assert set(map(str, seen)) == {str((given.get("timeout"), given.get("headers")))}


def test_status_codes_of_connections_are_no_numbers() -> None:
    """What the fallback rests on: an error without an answer of the engine has a status that is no int."""
    assert not isinstance(TransportError("N/A", "x", None).status_code, int)
    assert not isinstance(TransportError("TIMEOUT", "x", None).status_code, int)


def test_the_kill_switch_stands_above_a_mistake_in_the_rerank_object(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RERANK_MODE", "off")
    response = reranking(books()).search(index="books", body={**BODY, "rerank": {"bogus": 1}})
    assert "rerank" not in response


def test_what_python_cannot_parse_is_left_to_the_engine() -> None:
    from rerank_plugin.client import ndjson
    from rerank_plugin.client.plan import split_body

    deep = "[" * 100_000
    assert split_body(deep) == (deep, None, None)
    with pytest.raises(ValueError, match="nested too deeply"):
        ndjson.parse("{}\n" + deep + "\n")


@pytest.mark.parametrize("options", [{1: 2, "bogus": 3}, {"weights": {"authority": 10**400}}, {"deadline_ms": 10**400}])
def test_every_mistake_in_the_rerank_object_is_a_400(options: Any) -> None:
    with pytest.raises(RequestError):
        reranking(books()).search(index="books", body={**BODY, "rerank": options})
