"""The commands on a tiny collection through the embedded engine, the shipped model and the real indexer."""

from __future__ import annotations

import json
import re
import shutil
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from rerank_plugin.cli.main import main
from rerank_plugin.config import Rerank
from rerank_plugin.domain.factors import Weights
from rerank_plugin.evaluation.collection import read_beir
from rerank_plugin.evaluation.runs import read_trec
from rerank_plugin.models.folder import default_model_folder, update_manifest
from rerank_plugin.ranking.load import load_ranker
from rerank_plugin.wiring import Setup, calibration_windows

NOW = "2024-01-01T00:00:00Z"
#: id | title | year | ids it refers to | text
DOCUMENTS = """
d1 | Relational databases | 1970 | | A relational model stores data in tables and asks for it with a query language.
d2 | Page ranking | 1998 | d1 | Links between web pages say which pages matter; the rank of a page flows along links.
d3 | Sorting networks | 1968 | | A network of comparators sorts a sequence of numbers in few parallel steps.
d4 | Garbage collection | 1960 | | Memory that no pointer reaches is found and used again by a collector.
d5 | Public keys | 1976 | d3 | Two keys, one public and one secret, protect messages between strangers.
d6 | Time sharing | 1962 | | Many users work on one computer at the same moment, each in short slices of time.
d7 | Inverted index | 1992 | d1 d2 | A list of documents for each word answers a search over much text quickly.
d8 | Machine translation | 2015 | | A network reads a sentence and writes it in another language with attention.
d9 | Web search engines | 1999 | d2 d7 | Crawling, indexing and ranking pages makes a search over the web possible.
d10 | 搜索 | 2020 | | متن راست به چپ and emoji 😀 in one document about nothing in particular.
"""
QUERIES = {
    "q1": ("how do links between pages make a ranking", {"d2": 2, "d9": 1}),
    "q2": ("tables and query language for data", {"d1": 2}),
    "q3": ("freeing memory that is not used", {"d4": 2}),
    "q4": ("search over text by words", {"d7": 2, "d9": 1}),
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "qrels").mkdir()
    rows = [
        {"_id": doc, "title": title, "text": text, "metadata": {"date": year, "cites": links.split()}}
        for doc, title, year, links, text in (re.split(r" *\| *", line) for line in DOCUMENTS.strip().splitlines())
    ]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    asked = [{"_id": query, "text": text} for query, (text, _) in QUERIES.items()] + [{"_id": "q9", "text": "unjudged"}]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked), encoding="utf-8")
    judged = [f"{query}\t{doc}\t{grade}\n" for query, (_, grades) in QUERIES.items() for doc, grade in grades.items()]
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(judged))
    return folder


