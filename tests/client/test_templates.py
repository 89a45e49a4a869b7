"""Search templates, one and many, on a real engine: what they stand for is reranked, and their errors are its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from opensearchpy import OpenSearch, helpers
from opensearchpy.exceptions import NotFoundError, RequestError, TransportError

from fakes_library import GRAPH, books, ids, library, pipeline, reranking
from rerank_plugin.client.opensearch import wrap

TEMPLATE = {"query": {"match": {"text": "{{words}}"}}, "size": "{{size}}{{^size}}4{{/size}}", "_source": ["title"]}


@pytest.fixture(scope="module")
def shelf(opensearch_url: str) -> Iterator[tuple[OpenSearch, str]]:
    name = f"templates-{uuid4().hex[:8]}"
    with OpenSearch(opensearch_url) as client:
        helpers.bulk(client, ({"_index": name, "_id": each, "_source": source} for each, source in library(30).items()))
        client.indices.refresh(index=name)
        client.put_script(id=name, body={"script": {"lang": "mustache", "source": TEMPLATE}})
        yield client, name
        client.delete_script(id=name)
        client.indices.delete(index=name)


def alike(answer: Any) -> str:
    """A response less times and the status block."""
    return json.dumps({key: value for key, value in answer.items() if key not in {"took", "rerank"}})


@pytest.mark.engine
def test_a_template_is_reranked_as_the_search_it_stands_for(shelf: tuple[OpenSearch, str]) -> None:
    plain, name = shelf
    client = wrap(plain, pipeline=pipeline(window=10))
    search = client.search(index=name, body={"query": GRAPH, "size": 4, "_source": ["title"]})
    stored = {"id": name, "params": {"words": "graph"}}
    inline = {"source": json.dumps(TEMPLATE), "params": {"words": "graph"}}
    for body in (stored, inline):
        got = client.search_template(index=name, body=body)
        assert got["rerank"]["status"] == "applied"
        assert got["rerank"]["order_id"] == search["rerank"]["order_id"]
        assert alike(got) == alike(search)
        assert client.search_template(index=name, body=body, rest_total_hits_as_int=True)["hits"]["total"] == 20
    own = client.search_template(index=name, body={**stored, "explain": True, "rerank": {"window": 3}})
    assert (own["rerank"]["window"], "_explanation" in own["hits"]["hits"][0]) == (3, True)
    off = client.search_template(index=name, body={**stored, "rerank": {"mode": "off"}})
    assert "rerank" not in off
    assert alike(off) == alike(plain.search_template(index=name, body=stored))


@pytest.mark.engine
def test_a_batch_of_templates_is_a_batch_of_searches(shelf: tuple[OpenSearch, str]) -> None:
    plain, name = shelf
    client = wrap(plain, pipeline=pipeline(window=10))
    lines: list[Any] = [{"index": name}, {"id": name, "params": {"words": "graph"}}]
    lines += [{"index": name}, {"source": TEMPLATE, "params": {"words": "cooking", "size": 2}, "rerank": {"window": 5}}]
    first, second = client.msearch_template(body=lines)["responses"]
    assert [each["rerank"]["status"] for each in (first, second)] == ["applied", "applied"]
    assert ids(first) == ids(client.search_template(index=name, body=lines[1]))
    assert (second["rerank"]["window"], len(ids(second))) == (5, 2)
    lines += [{"index": name}, {"id": f"{name}-absent"}]
    skipped = client.msearch_template(body=lines)["responses"]
    assert skipped[0]["rerank"]["status"] == "skipped"
    assert "did not render the template: 404" in skipped[0]["rerank"]["reason"]
    del lines[3]["rerank"]
    assert [alike(each) for each in skipped] == [
        alike(each) for each in plain.msearch_template(body=lines)["responses"]
    ]


@pytest.mark.engine
@pytest.mark.parametrize(
    "body", [{"id": "no-such-template"}, {"source": "{{#words}"}, {"source": '{"query": 3}'}, {}], ids=str
)
def test_the_errors_are_the_engines(shelf: tuple[OpenSearch, str], body: dict[str, Any]) -> None:
    plain, name = shelf
    told = []
    for client in (plain, wrap(plain, pipeline=pipeline())):
        with pytest.raises(TransportError) as error:
            client.search_template(index=name, body=body)
        told.append((type(error.value), error.value.status_code, error.value.info))
    assert told[0] == told[1]


def test_who_may_not_render_searches_as_before() -> None:
    engine = books()
    engine.refuse = lambda path, body: (403, "security_exception") if path == "/_render/template" else None
    got = reranking(engine).search_template(index="books", body={"id": "t"})
    assert (got["rerank"]["status"], "403" in got["rerank"]["reason"]) == ("skipped", True)
    assert engine.requests[-1][1:] == ("/books/_search/template", {}, {"id": "t"})
    with pytest.raises(RequestError, match=r"unknown key rerank\.windo"):
        reranking(books()).search_template(index="books", body={"id": "t", "rerank": {"windo": 1}})
    assert "rerank" not in reranking(books(), mode="off").search_template(index="books", body={"id": "t"})
    absent = books()
    absent.refuse = lambda path, body: (404, "resource_not_found_exception")
    with pytest.raises(NotFoundError):
        reranking(absent).search_template(index="books", body={"id": "t"})
