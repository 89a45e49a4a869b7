"""Vectors on the read path: cosines for the window, and documents the words did not find (DESIGN 6.6)."""

from __future__ import annotations

from typing import Any

import pytest
from opensearchpy import OpenSearch

from fakes_library import GRAPH, META, books, ids, library, pipeline
from fakes_search import FakeDense, FakeRanker, SearchEngine
from rerank_plugin.client.opensearch import wrap


def client_of(
    engine: SearchEngine, vectors: FakeDense, ranker: FakeRanker | None = None, **settings: Any
) -> OpenSearch:
    settings = {"dense": "extend", "vectors": "unused", "dense_size": 3, **settings}
    return wrap(engine.client(), pipeline=pipeline(ranker, vector_index=vectors, **settings))


#: b3, b6, ... do not match GRAPH; b1 does and is in every window.
NEAR = FakeDense({"b30": 0.9, "b27": 0.8, "b1": 0.75, "b24": 0.7, "b21": 0.6, "gone": 0.95})


def test_added_documents_are_ranked_with_the_window() -> None:
    engine, ranker = books(), FakeRanker()
    body = {"query": GRAPH, "size": 4, "aggs": {"n": {}}}
    response = client_of(engine, NEAR, ranker, window=10).search(index="books", body=body)
    assert ids(response) == ["b30", "b27", "b14", "b13"]
    assert response["rerank"]["dense"] == "2 documents added"
    assert (response["hits"]["total"]["value"], response["aggregations"]["n"]["value"]) == (20, 20)
    asked = {each.doc_id: each for each in ranker.calls[0][0].candidates}
    assert (asked["b1"].cosine, asked["b2"].cosine) == (0.75, None)
    assert (asked["b30"].cosine, asked["b30"].retrieval_rank, asked["b30"].retrieval_score) == (0.9, 11, 0.0)
    assert (asked["b27"].retrieval_rank, len(asked)) == (12, 12)
    optional = {"bool": {"must": [{"match_all": {"boost": 0}}], "should": [GRAPH]}}
    added = engine.searches[1]
    assert added["query"] == {"bool": {"must": [optional], "filter": [{"ids": {"values": ["gone", "b30", "b27"]}}]}}
    assert "aggs" not in added


def test_every_other_condition_of_the_caller_still_holds() -> None:
    query = {"bool": {"must": [GRAPH, {"term": {"tenant": 0}}], "must_not": [{"term": {"title": "Book 24"}}]}}
    near = FakeDense({f"b{number}": 0.5 + number / 100 for number in (30, 27, 24, 18)})
    body = {
        "query": query,
        "size": 50,
        "post_filter": {"terms": {"title": ["Book 30", "Book 27", "Book 24", "Book 2"]}},
    }
    response = client_of(books(), near, dense_size=4).search(index="books", body=body)
    # b27 is another tenant's, b24 must not be, b18 fails the post_filter
    assert ids(response) == ["b30", "b2"]


def test_behind_a_selective_filter_the_nearest_of_the_allowed_are_found() -> None:
    near = FakeDense({f"b{number}": (0.5 if number % 2 == 0 else 0.9) + number / 1000 for number in range(1, 31)})
    for condition in ({"query": {"bool": {"must": [GRAPH], "filter": [{"term": {"tenant": 0}}]}}}, {"query": GRAPH}):
        body = {**condition, "size": 50}
        if condition["query"] == GRAPH:
            body["post_filter"] = {"term": {"tenant": 0}}
        engine = books()
        response = client_of(engine, near, window=5, dense_size=2).search(index="books", body=body)
        assert response["rerank"]["dense"] == "2 documents added"
        assert {"b30", "b28"} & set(ids(response)[:7]) == {"b30", "b28"}
        allowed = near.asked_among[-1]
        assert allowed is not None
        assert sorted(allowed) == sorted(f"b{number}" for number in range(2, 31, 2))
        assert [each.get("sort") for each in engine.searches].count(["_doc"]) == 1


def test_what_matches_behind_the_window_is_not_shown_twice() -> None:
    near = FakeDense({"b29": 0.9})
    response = client_of(books(), near, window=5).search(index="books", body={"query": GRAPH, "size": 50})
    assert ids(response)[0] == "b29"
    assert ids(response).count("b29") == 1
    assert response["hits"]["hits"][0]["_rerank"]["retrieval_score"] == 1.0
    assert len(ids(response)) == 20


