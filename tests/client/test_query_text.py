"""The text of search bodies, one row per shape people write."""

from __future__ import annotations

from typing import Any

import pytest

from rerank_plugin.client.query_string import words_of_query_string, words_of_simple_query_string
from rerank_plugin.client.query_text import (
    NoQueryText,
    QueryText,
    clause_at,
    optional_clauses,
    read_query_text,
    replace_clauses,
)

MATCH = {"match": {"title": "graph search"}}
TENANT = {"term": {"tenant": 7}}


def nested(depth: int) -> dict[str, Any]:
    query: dict[str, Any] = MATCH
    for _ in range(depth):
        query = {"bool": {"must": [query]}}
    return query


@pytest.mark.parametrize(
    ("query", "text", "fields"),
    [
        (MATCH, "graph search", ("title",)),
        ({"match": {"title": {"query": "graph  search\n", "operator": "and"}}}, "graph search", ("title",)),
        ({"match_phrase": {"body": "graph search"}}, "graph search", ("body",)),
        ({"match_phrase_prefix": {"body": {"query": "graph sea"}}}, "graph sea", ("body",)),
        ({"match_bool_prefix": {"body": "graph sea"}}, "graph sea", ("body",)),
        ({"multi_match": {"query": "graph search", "fields": ["title^3", "body"]}}, "graph search", ("title", "body")),
        ({"multi_match": {"query": "graph search"}}, "graph search", ()),
        ({"combined_fields": {"query": "graph search", "fields": ["title"]}}, "graph search", ("title",)),
        ({"query_string": {"query": "graph AND search", "default_field": "body"}}, "graph search", ("body",)),
        ({"query_string": {"query": "title:(graph OR search) -spam"}}, "graph search", ()),
        ({"simple_query_string": {"query": '"graph search" -spam', "fields": ["body"]}}, "graph search", ("body",)),
        ({"bool": {"must": [MATCH], "filter": [TENANT]}}, "graph search", ("title",)),
        ({"bool": {"must": MATCH}}, "graph search", ("title",)),
        ({"bool": {"should": [MATCH, {"match_phrase": {"body": "Graph Search"}}]}}, "graph search", ("title", "body")),
        ({"bool": {"must": [TENANT, MATCH], "must_not": [{"match": {"body": "spam"}}]}}, "graph search", ("title",)),
        ({"bool": {"must": [MATCH], "filter": [{"match": {"body": "other words"}}]}}, "graph search", ("title",)),
        ({"dis_max": {"queries": [MATCH, {"match": {"body": "graph search"}}]}}, "graph search", ("title", "body")),
        ({"function_score": {"query": MATCH, "functions": [{"random_score": {}}]}}, "graph search", ("title",)),
        ({"boosting": {"positive": MATCH, "negative": {"match": {"body": "spam"}}}}, "graph search", ("title",)),
        ({"nested": {"path": "parts", "query": {"match": {"parts.text": "graph"}}}}, "graph", ("parts.text",)),
        ({"script_score": {"query": MATCH, "script": {"source": "_score"}}}, "graph search", ("title",)),
        ({"hybrid": {"queries": [MATCH, {"knn": {"v": {"vector": [1.0], "k": 3}}}]}}, "graph search", ("title",)),
        ({"bool": {"must": [MATCH, {"match": {"kind.keyword": "paper"}}]}}, "graph search", ("title",)),
        ({"bool": {"must": [MATCH, {"match": {"year": 2020}}]}}, "graph search", ("title",)),
        ({"multi_match": {"query": "graph", "fields": ["kind.keyword", "title"]}}, "graph", ("title",)),
        (nested(2000), "graph search", ("title",)),
        ({"match": {"标题": "图 搜索"}}, "图 搜索", ("标题",)),
    ],
)
def test_text_and_fields(query: dict[str, Any], text: str, fields: tuple[str, ...]) -> None:
    found = read_query_text(query)
    assert isinstance(found, QueryText)
    assert (found.text, found.fields) == (text, fields)
    assert all(clause_at(query, path) for path in found.leaves)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        (None, "no query text"),
        ({}, "no query text"),
        ({"match_all": {}}, "no query text"),
        (TENANT, "no query text"),
        ({"match": {"kind.keyword": "paper"}}, "no query text"),
        ({"multi_match": {"query": "paper", "fields": ["kind.keyword", "_id"]}}, "no query text"),
        ({"constant_score": {"filter": MATCH}}, "no query text"),
        ({"bool": {"filter": [MATCH]}}, "no query text"),
        ({"bool": {"must_not": [MATCH]}}, "no query text"),
        ({"match": {"title": "   "}}, "no query text"),
        ({"match": "title"}, "no query text"),
        ({"bool": {"must": "title"}}, "no query text"),
        ({"query_string": {"query": "*:*"}}, "no query text"),
        ({"prefix": {"title": "gra"}}, "no query text"),
        ({"bool": {"must": [MATCH, {"match": {"body": "something else"}}]}}, "2 different query texts"),
    ],
)
def test_no_text(query: Any, reason: str) -> None:
    found = read_query_text(query)
    assert isinstance(found, NoQueryText)
    assert found.reason.startswith(reason)
    assert "rerank.query_text" in found.reason


