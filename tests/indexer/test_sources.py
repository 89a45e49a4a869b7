"""Reading records, links and events: what is taken, what is rejected, and what is said of it."""

from __future__ import annotations

import gzip
import io
import json
import sys
from pathlib import Path

import pytest

from indexer.lines import numbered_lines
from indexer.rejects import Rejects
from indexer.side_files import read_events, read_links
from indexer.sources import BadRecordError, Spool, accepted, documents_file, parse_record
from rerank_plugin.errors import DataError


@pytest.fixture
def rejects(tmp_path):
    with Rejects(tmp_path / "rejects.jsonl") as opened:
        yield opened


def listed(rejects: Rejects) -> list[dict[str, object]]:
    rejects._opened.flush()
    return [json.loads(line) for line in rejects.file.read_text(encoding="utf-8").splitlines()]


class TestRecord:
    def test_fields_stay_and_title_and_text_are_joined(self):
        record = parse_record(b'{"_id": "7", "title": "A", "text": "b c", "metadata": {"x": 1}, "more": [2]}')
        assert record.doc_id == "7"
        assert record.fields == {"title": "A", "text": "b c", "metadata": {"x": 1}, "more": [2]}
        assert record.text == "A\nb c"

    @pytest.mark.parametrize(
        ("line", "doc_id", "text"),
        [
            ('{"id": 12, "text": "only text"}', "12", "only text"),
            ('{"_id": "a", "id": "b", "title": "only title", "text": null}', "a", "only title"),
            ('{"_id": "a", "title": 1984, "text": ["one", "two", null]}', "a", "1984\none\ntwo"),
            (
                '{"_id": "a", "text": "NUL \\u0000 and \\ud83d\\ude00 and \\u05e9\\u05dc\\u05d5\\u05dd"}',
                "a",
                "NUL \0 and 😀 and שלום",
            ),
        ],
    )
    def test_what_counts_as_id_and_text(self, line, doc_id, text):
        record = parse_record(line.encode())
        assert (record.doc_id, record.text) == (doc_id, text)

    def test_an_id_that_is_a_user_s_field_stays_one(self):
        assert parse_record(b'{"id": 12, "text": "t"}').fields == {"id": 12, "text": "t"}

    @pytest.mark.parametrize(
        ("line", "kind", "reason"),
        [
            (b"not json", "not_json", "Expecting value"),
            (b'{"_id": "a", "text": "cut', "not_json", "Unterminated"),
            (b'["a", "list"]', "not_json", "a record is a JSON object, this is a list"),
            (b'{"_id": "a", "text": "\xff\xfe"}', "not_json", "utf-8"),
            (b'{"_id": "a", "text": "t", "score": NaN}', "not_json", "NaN is no JSON number"),
            (b'{"_id": "a", "text": "\\ud800"}', "not_json", "surrogate"),
            (b"[" * 200_000, "not_json", "nested too deeply"),
            (b'{"text": "t"}', "no_id", "_id"),
            (b'{"_id": "", "text": "t"}', "no_id", "_id"),
            (b'{"_id": null, "text": "t"}', "no_id", "None"),
            (b'{"_id": true, "text": "t"}', "no_id", "True"),
            (b'{"_id": 1.5, "text": "t"}', "no_id", "1.5"),
            (b'{"_id": "' + b"x" * 513 + b'", "text": "t"}', "no_id", "longer than 512 bytes"),
            (b'{"_id": "a"}', "no_text", "both empty"),
            (b'{"_id": "a", "title": " \\n", "text": ""}', "no_text", "both empty"),
            (b'{"_id": "a", "title": "t", "text": {"a": 1}}', "no_text", "must be text, got a dict"),
        ],
    )
    def test_what_is_rejected_and_why(self, line, kind, reason):
        with pytest.raises(BadRecordError, match=reason) as caught:
            parse_record(line)
        assert caught.value.kind == kind


class TestLines:
    def test_numbers_count_blank_lines_and_a_byte_order_mark_is_dropped(self, tmp_path):
        (tmp_path / "f").write_bytes(b"\xef\xbb\xbf1\r\n\n  \n2")
        assert list(numbered_lines(tmp_path / "f")) == [(1, b"1\r\n"), (4, b"2")]

    def test_gzip_is_told_by_its_content(self, tmp_path):
        (tmp_path / "f.jsonl").write_bytes(gzip.compress(b"1\n2\n"))
        assert [line for _, line in numbered_lines(tmp_path / "f.jsonl")] == [b"1\n", b"2\n"]

    def test_an_empty_file_has_no_lines(self, tmp_path):
        (tmp_path / "f").write_bytes(b"")
        assert list(numbered_lines(tmp_path / "f")) == []

    def test_standard_input(self, monkeypatch):
        piped = io.TextIOWrapper(io.BufferedReader(io.BytesIO(b"1\n2\n")))
        monkeypatch.setattr(sys, "stdin", piped)
        assert list(numbered_lines(None)) == [(1, b"1\n"), (2, b"2\n")]
        assert not piped.closed

    def test_a_cut_archive_is_one_clear_error(self, tmp_path):
        whole = gzip.compress(b"".join(b'{"_id": "%d"}\n' % number for number in range(5000)))
        (tmp_path / "f.gz").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(DataError, match=r"f\.gz is cut off or broken after line \d+"):
            list(numbered_lines(tmp_path / "f.gz"))


