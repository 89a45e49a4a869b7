"""msearch: every item under its own rules, few requests, one scoring call."""

from __future__ import annotations

import json
from typing import Any

import pytest
from opensearchpy.exceptions import RequestError

from fakes_library import GRAPH, books, ids, library, reranking
from fakes_search import BrokenRanker, FakeRanker, SearchEngine
from rerank_plugin.client import ndjson
from rerank_plugin.errors import RerankError

BOOK = {"match": {"title": "book"}}


def msearches(engine: SearchEngine) -> list[str]:
    return [body for _, path, _, body in engine.requests if path.endswith("_msearch")]


def test_every_item_under_its_own_rules() -> None:
    engine = SearchEngine({"books": library(30), "other": {"o1": {"text": "graph"}}})
    ranker = FakeRanker()
    lines: list[Any] = [
        {"index": "books"}, {"query": GRAPH, "size": 2},
        {"index": "books"}, {"query": GRAPH, "size": 2, "sort": ["year"]},
        {"index": "books"}, {"query": BOOK, "size": 2, "rerank": {"window": 4}},
        {"index": "books"}, {"query": BOOK, "rerank": {"windw": 4}},
        {"index": "books"}, {"query": GRAPH, "size": 1, "rerank": {"mode": "off"}},
        {}, {"query": GRAPH, "highlight": {"fields": {"text": {}}}, "size": 1},
    ]  # fmt: skip
    answer = reranking(engine, ranker, window=10).msearch(body=lines, index="other")
    responses = answer["responses"]
    assert [each.get("rerank", {}).get("status") for each in responses] == [
        "applied", "skipped", "applied", None, None, "applied",
    ]  # fmt: skip
    assert [ids(responses[place]) for place in (0, 1, 2, 4, 5)] == [
        ["b14", "b13"], ["b1", "b2"], ["b1", "b2"], ["b1"], ["o1"],
    ]  # fmt: skip
    assert responses[3]["status"] == 400
    assert "rerank.windw" in responses[3]["error"]["reason"]
    assert responses[5]["hits"]["hits"][0]["highlight"]
    assert len(ranker.calls) == 1
    assert len(ranker.calls[0]) == 3
    assert len(msearches(engine)) == 2  # the windows with what is passed through, then the highlighted page
    assert answer["took"] == 6
    assert "rerank" not in "".join(msearches(engine)).replace('"preference":"rerank-', "").replace("rerank.", "")


def test_an_item_answers_as_the_same_search_alone() -> None:
    alone = reranking(books(), window=7).search(index="books", body={"query": GRAPH, "size": 9})
    [item] = reranking(books(), window=7).msearch(body=[{"index": "books"}, {"query": GRAPH, "size": 9}])["responses"]
    assert item["hits"] == alone["hits"]
    assert item["rerank"] == alone["rerank"]
    assert item["status"] == 200


def test_off_sends_and_returns_what_the_plain_client_does() -> None:
    body = '{"index": "books"}\n{"query" : {"match": {"text": "graph"}}, "size": 2}\n{}\n{"size":1}\n'
    plain, engine = books(), books()
    expected = plain.client().msearch(body=body, index="books")
    assert json.dumps(reranking(engine, mode="off").msearch(body=body, index="books")) == json.dumps(expected)
    assert engine.requests == plain.requests
    passed = books()
    skipped = body.replace('"size": 2', '"sort": ["year"]')
    reranking(passed).msearch(body=skipped, index="books")
    assert msearches(passed) == [skipped]


def test_an_items_error_is_kept_and_touches_no_other() -> None:
    engine = books()
    engine.refuse = lambda path, body: (400, "bad") if path == "item" and "post_filter" in body else None
    lines: list[Any] = [{}, {"query": GRAPH}, {}, {"query": GRAPH, "post_filter": {"term": {"tenant": 1}}}]
    first, second = reranking(engine).msearch(body=lines, index="books")["responses"]
    assert first["rerank"]["status"] == "applied"
    assert (second["status"], second["error"]["type"]) == (400, "bad")
    assert "rerank" not in second


