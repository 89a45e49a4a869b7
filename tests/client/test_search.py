"""One search through the drop-in client: order, scores, status, and what must stay the engine's own."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from opensearchpy.exceptions import RequestError

from fakes_library import GRAPH, books, ids, library, reranking, scores
from fakes_search import FakeRanker, SearchEngine
from rerank_plugin.ranking.blend import sigmoid


def test_the_window_comes_back_in_the_models_order() -> None:
    engine = books()
    response = reranking(engine, window=10).search(index="books", body={"query": GRAPH, "size": 3})
    # the engine's first ten are b1 b2 b4 b5 b7 b8 b10 b11 b13 b14, and the longest text is the best
    assert ids(response) == ["b14", "b13", "b11"]
    first = response["hits"]["hits"][0]
    z = (len("Book 14\ngraph " + "x" * 14) - 10) / 10
    assert first["_rerank"]["z"] == pytest.approx(z)
    assert first["_rerank"]["retrieval_rank"] == 10
    assert first["_rerank"]["retrieval_score"] == 1.0
    assert first["_score"] == pytest.approx(1 + sigmoid(z))
    assert response["hits"]["max_score"] == first["_score"]
    assert response["hits"]["total"] == {"value": 20, "relation": "eq"}
    assert first["_source"] == library()["b14"]
    assert set(first["_rerank"]["factors"]) == {"authority", "freshness", "novelty", "popularity"}


def test_the_status_block_has_exactly_these_keys() -> None:
    response = reranking(books(), window=10, weights={"authority": 1.0}).search(index="books", body={"query": GRAPH})
    status = response["rerank"]
    assert list(status) == [
        "status", "reason", "order_id", "window", "reranked", "features_missing", "took_ms", "model", "weights",
        "truncated",
    ]  # fmt: skip
    assert list(status["took_ms"]) == ["retrieve", "features", "model", "total"]
    assert (status["status"], status["reason"], status["window"], status["reranked"]) == ("applied", None, 10, 10)
    assert (status["features_missing"], status["model"], status["took_ms"]["model"]) == (10, "fake@1", 1.5)
    assert status["weights"] == {"authority": 1.0, "freshness": 0.0, "novelty": 0.0, "popularity": 0.0}
    json.dumps(response)


def test_features_reach_the_blend_with_their_share() -> None:
    response = reranking(books(), FakeRanker(lambda each: 0.0), weights={"authority": 2.0, "freshness": 1.0}).search(
        index="books", body={"query": GRAPH, "size": 1}
    )
    hit = response["hits"]["hits"][0]
    assert hit["_id"] == "b29"
    terms = hit["_rerank"]["factors"]
    assert terms["authority"] == {
        "utility": pytest.approx(29 / 30), "weight": 2.0, "gate": 1.0,
        "contribution": pytest.approx(2 * (29 / 30 - 0.5)), "origin": "feature",
    }  # fmt: skip
    # published 100 days before the rounded hour, half-life 100 days by the index's _meta; 34:56 of the hour are cut off
    assert terms["freshness"]["utility"] == pytest.approx(0.5, abs=1e-3)
    assert terms["novelty"]["origin"] == "missing"
    assert sum(term["contribution"] for term in terms.values()) == pytest.approx(
        math.log(hit["_rerank"]["final_score"] / (1 - hit["_rerank"]["final_score"]))
    )


def test_the_tail_is_below_the_window_and_in_the_engines_order() -> None:
    response = reranking(books(), window=5).search(index="books", body={"query": GRAPH, "size": 8})
    assert ids(response) == ["b7", "b5", "b4", "b2", "b1", "b8", "b10", "b11"]
    assert scores(response) == sorted(scores(response), reverse=True)
    assert min(scores(response)[:5]) >= 1 > max(scores(response)[5:])
    tail = response["hits"]["hits"][5]
    assert (tail["_score"], tail["_rerank"]["retrieval_rank"], tail["_rerank"]["retrieval_score"]) == (0.5, 6, 1.0)
    assert tail["_rerank"]["final_score"] is None


def test_a_page_behind_the_window_is_the_engines_own() -> None:
    engine = books()
    response = reranking(engine, window=5).search(index="books", body={"query": GRAPH, "from": 5, "size": 3})
    assert ids(response) == ["b8", "b10", "b11"]
    assert scores(response) == [0.5, 0.5, 0.5]
    assert (response["hits"]["max_score"], response["rerank"]["reranked"]) == (0.5, 0)
    assert response["rerank"]["status"] == "applied"
    assert engine.searches == [{"query": GRAPH, "from": 5, "size": 3}]


def test_one_preference_for_all_pages_and_the_callers_own_is_kept() -> None:
    engine = books()
    client = reranking(engine, window=5)
    for paging in ({"size": 2}, {"from": 2, "size": 2, "_source": False}, {"from": 8}):
        client.search(index="books", body={"query": GRAPH, **paging})
    client.search(index="books", body={"query": GRAPH}, preference="mine")
    given = [params.get("preference") for _, path, params, _ in engine.requests if path.endswith("_search")]
    assert len(set(given[:3])) == 1
    assert str(given[0]).startswith("rerank-")
    assert given[3] == b"mine"


@pytest.mark.parametrize(("count", "matching"), [(0, 0), (1, 1)])
def test_no_hit_and_one_hit(count: int, matching: int) -> None:
    response = reranking(books(count)).search(index="books", body={"query": GRAPH})
    assert len(ids(response)) == response["rerank"]["reranked"] == matching
    assert response["rerank"]["status"] == "applied"
    assert (response["hits"]["max_score"] is None) == (count == 0)


def test_off_is_the_plain_clients_answer_and_request_byte_for_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    body = {"query": GRAPH, "size": 4, "aggs": {"n": {"value_count": {"field": "title"}}}}
    plain, off, killed = books(), books(), books()
    expected = json.dumps(plain.client().search(index="books", body=body, preference="x"))
    assert json.dumps(reranking(off, mode="off").search(index="books", body=body, preference="x")) == expected
    assert off.requests == plain.requests
    by_request = reranking(off).search(index="books", body={**body, "rerank": {"mode": "off"}}, preference="x")
    assert json.dumps(by_request) == expected
    monkeypatch.setenv("RERANK_MODE", "off")
    wanted_on = {**body, "rerank": {"mode": "on"}}
    assert json.dumps(reranking(killed).search(index="books", body=wanted_on, preference="x")) == expected


def test_a_request_may_switch_reranking_on() -> None:
    client = reranking(books(), mode="off")
    assert "rerank" not in client.search(index="books", body={"query": GRAPH})
    switched = client.search(index="books", body={"query": GRAPH, "rerank": {"mode": "on"}})
    assert switched["rerank"]["status"] == "applied"


@pytest.mark.parametrize(
    ("body", "params", "reason"),
    [
        ({"query": GRAPH, "sort": [{"year": "desc"}]}, {}, "an explicit sort"),
        ({"query": GRAPH, "sort": [{"_score": "asc"}]}, {}, "an explicit sort"),
        ({"query": GRAPH, "sort": ["_score", "year"]}, {}, "an explicit sort"),
        ({"query": GRAPH}, {"sort": "year:desc"}, "an explicit sort"),
        ({"query": GRAPH}, {"scroll": "1m"}, "scroll"),
        ({"query": GRAPH, "search_after": [1]}, {}, "search_after"),
        ({"query": GRAPH, "pit": {"id": "x"}}, {}, "pit"),
        ({"query": GRAPH, "size": 0}, {}, "size 0"),
        ({"query": GRAPH}, {"size": 0}, "size 0"),
        ({"query": GRAPH, "collapse": {"field": "tenant", "inner_hits": {}}}, {}, "collapse"),
        ({"query": {"match_all": {}}}, {}, "no query text"),
        ({}, {}, "no query text"),
        (None, {}, "no query text"),
        ({"query": {"bool": {"must": [GRAPH, {"match": {"title": "book"}}]}}}, {}, "2 different query texts"),
        ({"query": GRAPH}, {"filter_path": "hits.hits._id,hits.total"}, "filter_path"),
        ({"query": GRAPH, "stored_fields": "_none_"}, {}, "stored_fields _none_"),
    ],
)
def test_passed_through_untouched_with_a_reason(body: Any, params: dict[str, Any], reason: str) -> None:
    plain, engine = books(), books()
    expected = plain.client().search(index="books", body=body, **params)
    response = reranking(engine).search(index="books", body=body, **params)
    status = response.pop("rerank")
    assert response == expected
    assert engine.requests == plain.requests
    assert status["status"] == "skipped"
    assert reason in status["reason"]
    assert (status["order_id"], status["reranked"], status["model"]) == (None, 0, None)


@pytest.mark.parametrize("sort", ["_score", ["_score"], [{"_score": "desc"}], [{"_score": {"order": "desc"}}]])
def test_sorting_by_score_is_no_reason_to_skip(sort: Any) -> None:
    response = reranking(books()).search(index="books", body={"query": GRAPH, "sort": sort})
    assert response["rerank"]["status"] == "applied"


def test_aggregations_totals_and_shards_are_the_engines_own() -> None:
    body = {"query": GRAPH, "size": 2, "aggs": {"n": {"value_count": {"field": "title"}}}}
    expected = books().client().search(index="books", body=body)
    response = reranking(books()).search(index="books", body=body)
    assert {key: response[key] for key in ("aggregations", "_shards", "timed_out", "took")} == {
        key: expected[key] for key in ("aggregations", "_shards", "timed_out", "took")
    }
    assert response["hits"]["total"] == expected["hits"]["total"]


def test_costly_parts_are_computed_for_the_page_only() -> None:
    engine = books()
    body = {
        "query": GRAPH,
        "size": 3,
        "highlight": {"fields": {"text": {}}},
        "script_fields": {"n": {"script": "1"}},
        "explain": True,
        "_source": ["title"],
    }
    response = reranking(engine, window=10).search(index="books", body=body)
    assert engine.highlighted == 3
    hit = response["hits"]["hits"][0]
    assert hit["_id"] == "b14"
    assert hit["highlight"] == {"text": ["<em>b14</em>"]}
    assert hit["fields"] == {"n": [5]}
    assert hit["_explanation"] == {"value": 1.0}
    assert hit["_source"] == {"title": "Book 14"}
    assert hit["_score"] > 1
    assert body["size"] == 3
    window, page = engine.searches
    assert window["size"] == 10
    wanted = {"ids": {"values": ["b14", "b13", "b11"]}}
    assert (page["query"], page["post_filter"]) == (GRAPH, {"bool": {"filter": [wanted]}})  # explained: its own query
    del body["explain"]
    reranking(engine, window=10).search(index="books", body=body)
    assert engine.searches[-1]["query"] == {"bool": {"must": [GRAPH], "filter": [wanted]}}


def test_the_callers_body_is_left_as_it_was() -> None:
    body = {"query": {"bool": {"must": [GRAPH]}}, "size": 2, "rerank": {"window": 5}, "_source": ["title"]}
    before = json.dumps(body)
    reranking(books()).search(index="books", body=body)
    assert json.dumps(body) == before


def test_request_options_change_this_request_only() -> None:
    engine = books()
    client = reranking(engine, FakeRanker(lambda each: 0.0), window=10)
    plain = client.search(index="books", body={"query": GRAPH})
    asked = {
        "window": 4,
        "weights": {"authority": 3},
        "query_text": "other words",
        "now": "2025-09-23",
        "deadline_ms": 5,
    }
    changed = client.search(index="books", body={"query": GRAPH, "rerank": asked})
    assert (plain["rerank"]["reranked"], changed["rerank"]["reranked"]) == (10, 4)
    assert changed["rerank"]["weights"]["authority"] == 3.0
    assert changed["hits"]["hits"][0]["_rerank"]["factors"]["freshness"]["utility"] == 1.0
    [[first], [second]] = client.transport.pipeline.ranker().calls
    assert (first.query, second.query) == ("graph", "other words")
    assert (first.deadline, second.deadline) == (None, 1000.005)
    assert client.search(index="books", body={"query": GRAPH})["rerank"]["reranked"] == 10


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (5, "rerank must be an object, got int"),
        ({"windw": 5}, "unknown key rerank.windw"),
        ({"window": 0}, "window must be a whole number from 1 to 1000, got 0"),
        ({"window": "5"}, "window must be a whole number"),
        ({"weights": {"authority": 3, "freshness": 2}}, "weights may sum to at most 4 log-odds, got 5"),
        ({"weights": {"charm": 1}}, "unknown factor 'charm'"),
        ({"weights": {"authority": "much"}}, "the weight of authority must be a finite number"),
        ({"weights": 3}, "rerank.weights must be an object"),
        ({"deadline_ms": -1}, "deadline_ms must be above 0"),
        ({"mode": "maybe"}, "mode must be one of on, off"),
        ({"mode": ["on"]}, "mode must be one of on, off"),
        ({"now": "yesterday"}, "a date is written"),
        ({"now": 7}, "rerank.now must be a string"),
        ({"query_text": 7}, "rerank.query_text must be a string"),
    ],
)
def test_bad_options_are_a_400_that_names_them(given: Any, said: str) -> None:
    engine = books()
    with pytest.raises(RequestError) as raised:
        reranking(engine).search(index="books", body={"query": GRAPH, "rerank": given})
    assert raised.value.status_code == 400
    assert said in raised.value.info["error"]["reason"]
    assert engine.requests == []


def test_query_text_given_for_a_query_without_one() -> None:
    response = reranking(books()).search(
        index="books", body={"query": {"match_all": {}}, "rerank": {"query_text": "graph"}}
    )
    assert (response["rerank"]["status"], response["rerank"]["reranked"]) == ("applied", 30)


def test_body_as_text_and_url_search_and_url_paging() -> None:
    engine = books()
    client = reranking(engine, window=5)
    as_text = client.search(index="books", body=json.dumps({"query": GRAPH, "rerank": {"window": 4}}), size=2, from_=1)
    assert ids(as_text) == ["b4", "b2"]
    by_url = client.search(index="books", q="graph AND nothing", df="text", size=1, _source_includes="title")
    assert engine.searches[-1]["query"] == {"query_string": {"query": "graph AND nothing", "default_field": "text"}}
    assert (ids(by_url), by_url["hits"]["hits"][0]["_source"]) == (["b7"], {"title": "Book 7"})
    assert "q" not in engine.requests[-1][2]


def test_ids_that_collide_across_indices_are_told_apart() -> None:
    engine = SearchEngine(
        {"a": {"1": {"text": "graph xx"}}, "b": {"1": {"text": "graph xxxx"}, "2": {"text": "graph x"}}}
    )
    response = reranking(engine).search(index="a,b", body={"query": GRAPH, "highlight": {"fields": {"text": {}}}})
    assert [(hit["_index"], hit["_id"]) for hit in response["hits"]["hits"]] == [("b", "1"), ("a", "1"), ("b", "2")]
    assert [hit["_source"]["text"] for hit in response["hits"]["hits"]] == ["graph xxxx", "graph xx", "graph x"]
    one = reranking(engine).search(index="a,b", body={"query": GRAPH, "size": 1, "highlight": {"fields": {"text": {}}}})
    assert [(hit["_index"], hit["highlight"]["text"]) for hit in one["hits"]["hits"]] == [("b", ["<em>1</em>"])]


def test_other_requests_are_passed_on_untouched() -> None:
    engine = books()
    client = reranking(engine)
    assert client.indices.get_settings(index="books")["path"] == "/books/_settings"
    answer = client.transport.perform_request("POST", "/_search/scroll", body={"rerank": 1}, headers={"x": "y"})
    assert answer == {"path": "/_search/scroll", "body": {"rerank": 1}}


def test_meta_that_cannot_be_read_is_told_and_costs_nothing_else() -> None:
    engine = books(meta=False)
    client = reranking(engine)
    response = client.search(index="books", body={"query": GRAPH, "size": 1})
    assert (response["rerank"]["status"], response["rerank"]["meta"]) == ("applied", "no _meta.rerank")
    readings = sum(path.endswith("_mapping") for _, path, _, _ in engine.requests)
    client.search(index="books", body={"query": GRAPH, "from": 1})
    assert sum(path.endswith("_mapping") for _, path, _, _ in engine.requests) == readings
    forbidden = books()
    forbidden.refuse = lambda path, body: (403, "security_exception") if path.endswith("_mapping") else None
    response = reranking(forbidden).search(index="books", body={"query": GRAPH})
    assert (response["rerank"]["status"], response["rerank"]["meta"]) == ("applied", "not readable (403)")


def test_an_engine_without_filter_path_is_asked_for_the_whole_mapping() -> None:
    engine = books()
    params: list[Any] = []

    def refuse(path: str, body: Any) -> tuple[int, str] | None:
        params.append(engine.requests[-1][2])
        return (400, "illegal_argument_exception") if "filter_path" in params[-1] else None

    engine.refuse = refuse
    response = reranking(engine).search(index="books", body={"query": GRAPH})
    assert response["rerank"]["status"] == "applied"
    assert "meta" not in response["rerank"]
