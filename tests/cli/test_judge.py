"""``rerank evaluate`` with every arm, on the bundled corpus: the embedded engine, the shipped model and real files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import opensearchpy
import pytest
from click.testing import CliRunner, Result

from indexer.cli import commands as indexer
from rerank_plugin.cli.main import main
from rerank_plugin.demo_data import DIRECTORY
from rerank_plugin.evaluation.compare import read_per_query
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
    again = evaluated(demo, tmp_path / "b", *vectors, *arms("bm25", "sum", "rerank"))
    for name in again["arms"]:
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
    (tmp_path / "s.json").write_text('{"mode": "shadow", "indices": {"de*": {"window": 5, "dense": "off"}}}')
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
        (["--settings", "none.json"], "the settings file none.json cannot be read"),
        (["--split", "dev"], "dev.tsv"),
        (["--sweep", "speed"], "what can be swept is window, deadline_ms, weights"),
        (["--arm", "rerank:diversify=mmr"], "needs --vectors: diversity is measured between vectors"),
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


def test_sweeps_blend_exactly_what_the_client_would_have_returned(demo, tmp_path):
    given = "authority=1.0+freshness=0.25"
    wanted = arms("bm25", "rerank", f"rerank:as=given,weights={given}")
    sweeps = ["--sweep", "window=5,100", "--sweep", "deadline_ms=10000", "--sweep", "weights=30"]
    result = evaluated(demo, tmp_path, "--vectors", str(demo / "vectors"), *wanted, *sweeps)
    swept = result["sweeps"]
    assert [row["value"] for row in swept["window"]] == [5, 100]
    assert swept["window"][1]["nDCG@10"] == result["arms"]["rerank"]["nDCG@10"]
    assert swept["deadline_ms"][0]["statuses"] == {"applied": 40}
    assert len(swept["weights"]["points"]) == 30
    assert set(swept["weights"]["front"]) == {"authority", "freshness", "novelty", "popularity"}
    assert all(0 < area < 1 for area in swept["weights"]["hypervolume"].values())
    for point, weights in ((3, "authority=1.0"), (0, "authority=0")):
        asked = evaluated(
            *(demo, tmp_path / "one", "--vectors", str(demo / "vectors")),
            *arms("bm25", f"rerank:as=given,weights={weights}"),
        )["arms"]["given"]
        blended = swept["weights"]["points"][point]
        assert blended["nDCG@10"] == pytest.approx(asked["nDCG@10"], abs=1e-12)
        for factor, mean in blended["factors@10"].items():
            assert mean == pytest.approx(asked["factors@10"][factor], abs=1e-12)
    assert (tmp_path / "report.html").read_text().count("<circle") == 4 * 30


def test_diversity_is_a_last_step_that_costs_what_it_says(demo, tmp_path):
    wanted = [
        f"rerank:as={method}-{share},diversify={method},trade=0.{share}"
        for method in ("mmr", "xquad")
        for share in (0, 6)
    ]
    result = evaluated(demo, tmp_path, "--vectors", str(demo / "vectors"), *arms("bm25", "rerank", *wanted))["arms"]
    for method in ("mmr", "xquad"):
        plain, same, diverse = (result[name] for name in ("rerank", f"{method}-0", f"{method}-6"))
        assert (same["nDCG@10"], same["diversity@10"]) == (plain["nDCG@10"], plain["diversity@10"])
        assert diverse["diversity@10"] > plain["diversity@10"] + 0.005
        assert diverse["R@100"] == plain["R@100"]
    before, after = (read_trec(tmp_path / "runs" / f"{name}.run").ids("d01") for name in ("rerank", "mmr-6"))
    assert (sorted(before), before[0], before != after) == (sorted(after), after[0], True)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The bundled queries as a log: a text a line, one of them twice."""
    queries = [json.loads(line)["text"] for line in (DIRECTORY / "queries.jsonl").read_text().splitlines()]
    path = tmp_path / "log.txt"
    path.write_text("\n".join([*queries, queries[0].upper()]) + "\n", encoding="utf-8")
    return path


def test_without_judgments_it_says_what_changes_and_the_list_comes_back(demo, tmp_path, log):
    vectors = ["--vectors", str(demo / "vectors")]
    finished = evaluate(demo, tmp_path / "to", "--queries", str(log), *vectors, "--judge", "3", "--json")
    assert finished.exit_code == 0, finished.output
    result = json.loads(finished.stdout)
    assert (result["queries"], list(result["arms"])) == (40, ["bm25", "dense", "fused", "rerank"])
    row = next(each for each in result["changes"] if (each["baseline"], each["candidate"]) == ("bm25", "rerank"))
    assert 0.3 < row["overlap@10"] < 0.9
    assert 0 < row["first_changed"] < 1
    assert (result["judging"]["queries"], result["judging"]["rows"] > 10) == (3, True)
    report = (tmp_path / "to" / "report.html").read_text()
    assert "of bm25&#39;s first 10 hits" in report
    assert report.count('class="pair"') == 6
    judging = Path(result["judging"]["csv"])
    rows = judging.read_text().splitlines()
    assert rows[0] == "query,docid,title,rating"
    judging.write_text("\n".join([rows[0], *(f"{each}{place % 3}" for place, each in enumerate(rows[1:]))]) + "\n")
    back = evaluate(demo, tmp_path / "back", "--queries", str(log), "--qrels", str(judging), *vectors, "--json")
    assert back.exit_code == 0, back.output
    judged = json.loads(back.stdout)
    assert (judged["queries"], judged["unjudged"]) == (3, 38)
    assert judged["arms"]["rerank"]["Judged@10"] == judged["arms"]["bm25"]["Judged@10"] == 1.0


