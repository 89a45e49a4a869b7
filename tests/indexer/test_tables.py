"""CSV and Parquet rows become the same records as lines of JSON."""

from __future__ import annotations

import gzip
import io
import json
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from indexer.rejects import Rejects
from indexer.sources import accepted, documents_file, numbered_records
from indexer.tables import csv_lines, parquet_lines
from rerank_plugin.errors import DataError


def rows(lines: object) -> list[tuple[int, object]]:
    return [(number, json.loads(line)) for number, line in lines]  # type: ignore[attr-defined]


def test_cells_are_what_json_takes_them_for_and_text_columns_stay_text(tmp_path):
    file = tmp_path / "docs.csv"
    file.write_bytes(
        b"\xef\xbb\xbf_id,title,text,views,metadata.date,cites,code\r\n"
        b'007,2001,"two\nlines, and ""quotes""",12,2020-05-31,"[""a"", ""b""]",007\r\n'
        b"\r\n"
        b"8,short\r\n"
        b"9,NaN,,-1.5e3,,,-\n"
    )
    assert rows(csv_lines(file)) == [
        (1, {"_id": "007", "title": "2001", "text": 'two\nlines, and "quotes"', "views": 12,
             "metadata": {"date": "2020-05-31"}, "cites": ["a", "b"], "code": "007"}),
        (3, {"_id": "8", "title": "short"}),
        (4, {"_id": "9", "title": "NaN", "views": -1500.0, "code": "-"}),
    ]  # fmt: skip


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_and_gzip_is_opened(tmp_path, delimiter):
    file = tmp_path / "docs.tsv.gz"
    file.write_bytes(gzip.compress(f"_id{delimiter}title\n1{delimiter}a\n".encode()))
    assert rows(numbered_records(documents_file(str(file)))) == [(1, {"_id": "1", "title": "a"})]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1), max_size=5))
def test_any_text_in_quotes_comes_back(tmp_path_factory, texts):
    file = tmp_path_factory.mktemp("csv") / "docs.csv"
    quoted = "".join('{},"{}"\n'.format(n, text.replace('"', '""')) for n, text in enumerate(texts))
    file.write_bytes(("_id,text\n" + quoted).encode())
    assert [row["text"] for _, row in rows(csv_lines(file))] == texts


def test_a_row_with_too_many_cells_is_rejected_and_the_rest_is_read(tmp_path):
    file = tmp_path / "docs.csv"
    file.write_text("_id,title\n1,a,b\n2,c\n")
    with Rejects(tmp_path / "rejects.jsonl") as rejects:
        found = [record.doc_id for _, _, record in accepted(file, rejects) if record is not None]
    assert (found, dict(rejects.counts)) == (["2"], {"not_json": 1})
    assert "3 cells under 2 columns" in (tmp_path / "rejects.jsonl").read_text()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"_id,_id\n1,2\n", "names its columns, each once"),
        (b"_id,title\n1,\xff\n", "line 2: not UTF-8"),
        (b"a,a.b\n1,2\n", "cannot both be there"),
    ],
)
def test_a_file_that_cannot_be_meant_is_one_clear_error(tmp_path, content, said):
    (tmp_path / "docs.csv").write_bytes(content)
    with pytest.raises(DataError, match=said):
        list(csv_lines(tmp_path / "docs.csv"))


def test_parquet_by_row_groups(tmp_path):
    table = pa.table(
        {
            "_id": pa.array([1, 2, 3]),
            "title": ["a", "b", None],
            "metadata.views": pa.array([1.5, float("nan"), None]),
            "at": [datetime(2020, 5, 31, 12, tzinfo=UTC), None, None],
            "day": [date(2020, 5, 31), None, None],
            "price": [Decimal("1.25"), None, None],
            "cites": [["x"], [], None],
        }
    )
    file = tmp_path / "docs.parquet"
    parquet.write_table(table, file, row_group_size=2)
    assert rows(parquet_lines(file)) == [
        (1, {"_id": 1, "title": "a", "metadata": {"views": 1.5}, "at": "2020-05-31T12:00:00+00:00", "day": "2020-05-31",
             "price": 1.25, "cites": ["x"]}),
        (2, {"_id": 2, "title": "b", "cites": []}),
        (3, {"_id": 3}),
    ]  # fmt: skip


def test_a_broken_parquet_file_is_one_clear_error(tmp_path):
    file = tmp_path / "docs.parquet"
    file.write_bytes(b"PAR1 and nothing more")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        list(parquet_lines(file))


def test_a_directory_of_parts_is_read_by_name_and_numbers_run_on(tmp_path):
    (tmp_path / "part-1.jsonl").write_text('{"_id": "a"}\n\n{"_id": "b"}\n')
    (tmp_path / "part-2.csv").write_text("_id\nc\n")
    parquet.write_table(pa.table({"_id": ["d"]}), tmp_path / "part-3.parquet")
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / "notes.txt").touch()
    found = rows(numbered_records(documents_file(str(tmp_path))))
    assert found == [(1, {"_id": "a"}), (3, {"_id": "b"}), (4, {"_id": "c"}), (5, {"_id": "d"})]


def test_standard_input_in_every_format_but_parquet(monkeypatch):
    def given(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content))))

    given(b"_id;title\n1;a\n")
    assert rows(numbered_records(None, "csv")) == [(1, {"_id": "1", "title": "a"})]
    given(b'{"_id": 1}\n')
    assert rows(numbered_records(None)) == [(1, {"_id": 1})]
    with pytest.raises(DataError, match="save it to a file"):
        numbered_records(None, "parquet").__next__()


def test_a_large_file_needs_no_more_memory_than_a_small_one(tmp_path: Path):
    """Peak of what Python holds while 40 MB are read, in a part of a megabyte."""
    import tracemalloc

    file = tmp_path / "docs.csv"
    with file.open("w") as opened:
        opened.write("_id,text\n")
        opened.writelines(f"{n},{'word ' * 200}\n" for n in range(40_000))
    tracemalloc.start()
    try:
        assert sum(1 for _ in csv_lines(file)) == 40_000
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