def test_added_documents_are_highlighted_too() -> None:
    body = {"query": GRAPH, "size": 3, "highlight": {"fields": {"text": {}}}, "_source": False}
    response = client_of(books(), NEAR, window=10).search(index="books", body=body)
    assert [hit.get("highlight") for hit in response["hits"]["hits"]] == [
        {"text": ["<em>b30</em>"]}, {"text": ["<em>b27</em>"]}, {"text": ["<em>b14</em>"]},
    ]  # fmt: skip
    assert not any("_source" in hit for hit in response["hits"]["hits"])


@pytest.mark.parametrize(
    ("dense", "settings", "body", "said"),
    [
        (FakeDense({}, checksum="other"), {}, {}, "the configured vectors belong to none of the indices searched"),
        (FakeDense({}, error="vectors are\nbroken"), {}, {}, "vectors are broken"),
        (
            NEAR,
            {},
            {"rerank": {"query_text": "else"}},
            "nothing added: the query has no clause that asks for this text",
        ),
        (FakeDense({}, checksum="other"), {"dense": "reorder"}, {}, "the configured vectors belong to none"),
    ],
)
def test_where_vectors_cannot_help_the_status_says_so(
    dense: FakeDense, settings: dict[str, Any], body: dict[str, Any], said: str
) -> None:
    response = client_of(books(), dense, window=10, **settings).search(
        index="books", body={"query": GRAPH, "size": 1, **body}
    )
    assert ids(response) == ["b14"]
    assert response["rerank"]["status"] == "applied"
    assert response["rerank"]["dense"].startswith(said)


def test_reorder_adds_cosines_only_and_off_not_even_those() -> None:
    ranker = FakeRanker()
    client = client_of(books(), NEAR, ranker, dense="reorder", window=10)
    response = client.search(index="books", body={"query": GRAPH})
    assert "dense" not in response["rerank"]
    assert [each.cosine for each in ranker.calls[0][0].candidates][:2] == [0.75, None]
    assert len(ranker.calls[0][0].candidates) == 10
    off = FakeRanker()
    client_of(books(), NEAR, off, dense="off").search(index="books", body={"query": GRAPH})
    assert {each.cosine for each in off.calls[0][0].candidates} == {None}


def test_cosines_belong_to_the_index_that_has_the_vectors() -> None:
    other = {**META, "vectors": {**META["vectors"], "checksum": "0ther"}}
    engine = SearchEngine({"books": library(3), "more": library(3)}, metas={"books": META, "more": other})
    ranker = FakeRanker()
    client_of(engine, NEAR, ranker).search(index="books,more", body={"query": GRAPH})
    cosines = {(each.index, each.doc_id): each.cosine for each in ranker.calls[0][0].candidates}
    assert (cosines["books", "b1"], cosines["more", "b1"]) == (0.75, None)
    both = SearchEngine({"books": library(3), "more": library(3)}, metas={"books": META, "more": META})
    response = client_of(both, NEAR).search(index="books,more", body={"query": GRAPH})
    assert response["rerank"]["dense"] == "nothing added: several of the indices searched have these vectors"


def test_an_index_behind_an_alias_that_moved_is_read_anew() -> None:
    engine = books()
    client = client_of(engine, NEAR, window=10)
    client.search(index="books", body={"query": GRAPH})
    engine.indices["moved"], engine.metas["moved"] = engine.indices.pop("books"), META
    client.transport.pipeline.metas.put("moved", client.transport.pipeline.metas.get("books"))
    response = client.search(index="moved", body={"query": GRAPH, "size": 1})
    assert (ids(response), response["rerank"]["dense"]) == (["b30"], "2 documents added")


@pytest.mark.parametrize(
    "query",
    [
        {"query_string": {"query": "graph AND tenant:0", "default_field": "text"}},
        {"match": {"tenant": "graph"}},
    ],
)
def test_a_condition_inside_the_text_clause_is_not_waived(query: dict[str, Any]) -> None:
    response = client_of(books(), NEAR, window=10).search(index="books", body={"query": query, "size": 50})
    assert not {"b30", "b27", "b24", "b21"} & set(ids(response))
    assert response["rerank"]["dense"].startswith("nothing added: the clause that asks for this text may hold other")


def test_a_tenant_named_like_the_query_keeps_its_fence() -> None:
    engine = books()
    for source in engine.indices["books"].values():
        source["owner"] = "graph" if source["tenant"] else "other"
    query = {"bool": {"must": [GRAPH, {"match": {"owner": "graph"}}]}}
    response = client_of(engine, NEAR, window=10).search(index="books", body={"query": query, "size": 50})
    assert "b27" in ids(response)
    assert {int(name[1:]) % 2 for name in ids(response)} == {1}