def test_without_judgments_a_table_is_printed_and_conditions_on_the_cost_still_hold(demo, tmp_path, log):
    checks = ["--fail-if", "rerank.fallbacks > 0", "--fail-if", "rerank.p95 > 0"]
    finished = evaluate(demo, tmp_path, "--queries", str(log), "--limit", "4", *checks)
    assert finished.exit_code == 3
    assert "4 queries without judgments" in finished.output
    assert "Failed: rerank.p95 > 0" in finished.output
    assert "--qrels" in finished.output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--arm", "bm25"], "nothing to say of one arm alone"),
        (["--arm", "bm25", "--arm", "sum"], "the arm sum learns from judgments; give --teach"),
        (["--fail-if", "rerank.nDCG@10 < 1"], "'rerank.nDCG@10' is none of"),
        (["--qrels", "none.csv"], "none.csv does not exist"),
        (["--sweep", "weights"], "--sweep needs judgments"),
    ],
)
def test_what_needs_judgments_is_refused_without_them(demo, tmp_path, log, arguments, told):
    finished = evaluate(demo, tmp_path / "to", "--queries", str(log), *arguments)
    assert finished.exit_code == 1
    assert told in finished.output
    assert finished.output.count("\n") == 1


def test_judgments_are_converted_and_judge_the_same(demo, tmp_path):
    before = json.loads((demo / "result.json").read_text())["arms"]["bm25"]["nDCG@10"]
    for form in ("quepid", "workbench", "rank_eval"):
        finished = rerank("convert", "--dataset", str(DIRECTORY), "--to", form, "--out", str(tmp_path / form), "--json")
        assert finished.exit_code == 0, finished.output
        told = json.loads(finished.stdout)
        assert (told["queries"], told["judgments"]) == (40, 284)
        files = ["--queries", told["files"][0], "--qrels", told["files"][-1]]
        again = evaluate(demo, tmp_path / f"{form}-judged", *files, "--arm", "bm25", "--json")
        assert json.loads(again.stdout)["arms"]["bm25"]["nDCG@10"] == before, form
    refused = rerank("convert", "--dataset", str(DIRECTORY), "--to", "xml", "--out", str(tmp_path))
    assert (refused.exit_code, "--to xml is no form; it is one of beir" in refused.output) == (1, True)


@pytest.fixture(scope="module")
def on_opensearch(opensearch_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """URL and index of the bundled corpus on a real OpenSearch."""
    index = f"judge-{uuid4().hex[:8]}"
    load = ["load", "--engine", opensearch_url, "--index", index, "--docs", str(DIRECTORY), "--now", NOW]
    rejects = ["--rejects", str(tmp_path_factory.mktemp("rejects") / "r.jsonl")]
    assert CliRunner().invoke(indexer, [*load, *rejects]).exit_code == 0
    yield opensearch_url, index
    opensearchpy.OpenSearch(opensearch_url).indices.delete(index=index)


def test_an_engines_own_rank_eval_says_the_same(on_opensearch, tmp_path):
    """The body we write, run by a real OpenSearch, whose nDCG has the exponential gain.

    Of a query with fewer than ten hits it cuts the best order to as many, so a single good hit is perfect there: such
    queries are left out.
    """
    url, index = on_opensearch
    options = ["--dataset", str(DIRECTORY), "--to", "rank_eval", "--index", index, "--out", str(tmp_path)]
    assert rerank("convert", *options).exit_code == 0
    body = json.loads((tmp_path / "rank_eval.json").read_text())
    theirs = opensearchpy.OpenSearch(url).rank_eval(index=index, body=body)
    judged = ["--dataset", str(DIRECTORY), "--arm", "bm25", "--gain", "exponential", "--out", str(tmp_path / "to")]
    ours = rerank("evaluate", "--engine", url, "--index", index, *judged, "--json")
    assert ours.exit_code == 0, ours.output
    values = read_per_query(tmp_path / "to" / "per_query.json")["nDCG@10"]["bm25"]
    scores = {query: found["metric_score"] for query, found in theirs["details"].items() if len(found["hits"]) == 10}
    assert len(scores) > 25
    assert {query: values[query] for query in scores} == pytest.approx(scores, abs=1e-9)


def test_a_real_engine_finds_exactly_the_candidates_of_a_run(on_opensearch, demo, tmp_path):
    url, index = on_opensearch
    run = demo / "runs" / "dense.run"
    asked = ["--dataset", str(DIRECTORY), "--first-stage-run", str(run), "--now", NOW, "--limit", "10"]
    wanted = arms("bm25", "rerank", "rerank:as=three,window=3,dense=off")
    finished = rerank("evaluate", "--engine", url, "--index", index, *asked, *wanted, "--out", str(tmp_path), "--json")
    assert finished.exit_code == 0, finished.output
    result = json.loads(finished.stdout)
    assert result["versions"]["engine"].startswith("opensearch 3.")
    assert result["arms"]["rerank"]["statuses"] == {"applied": 10}
    before, after, three = (
        read_trec(each) for each in (run, *(tmp_path / "runs" / f"{name}.run" for name in ("rerank", "three")))
    )
    for query in after.found:
        assert set(after.ids(query)) == set(before.ids(query))
        assert set(three.ids(query)[:3]) == set(before.ids(query)[:3])
        assert three.ids(query)[3:] == before.ids(query)[3:]  # beyond the window: the run's own order, by its scores
    refused = rerank(
        "evaluate", "--engine", url, "--index", index, *asked[:2], "--arm", "hybrid", "--out", str(tmp_path)
    )
    assert (refused.exit_code, "has no vector field" in refused.output) == (1, True)