def test_leaves_can_be_replaced_and_nothing_else_changes() -> None:
    query = {"bool": {"must": [TENANT, MATCH], "should": [{"match_phrase": {"body": "graph search"}}], "boost": 2}}
    found = read_query_text(query)
    assert isinstance(found, QueryText)
    assert found.leaves == (("bool", "must", 1), ("bool", "should", 0))
    changed = replace_clauses(query, {path: {"match_all": {}} for path in found.leaves})
    assert changed == {"bool": {"must": [TENANT, {"match_all": {}}], "should": [{"match_all": {}}], "boost": 2}}
    assert query["bool"]["must"][1] == MATCH
    assert replace_clauses(MATCH, {(): TENANT}) == TENANT


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("graph search", "graph search"),
        ("graph AND search OR index", "graph search index"),
        ("graph && (search || index)", "graph search index"),
        ('+graph -spam !noise NOT other "exact phrase"~2', "graph exact phrase"),
        ("NOT (spam OR noise) graph", "graph"),
        ("(graph (search)", "graph search"),
        ("title:graph body.text:search", "graph search"),
        ("title.\\*:graph", "graph"),
        ("kind.keyword:paper graph _exists_:title", "graph"),
        ("kind.keyword:(paper OR book) graph", "graph"),
        ("year:[2000 TO 2010] graph date:{a TO b}", "graph"),
        ("year:>=2000 graph", "graph"),
        ("comput* te?t roam~1 boost^2.5", "comput tet roam boost"),
        ("/joh?n(ath[oa]n)/ graph", "graph"),
        ("state-of-the-art C\\+\\+", "state-of-the-art C++"),
        ("*:*", ""),
        ("", ""),
        ("((((", ""),
        ('"open quote', "open quote"),
        ("(" * 5000 + "graph", "graph"),
        ("what is BM25?", "what is BM25"),
    ],
)
def test_query_string_words(query: str, words: str) -> None:
    assert words_of_query_string(query) == words


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("graph + (search | index) -spam", "graph search index"),
        ("title:graph AND search", "title:graph AND search"),
        ('"exact phrase"~3 pre* roam~1', "exact phrase pre roam"),
        ("graph - search", "graph search"),
        ("-(spam noise) graph", "graph"),
        ("what is BM25?", "what is BM25?"),
    ],
)
def test_simple_query_string_words(query: str, words: str) -> None:
    assert words_of_simple_query_string(query) == words


def test_many_signs_take_time_in_proportion_and_a_sign_is_no_part_of_a_field() -> None:
    assert words_of_query_string("-" * 300_000 + " graph") == "graph"
    assert words_of_query_string("-body:spam graph created-at:now search") == "graph now search"


@pytest.mark.parametrize(
    ("query", "waived"),
    [
        ({"match": {"title": "graph"}}, True),
        ({"match": {"title.english": "graph"}}, True),
        ({"multi_match": {"query": "graph", "fields": ["ti*^2", "tags"]}}, True),
        ({"query_string": {"query": "graph search"}}, True),
        ({"simple_query_string": {"query": "graph search", "fields": ["title"]}}, True),
        ({"match": {"tenant": "acme"}}, False),
        ({"query_string": {"query": "graph AND tenant:acme", "fields": ["title"]}}, False),
        ({"query_string": {"query": "graph -draft", "fields": ["title"]}}, False),
        ({"simple_query_string": {"query": "graph -draft", "fields": ["title"]}}, False),
    ],
)
def test_a_clause_that_may_hold_a_condition_is_never_optional(query: dict[str, Any], waived: bool) -> None:
    found = read_query_text(query)
    assert isinstance(found, QueryText)
    assert optional_clauses(query, found.leaves, {"title"}) == ((),) * waived
