"""Every parameter of a search, sync and async, on a real engine: what is said of it, and that nothing else changes."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opensearchpy import AsyncOpenSearch, OpenSearch, helpers

from application import MAPPINGS, MATCH, WORDS, Blocking, scan, works
from fakes_library import ids, pipeline
from fakes_search import FakeRanker
from rerank_plugin.client.opensearch import wrap

pytestmark = pytest.mark.engine
WINDOW = 40
#: Hits of a search that shows all that match.
ALL = 250


@pytest.fixture(scope="module")
def shelf(opensearch_url: str) -> Iterator[tuple[OpenSearch, str]]:
    """The corpus in two indices in which some ids collide, behind one alias."""
    name = f"matrix-{uuid4().hex[:8]}"
    with OpenSearch(opensearch_url) as client:
        for index in (f"{name}-a", f"{name}-b"):
            body = {"mappings": MAPPINGS, "settings": {"number_of_shards": 1}, "aliases": {name: {}}}
            client.indices.create(index=index, body=body)
        for place, (doc_id, source) in enumerate(works()):
            for letter in "ab" if place % 4 == 0 else "ab"[place % 2]:
                source = {**source, "title": f"{source['title']} {letter}"}
                client.index(index=f"{name}-{letter}", id=doc_id, body=source)
        client.indices.refresh(index=name)
        yield client, name
        client.indices.delete(index=f"{name}-*")


@pytest.fixture(params=["sync", "async"])
def ours(request: pytest.FixtureRequest, shelf: tuple[OpenSearch, str], opensearch_url: str) -> Iterator[Any]:
    """The reranking client of either kind; both have the search methods of a blocking one."""
    ranker = FakeRanker(lambda each: random.Random(each.doc_id).gauss(0, 2))
    used = pipeline(ranker, window=WINDOW, text_fields=["title", "text"])
    if request.param == "sync":
        yield wrap(shelf[0], pipeline=used)
        return
    with asyncio.Runner() as runner:
        client = Blocking(wrap(AsyncOpenSearch(opensearch_url), pipeline=used), runner.get_loop())
        yield client
        client.close()


NESTED = {"nested": {"path": "authors", "query": {"match": {"authors.name": "Knuth Hoare"}}, "inner_hits": {}}}
SCORED = {"function_score": {"query": MATCH, "field_value_factor": {"field": "views", "modifier": "log1p"}}}
RESCORE = {"window_size": 50, "query": {"rescore_query": {"match_phrase": {"text": "query language"}}}}
TERMS = {"terms": {"field": "venue"}}
FRAGMENTS = {"fields": {"text": {"fragment_size": 40}}}
SUGGEST = {"words": {"text": "langage", "term": {"field": "text"}}}
COMPLETION = {"titles": {"prefix": "A Re", "completion": {"field": "suggest"}}}

#: Name -> (body beside the query, URL parameters).
APPLIED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "from": ({"from": 7}, {}),
    "size by url": ({}, {"size": 3}),
    "size past the window": ({"size": WINDOW + 20}, {}),
    "page past the window": ({"from": WINDOW + 5}, {}),
    "fields": ({"fields": ["title", "pub*"], "_source": False}, {}),
    "docvalue_fields": ({"docvalue_fields": [{"field": "published", "format": "yyyy"}, "views"]}, {}),
    "docvalue_fields by url": ({}, {"docvalue_fields": "views"}),
    "stored_fields": ({"stored_fields": ["title"]}, {}),
    "stored_fields and _source": ({"stored_fields": ["title"], "_source": ["year"]}, {}),
    "script_fields": ({"script_fields": {"age": {"script": "2026 - doc['year'].value"}}}, {}),
    "highlight": ({"highlight": FRAGMENTS}, {}),
    "highlight of its own query": ({"highlight": {**FRAGMENTS, "highlight_query": {"match": {"text": "data"}}}}, {}),
    "inner_hits": ({"query": NESTED, "rerank": {"query_text": WORDS}}, {}),
    "rescore": ({"rescore": RESCORE}, {}),
    "post_filter": ({"post_filter": {"term": {"tenant": "acme"}}, "aggs": {"tenants": TERMS}}, {}),
    "min_score": ({"min_score": 2.0}, {}),
    "explain": ({"explain": True}, {}),
    "explain by url": ({}, {"explain": "true"}),
    "explain a rescored, filtered search": (
        {"explain": True, "rescore": {**RESCORE, "window_size": 200}, "post_filter": {"term": {"tenant": "acme"}}},
        {},
    ),
    "aggs": ({"aggs": {"venues": {**TERMS, "aggs": {"newest": {"top_hits": {"size": 1}}}}}}, {}),
    "aggregations": ({"aggregations": {"venues": TERMS}}, {"typed_keys": "true"}),
    "global aggregation": ({"aggs": {"all": {"global": {}, "aggs": {"n": {"value_count": {"field": "year"}}}}}}, {}),
    "suggest": ({"suggest": SUGGEST}, {}),
    "completion": ({"suggest": COMPLETION}, {}),
    "timeout": ({"timeout": "30s"}, {}),
    "request_timeout": ({}, {"request_timeout": 30}),
    "routing": ({}, {"routing": "somewhere"}),
    "preference": ({}, {"preference": "_local"}),
    "terminate_after": ({"terminate_after": 1000}, {}),
    "version and seq_no": ({"version": True, "seq_no_primary_term": True}, {}),
    "track_scores": ({"track_scores": True}, {}),
    "track_total_hits": ({"track_total_hits": 3}, {}),
    "track_total_hits off": ({"track_total_hits": False}, {}),
    "rest_total_hits_as_int": ({"track_total_hits": True}, {"rest_total_hits_as_int": "true"}),
    "indices_boost": ({"indices_boost": [{"*": 1.5}]}, {}),
    "search_type": ({}, {"search_type": "dfs_query_then_fetch"}),
    "batched_reduce_size": ({}, {"batched_reduce_size": 2}),
    "request_cache": ({}, {"request_cache": "false"}),
    "allow_no_indices": ({}, {"ignore_unavailable": "true", "allow_no_indices": "true"}),
    "_source": ({"_source": ["title"]}, {}),
    "_source false": ({"_source": False}, {}),
    "_source_excludes": ({}, {"_source_excludes": "text,authors"}),
    "sort by score": ({"sort": ["_score"]}, {}),
    "function_score": ({"query": SCORED}, {}),
    "stats": ({"stats": ["group"]}, {}),
    "profile": ({"profile": True}, {}),
    "named queries": ({"query": {"bool": {"must": [MATCH], "should": [{"term": {"year": {"value": 1970}}}]}}}, {}),
    "collapse": ({"collapse": {"field": "year"}}, {}),
    "collapse, highlighted": ({"collapse": {"field": "year"}, "highlight": FRAGMENTS, "_source": ["year"]}, {}),
    "human": ({}, {"human": "true", "pretty": "true"}),
}
#: Name -> (body, URL parameters, what the reason says).
SKIPPED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "sort": ({"sort": [{"year": "desc"}]}, {}, "an explicit sort"),
    "sort by url": ({}, {"sort": "year:desc"}, "an explicit sort"),
    "sort by score, then": ({"sort": ["_score", "year"]}, {}, "an explicit sort"),
    "size 0": ({"size": 0, "aggs": {"venues": TERMS}}, {}, "size 0"),
    "search_after": ({"sort": ["_score", "year"], "search_after": [3.5, 1970]}, {}, "search_after"),
    "scroll": ({}, {"scroll": "1m"}, "scroll"),
    "collapse with inner hits": (
        {"collapse": {"field": "venue", "inner_hits": {"name": "all", "size": 2}}},
        {},
        "collapse with more than a field",
    ),
    "slice": ({"slice": {"id": 0, "max": 2}, "sort": ["_doc"]}, {"scroll": "1m"}, "scroll"),
    "filter_path": ({}, {"filter_path": "hits.hits._id,took"}, "filter_path"),
    "stored_fields none": ({"stored_fields": "_none_"}, {}, "_none_"),
    "no query": ({"query": {"match_all": {}}}, {}, "no query text"),
    "filters only": ({"query": {"bool": {"filter": [{"term": {"tenant": "acme"}}]}}}, {}, "no query text"),
    "two texts": (
        {"query": {"bool": {"must": [MATCH, {"match": {"title": "something else"}}]}}},
        {},
        "2 different query texts",
    ),
}


def asked(body: dict[str, Any]) -> dict[str, Any]:
    return {"query": MATCH, **body}


def without_ours(body: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in asked(body).items() if key != "rerank"}


def key(hit: dict[str, Any]) -> tuple[str, str]:
    return hit["_index"], hit["_id"]


def without(part: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in part.items() if name not in names}


@pytest.mark.parametrize("name", APPLIED)
def test_it_is_reranked_and_all_else_is_the_engines_own(name: str, shelf: tuple[OpenSearch, str], ours: Any) -> None:
    plain, index = shelf
    body, params = APPLIED[name]
    got = ours.search(index=index, body=asked(body), **params)
    same = plain.search(index=index, body=without_ours(body), **params)
    wide_params = without(params, "size")
    wide_body = {**without(without_ours(body), "from"), "size": max(WINDOW, ALL if "past" in name else 0)}
    wide = plain.search(index=index, body=wide_body, **wide_params)
    assert got["rerank"]["status"] == "applied", got["rerank"]
    assert len(got["hits"]["hits"]) == len(same["hits"]["hits"])
    assert got["hits"].get("total") == same["hits"].get("total")
    apart = ("hits", "rerank", "took", "profile", "_scroll_id")
    assert json.dumps(without(got, *apart)) == json.dumps(without(same, *apart))
    assert ("profile" in got) == ("profile" in same)
    expected = {key(hit): hit for hit in wide["hits"]["hits"]}
    for hit in got["hits"]["hits"]:
        assert without(hit, "_score", "_rerank") == without(expected[key(hit)], "_score"), name
    if "page past" not in name:
        assert [hit["_id"] for hit in got["hits"]["hits"]] != ids(same) or len(ids(same)) < 2


@pytest.mark.parametrize("name", SKIPPED)
def test_it_is_left_alone_and_the_reason_is_told(name: str, shelf: tuple[OpenSearch, str], ours: Any) -> None:
    plain, index = shelf
    body, params, reason = SKIPPED[name]
    got = ours.search(index=index, body=asked(body), **params)
    same = plain.search(index=index, body=asked(body), **params)
    assert got["rerank"]["status"] == "skipped"
    assert reason in got["rerank"]["reason"]
    apart = ("rerank", "took", "_scroll_id")
    assert json.dumps(without(got, *apart)) == json.dumps(without(same, *apart))
    for answer, client in ((got, ours), (same, plain)):
        if "_scroll_id" in answer:
            client.clear_scroll(scroll_id=answer["_scroll_id"])


def test_an_id_in_two_indices_is_two_documents(shelf: tuple[OpenSearch, str], ours: Any) -> None:
    plain, index = shelf
    body = {"query": MATCH, "size": WINDOW, "highlight": FRAGMENTS}
    for expression in (index, f"{index}-*", f"{index}-a,{index}-b"):
        got = ours.search(index=expression, body=body)
        same = plain.search(index=expression, body=body)
        assert sorted(map(key, got["hits"]["hits"])) == sorted(map(key, same["hits"]["hits"]))
        names = [hit["_id"] for hit in got["hits"]["hits"]]
        assert len(set(names)) < len(names)
        for hit in got["hits"]["hits"]:
            assert hit["_source"]["title"].endswith(f" {hit['_index'][-1]}")


def test_a_whole_scan_and_a_scroll_are_the_engines(shelf: tuple[OpenSearch, str], ours: Any) -> None:
    plain, index = shelf
    found = [key(hit) for hit in scan(ours, index=index, query={"query": MATCH}, size=33)]
    assert sorted(found) == sorted(key(h) for h in helpers.scan(plain, index=index, query={"query": MATCH}, size=33))


@settings(max_examples=15)
@given(steps=st.lists(st.tuples(st.integers(0, 120), st.integers(1, 60)), min_size=1, max_size=6))
def test_random_pages_are_cut_from_one_order(
    shelf: tuple[OpenSearch, str], opensearch_url: str, steps: list[tuple[int, int]]
) -> None:
    plain, index = shelf
    used = pipeline(FakeRanker(lambda each: random.Random(each.doc_id).gauss(0, 2)), window=WINDOW)
    client = wrap(plain, pipeline=used)
    whole: list[tuple[str, str]] = []
    while len(whole) < 200:
        page = client.search(index=index, body={"query": MATCH, "from": len(whole), "size": 23})
        if not page["hits"]["hits"]:
            break
        whole += map(key, page["hits"]["hits"])
    assert len(whole) == len(set(whole))
    for from_, size in steps:
        page = client.search(index=index, body={"query": MATCH, "from": from_, "size": size})
        assert [key(hit) for hit in page["hits"]["hits"]] == whole[from_ : from_ + size][: len(page["hits"]["hits"])]
        assert len(page["hits"]["hits"]) == min(size, max(0, page["hits"]["total"]["value"] - from_))
