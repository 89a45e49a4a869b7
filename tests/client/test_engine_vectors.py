"""The engine's own k-NN field beside the words: exact cosines, documents added, every fence kept, no node harmed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from opensearchpy import OpenSearch

from application import MAPPINGS, works
from fakes_library import pipeline
from fakes_search import EncodingRanker, FakeRanker
from rerank_plugin.client.opensearch import wrap
from rerank_plugin.domain.candidate import Candidate
from rerank_plugin.errors import RerankError

pytestmark = pytest.mark.engine
WORDS = "query language"
MATCH: dict[str, Any] = {"multi_match": {"query": WORDS, "fields": ["title", "text"]}}
AUTHORS: dict[str, Any] = {
    "nested": {"path": "authors", "query": {"exists": {"field": "authors.name"}}, "inner_hits": {}}
}
OURS: dict[str, Any] = {"term": {"tenant": "acme"}}
#: The engine must be named: the default one is a native library that may be absent, and then the node dies.
FIELD = {"type": "knn_vector", "dimension": 2}
METHOD = {"name": "hnsw", "engine": "lucene"}


def by_cosine(candidate: Candidate) -> float:
    """Log-odds by the cosine alone."""
    return -9.0 if candidate.cosine is None else candidate.cosine


def angle(place: int) -> float:
    """Every document's own; those of the other tenant are nearer the query."""
    return (place + 1) / 200 + (1.5 if place % 2 else 0.0)


@pytest.fixture(scope="module")
def index(knn_client: OpenSearch) -> Iterator[str]:
    name = f"knn-{uuid4().hex[:8]}"
    fields = {
        "near": {**FIELD, "method": {**METHOD, "space_type": "cosinesimil"}},
        "far": {**FIELD, "method": {**METHOD, "space_type": "l2"}},
    }
    mappings = {"properties": {**MAPPINGS["properties"], **fields}}
    settings = {"index.knn": True, "number_of_shards": 1, "number_of_replicas": 0}
    knn_client.indices.create(index=name, body={"mappings": mappings, "settings": settings})
    lines: list[Any] = []
    for place, (doc_id, source) in enumerate(works()):
        vector = [math.cos(angle(place)), math.sin(angle(place))]
        vectors = {} if place % 10 == 9 else {"near": vector, "far": vector}
        lines += [{"index": {"_id": doc_id}}, {**source, **vectors}]
    knn_client.bulk(index=name, body=lines, refresh=True)
    yield name
    knn_client.indices.delete(index=name)


def ours(client: OpenSearch, **settings: Any) -> OpenSearch:
    given = {"text_fields": ["title", "text"], "vector_field": "near", "window": 20, **settings}
    return wrap(client, pipeline=pipeline(EncodingRanker(by_cosine), **given))


def places(response: Any) -> list[int]:
    known = {doc_id: place for place, (doc_id, _) in enumerate(works())}
    return [known[hit["_id"]] for hit in response["hits"]["hits"]]


@pytest.mark.parametrize("field", ["near", "far"])
def test_cosines_are_exact_whatever_space_the_field_was_built_for(
    knn_client: OpenSearch, index: str, field: str
) -> None:
    got = ours(knn_client, vector_field=field).search(index=index, body={"query": MATCH, "size": 20})
    assert got["rerank"]["status"] == "applied"
    for place, hit in zip(places(got), got["hits"]["hits"], strict=True):
        expected = -9.0 if place % 10 == 9 else math.cos(angle(place))
        assert hit["_rerank"]["z"] == pytest.approx(expected, abs=1e-5)
        assert "near" in hit["_source"] or place % 10 == 9