class TestDocumentsFile:
    def test_file_directory_and_standard_input(self, tmp_path):
        (tmp_path / "corpus.jsonl.gz").write_bytes(b"")
        assert documents_file(str(tmp_path)) == tmp_path / "corpus.jsonl.gz"
        (tmp_path / "corpus.jsonl").write_bytes(b"")
        assert documents_file(str(tmp_path)) == tmp_path / "corpus.jsonl"
        assert documents_file(str(tmp_path / "corpus.jsonl.gz")) == tmp_path / "corpus.jsonl.gz"
        assert documents_file("-") is None

    @pytest.mark.parametrize("name", ["docs.xlsx", "docs.xml", "docs.xml.gz", "DOCS.XLS"])
    def test_kinds_that_are_not_read_are_named(self, tmp_path, name):
        (tmp_path / name).write_bytes(b"a,b\n")
        with pytest.raises(DataError, match="files are not read; convert it to JSONL"):
            documents_file(str(tmp_path / name))

    def test_what_is_not_there(self, tmp_path):
        with pytest.raises(DataError, match="does not exist"):
            documents_file(str(tmp_path / "nowhere.jsonl"))
        with pytest.raises(DataError, match=r"holds neither corpus\.jsonl nor corpus\.jsonl\.gz"):
            documents_file(str(tmp_path))


def test_the_first_of_two_records_with_one_id_is_kept(tmp_path, rejects):
    (tmp_path / "d.jsonl").write_text('{"_id": "1", "text": "a"}\n{"_id": 1, "text": "b"}\nnope\n', encoding="utf-8")
    found = [(number, record and record.text) for number, _, record in accepted(tmp_path / "d.jsonl", rejects)]
    assert found == [(1, "a"), (2, None), (3, None)]
    assert dict(rejects.counts) == {"duplicate_id": 1, "not_json": 1}
    assert rejects.lost == 2
    assert [(each["file"], each["line"], each["kind"]) for each in listed(rejects)] == [
        ("d.jsonl", 2, "duplicate_id"),
        ("d.jsonl", 3, "not_json"),
    ]


def test_the_beginning_of_a_rejected_record_is_bounded(tmp_path, rejects):
    (tmp_path / "d.jsonl").write_bytes(b"\xff" + b"x" * 1_000_000)
    assert [record for _, _, record in accepted(tmp_path / "d.jsonl", rejects)] == [None]
    assert len(str(listed(rejects)[0]["record"])) == 200


def test_a_rejects_file_without_entries_is_removed_and_one_that_cannot_be_written_is_named(tmp_path):
    with Rejects(tmp_path / "r.jsonl"):
        assert (tmp_path / "r.jsonl").exists()
    assert not (tmp_path / "r.jsonl").exists()
    with pytest.raises(DataError, match=r"cannot write the rejects file .*name another with --rejects"):
        Rejects(tmp_path / "missing" / "r.jsonl")


def test_a_spool_is_read_as_often_as_asked_and_moves_to_disk(tmp_path):
    with Spool(memory_bytes=50) as spool:
        for number in range(20):
            spool.add(b' {"_id": "%d", "text": "some words"}\r\n' % number)
        assert [record.doc_id for record in spool.records()] == [str(number) for number in range(20)]
        assert [record.text for record in spool.records()] == ["some words"] * 20


class TestSideFiles:
    def test_links_in_three_forms(self, tmp_path, rejects):
        (tmp_path / "l").write_text('From\tto\na\tb\tmore\n{"from": 1, "to": "c"}\n["d", "e"]\n', encoding="utf-8")
        assert list(read_links(tmp_path / "l", rejects)) == [(2, "a", "b"), (3, "1", "c"), (4, "d", "e")]

    def test_what_is_no_link(self, tmp_path, rejects):
        (tmp_path / "l").write_text('one\n{"from": 1}\n["a", "b", "c"]\n[1, {}]\n{"from\n\ta\n', encoding="utf-8")
        assert list(read_links(tmp_path / "l", rejects)) == []
        assert dict(rejects.counts) == {"bad_link": 6}
        assert rejects.lost == 0

    def test_counts_and_events(self, tmp_path, rejects):
        lines = [
            '{"_id": "a", "views": 3, "clicks": 2.5, "note": "x", "ok": true}',
            '{"id": 7, "event": "click"}',
            '{"doc_id": "a", "action_name": "views", "count": 4, "timestamp": 1700000000000}',
        ]
        (tmp_path / "e").write_text("\n".join(lines), encoding="utf-8")
        assert list(read_events(tmp_path / "e", rejects)) == [
            (1, "a", {"views": 3.0, "clicks": 2.5}),
            (2, "7", {"clicks": 1.0}),
            (3, "a", {"views": 4.0}),
        ]

    def test_what_is_no_event(self, tmp_path, rejects):
        lines = ["x", "[1]", '{"views": 3}', '{"_id": "a"}', '{"_id": "a", "event": "click", "count": "many"}']
        (tmp_path / "e").write_text("\n".join([*lines, '{"_id": "a", "views": 1%s}' % ("0" * 400)]), encoding="utf-8")
        assert list(read_events(tmp_path / "e", rejects)) == []
        assert dict(rejects.counts) == {"bad_event": 6}


def test_paths_are_paths(tmp_path):
    assert isinstance(documents_file(str(Path(__file__).parent / "test_sources.py")), Path)