def rerank(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.fixture(scope="module")
def out(dataset: Path) -> Path:
    """A finished demo on the tiny collection."""
    folder = dataset / "out"
    finished = rerank("demo", "--dataset", str(dataset), "--out", str(folder), "--now", NOW)
    assert finished.exit_code == 0, finished.output
    (folder / "printed.txt").write_text(finished.stdout, encoding="utf-8")
    return folder


def engine_of(out: Path) -> list[str]:
    return ["--engine", f"embedded:{out / 'engine'}", "--index", "demo"]


def test_the_demo_leaves_report_result_runs_and_says_where(out):
    result = json.loads((out / "result.json").read_text())
    assert list(result["arms"]) == ["bm25", "dense", "fused", "rerank"]
    assert (result["queries"], result["unjudged"], result["now"]) == (4, 1, NOW)
    assert result["arms"]["rerank"]["statuses"] == {"applied": 4}
    assert result["arms"]["rerank"]["factors@10"]["authority"] is not None
    assert {(row["baseline"], row["candidate"]) for row in result["comparisons"]} == {
        ("bm25", "dense"),
        ("bm25", "fused"),
        ("bm25", "rerank"),
        ("fused", "rerank"),
    }
    assert result["arms"]["dense"]["nDCG@10"] > 0.8
    assert "Most helped" in (out / "report.html").read_text()
    assert len(read_trec(out / "runs" / "rerank.run").ids("q1")) == 10  # the vectors reach every document
    printed = (out / "printed.txt").read_text()
    assert f"Report: {out / 'report.html'}" in printed
    assert "rerank search --engine" in printed
    assert "illustration" not in printed


def test_a_second_demo_replaces_the_first_and_gives_the_same_runs(out, dataset):
    before = {path.name: path.read_bytes() for path in (out / "runs").iterdir()}
    finished = rerank("demo", "--dataset", str(dataset), "--out", str(out), "--now", NOW, "--json")
    assert finished.exit_code == 0, finished.output
    assert json.loads(finished.stdout) == json.loads((out / "result.json").read_text())
    assert {path.name: path.read_bytes() for path in (out / "runs").iterdir()} == before


def test_a_demo_touches_nothing_before_it_has_seen_the_dataset(out, tmp_path):
    finished = rerank("demo", "--dataset", str(tmp_path), "--out", str(out))
    assert finished.exit_code == 1
    assert "neither queries.jsonl" in finished.output
    assert (out / "result.json").is_file()


def test_a_search_shows_ranks_and_explains_them(out):
    finished = rerank("search", *engine_of(out), "--vectors", str(out / "vectors"), "--now", NOW, "links", "pages")
    assert finished.exit_code == 0, finished.output
    assert "Page ranking" in finished.output
    assert "reranking: applied" in finished.output
    explained = rerank("search", *engine_of(out), "--explain", "--weights", "authority=1", "--now", NOW, "links pages")
    assert "+authority" in explained.output
    assert "=z_final" in explained.output


def search_json(out: Path, *arguments: str) -> dict[str, Any]:
    finished = rerank("search", *engine_of(out), "--json", "--now", NOW, *arguments)
    assert finished.exit_code == 0, finished.output
    found: dict[str, Any] = json.loads(finished.stdout)
    return found


def test_search_json_is_the_engines_response_with_our_additions(out):
    response = search_json(out, "--size", "2", "--weights", "freshness=2", "--window", "7", "ranking pages")
    assert response["hits"]["total"]["value"] >= 2
    assert len(response["hits"]["hits"]) == 2
    assert response["rerank"]["status"] == "applied"
    assert response["rerank"]["window"] == 7
    assert response["rerank"]["weights"]["freshness"] == 2.0
    first = response["hits"]["hits"][0]["_rerank"]
    parts = [term["contribution"] for term in first["factors"].values()]
    assert 0 < first["final_score"] < 1
    assert len(parts) == 4


@pytest.mark.parametrize(
    "words", ["😀", "راست به چپ", "搜索", "nul\0byte", "\udcff", "the of and", "-- ? * (", "x" * 30_000]
)
def test_odd_queries_get_an_answer(out, words):
    assert search_json(out, "--", words)["rerank"]["status"] in {"applied", "skipped"}


def test_a_query_of_ten_thousand_words_is_answered_or_refused_in_a_line(out):
    finished = rerank("search", *engine_of(out), "--json", " ".join(f"word{number}" for number in range(10_000)))
    assert finished.exit_code in {0, 1}
    if finished.exit_code:
        assert finished.output.startswith("Error: ")
        assert finished.output.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["", " "], "the query is empty"),
        (["--index", "none", "words"], "no such index"),
        (["--weights", "beauty=1", "words"], "unknown factor 'beauty'"),
        (["--weights", "authority=9", "words"], "may sum to at most 4"),
        (["--fields", "body", "words"], "has no field body; it has"),
        (["--fields", ",", "words"], "at least one field"),
        (["--engine", "ftp://x", "words"], "embedded:PATH"),
        (["--engine", "http://127.0.0.1:9", "words"], "cannot be reached"),
        (["--vectors", "nowhere", "words"], "nowhere"),
    ],
)
def test_a_search_that_cannot_be_made_is_one_line(out, arguments, told):
    finished = rerank("search", *engine_of(out), *arguments)
    assert finished.exit_code == 1
    assert told in finished.output
    assert finished.output.startswith("Error: ")
    assert finished.output.count("\n") == 1


def evaluate(out: Path, dataset: Path, to: Path, *arguments: str) -> Result:
    return rerank(*("evaluate", *engine_of(out), "--dataset", str(dataset), "--now", NOW, "--out", str(to), *arguments))


