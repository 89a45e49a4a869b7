from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from rerank_plugin.errors import DataError
from rerank_plugin.evaluation.collection import Query, read_beir, read_qrels, read_queries
from rerank_plugin.evaluation.formats import read_collection

QUERIES = """{"_id": "q1", "text": "one", "metadata": {"self": "d9"}}

{"_id": 2, "text": "two"}
{"_id": "q3", "text": "three"}
"""
QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\n2\td1\t0\nlost\td1\t1\n"


def folder(tmp_path: Path, *, packed: bool = False) -> Path:
    (tmp_path / "qrels").mkdir()
    if packed:
        (tmp_path / "queries.jsonl.gz").write_bytes(gzip.compress(QUERIES.encode()))
        (tmp_path / "qrels" / "test.tsv.gz").write_bytes(gzip.compress(QRELS.encode()))
    else:
        (tmp_path / "queries.jsonl").write_text(QUERIES)
        (tmp_path / "qrels" / "test.tsv").write_text(QRELS)
    return tmp_path


@pytest.mark.parametrize("packed", [False, True])
def test_a_beir_folder_keeps_judged_queries_and_counts_the_rest(tmp_path, packed):
    found = read_beir(folder(tmp_path, packed=packed))
    assert found.name == tmp_path.name
    assert found.queries == (Query("q1", "one", frozenset({"d9"})),)
    # "2" has no relevant document; "lost" is judged, but nobody can ask it: it stays, to score 0.
    assert found.qrels == {"q1": {"d1": 2, "d2": 0}, "lost": {"d1": 1}}
    assert (found.unjudged, found.without_relevant) == (1, 1)


def test_the_first_queries_keep_only_their_own_judgments(tmp_path):
    queries, qrels = tmp_path / "q.jsonl", tmp_path / "qrels.txt"
    queries.write_text('{"_id": "b", "text": "x"}\n{"_id": "a", "text": "y"}\n')
    qrels.write_text("a 0 d1 1\nb 0 d2 3\n")
    found = read_collection("c", queries, qrels).first(1)
    assert [query.query_id for query in found.queries] == ["b"]
    assert found.qrels == {"b": {"d2": 3}}


def test_trec_and_beir_judgments_are_the_same_thing(tmp_path):
    trec, beir = tmp_path / "trec", tmp_path / "beir"
    trec.write_text("q1 0 d1 2\nq1 0 d2 -1\n")
    beir.write_text("query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t-1\n")
    assert read_qrels(trec) == read_qrels(beir) == {"q1": {"d1": 2, "d2": -1}}


def test_a_beir_file_without_header_and_a_byte_order_mark_read_alike(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_bytes(b"\xef\xbb\xbfq1\td1\t1\r\nq1\td 2\t1\r\n")
    assert read_qrels(path) == {"q1": {"d1": 1, "d 2": 1}}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("q1\td1\t1\nq1\td2\n", "a judgment has 3 columns (BEIR) or 4 (TREC), got 2"),
        ("q1\td1\t1\nq1\td2\tgood\n", "a grade is a whole number, got 'good'"),
        ("q1\td1\t1\nq1\td1\t2\n", "two different grades"),
    ],
)
def test_bad_judgments_name_file_and_line(tmp_path, text, told):
    path = tmp_path / "t.tsv"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_qrels(path)
    assert f"{path}:2: " in str(caught.value)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "a query is a JSON object"),
        ("[1]", "needs '_id' and 'text'"),
        ('{"_id": "", "text": "x"}', "needs '_id' and 'text'"),
        ('{"_id": "q9"}', "needs '_id' and 'text'"),
        ('{"_id": "q1", "text": "again"}', "occurs twice"),
    ],
)
def test_bad_queries_name_file_and_line(tmp_path, line, told):
    path = tmp_path / "q.jsonl"
    path.write_text(f'{{"_id": "q1", "text": "one"}}\n{line}\n')
    with pytest.raises(DataError) as caught:
        read_queries(path)
    assert f"{path}:2: " in str(caught.value)
    assert told in str(caught.value)


def test_files_of_two_collections_are_refused_with_an_id_of_each(tmp_path):
    queries, qrels = tmp_path / "q.jsonl", tmp_path / "r.tsv"
    queries.write_text('{"_id": "q-1", "text": "x"}\n')
    qrels.write_text("1\td1\t1\n")
    with pytest.raises(DataError, match=r"query ids are like 'q-1' there and '1' here"):
        read_collection("c", queries, qrels)


def test_a_judging_list_without_ratings_is_told_as_that(tmp_path):
    queries, qrels = tmp_path / "q.jsonl", tmp_path / "r.tsv"
    queries.write_text('{"_id": "q-1", "text": "x"}\n')
    qrels.write_text("q-1\td1\t0\n")
    with pytest.raises(DataError, match=r"r\.tsv rates no document as relevant; fill in its ratings"):
        read_collection("c", queries, qrels)


def test_missing_and_unreadable_files_say_so(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_queries(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match=r"neither queries\.jsonl nor queries\.jsonl\.gz"):
        read_beir(tmp_path)
    for name, content in (("binary.jsonl", b"\xff\xfe\x00"), ("broken.jsonl.gz", gzip.compress(b"x" * 900)[:20])):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match="cannot be read as text"):
            read_queries(tmp_path / name)
