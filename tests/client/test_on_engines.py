"""The drop-in client on engines that are no fakes: the embedded one, and a real OpenSearch where it can be had."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opensearchpy import OpenSearch, Search, helpers

from fakes_library import GRAPH, META, SOURCE_OPTIONS, ids, library, pipeline, scores, sources
from fakes_search import FakeDense, FakeRanker
from rerank_plugin.client.opensearch import wrap
from rerank_plugin.engines.connect import connect

MAPPINGS = {
    "_meta": {"rerank": META},
    "properties": {
        "title": {"type": "text"},
        "text": {"type": "text"},
        "tenant": {"type": "integer"},
    },
}


@dataclass(frozen=True)
class Shelf:
    """The library in an index of its own."""

    client: OpenSearch
    index: str

    def reranking(self, ranker: FakeRanker | None = None, **given: Any) -> OpenSearch:
        return wrap(self.client, pipeline=pipeline(ranker, **given))

    def fresh(self) -> str:
        """A name for an index of a test's own."""
        return f"{self.index}-{uuid4().hex[:6]}"


@pytest.fixture(scope="module", params=["embedded", "opensearch"])
def shelf(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    if request.param == "embedded":
        pytest.importorskip("tantivy", reason="needs the extra embedded")
        client = connect(f"embedded:{tmp_path_factory.mktemp('shelf')}")
    else:
        client = connect(request.getfixturevalue("opensearch_url"))
    index = f"client-test-{uuid4().hex[:8]}"
    client.indices.create(index=index, body={"mappings": MAPPINGS, "settings": {"number_of_shards": 1}})
    actions = ({"_index": index, "_id": name, "_source": source} for name, source in library(30).items())
    helpers.bulk(client, actions, refresh=True)
    yield Shelf(client, index)
    client.indices.delete(index=index)
    client.close()


@settings(max_examples=25)
@given(
    seed=st.integers(0, 9),
    window=st.integers(1, 25),
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=6),
    dense_size=st.one_of(st.none(), st.integers(1, 12)),
)
def test_walks_lose_and_repeat_nothing(
    shelf: Shelf, seed: int, window: int, sizes: list[int], dense_size: int | None
) -> None:
    ranker = FakeRanker(lambda each: random.Random(f"{seed}{each.doc_id}").gauss(0, 2))
    dense = FakeDense({f"b{number}": random.Random(seed * 31 + number).random() for number in range(1, 31)})
    extend = {} if dense_size is None else {"dense": "extend", "dense_size": dense_size}
    client = shelf.reranking(ranker, vector_index=dense, window=window, vectors="unused", **extend)
    body = {"query": {"bool": {"must": [GRAPH], "filter": [{"term": {"tenant": 1}}]}}}
    matching = {f"b{number}" for number in range(1, 31, 2) if number % 3}
    seen: list[str] = []
    seen_scores: list[float] = []
    for size in [*sizes, 30, 30]:
        page = client.search(index=shelf.index, body={**body, "from": len(seen), "size": size})
        assert page["rerank"]["status"] == "applied", page["rerank"]
        assert page["hits"]["total"]["value"] == len(matching)
        seen += ids(page)
        seen_scores += scores(page)
    assert len(seen) == len(set(seen))
    assert matching <= set(seen)
    assert set(seen) - matching <= {f"b{number}" for number in range(3, 31, 6)}
    assert set(seen) == matching or dense_size is not None
    assert seen_scores == sorted(seen_scores, reverse=True)


def test_off_is_the_plain_clients_answer(shelf: Shelf) -> None:
    body = {"query": GRAPH, "size": 7, "_source": ["title"]}
    plain = shelf.client.search(index=shelf.index, body=body)
    off = shelf.reranking(mode="off").search(index=shelf.index, body=body)
    assert json.dumps({**off, "took": 0}) == json.dumps({**plain, "took": 0})


def test_source_is_exactly_what_was_asked_for(shelf: Shelf) -> None:
    client = shelf.reranking(window=7)
    for option in SOURCE_OPTIONS:
        body = {"query": GRAPH, "size": 30, "_source": option}
        response = client.search(index=shelf.index, body=body)
        assert response["rerank"]["status"] == "applied"
        assert sources(response) == sources(shelf.client.search(index=shelf.index, body=body)), option
    for params in ({"_source": "false"}, {"_source_includes": "t*"}, {"_source_excludes": "text,rerank"}):
        body = {"query": GRAPH, "size": 30, "_source": ["parts"]}
        response = client.search(index=shelf.index, body=body, **params)
        assert sources(response) == sources(shelf.client.search(index=shelf.index, body=body, **params)), params


def test_the_index_says_which_texts_and_vectors_are_its_own(shelf: Shelf) -> None:
    ranker = FakeRanker()
    dense = FakeDense({"b1": 0.5})
    response = shelf.reranking(ranker, vector_index=dense, vectors="unused").search(
        index=shelf.index, body={"query": GRAPH, "size": 1, "_source": False}
    )
    assert "meta" not in response["rerank"]
    by_id = {each.doc_id: each for each in ranker.calls[0][0].candidates}
    assert (by_id["b1"].text, by_id["b1"].cosine) == ("Book 1\ngraph x", 0.5)
    assert by_id["b1"].features.authority == pytest.approx(1 / 30)
    assert by_id["b1"].retrieval_score is not None