def test_evaluate_repeats_the_demos_figures_and_adds_arms(out, dataset, tmp_path):
    arms = [each for arm in ("bm25", "rerank", "rerank:as=fresh,weights=freshness=4") for each in ("--arm", arm)]
    vectors = ["--vectors", str(out / "vectors")]
    finished = evaluate(out, dataset, tmp_path, *vectors, *arms, "--json")
    assert finished.exit_code == 0, finished.output
    result = json.loads(finished.stdout)
    demo = json.loads((out / "result.json").read_text())
    assert list(result["arms"]) == ["bm25", "rerank", "fresh"]
    for name in ("bm25", "rerank"):
        assert result["arms"][name]["nDCG@10"] == demo["arms"][name]["nDCG@10"]
        assert Path(result["arms"][name]["run"]).read_bytes() == (out / "runs" / f"{name}.run").read_bytes()
    fresh, plain = (read_trec(tmp_path / "runs" / f"{name}.run").ids("q1") for name in ("fresh", "rerank"))
    assert fresh.index("d8") < plain.index("d8")  # the newest document that the model can read climbs
    assert (tmp_path / "report.html").is_file()


def test_evaluate_takes_files_and_a_limit_and_prints_a_table(out, dataset, tmp_path):
    finished = rerank(
        *("evaluate", *engine_of(out), "--queries", str(dataset / "queries.jsonl")),
        *("--qrels", str(dataset / "qrels" / "test.tsv"), "--limit", "2", "--now", NOW, "--out", str(tmp_path)),
    )
    assert finished.exit_code == 0, finished.output
    assert "2 queries" in finished.output
    assert "rerank" in finished.output


def test_a_condition_that_holds_is_exit_3_and_the_result_is_still_written(out, dataset, tmp_path):
    conditions = ["--fail-if", "bm25.nDCG@10 > 0", "--fail-if", "bm25.nDCG@10 > 1", "--arm", "bm25", "--arm", "rerank"]
    finished = evaluate(out, dataset, tmp_path, *conditions, "--json")
    assert finished.exit_code == 3
    assert finished.stderr == "Failed: bm25.nDCG@10 > 0\n"
    assert json.loads(finished.stdout) == json.loads((tmp_path / "result.json").read_text())
    assert evaluate(out, dataset, tmp_path, *conditions[2:]).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--fail-if", "rerank.nDCG < 1"], "is none of ARM.MEASURE"),
        (["--arm", "bm52"], "unknown arm"),
        (["--arm", "rerank", "--arm", "rerank"], "two arms are called 'rerank'"),
        (["--arm", "dense"], "needs --vectors"),
        (["--arm", "rerank:dense=extend"], "dense='extend' needs vectors"),
        (["--queries", "q.jsonl"], "give either --dataset"),
        (["--index", "none"], "no such index"),
        (["--fields", "body"], "has no field body"),
        (["--vectors", "nowhere"], "nowhere"),
    ],
)
def test_an_evaluation_that_cannot_be_made_is_one_line_and_writes_nothing(out, dataset, tmp_path, arguments, told):
    finished = evaluate(out, dataset, tmp_path / "to", *arguments)
    assert finished.exit_code == 1
    assert told in finished.output
    assert finished.output.startswith("Error: ")
    assert finished.output.count("\n") == 1
    assert list(tmp_path.rglob("*.*")) == []


def test_an_unwritable_out_is_known_in_a_line(out, dataset, tmp_path):
    (tmp_path / "file").write_text("")
    finished = evaluate(out, dataset, tmp_path / "file" / "to", "--arm", "bm25")
    assert finished.exit_code == 1
    assert "Error: " in finished.output
    assert "file" in finished.output


def test_queries_that_ask_with_a_document_of_their_own_do_not_find_it(out, dataset, tmp_path):
    queries = tmp_path / "queries.jsonl"
    queries.write_text(json.dumps({"_id": "q1", "text": "Page ranking links", "metadata": {"self": "d2"}}) + "\n")
    qrels = tmp_path / "qrels.txt"
    qrels.write_text("q1 0 d9 1\n")
    finished = rerank(
        *("evaluate", *engine_of(out), "--queries", str(queries), "--qrels", str(qrels), "--now", NOW),
        *("--vectors", str(out / "vectors"), "--out", str(tmp_path / "to"), "--json"),
    )
    assert finished.exit_code == 0, finished.output
    result = json.loads(finished.stdout)
    assert result["arms"]["rerank"]["statuses"] == {"applied": 1}
    for name in ("bm25", "dense", "fused", "rerank"):
        ids = read_trec(tmp_path / "to" / "runs" / f"{name}.run").ids("q1")
        assert ids[0] == "d9", name
        assert "d2" not in ids


