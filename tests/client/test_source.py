"""``_source`` comes back exactly as the engine would give it, whatever the model needed besides."""

from __future__ import annotations

from typing import Any

import pytest

from fakes_library import GRAPH, SOURCE_OPTIONS, books, reranking, sources
from rerank_plugin.client.source import asked_source, narrow_source, wider_source
from rerank_plugin.domain.source_filter import SourceFilter


@pytest.mark.parametrize("meta", [True, False], ids=["text fields of the index", "fields of the query"])
@pytest.mark.parametrize("highlight", [False, True], ids=["cheap", "costly"])
@pytest.mark.parametrize("option", SOURCE_OPTIONS, ids=str)
def test_body_filters(option: Any, highlight: bool, meta: bool) -> None:
    body: dict[str, Any] = {"query": GRAPH, "size": 50, "_source": option}
    if highlight:
        body["highlight"] = {"fields": {"text": {}}}
    expected = books().client().search(index="books", body=body)
    response = reranking(books(meta=meta), window=7).search(index="books", body=body)
    assert response["rerank"]["status"] == "applied"
    assert sources(response) == sources(expected)


@pytest.mark.parametrize(
    "params",
    [
        {"_source": "false"},
        {"_source": "true"},
        {"_source": "title,tenant"},
        {"_source_includes": "title"},
        {"_source_excludes": "text,rerank"},
        {"_source": "true", "_source_includes": "t*", "_source_excludes": "title"},
    ],
    ids=str,
)
def test_url_filters_go_before_the_bodys(params: dict[str, str]) -> None:
    body = {"query": GRAPH, "size": 50, "_source": ["parts"]}
    expected = books().client().search(index="books", body=body, **params)
    response = reranking(books(), window=7).search(index="books", body=body, **params)
    assert response["rerank"]["status"] == "applied"
    assert sources(response) == sources(expected)


@pytest.mark.parametrize("extra", [{"stored_fields": ["title"]}, {"script_fields": {"n": {"script": "1"}}}], ids=str)
def test_stored_and_script_fields_switch_the_source_off(extra: dict[str, Any]) -> None:
    body = {"query": GRAPH, "size": 50, **extra}
    expected = books().client().search(index="books", body=body)
    response = reranking(books()).search(index="books", body=body)
    assert set(sources(response).values()) == set(sources(expected).values()) == {"absent"}
    with_source = reranking(books()).search(index="books", body={**body, "_source": ["title"]})
    assert sources(with_source)["b1"] == {"title": "Book 1"}


def test_a_filter_the_engine_would_refuse_is_left_to_it() -> None:
    engine = books()
    engine.refuse = lambda path, body: (400, "parsing_exception") if body and body.get("_source") == 3 else None
    response = reranking(engine).transport.perform_request(
        "POST", "/books/_search", params={"ignore": 400}, body={"query": GRAPH, "_source": 3}
    )
    assert response["error"]["type"] == "parsing_exception"


def test_excludes_stay_where_they_are_not_in_the_way() -> None:
    needed = ("title", "user.name", "rerank.authority")
    asked = SourceFilter(excludes=("embedding", "*.vector", "user.mail", "user", "ti*", "rerank.*"))
    assert wider_source(asked, needed) == {"includes": [], "excludes": ["embedding", "*.vector", "user.mail"]}
    assert wider_source(SourceFilter(), needed) is True
    assert wider_source(SourceFilter(fetch=False), ("a",)) == {"includes": ["a"]}
    assert wider_source(SourceFilter(includes=("a",)), ("*",)) is True
    assert wider_source(SourceFilter(includes=("a", "b")), ("b", "c")) == {"includes": ["a", "b", "c"], "excludes": []}


def test_asked_source_reads_stored_fields() -> None:
    assert asked_source({"stored_fields": ["_source", "x"]}, {}).fetch
    assert not asked_source({}, {"stored_fields": b"x,y"}).fetch


def test_a_hit_without_source_stays_without() -> None:
    assert narrow_source({"_id": "1"}, SourceFilter(includes=("a",))) == {"_id": "1"}