def test_an_index_without_meta_is_told_and_reranked(shelf: Shelf) -> None:
    index = shelf.fresh()
    client = shelf.reranking()
    client.index(index=index, id="1", body={"text": "graph", "title": "t"}, refresh=True)
    response = client.search(index=index, body={"query": GRAPH})
    assert (response["rerank"]["status"], ids(response)) == ("applied", ["1"])
    assert "no _meta.rerank" in response["rerank"]["meta"]
    client.indices.delete(index=index)


def test_msearch_dsl_and_empty_results(shelf: Shelf) -> None:
    client = shelf.reranking(window=10)
    nothing = {"match": {"text": "absent"}}
    absent = {"index": f"{shelf.index}-none"}
    lines: list[Any] = [{}, {"query": GRAPH, "size": 3}, {}, {"query": nothing}, absent, {"query": GRAPH}]
    first, second, third = client.msearch(body=lines, index=shelf.index)["responses"]
    alone = client.search(index=shelf.index, body={"query": GRAPH, "size": 3})
    assert first["hits"] == alone["hits"]
    assert first["rerank"]["order_id"] == alone["rerank"]["order_id"]
    assert (second["rerank"]["status"], second["rerank"]["reranked"], ids(second)) == ("applied", 0, [])
    assert (third["status"], "rerank" in third) == (404, False)
    found = Search(using=client, index=shelf.index).query("match", text="graph")[:3].execute()
    assert [hit.meta.id for hit in found] == ids(alone)
    missing = client.search(index=f"{shelf.index}-none", body={"query": GRAPH}, ignore=404)
    assert missing["status"] == 404


def test_costly_parts_on_a_real_engine(shelf: Shelf, request: pytest.FixtureRequest) -> None:
    if "embedded" in request.node.name:
        pytest.skip("the embedded engine computes no highlights")
    client = shelf.reranking(vector_index=FakeDense({"b30": 0.9}), window=10, dense="extend", vectors="unused")
    body = {
        "query": GRAPH,
        "size": 12,
        "highlight": {"fields": {"text": {}}},
        "explain": True,
        "script_fields": {"double": {"script": "doc['tenant'].value * 2"}},
        "_source": ["title"],
        "aggs": {"tenants": {"terms": {"field": "tenant"}}},
        "rescore": {"window_size": 5, "query": {"rescore_query": {"match": {"title": "5"}}}},
    }
    response = client.search(index=shelf.index, body=body)
    plain = shelf.client.search(index=shelf.index, body=body)
    assert response["rerank"]["status"] == "applied", response["rerank"]
    assert response["rerank"]["dense"] == "1 documents added"
    assert response["aggregations"] == plain["aggregations"]
    assert response["hits"]["total"] == plain["hits"]["total"]
    by_id = {hit["_id"]: hit for hit in response["hits"]["hits"]}
    assert len(by_id) == 12
    assert next(iter(by_id)) == "b30"
    for hit in plain["hits"]["hits"]:
        if hit["_id"] in by_id:
            assert by_id[hit["_id"]]["highlight"] == hit["highlight"]
            assert by_id[hit["_id"]]["fields"] == hit["fields"]
            assert by_id[hit["_id"]]["_source"] == hit["_source"]
    assert all("_explanation" in hit for hit in by_id.values())


def test_other_ways_to_ask_on_a_real_engine(shelf: Shelf, request: pytest.FixtureRequest) -> None:
    if "embedded" in request.node.name:
        pytest.skip("the embedded engine knows none of these")
    client = shelf.reranking(window=10)
    by_url = client.search(index=shelf.index, q="text:graph AND tenant:1", size=3, _source_includes="title")
    assert (by_url["rerank"]["status"], len(ids(by_url))) == ("applied", 3)
    assert by_url["hits"]["hits"][0]["_source"].keys() == {"title"}
    found = {hit["_id"] for hit in helpers.scan(client, index=shelf.index, query={"query": GRAPH}, size=7)}
    assert len(found) == 20
    stored = client.search(index=shelf.index, body={"query": GRAPH, "stored_fields": []})
    plain = shelf.client.search(index=shelf.index, body={"query": GRAPH, "stored_fields": []})
    assert ["_source" in hit for hit in stored["hits"]["hits"]] == ["_source" in hit for hit in plain["hits"]["hits"]]
    filtered = client.search(index=shelf.index, body={"query": GRAPH}, filter_path="hits.hits._id")
    assert (filtered["rerank"]["status"], len(ids(filtered))) == ("skipped", 10)
    beyond = {"query": GRAPH, "from": 9_999, "size": 5}
    with pytest.raises(Exception, match="Result window is too large"):
        client.search(index=shelf.index, body=beyond)
    nested = {"function_score": {"query": {"bool": {"must": [GRAPH]}}, "boost_mode": "sum"}}
    tie = client.search(index=shelf.index, body={"query": nested, "sort": ["_score"], "min_score": 0.1})
    assert (tie["rerank"]["status"], len(ids(tie))) == ("applied", 10)