def test_a_window_says_its_collection_and_doubts_what_its_query_was_made_of(out, dataset):
    asked = read_beir(dataset, "test")
    (first, *others), into = asked.queries, out / "engine"
    asked = replace(asked, queries=(replace(first, drop=frozenset({"d2"})), *others))
    setup = Setup(engine=f"embedded:{into}", index="demo", now=datetime(2024, 1, 1, tzinfo=UTC))
    windows = calibration_windows(setup, asked, default_model_folder(), progress=lambda *_: nullcontext(lambda: None))
    assert [each.open for each in windows] == [{"d2"}, set(), set(), set()]
    assert {each.collection for each in windows} == {dataset.name}
    assert "d2" not in windows[0].judgments


def test_calibrate_fits_a_folder_that_then_ranks(dataset, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(default_model_folder(), folder)
    update_manifest(folder, relevance={}, weights={})
    asked = ["model", "calibrate", str(folder), "--dataset", str(dataset), "--split", "test", "--now", NOW, "--json"]
    finished = rerank(*asked)
    assert finished.exit_code == 0, finished.output
    printed = json.loads(finished.stdout)
    stored = json.loads((folder / "manifest.json").read_text())
    assert printed["queries"] == {dataset.name: 4}
    assert stored["relevance"] == printed["relevance"]
    assert max(stored["relevance"]["score+text"].values()) > 0
    assert stored["metrics"]["calibration"]["split"] == "test"
    assert load_ranker(Rerank(model=folder)).weights == Weights.of(printed["weights"])
    assert len(set(printed["weights"].values())) == 1
    raised = rerank(*asked, "--weights", "raised")
    assert raised.exit_code == 0, raised.output
    weights = json.loads(raised.stdout)["weights"]
    assert weights["popularity"] == 0.0 < weights["authority"]  # no document has any
    assert json.loads((folder / "manifest.json").read_text())["weights"] == weights


def test_calibrate_learns_gates_of_queries_that_say_what_they_ask_for(dataset, tmp_path):
    """Twelve ask for what is new in words that no list has; the folder then opens the gate for others like them."""
    asking = tmp_path / "asking"
    shutil.copytree(dataset, asking, ignore=shutil.ignore_patterns("out"))
    subjects = (
        "sorting, searching, parsing, hashing, printing, routing, caching, paging, locking, mining, coding, tuning"
    )
    texts = [(f"what happened in {each} this morning", ["freshness"]) for each in subjects.split(", ")]
    texts += [(f"how does {each} work", []) for each in subjects.split(", ")]
    rows = [{"_id": f"a{place}", "text": text, "metadata": {"asks": asks}} for place, (text, asks) in enumerate(texts)]
    (asking / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    judged = "".join(f"a{place}\td1\t1\n" for place in range(len(rows)))
    (asking / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
    folder = tmp_path / "model"
    shutil.copytree(default_model_folder(), folder)
    asked = ["model", "calibrate", str(folder), "--dataset", str(asking), "--split", "test", "--now", NOW]
    finished = rerank(*asked)
    assert finished.exit_code == 0, finished.output
    assert "gate of freshness: asked for by 12 of 24 queries, squared error list 0.500, learned 0." in finished.stdout
    ranker = load_ranker(Rerank(model=folder))
    assert ranker.gates("what happened in baking this morning")["freshness"] > 0.5
    assert ranker.gates("how does baking work")["freshness"] < 0.4
    (asking / "queries.jsonl").write_text(
        "".join(json.dumps({"_id": row["_id"], "text": row["text"]}) + "\n" for row in rows), encoding="utf-8"
    )
    assert rerank(*asked).exit_code == 0  # nobody says anything now: what was learned stays
    assert load_ranker(Rerank(model=folder)).gates("how does baking work") == ranker.gates("how does baking work")


def test_calibrate_without_judgments_is_one_line(dataset):
    finished = rerank("model", "calibrate", str(default_model_folder()), "--dataset", str(dataset), "--split", "train")
    assert finished.exit_code == 1
    assert finished.stderr.startswith("Error: ")
    assert "train.tsv" in finished.stderr
    assert finished.stderr.count("\n") == 1