def test_added_documents_are_the_nearest_that_every_condition_lets_through(knn_client: OpenSearch, index: str) -> None:
    client = ours(knn_client, dense="extend", dense_size=30)
    free = client.search(index=index, body={"query": MATCH, "size": 100})
    assert free["rerank"]["dense"] == "30 documents added"
    assert any(place % 2 == 0 for place in places(free)[:30])
    fences = [
        {"query": {"bool": {"must": [MATCH], "filter": [OURS]}}},
        {"query": {"bool": {"must": [MATCH, OURS]}}},
        {"query": {"bool": {"must": [MATCH], "must_not": [{"term": {"tenant": "globex"}}]}}},
        {"query": MATCH, "post_filter": OURS},
        {"query": {"function_score": {"query": {"bool": {"must": [MATCH], "filter": [OURS]}}, "weight": 2}}},
        {"query": {"bool": {"must": [MATCH], "should": [AUTHORS], "filter": [OURS]}}, "rerank": {"query_text": WORDS}},
        {"query": {"bool": {"must": [{"dis_max": {"queries": [MATCH]}}], "filter": [OURS]}}},
    ]
    for body in fences:
        plain = knn_client.search(index=index, body={"size": 20, **{k: v for k, v in body.items() if k != "rerank"}})
        got = client.search(index=index, body={**body, "size": 60, "highlight": {"fields": {"text": {}}}})
        assert got["rerank"]["status"] == "applied", got["rerank"]
        assert {hit["_source"]["tenant"] for hit in got["hits"]["hits"]} == {"acme"}
        assert got["rerank"]["dense"] == "30 documents added", body
        assert got["hits"]["total"] == plain["hits"]["total"]
        assert set(places(plain)) <= set(places(got))
        added = sorted(set(places(got)[:50]) - set(places(plain)))
        nearest = [each for each in range(len(works())) if each % 2 and each % 10 != 9 and each not in places(plain)]
        assert added == nearest[:30]


def test_pages_of_an_extended_search_lose_and_repeat_nothing(knn_client: OpenSearch, index: str) -> None:
    client = ours(knn_client, dense="extend", dense_size=15)
    seen: list[int] = []
    for from_ in range(0, 120, 12):
        seen += places(client.search(index=index, body={"query": MATCH, "from": from_, "size": 12}))
    matching = set(places(knn_client.search(index=index, body={"query": MATCH, "size": 300})))
    assert len(seen) == len(set(seen))
    assert matching < set(seen)
    assert all(place % 2 == 0 for place in set(seen) - matching)


def test_a_field_that_is_none_costs_its_help_only(knn_client: OpenSearch, index: str) -> None:
    for dense in ("reorder", "extend"):
        for field, said in (("absent", "absent"), ("year", "year is of no use as vectors")):
            got = ours(knn_client, vector_field=field, dense=dense).search(index=index, body={"query": MATCH})
            assert got["rerank"]["status"] == "applied", got["rerank"]
            assert said in got["rerank"]["dense"]
    wordless = wrap(knn_client, pipeline=pipeline(FakeRanker(), vector_field="near"))
    got = wordless.search(index=index, body={"query": MATCH})
    assert got["rerank"]["dense"] == "fake@1 makes no vectors"


def test_msearch_asks_for_cosines_too(knn_client: OpenSearch, index: str) -> None:
    lines = [{"index": index}, {"query": MATCH, "size": 3}, {"index": index}, {"query": MATCH, "size": 3, "from": 3}]
    first, second = ours(knn_client).msearch(body=lines)["responses"]
    alone = ours(knn_client).search(index=index, body={"query": MATCH, "size": 6})
    assert places(first) + places(second) == places(alone)


def test_collapsed_searches_get_nothing_added(knn_client: OpenSearch, index: str) -> None:
    body = {"query": MATCH, "collapse": {"field": "year"}}
    got = ours(knn_client, dense="extend").search(index=index, body=body)
    assert got["rerank"]["status"] == "applied"
    assert got["rerank"]["dense"] == "nothing added: the search collapses its hits"
    years = [hit["fields"]["year"][0] for hit in got["hits"]["hits"]]
    assert len(years) == len(set(years))


def test_an_error_of_the_models_is_told() -> None:
    with pytest.raises(RerankError, match="makes no vectors"):
        pipeline(FakeRanker()).encode("words")
