"""Hostile tenants on a real engine: wherever the tenant condition stands, vectors bring in no one else's document.

Every vector of the other tenant is nearer than any of ours, and the client may add all of them: from a folder, or from
the engine's own k-NN field.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from opensearchpy import OpenSearch, helpers

from application import MAPPINGS, works
from fakes_library import META, pipeline
from fakes_search import EncodingRanker, FakeDense
from rerank_plugin.client.opensearch import wrap

pytestmark = pytest.mark.engine
WORDS = "query language"
MATCH: dict[str, Any] = {"multi_match": {"query": WORDS, "fields": ["title", "text"]}}
OURS: dict[str, Any] = {"term": {"tenant": "acme"}}
THEIRS: dict[str, Any] = {"term": {"tenant": "globex"}}


@pytest.fixture(scope="module", params=["folder", "engine"])
def shelf(request: pytest.FixtureRequest, opensearch_url: str) -> Iterator[tuple[OpenSearch, OpenSearch, str]]:
    """The plain client, ours that extends, and an index in which every other document is another tenant's."""
    name = f"tenants-{uuid4().hex[:8]}"
    by_engine = request.param == "engine"
    if by_engine:
        request.getfixturevalue("knn_client")
    with OpenSearch(opensearch_url) as client:
        properties = {
            **MAPPINGS["properties"],
            "access": {"type": "nested", "properties": {"tenant": {"type": "keyword"}}},
            "owner": {"type": "text"},
            "readers": {"type": "keyword"},
            "needed": {"type": "integer"},
        }
        if by_engine:
            method = {"name": "hnsw", "engine": "lucene", "space_type": "cosinesimil"}
            properties["vector"] = {"type": "knn_vector", "dimension": 2, "method": method}
        aliases = {f"{name}-acme": {"filter": OURS}}
        mappings = {"properties": properties, "_meta": {"rerank": META}}
        settings = {"index.knn": True} if by_engine else {}
        client.indices.create(index=name, body={"mappings": mappings, "aliases": aliases, "settings": settings})
        actions = []
        for doc_id, source in works():
            mine: dict[str, Any] = {
                "access": [{"tenant": source["tenant"]}],
                "owner": f"the {source['tenant']} company",
                "readers": [source["tenant"], "staff"],
                "needed": 2,
            }
            if by_engine:
                mine["vector"] = [0.9 if source["tenant"] == "globex" else 0.8, 0.5]
            actions.append({"_index": name, "_id": doc_id, "_source": {**source, **mine}})
        helpers.bulk(client, actions, refresh=True)
        client.index(index=f"{name}-lists", id="acme", body={"tenants": ["acme"]}, refresh=True)
        near = {doc_id: 0.9 if source["tenant"] == "globex" else 0.8 for doc_id, source in works()}
        asked: dict[str, Any] = {"dense": "extend", "dense_size": 500, "window": 20}
        asked |= {"vector_field": "vector"} if by_engine else {"vectors": "unused"}
        vectors = None if by_engine else FakeDense(near)
        yield client, wrap(client, pipeline=pipeline(EncodingRanker(), vector_index=vectors, **asked)), name
        client.indices.delete(index=f"{name},{name}-lists")


def both(condition: dict[str, Any]) -> dict[str, Any]:
    return {"bool": {"must": [MATCH, condition]}}


LOOKUP = {"terms": {"tenant": {"index": "{index}-lists", "id": "acme", "path": "tenants"}}}
SCRIPT = {"script": {"script": {"source": "doc['tenant'].value == params.t", "params": {"t": "acme"}}}}
TERMS_SET = {"terms_set": {"readers": {"terms": ["acme", "staff"], "minimum_should_match_field": "needed"}}}
BY_WEIGHT = {"query": MATCH, "functions": [{"filter": OURS, "weight": 5}]}

