"""The drop-in client is opensearch-py's: its class, its helpers, its DSL, its import time."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import opensearchpy
import pytest
from opensearchpy import helpers

from fakes_library import GRAPH, books, ids, pipeline, reranking
from fakes_search import FakeRanker, SearchEngine, _Connection
from rerank_plugin import OpenSearch, Rerank, wrap
from rerank_plugin.client.pipeline import Pipeline
from rerank_plugin.errors import ConfigError


def dropped_in(engine: SearchEngine, **settings: Any) -> OpenSearch:
    client = OpenSearch(
        [{"host": "fake", "engine": engine}], connection_class=_Connection, max_retries=0, rerank=settings or None
    )
    client.transport.pipeline._ranker = FakeRanker()
    return client


def test_the_class_takes_what_the_plain_one_takes_and_reranks() -> None:
    client = dropped_in(books(), window=10)
    assert isinstance(client, opensearchpy.OpenSearch)
    assert ids(client.search(index="books", body={"query": GRAPH, "size": 1})) == ["b14"]
    assert repr(client).startswith("<OpenSearch([{")
    assert client.transport.max_retries == 0
    assert copy.copy(client.transport).inner is client.transport.inner
    client.close()


def test_settings_are_checked_at_construction(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="window must be a whole number"):
        OpenSearch("localhost", rerank={"window": 0})
    with pytest.raises(ConfigError, match=r"unknown setting rerank\.windw"):
        wrap(books().client(), {"windw": 3})
    monkeypatch.setenv("RERANK_MODE", "loud")
    with pytest.raises(ConfigError, match="RERANK_MODE"):
        OpenSearch("localhost")


def test_false_switches_it_off() -> None:
    client = OpenSearch([{"host": "fake", "engine": books()}], connection_class=_Connection, rerank=False)
    assert "rerank" not in client.search(index="books", body={"query": GRAPH})


def test_wrap_gives_a_new_client_of_the_same_class_and_leaves_the_old_one() -> None:
    class Own(opensearchpy.OpenSearch):
        pass

    engine = books()
    plain = Own([{"host": "fake", "engine": engine}], connection_class=_Connection)
    wrapped = wrap(plain, pipeline=pipeline(window=10))
    assert type(wrapped) is Own
    assert wrapped is not plain
    assert wrapped.transport.connection_pool is plain.transport.connection_pool
    assert "rerank" not in plain.search(index="books", body={"query": GRAPH})
    assert wrapped.search(index="books", body={"query": GRAPH})["rerank"]["status"] == "applied"
    assert wrapped.indices.client is wrapped
    assert wrapped.plugins.ubi.client is wrapped
    assert wrapped.http.client is wrapped
    assert (plain.indices.client, plain.plugins.ubi.client) == (plain, plain)
    answer = wrapped.http.post("/books/_search", body={"query": GRAPH, "size": 1})
    assert answer["rerank"]["status"] == "applied"


def test_wrapping_twice_reranks_once_by_the_new_settings() -> None:
    first = reranking(books(), window=10)
    second = wrap(first, pipeline=pipeline(window=4))
    assert second.transport.inner is first.transport.inner
    assert second.search(index="books", body={"query": GRAPH})["rerank"]["window"] == 4
    assert first.search(index="books", body={"query": GRAPH})["rerank"]["window"] == 10


def test_the_dsl_works_through_it() -> None:
    client = reranking(books(), window=10)
    search = opensearchpy.Search(using=client, index="books").query("match", text="graph")[:3]
    search = search.highlight("text").source(["title"])
    response = search.execute()
    assert [hit.meta.id for hit in response] == ["b14", "b13", "b11"]
    assert response.rerank.status == "applied"
    assert response[0].title == "Book 14"
    assert response[0].meta.rerank.retrieval_rank == 10
    assert list(response[0].meta.highlight.text) == ["<em>b14</em>"]
    several = opensearchpy.MultiSearch(using=client, index="books").add(search).add(search[:1]).execute()
    assert [len(each) for each in several] == [3, 1]


def test_the_helpers_work_through_it() -> None:
    engine = books(0)
    client = reranking(engine)
    actions = ({"_index": "books", "_id": str(number), "text": "graph " * number} for number in range(1, 8))
    assert helpers.bulk(client, actions) == (7, [])
    assert ids(client.search(index="books", body={"query": GRAPH, "size": 2})) == ["7", "6"]
    pages: list[Any] = [{"hits": {"hits": []}, "_scroll_id": "s"}]
    engine.refuse = lambda path, body: None
    inner, perform = client.transport.inner, client.transport.inner.perform_request

    def scrolling(method: str, path: str, **rest: Any) -> Any:
        if path.startswith("/_search/scroll"):
            return pages.pop(0) if pages else {}
        return {**perform(method, path, **rest), "_scroll_id": "s"}

    inner.perform_request = scrolling
    found = [hit["_id"] for hit in helpers.scan(client, index="books", query={"query": GRAPH}, size=50)]
    assert sorted(found) == ["1", "2", "3", "4", "5", "6", "7"]


def test_the_model_is_opened_at_the_first_search_and_once() -> None:
    opened: list[Rerank] = []

    def load(settings: Rerank) -> FakeRanker:
        opened.append(settings)
        return FakeRanker()

    client = wrap(books().client(), pipeline=Pipeline(Rerank(window=7), load=load))
    assert opened == []
    for _ in range(3):
        client.search(index="books", body={"query": GRAPH})
    assert [each.window for each in opened] == [7]


def test_the_embedded_engine_is_a_host(tmp_path: Path) -> None:
    pytest.importorskip("tantivy", reason="needs the extra embedded")
    client = OpenSearch(f"embedded:{tmp_path}", rerank={"window": 3})
    assert isinstance(client, OpenSearch)
    assert client.info()["version"]["number"]


IMPORT = """
import sys, time
start = time.perf_counter(); import opensearchpy; theirs = time.perf_counter() - start
start = time.perf_counter(); from rerank_plugin import OpenSearch, wrap, Rerank, Weights
ours = time.perf_counter() - start
unwanted = {"numpy", "onnxruntime", "torch", "faiss", "pydantic", "tantivy", "tokenizers", "scipy", "rich", "click"}
heavy = sorted({name.split(".")[0] for name in sys.modules} & unwanted)
print(f"{theirs * 1000:.0f} {ours * 1000:.0f} {','.join(heavy) or 'none'}")
"""


def test_importing_the_client_costs_little_and_loads_nothing_heavy() -> None:
    told = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True).stdout.split()
    print(f"import: opensearch-py {told[0]} ms, ours on top {told[1]} ms")  # noqa: T201  shown by pytest -s
    assert told[2] == "none"