def test_an_item_whose_rewritten_search_is_refused_falls_back_alone() -> None:
    engine = books()
    engine.refuse = lambda path, body: (400, "too_much") if path == "item" and body.get("size") == 50 else None
    lines: list[Any] = [{}, {"query": GRAPH, "size": 2, "rerank": {"window": 50}}, {}, {"query": GRAPH, "size": 2}]
    first, second = reranking(engine, window=10).msearch(body=lines, index="books")["responses"]
    assert (first["rerank"]["status"], ids(first)) == ("fallback", ["b1", "b2"])
    assert (second["rerank"]["status"], ids(second)) == ("applied", ["b14", "b13"])


def test_an_engine_that_refuses_the_whole_rewritten_request() -> None:
    engine = books()
    engine.refuse = lambda path, body: (429, "busy") if "_msearch" in path and '"size":100' in body else None
    lines: list[Any] = [{}, {"query": GRAPH, "size": 2}, {}, {"size": 0}]
    first, second = reranking(engine).msearch(body=lines, index="books")["responses"]
    assert (first["rerank"]["status"], second["rerank"]["status"]) == ("fallback", "skipped")
    assert "busy" in first["rerank"]["reason"]
    engine.refuse = lambda path, body: (400, "bad") if "_msearch" in path else None
    with pytest.raises(RequestError):
        reranking(engine).msearch(body=lines, index="books")


def test_a_failing_ranker_falls_back_item_by_item() -> None:
    broken = BrokenRanker(RerankError("broken"))
    lines: list[Any] = [{}, {"query": GRAPH, "size": 2}, {}, {"query": BOOK, "size": 1}]
    first, second = reranking(books(), broken).msearch(body=lines, index="books")["responses"]
    assert {first["rerank"]["reason"], second["rerank"]["reason"]} == {"broken"}
    assert (ids(first), ids(second)) == (["b1", "b2"], ["b1"])


def test_filtered_answers_and_bodies_that_are_none() -> None:
    engine = books()
    client = reranking(engine)
    answer = client.msearch(body=[{}, {"query": GRAPH}], index="books", filter_path="responses.hits")
    assert answer["responses"][0]["rerank"]["reason"] == "the parameter filter_path"
    sent: list[Any] = []
    client.transport.inner.perform_request = lambda method, path, *, body, **rest: sent.append(body) or {"x": 1}
    for body in ("{}\n", "nonsense\n{}\n", "[]\n{}\n", b"{}\n{}\n{}\n"):
        assert client.transport.perform_request("POST", "/_msearch", body=body) == {"x": 1}
    assert sent == ["{}\n", "nonsense\n{}\n", "[]\n{}\n", b"{}\n{}\n{}\n"]


def test_meta_is_read_once_for_a_batch() -> None:
    engine = books()
    reranking(engine).msearch(body=[{}, {"query": GRAPH}, {}, {"query": BOOK}], index="books")
    assert [path for _, path, _, _ in engine.requests] == ["/books/_mapping", "/books/_msearch"]
    several = SearchEngine({"a": {}, "b,": {}})
    reranking(several).msearch(body=[{"index": ["a", "b ä"]}, {"query": GRAPH}])
    assert several.requests[0][1] == "/a,b%20%C3%A4/_mapping"


def test_the_time_limit_holds_for_every_round() -> None:
    engine = books()
    lines: list[Any] = [{}, {"query": GRAPH, "highlight": {"fields": {"text": {}}}}]
    reranking(engine).msearch(body=lines, index="books", request_timeout=7)
    assert engine.timeouts == [None, 7, 7]


def test_line_ends_inside_strings_are_no_line_ends() -> None:
    body = '{}\n{"query": {"match": {"text": "a\u2028b\x85c"}}}\n'
    [item] = ndjson.parse(body)
    assert (item.header, item.body["query"]["match"]["text"], item.lines) == ({}, "a\u2028b\x85c", body)
    assert [each.lines for each in ndjson.parse(body.encode().rstrip(b"\n"))] == [body]
    assert ndjson.lines_of({"index": "ä"}, {"a": "\ud800"}).isascii()
