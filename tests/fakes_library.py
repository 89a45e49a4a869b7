"""A small library in the fake engine, and clients of it that rerank with fakes: what the client's tests share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from opensearchpy import OpenSearch

from fakes_search import FakeRanker, SearchEngine, Source
from rerank_plugin.client.dense import Dense
from rerank_plugin.client.opensearch import wrap
from rerank_plugin.client.pipeline import Pipeline
from rerank_plugin.config import Rerank
from rerank_plugin.domain.index_meta import IndexMeta, VectorsMeta
from rerank_plugin.ranking.types import Ranker

NOON = datetime(2026, 1, 1, 12, 34, 56, tzinfo=UTC)
META = IndexMeta(
    reference_time=NOON,
    half_life_days=100.0,
    text_fields=("title", "text"),
    vectors=VectorsMeta(name="books", checksum="c0ffee", model="fake@1", dimensions=3),
).to_json()
#: A query for the word that every matching book of the library holds.
GRAPH = {"match": {"text": "graph"}}
#: What people write after ``_source``, for documents of the library.
SOURCE_OPTIONS: list[Any] = [
    True,
    False,
    "title",
    ["title"],
    ["title", "tenant"],
    "text",
    "rerank",
    "rerank.authority",
    "*.name",
    "parts",
    "parts.name",
    "t*",
    "absent",
    [],
    {"includes": ["title"]},
    {"excludes": ["text"]},
    {"excludes": ["rerank"]},
    {"excludes": ["rerank.*"]},
    {"excludes": ["*"]},
    {"excludes": ["t*"]},
    {"excludes": ["parts.pages", "tenant"]},
    {"includes": ["parts", "rerank"], "excludes": ["*.name", "rerank.authority"]},
    {"includes": ["*"], "excludes": ["title"]},
]


def library(count: int = 30) -> dict[str, Source]:
    """Books b1, b2, ... of growing length: the engine prefers the first ones, ``longer_is_better`` the last ones.

    Every third is about something else and does not match ``GRAPH``.
    """
    books: dict[str, Source] = {}
    for number in range(1, count + 1):
        word = "cooking" if number % 3 == 0 else "graph"
        books[f"b{number}"] = {
            "title": f"Book {number}",
            "text": f"{word} " + "x" * number,
            "tenant": number % 2,
            "parts": [{"name": "one", "pages": number}, {"name": "two"}],
            "rerank": {"authority": number / count, "published_at": "2025-09-23T12:34:56Z"},
        }
    return books


class Ticking:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def pipeline(
    ranker: Ranker | None = None, *, vector_index: Dense | None = None, clock: Any = None, **settings: Any
) -> Pipeline:
    """A pipeline with a fake ranker, its wall clock at ``NOON``."""
    return Pipeline(
        Rerank.of(settings),
        ranker=ranker or FakeRanker(),
        dense=vector_index,
        clock=clock or Ticking(),
        wall=lambda: NOON,
    )


def reranking(engine: SearchEngine, ranker: Ranker | None = None, **settings: Any) -> OpenSearch:
    """A client of the engine that reranks with a fake ranker."""
    return wrap(engine.client(), pipeline=pipeline(ranker, **settings))


def books(count: int = 30, *, meta: bool = True) -> SearchEngine:
    """An engine that holds the library, enriched unless told otherwise."""
    return SearchEngine({"books": library(count)}, metas={"books": META} if meta else {})


def ids(response: Any) -> list[str]:
    """The ids of the hits in their order."""
    return [hit["_id"] for hit in response["hits"]["hits"]]


def scores(response: Any) -> list[float]:
    """The scores of the hits in their order."""
    return [hit["_score"] for hit in response["hits"]["hits"]]


def sources(response: Any) -> dict[str, Any]:
    """What each hit shows of its document."""
    return {hit["_id"]: hit.get("_source", "absent") for hit in response["hits"]["hits"]}
