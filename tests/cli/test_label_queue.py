"""``rerank train label-queue`` from a directory without training judgments to one that has them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from rerank_plugin.cli.main import main
from rerank_plugin.evaluation.collection import read_qrels

NOW = "2026-01-01"


def queue(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["train", "label-queue", *arguments])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """30 documents, and three queries, one of which is tested."""
    folder = tmp_path / "birds"
    (folder / "qrels").mkdir(parents=True)
    birds, places = ["heron", "gull", "tern", "plover", "avocet"], ["lake", "river", "coast", "marsh", "harbour", "sea"]
    documents = [
        {"_id": f"{bird}-{place}", "title": f"A {bird}", "text": f"The {bird} was seen at the {place} this spring."}
        for bird in birds
        for place in places
    ]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(each) + "\n" for each in documents))
    texts = {"q1": "birds at the lake in spring", "q2": "heron seen at the river", "q3": "tern at sea"}
    queries = [{"_id": key, "text": text} for key, text in texts.items()]
    (folder / "queries.jsonl").write_text("".join(json.dumps(each) + "\n" for each in queries))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq3\ttern-sea\t1\n")
    return folder


def read(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_from_no_judgments_to_some(data: Path, tmp_path: Path) -> None:
    first = tmp_path / "first.csv"
    finished = queue("--data", str(data), "--out", str(first), "--count", "12", "--now", NOW, "--json")
    assert finished.exit_code == 0, finished.output
    assert json.loads(finished.stdout) == {"file": str(first), "pairs": 12, "queries": 2, "asked": 2}
    rows = read(first)
    assert {row["query_id"] for row in rows} == {"q1", "q2"}  # q3 is tested
    assert rows[0]["text"].startswith("A ")
    assert "as served" in rows[0]["why"]

    for row in rows[:10]:
        row["grade"] = str(int("lake" in row["doc_id"]))
    with first.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    finished = queue("--data", str(data), "--import", str(first))
    assert finished.output == f"10 judgments added to {data}, 0 were there, 2 rows are empty\n"
    finished = queue("--data", str(data), "--import", str(first), "--json")
    assert {**json.loads(finished.output), "file": ""} == {"file": "", "added": 0, "known": 10, "empty": 2}
    judged = {(query, doc) for query, grades in read_qrels(data / "qrels" / "train.tsv").items() for doc in grades}
    assert judged == {(row["query_id"], row["doc_id"]) for row in rows[:10]}

    second = tmp_path / "second.jsonl"
    finished = queue("--data", str(data), "--out", str(second), "--count", "999", "--now", NOW, "--seed", "1")
    assert finished.exit_code == 0, finished.output
    asked = [json.loads(line) for line in second.read_text(encoding="utf-8").splitlines()]
    assert asked
    assert not judged & {(row["query_id"], row["doc_id"]) for row in asked}
    finished = queue("--data", str(data), "--out", str(first))
    assert (finished.exit_code, finished.output.count("\n")) == (1, 1)
    assert "people may have filled it in" in finished.output


@pytest.mark.parametrize("arguments", [[], ["--out", "a.csv", "--import", "b.csv"]])
def test_either_a_list_is_written_or_one_is_read(data: Path, arguments: list[str]) -> None:
    finished = queue("--data", str(data), *arguments)
    assert finished.exit_code == 1
    assert finished.output == "Error: give either --out, to write a list, or --import, to read a filled one\n"


def test_where_every_query_is_tested_there_is_nothing_to_ask(data: Path, tmp_path: Path) -> None:
    (data / "queries.jsonl").write_text('{"_id": "q3", "text": "tern at sea"}\n')
    finished = queue("--data", str(data), "--out", str(tmp_path / "a.csv"))
    assert finished.exit_code == 1
    assert "has no query but those of other splits than train" in finished.output


def test_train_itself_is_the_command_that_it_was() -> None:
    """A plain command: no sub-commands to be parsed, its options required as before."""
    shown = CliRunner().invoke(main, ["train", "--help"]).output
    assert shown.startswith("Usage: main train [OPTIONS]\n")
    assert "rerank train label-queue" in shown
    missing = CliRunner().invoke(main, ["train", "--out", "x"])
    assert (missing.exit_code, "Missing option '--data'" in missing.output) == (2, True)
    extra = CliRunner().invoke(main, ["train", "label"])
    assert extra.exit_code == 2
    shown = queue("--help").output
    assert shown.startswith("Usage: main train label-queue [OPTIONS]\n")
