"""The same searches on a real OpenSearch, through the drop-in client: the embedded engine is no world of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import opensearchpy
import pytest

from main_job.conftest import INDEXER, RERANK, Job, run_json
from rerank_plugin import OpenSearch
from rerank_plugin.evaluation.runs import read_trec

INDEX = "main-job-cacm"

pytestmark = [pytest.mark.data, pytest.mark.engine]


@pytest.fixture(scope="module")
def on_opensearch(
    opensearch_url: str, collection: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Job]:
    """CACM loaded into a real OpenSearch and evaluated there."""
    out = tmp_path_factory.mktemp("opensearch-cacm")
    engine = ["--engine", opensearch_url, "--index", INDEX, "--vectors", str(out / "vectors"), "--now", "2026-01-01"]
    rejects = ["--rejects", str(out / "rejects.jsonl")]
    loaded = run_json(*INDEXER, "load", *engine, "--docs", str(collection("cacm")), *rejects, "--recreate", "--json")
    assert loaded["written"] == 3204
    judged = ["--dataset", str(collection("cacm")), "--arm", "bm25", "--arm", "rerank", "--out", str(out / "report")]
    yield Job(out / "report", run_json(*RERANK, "evaluate", *engine, *judged, "--json"))
    opensearchpy.OpenSearch(opensearch_url).indices.delete(index=INDEX)


@pytest.mark.parametrize("arm", ["bm25", "rerank"])
def test_quality_is_within_three_percent_of_the_embedded_engine(
    arm: str, on_opensearch: Job, main_job: Callable[[str], Job]
) -> None:
    ours = main_job("cacm").result["arms"][arm]["nDCG@10"]
    assert on_opensearch.result["arms"][arm]["nDCG@10"] == pytest.approx(ours, rel=0.03)


@pytest.mark.parametrize("arm", ["bm25", "rerank"])
def test_the_first_ten_are_mostly_the_same(arm: str, on_opensearch: Job, main_job: Callable[[str], Job]) -> None:
    there, here = (_top_ten(job, arm) for job in (on_opensearch, main_job("cacm")))
    assert there.keys() == here.keys()
    overlaps = [len(there[query] & here[query]) / max(len(here[query]), 1) for query in here]
    assert sum(overlaps) / len(overlaps) >= 0.8


def test_every_search_was_reranked(on_opensearch: Job) -> None:
    assert on_opensearch.result["arms"]["rerank"]["fallbacks"] == 0
    assert on_opensearch.result["versions"]["engine"].startswith("opensearch 3.")


def test_the_import_line_is_all_an_application_swaps(on_opensearch: Job, opensearch_url: str) -> None:
    """The same call on both clients: ours reorders the window and changes nothing else."""
    body: dict[str, Any] = {"query": {"match": {"content": "time sharing operating system"}}, "size": 10}
    plain = opensearchpy.OpenSearch(opensearch_url).search(index=INDEX, body={**body, "size": 100})
    ours = OpenSearch(opensearch_url, rerank={"now": "2026-01-01"}).search(index=INDEX, body=body)
    assert ours["rerank"]["status"] == "applied"
    assert ours["hits"]["total"] == plain["hits"]["total"]
    sources = {hit["_id"]: hit["_source"] for hit in plain["hits"]["hits"]}
    assert [hit["_source"] for hit in ours["hits"]["hits"]] == [sources[hit["_id"]] for hit in ours["hits"]["hits"]]
    finals = [hit["_score"] for hit in ours["hits"]["hits"]]
    assert finals == sorted(finals, reverse=True)
    assert [hit["_id"] for hit in ours["hits"]["hits"]] != [hit["_id"] for hit in plain["hits"]["hits"][:10]]


def _top_ten(job: Job, arm: str) -> dict[str, set[str]]:
    run = read_trec(Path(job.result["arms"][arm]["run"]))
    return {query: set(run.ids(query)[:10]) for query in run.found}
