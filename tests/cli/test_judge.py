"""``rerank evaluate`` with every arm, on the bundled corpus: the embedded engine, the shipped model and real files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from rerank_plugin.cli.main import main
from rerank_plugin.demo_data import DIRECTORY
from rerank_plugin.evaluation.runs import read_trec

NOW = "2026-01-01T00:00:00Z"


def rerank(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished demo of the bundled corpus."""
    folder = tmp_path_factory.mktemp("judge") / "demo"
    finished = rerank("demo", "--out", str(folder), "--now", NOW, "--json")
    assert finished.exit_code == 0, finished.output
    return folder


def evaluate(demo: Path, to: Path, *arguments: str) -> Result:
    engine = ("--engine", f"embedded:{demo / 'engine'}", "--index", "demo", "--now", NOW)
    return rerank("evaluate", *engine, "--out", str(to), *arguments)


def evaluated(demo: Path, to: Path, *arguments: str) -> dict[str, Any]:
    finished = evaluate(demo, to, "--dataset", str(DIRECTORY), *arguments, "--json")
    assert finished.exit_code == 0, finished.output
    found: dict[str, Any] = json.loads(finished.stdout)
    return found


def arms(*names: str) -> list[str]:
    return [each for name in names for each in ("--arm", name)]


def test_the_rivals_stand_beside_reranking_and_meet_it(demo, tmp_path):
    vectors = ["--vectors", str(demo / "vectors")]
    saved = ["--run", f"saved={demo / 'runs' / 'dense.run'}"]
    wanted = arms("bm25", "fused", "sum", "lightgbm", "rerank")
    result = evaluated(demo, tmp_path / "a", *vectors, *wanted, *saved)
    first = json.loads((demo / "result.json").read_text())
    assert list(result["arms"]) == ["bm25", "fused", "sum", "lightgbm", "rerank", "saved"]
    for name, before in (("bm25", "bm25"), ("fused", "fused"), ("rerank", "rerank"), ("saved", "dense")):
        assert result["arms"][name]["nDCG@10"] == first["arms"][before]["nDCG@10"], name
        assert result["arms"][name]["factors@10"] == first["arms"][before]["factors@10"], name
    assert result["arms"]["saved"]["latency_ms"] == {"p50": None, "p95": None, "p99": None}
    assert "5 folds" in result["arms"]["sum"]["note"]
    for learned in ("sum", "lightgbm"):  # they order what fusion found
        ids, fused = (read_trec(tmp_path / "a" / "runs" / f"{name}.run").ids("d01") for name in (learned, "fused"))
        assert (sorted(ids), list(ids) != list(fused)) == (sorted(fused), True)
    pairs = {(row["baseline"], row["candidate"]) for row in result["comparisons"]}
    assert {(rival, "rerank") for rival in ("fused", "sum", "lightgbm", "saved")} <= pairs
    row = result["comparisons"][0]
    assert row["p_ttest_holm"] >= row["p_ttest"]
    assert row["ci95_bootstrap"][0] < row["delta"] < row["ci95_bootstrap"][1]
    assert set(result["checksums"]) == {"queries", "qrels", "model", "vectors"}
    assert all(0 < arm["diversity@10"] < 1 and 0 < arm["Judged@10"] <= 1 for arm in result["arms"].values())
    again = evaluated(demo, tmp_path / "b", *vectors, *wanted)
    for name in wanted[1::2]:
        assert (tmp_path / "b" / "runs" / f"{name}.run").read_text() == (
            tmp_path / "a" / "runs" / f"{name}.run"
        ).read_text()
    assert again["arms"]["sum"]["note"] == result["arms"]["sum"]["note"]


def test_reranking_the_candidates_of_a_run_keeps_them_and_their_scores(demo, tmp_path):
    run = demo / "runs" / "dense.run"
    options = ["--first-stage-run", str(run), "--measure", "nDCG@20", "--gain", "exponential"]
    result = evaluated(demo, tmp_path, *arms("bm25", "rerank"), *options)
    assert list(result["arms"]) == ["bm25", "rerank", "first-stage"]
    assert result["arms"]["rerank"]["statuses"] == {"applied": 40}
    assert (result["gain"], "nDCG@20" in result["arms"]["bm25"]) == ("exponential", True)
    assert result["arms"]["bm25"]["diversity@10"] is None
    assert ("first-stage", "rerank") in {(row["baseline"], row["candidate"]) for row in result["comparisons"]}
    before, after = read_trec(run), read_trec(tmp_path / "runs" / "rerank.run")
    assert all(set(after.ids(query)) == set(before.ids(query)) for query in before.found)
    assert any(after.ids(query) != before.ids(query) for query in before.found)
    assert set(result["checksums"]) == {"queries", "qrels", "first_stage_run", "model"}


def test_rivals_learn_from_other_queries_where_there_are_some(demo, tmp_path):
    rows = (DIRECTORY / "qrels" / "test.tsv").read_text().splitlines()
    mine, others = tmp_path / "mine.tsv", tmp_path / "others.tsv"
    mine.write_text("\n".join(row for row in rows if row.startswith("d0")) + "\n")
    others.write_text("\n".join(row for row in rows[1:] if not row.startswith("d0")) + "\n")
    files = ["--queries", str(DIRECTORY / "queries.jsonl"), "--qrels", str(mine), "--teach", str(others)]
    finished = evaluate(demo, tmp_path / "to", *files, *arms("bm25", "sum"), "--json")
    assert finished.exit_code == 0, finished.output
    result = json.loads(finished.stdout)
    assert (result["queries"], result["unjudged"]) == (9, 31)
    assert "learned from 31 queries of others.tsv" in result["arms"]["sum"]["note"]


def test_settings_come_from_a_file(demo, tmp_path):
    (tmp_path / "s.json").write_text('{"window": 5, "dense": "off"}')
    options = ["--settings", str(tmp_path / "s.json"), "--limit", "3"]
    result = evaluated(demo, tmp_path / "to", *arms("bm25", "rerank"), *options)
    words, ours = (read_trec(tmp_path / "to" / "runs" / f"{name}.run").ids("d01") for name in ("bm25", "rerank"))
    assert sorted(words[:5]) == sorted(ours[:5])
    assert words[5:] == ours[5:]
    assert "settings" in result["checksums"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--arm", "hybrid"], "the index has no vector field"),
        (["--arm", "run:file=none.run"], "none.run does not exist"),
        (["--run", "none.run"], "--run is written NAME=FILE"),
        (["--first-stage-run", "none.run"], "none.run does not exist"),
        (["--arm", "sum", "--limit", "1"], "give at least 2 queries"),
        (["--measure", "beauty@10"], "'beauty@10' is no measure"),
        (["--settings", "none.json"], "--settings none.json does not exist"),
        (["--split", "dev"], "dev.tsv"),
    ],
)
def test_what_cannot_be_judged_is_one_line_before_any_query(demo, tmp_path, arguments, told):
    finished = evaluate(demo, tmp_path / "to", "--dataset", str(DIRECTORY), *arguments)
    assert finished.exit_code == 1
    assert told in finished.output
    assert finished.output.startswith("Error: ")
    assert finished.output.count("\n") == 1
    assert list(tmp_path.rglob("*.*")) == []


def test_a_run_of_other_queries_is_refused(demo, tmp_path):
    (tmp_path / "other.run").write_text("q1 Q0 d1 1 2.0 x\n")
    finished = evaluate(
        demo, tmp_path / "to", "--dataset", str(DIRECTORY), "--first-stage-run", str(tmp_path / "other.run")
    )
    assert (finished.exit_code, "has none of the queries" in finished.output) == (1, True)
