"""What goes wrong on our side costs the new order and nothing else, on a real OpenSearch (DESIGN 6.1)."""

from __future__ import annotations

import math
import shutil
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from opensearchpy import OpenSearch, helpers

from fakes_library import GRAPH, META, ids, library
from fakes_search import BrokenRanker, FakeRanker
from rerank_plugin.client.opensearch import wrap
from rerank_plugin.client.pipeline import Pipeline
from rerank_plugin.config import Rerank
from rerank_plugin.domain.candidate import Ranking
from rerank_plugin.models.folder import default_model_folder
from rerank_plugin.ranking.types import Ranker, RankRequest

BODY: dict[str, Any] = {
    "query": GRAPH,
    "from": 2,
    "size": 6,
    "highlight": {"fields": {"text": {}}},
    "aggs": {"tenants": {"terms": {"field": "tenant"}}},
}


@dataclass(frozen=True)
class Shelf:
    client: OpenSearch
    index: str

    def search(self, ranker: Ranker | None = None, **settings: Any) -> dict[str, Any]:
        client = wrap(self.client, pipeline=Pipeline(Rerank.of(settings), ranker=ranker))
        return client.search(index=self.index, body=BODY)

    def is_the_engines_own(self, response: dict[str, Any]) -> bool:
        """Equal to the plain client's but for the status and the time it took."""
        own = self.client.search(index=self.index, body=BODY)
        return {**response, "rerank": 0, "took": 0} == {**own, "rerank": 0, "took": 0}


@pytest.fixture(scope="module")
def shelf(opensearch_url: str) -> Iterator[Shelf]:
    client, index = OpenSearch(opensearch_url, pool_maxsize=64), f"faults-{uuid4().hex[:8]}"
    settings = {"number_of_shards": 1, "max_result_window": 120}
    client.indices.create(index=index, body={"settings": settings, "mappings": {"_meta": {"rerank": META}}})
    helpers.bulk(client, [{"_index": index, "_id": name, **book} for name, book in library(30).items()], refresh=True)
    yield Shelf(client, index)
    client.indices.delete(index=index)
    client.close()


class Hanging(FakeRanker):
    """Answers no earlier than told."""

    def __init__(self) -> None:
        super().__init__()
        self.told = threading.Event()

    def rank(self, requests: Sequence[RankRequest]) -> list[Ranking]:
        assert self.told.wait(60)
        return super().rank(requests)


def too_few(ranking: Ranking) -> Ranking:
    return replace(ranking, ranked=ranking.ranked[:-1])


@pytest.mark.parametrize(
    ("ranker", "reason"),
    [
        (BrokenRanker(ValueError("x")), "unforeseen ValueError"),
        (FakeRanker(lambda each: math.nan), "no numbers"),
        (BrokenRanker(change=too_few), "lost documents"),
        (BrokenRanker(), "answered 0 of 1"),
    ],
    ids=["raises", "NaN", "too few", "nothing"],
)
def test_a_scorer_that_fails(shelf: Shelf, ranker: FakeRanker, reason: str) -> None:
    response = shelf.search(ranker)
    assert response["rerank"]["status"] == "fallback"
    assert reason in response["rerank"]["reason"]
    assert shelf.is_the_engines_own(response)


def test_a_scorer_that_hangs(shelf: Shelf) -> None:
    ranker = Hanging()
    response = shelf.search(ranker, deadline_ms=50)
    assert "did not answer within" in response["rerank"]["reason"]
    assert shelf.is_the_engines_own(response)
    ranker.told.set()


@pytest.mark.parametrize("lost", ["the whole folder", "manifest.json", "tokenizer.json"])
def test_a_model_folder_that_vanishes(shelf: Shelf, tmp_path: Path, lost: str) -> None:
    folder = Path(shutil.copytree(default_model_folder(), tmp_path / "model"))
    client = wrap(shelf.client, rerank={"model": folder})
    if lost == "the whole folder":
        shutil.rmtree(folder)
    else:
        (folder / lost).unlink()
    response = client.search(index=shelf.index, body=BODY)
    assert response["rerank"]["status"] == "fallback"
    assert str(folder) in response["rerank"]["reason"]
    assert shelf.is_the_engines_own(response)


def test_a_model_folder_that_vanishes_once_the_model_is_open(shelf: Shelf, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(default_model_folder(), tmp_path / "model"))
    client = wrap(shelf.client, rerank={"model": folder})
    assert client.search(index=shelf.index, body=BODY)["rerank"]["status"] == "applied"
    shutil.rmtree(folder)
    assert client.search(index=shelf.index, body={**BODY, "size": 3})["rerank"]["status"] == "applied"


def test_a_deadline_of_a_millisecond_with_the_shipped_model(shelf: Shelf) -> None:
    """The first searches find the model closed; then nothing, or a little, is scored in time."""
    client = wrap(shelf.client, rerank={"deadline_ms": 1})
    own = shelf.client.search(index=shelf.index, body=BODY)
    said = [client.search(index=shelf.index, body=BODY) for _ in range(4)]
    assert {each["rerank"]["status"] for each in said} <= {"partial", "fallback"}
    assert all(each["hits"]["total"] == own["hits"]["total"] for each in said)
    assert all(each["aggregations"] == own["aggregations"] for each in said)
    assert all(len(ids(each)) == len(ids(own)) and "highlight" in each["hits"]["hits"][0] for each in said)
    assert all(ids(each) == ids(own) for each in said if not each["rerank"]["reranked"])


def test_64_searches_at_once(shelf: Shelf) -> None:
    ranker = Hanging()
    client = wrap(shelf.client, pipeline=Pipeline(Rerank(max_concurrent=32), ranker=ranker))
    with ThreadPoolExecutor(64) as pool:
        searches = [pool.submit(client.search, index=shelf.index, body=BODY) for _ in range(64)]
        refused = 0
        while refused < 32:  # those over the limit come back while the others are still at the model
            refused = sum(each.done() for each in searches)
        ranker.told.set()
        answers = [each.result(60) for each in searches]
    assert Counter(each["rerank"]["status"] for each in answers) == {"applied": 32, "fallback": 32}
    left = [each for each in answers if each["rerank"]["status"] == "fallback"]
    assert {each["rerank"]["reason"] for each in left} == {"overload: 32 windows are at the model, at most 32 may be"}
    assert all(shelf.is_the_engines_own(each) for each in left)
    assert {tuple(ids(each)) for each in answers if each["rerank"]["status"] == "applied"} == {
        tuple(f"b{number}" for number in (26, 25, 23, 22, 20, 19))
    }


@pytest.mark.parametrize("batched", [False, True])
def test_an_engine_that_refuses_the_rewritten_body(shelf: Shelf, batched: bool) -> None:
    """The window is larger than the index allows: the caller's own page is not."""
    client = wrap(shelf.client, pipeline=Pipeline(Rerank(window=200), ranker=FakeRanker()))
    if batched:
        response = client.msearch(index=shelf.index, body=[{}, BODY])["responses"][0]
    else:
        response = client.search(index=shelf.index, body=BODY)
    assert response["rerank"]["status"] == "fallback"
    assert response["rerank"]["reason"].startswith("the engine refused the rewritten search: 400")
    assert "Result window is too large" in response["rerank"]["reason"]
    response.pop("status", None)
    assert shelf.is_the_engines_own(response)
