"""The list that people fill in, and its way into the training judgments."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pytest

from rerank_plugin.errors import DataError
from rerank_plugin.evaluation.collection import read_qrels
from rerank_plugin.evaluation.label_queue import (
    SNIPPET,
    Imported,
    Row,
    import_grades,
    read_unheld,
    require_new,
    snippet,
    write_queue,
)


def directory(folder: Path, **splits: str) -> Path:
    """Queries q0 to q5, where q5 asks as q0 does; documents d0 to d3; judgments as ``query document grade`` words."""
    (folder / "qrels").mkdir(parents=True)
    texts = ["red shoes", "blue hats", "old maps", "new maps", " ", "Red  shoes"]
    queries = [{"_id": f"q{place}", "text": text} for place, text in enumerate(texts)]
    (folder / "queries.jsonl").write_text("".join(json.dumps(each) + "\n" for each in queries))
    documents = [{"_id": f"d{place}", "text": "a text"} for place in range(4)]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(each) + "\n" for each in documents))
    for split, words in splits.items():
        rows = "".join("\t".join(row.split()) + "\n" for row in words.split(","))
        (folder / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + rows)
    return folder


def rows(*pairs: str) -> list[Row]:
    """Of ``query document grade`` words; the grade may be absent."""
    found = []
    for pair in pairs:
        query_id, doc_id, *grade = pair.split()
        shown = 'a "text", with signs; äé'
        found.append(Row(query_id=query_id, doc_id=doc_id, query="red", text=shown, why="", grade="".join(grade)))
    return found


def filled(file: Path, *pairs: str) -> Path:
    write_queue(rows(*pairs), file)
    return file


def test_whose_queries_may_be_judged(tmp_path: Path) -> None:
    folder = directory(tmp_path / "c", train="q1 d0 1,q1 d1 0", test="q5 d0 1", dev="q3 d0 1")
    found = read_unheld(folder)
    assert [query.query_id for query in found.queries] == ["q1", "q2"]  # q0 asks what q5 is tested on, q4 nothing
    assert found.held == {"q0", "q3", "q5"}
    assert found.judged == {"q1": {"d0": 1, "d1": 0}}


def test_one_text_is_asked_once_and_its_judgments_are_together(tmp_path: Path) -> None:
    found = read_unheld(directory(tmp_path / "c", train="q0 d0 1,q5 d1 0"))
    assert [query.query_id for query in found.queries] == ["q0", "q1", "q2", "q3"]
    assert found.judged["q0"] == found.judged["q5"] == {"d0": 1, "d1": 0}
    (tmp_path / "c" / "qrels" / "train.tsv").unlink()
    assert read_unheld(tmp_path / "c").judged == {}  # there need be none


@pytest.mark.parametrize("name", ["queue.csv", "queue.jsonl"])
def test_a_filled_list_round_trips_and_a_second_import_changes_nothing(tmp_path: Path, name: str) -> None:
    folder = directory(tmp_path / "c", train="q1 d0 1")
    train = folder / "qrels" / "train.tsv"
    train.write_text(train.read_text().rstrip("\n"))  # as some editors leave it
    before = train.read_bytes()
    file = filled(tmp_path / name, "q1 d0 1", "q1 d1 0", "q2 d3 2.0", "q2 d0")
    assert import_grades(file, folder) == Imported(added=2, known=1, empty=1)
    assert train.read_bytes().startswith(before)
    assert read_qrels(train) == {"q1": {"d0": 1, "d1": 0}, "q2": {"d3": 2}}
    after = train.read_bytes()
    assert import_grades(file, folder) == Imported(added=0, known=3, empty=1)
    assert train.read_bytes() == after


def test_what_is_written_is_what_people_see(tmp_path: Path) -> None:
    with filled(tmp_path / "queue.csv", "q1 d0").open(encoding="utf-8", newline="") as stream:
        [record] = csv.DictReader(stream)
    assert record == {
        "query_id": "q1", "doc_id": "d0", "query": "red", "text": 'a "text", with signs; äé', "why": "", "grade": ""
    }  # fmt: skip
    assert json.loads(filled(tmp_path / "queue.jsonl", "q1 d0").read_text(encoding="utf-8")) == record
    assert snippet(" one\n\ntwo ") == "one two"
    assert snippet("x" * 900) == "x" * (SNIPPET - 1) + "…"


def test_judgments_that_are_packed_or_not_there(tmp_path: Path) -> None:
    file = filled(tmp_path / "queue.csv", "q1 d1 1")
    folder = directory(tmp_path / "c")
    assert import_grades(file, folder).added == 1
    assert (folder / "qrels" / "train.tsv").read_text() == "query-id\tcorpus-id\tscore\nq1\td1\t1\n"
    packed = directory(tmp_path / "d") / "qrels" / "train.tsv.gz"
    packed.write_bytes(gzip.compress(b"q1 0 d0 1\n"))  # TREC's four columns
    assert import_grades(file, tmp_path / "d").added == 1
    assert read_qrels(packed) == {"q1": {"d0": 1, "d1": 1}}
    assert [each.name for each in packed.parent.iterdir()] == ["train.tsv.gz"]


MISTAKES = [
    ("q1 d1 good", "a grade is a whole number, 0 or more, got 'good'"),
    ("q1 d1 -1", "a grade is a whole number, 0 or more, got '-1'"),
    ("q1 d1 1.5", "a grade is a whole number, 0 or more, got '1.5'"),
    ("q9 d1 1", "has no query 'q9'; give the directory that the list is of"),
    ("q1 d9 1", "has no document 'd9'; give the directory that the list is of"),
    ("q0 d1 1", "the query 'q0' validates or is tested; take its rows out of the list"),
    ("q1 d0 0", "'q1' and 'd0' have the grade 1 already, not 0"),
    ("q2 d2 1", "'q2' and 'd2' have the grade 0 already, not 1"),
]


@pytest.mark.parametrize("name", ["queue.csv", "queue.jsonl"])
@pytest.mark.parametrize(("row", "line"), MISTAKES)
def test_a_mistake_is_one_line_and_writes_nothing(tmp_path: Path, name: str, row: str, line: str) -> None:
    folder = directory(tmp_path / "c", train="q1 d0 1", test="q5 d0 1")
    before = (folder / "qrels" / "train.tsv").read_bytes()
    file = filled(tmp_path / name, "q2 d2 0", row)
    with pytest.raises(DataError, match=line.replace(".", r"\.")) as error:
        import_grades(file, folder)
    assert str(error.value).startswith(f"{file}{', row 2' if name.endswith('csv') else ':2'}: ")
    assert (folder / "qrels" / "train.tsv").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("queue.txt", "", "must end in .csv or .jsonl"),
        ("queue.csv", "query;doc;grade\n", "needs the columns query_id, doc_id and grade, separated by commas"),
        ("queue.csv", "query_id,doc_id,grade\n,d1,1\n", "row 1: a row needs query_id and doc_id"),
        ("queue.jsonl", "[1]\n", ":1: a row is a JSON object"),
        ("queue.jsonl", "{\n", ":1: a row is a JSON object"),
    ],
)
def test_files_that_are_no_list(tmp_path: Path, name: str, text: str, line: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=line):
        import_grades(tmp_path / name, directory(tmp_path / "c"))


def test_a_list_is_not_written_over(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="exists, and people may have filled it in"):
        require_new(filled(tmp_path / "queue.csv", "q1 d0 1"))
    with pytest.raises(DataError, match=r"must end in \.csv or \.jsonl"):
        require_new(tmp_path / "queue.xlsx")
