"""The default signal settings on real collections: which signals they find, and whether they mean something."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from fakes_engine import FakeEngine
from indexer.load import LoadJob, load
from indexer.progress import Silent

pytestmark = pytest.mark.data
NOW = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "written", "problems", "coverage"),
    [
        ("cacm", 3204, {}, {"authority": 1.0, "freshness": 1.0, "popularity": 0.0}),
        ("stackexchange", 5670, {"no_text": 42}, {"authority": 0.4506, "freshness": 1.0, "popularity": 1.0}),
        ("peps", 736, {}, {"authority": 1.0, "freshness": 1.0, "popularity": 0.0}),
        ("cranfield", 1398, {"no_text": 2}, {"authority": 0.0, "freshness": 0.8577, "popularity": 0.0}),
        ("hackernews", 20100, {}, {"authority": 0.0, "freshness": 1.0, "popularity": 1.0}),
    ],
)
def test_what_is_found_without_any_settings(collection, tmp_path, name, written, problems, coverage):
    job = LoadJob(
        index=name,
        docs=str(collection(name)),
        now=NOW,
        rejects=tmp_path / "r.jsonl",
        state=tmp_path / "state.json",
        run_id="r",
    )
    report = load(job, FakeEngine().client(), None, Silent())
    assert (report.written, dict(report.problems)) == (written, problems)
    found = {factor: account["coverage"] for factor, account in report.signals.items() if factor != "novelty"}
    assert found == coverage


def test_authority_orders_cacm_as_its_own_citation_counts_do(collection, tmp_path):
    stats = pytest.importorskip("scipy.stats")
    engine = FakeEngine()
    job = LoadJob(
        index="cacm",
        docs=str(collection("cacm")),
        now=NOW,
        rejects=tmp_path / "r.jsonl",
        state=tmp_path / "state.json",
        run_id="r",
    )
    report = load(job, engine.client(), None, Silent())
    documents = list(engine.documents["cacm"].values())
    authority = [each["rerank"]["authority"] for each in documents]
    counts = [each["metadata"]["cited_by_count"] for each in documents]
    assert report.signals["authority"]["links"] == 2720
    # The counts come from the source, PageRank from links that were directed by date: .957 when this was written.
    assert float(stats.spearmanr(authority, counts).statistic) > 0.94
    best = max(documents, key=lambda each: float(each["rerank"]["authority"]))
    assert best["title"] == "Revised Report on the Algorithmic Language ALGOL 60"