#: Where the tenant condition stands -> the body.
BODIES: dict[str, dict[str, Any]] = {
    "filter": {"query": {"bool": {"must": [MATCH], "filter": [OURS]}}},
    "must": {"query": both(OURS)},
    "must, before the words": {"query": {"bool": {"must": [OURS, MATCH]}}},
    "must_not": {"query": {"bool": {"must": [MATCH], "must_not": [THEIRS]}}},
    "must_not not": {"query": {"bool": {"must": [MATCH], "must_not": [{"bool": {"must_not": [OURS]}}]}}},
    "post_filter": {"query": MATCH, "post_filter": OURS},
    "both needed among should": {"query": {"bool": {"should": [MATCH, OURS], "minimum_should_match": 2}}},
    "all needed among should": {"query": {"bool": {"should": [MATCH, OURS], "minimum_should_match": "100%"}}},
    "constant_score": {"query": both({"constant_score": {"filter": OURS}})},
    "terms": {"query": both({"terms": {"tenant": ["acme", "nobody"]}})},
    "terms lookup": {"query": both(LOOKUP)},
    "terms_set": {"query": both(TERMS_SET)},
    "nested": {"query": both({"nested": {"path": "access", "query": {"term": {"access.tenant": "acme"}}}})},
    "match on a keyword": {"query": both({"match": {"tenant": "acme"}}), "rerank": {"query_text": WORDS}},
    "match on other text": {"query": both({"match": {"owner": WORDS + " acme"}}), "rerank": {"query_text": WORDS}},
    "match_phrase on other text": {
        "query": both({"match_phrase": {"owner": "acme company"}}),
        "rerank": {"query_text": WORDS},
    },
    "query_string beside the words": {
        "query": both({"query_string": {"query": "tenant:acme"}}),
        "rerank": {"query_text": WORDS},
    },
    "query_string with the words": {
        "query": {"query_string": {"query": f"({WORDS}) AND tenant:acme", "fields": ["title", "text"]}}
    },
    "simple_query_string": {
        "query": both({"simple_query_string": {"query": "acme", "fields": ["tenant"]}}),
        "rerank": {"query_text": WORDS},
    },
    "script": {"query": {"bool": {"must": [MATCH], "filter": [SCRIPT]}}},
    "prefix": {"query": both({"prefix": {"tenant": "ac"}})},
    "regexp": {"query": both({"regexp": {"tenant": "ac.*"}})},
    "function_score around both": {"query": {"function_score": {"query": both(OURS), "weight": 2}}},
    "function_score with min_score": {
        "query": {"function_score": {**BY_WEIGHT, "score_mode": "sum", "boost_mode": "replace", "min_score": 2}}
    },
    "script_score around both": {"query": {"script_score": {"query": both(OURS), "script": {"source": "_score + 1"}}}},
    "dis_max of two fenced queries": {
        "query": {"dis_max": {"queries": [both(OURS), {"bool": {"must": [MATCH], "filter": [OURS]}}]}}
    },
    "boosting around both": {
        "query": {"boosting": {"positive": both(OURS), "negative": {"match_all": {}}, "negative_boost": 0.5}}
    },
    "deep": {"query": {"bool": {"must": [{"bool": {"must": [{"bool": {"must": [MATCH], "filter": [OURS]}}]}}]}}},
    "fence around the words' own bool": {
        "query": {"bool": {"must": [{"bool": {"should": [MATCH]}}], "filter": {"bool": {"must": OURS}}}}
    },
    "min_score": {
        "query": {"bool": {"must": [MATCH], "should": [{"constant_score": {"filter": OURS, "boost": 1000}}]}},
        "min_score": 1000,
    },
}


@pytest.mark.parametrize("where", BODIES)
def test_no_one_elses_document_is_ever_shown(where: str, shelf: tuple[OpenSearch, OpenSearch, str]) -> None:
    plain, ours, index = shelf
    text = BODIES[where]
    if "lookup" in where:
        text = {"query": both({"terms": {"tenant": {**LOOKUP["terms"]["tenant"], "index": f"{index}-lists"}}})}
    expected = plain.search(index=index, body={key: value for key, value in text.items() if key != "rerank"})
    fence_holds_for(plain, ours, index, {**text, "highlight": {"fields": {"text": {}}}})
    got = ours.search(index=index, body=text)
    assert got["rerank"]["status"] == "applied", got["rerank"]
    assert got["hits"]["total"] == expected["hits"]["total"]


def fence_holds_for(plain: OpenSearch, ours: OpenSearch, index: str, body: dict[str, Any]) -> None:
    """Every page, to the end."""
    matching = plain.search(index=index, body={**{k: v for k, v in body.items() if k != "rerank"}, "size": 300})
    assert {hit["_source"]["tenant"] for hit in matching["hits"]["hits"]} == {"acme"}
    seen: list[str] = []
    for from_ in range(0, 300, 60):
        page = ours.search(index=index, body={**body, "from": from_, "size": 60})
        assert {hit["_source"]["tenant"] for hit in page["hits"]["hits"]} <= {"acme"}
        seen += [hit["_id"] for hit in page["hits"]["hits"]]
    assert len(seen) == len(set(seen))
    assert {hit["_id"] for hit in matching["hits"]["hits"]} <= set(seen)


def test_a_filtered_alias_fences_what_vectors_add(shelf: tuple[OpenSearch, OpenSearch, str]) -> None:
    plain, ours, index = shelf
    fence_holds_for(plain, ours, f"{index}-acme", {"query": MATCH})
    got = ours.search(index=f"{index}-acme", body={"query": MATCH})
    assert "documents added" in got["rerank"]["dense"]


def test_without_a_fence_the_vectors_do_add_the_others(shelf: tuple[OpenSearch, OpenSearch, str]) -> None:
    """So that the tests above could fail."""
    _, ours, index = shelf
    got = ours.search(index=index, body={"query": MATCH, "size": 200})
    assert {hit["_source"]["tenant"] for hit in got["hits"]["hits"]} == {"acme", "globex"}
    added = int(got["rerank"]["dense"].split()[0])
    assert added > 100
    fenced = ours.search(index=index, body=BODIES["filter"])
    assert 0 < int(fenced["rerank"]["dense"].split()[0]) < added


def test_msearch_and_scan_keep_the_fence(shelf: tuple[OpenSearch, OpenSearch, str]) -> None:
    _, ours, index = shelf
    lines: list[Any] = []
    for name in ("filter", "must_not", "post_filter"):
        lines += [{"index": index}, {**BODIES[name], "size": 100}]
    for response in ours.msearch(body=lines)["responses"]:
        assert {hit["_source"]["tenant"] for hit in response["hits"]["hits"]} == {"acme"}
    found = helpers.scan(ours, index=index, query={"query": BODIES["filter"]["query"]})
    assert {hit["_source"]["tenant"] for hit in found} == {"acme"}
