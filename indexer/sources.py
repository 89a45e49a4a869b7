"""Documents as they come: JSON lines, CSV, Parquet, directories of them, or standard input."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from indexer.lines import numbered_lines, parse_json, shown
from indexer.rejects import Rejects
from indexer.tables import csv_lines, parquet_lines
from indexer.values import is_id
from rerank_plugin.errors import DataError

#: The engines' own limit on the UTF-8 length of an id; one longer id would fail a whole bulk request.
MAX_ID_BYTES = 512
#: Accepted records wait in memory up to this size, then in a temporary file.
SPOOL_BYTES = 64 * 1024 * 1024
#: How rows of tables are read, by the suffix of the file.
TABLES = (".csv", ".tsv", ".parquet")
LINES = (".jsonl", ".ndjson")
_NEVER = (".xlsx", ".xls", ".xml")
FORMATS = ("jsonl", "csv", "parquet")


@dataclass(frozen=True, slots=True)
class Record:
    """One document as read."""

    doc_id: str
    #: Every key of the record but ``_id``, which engines keep outside the document.
    fields: Mapping[str, Any]
    #: Title and text joined by a newline, what the model reads; one of them may be empty.
    text: str


class BadRecordError(Exception):
    """A record that cannot become a document; ``kind`` is its kind in the rejects file."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def documents_file(docs: str) -> Path | None:
    """The file behind ``--docs``: the file itself, ``corpus.jsonl[.gz]`` of a BEIR directory, a directory of parts such
    as Spark writes, or ``None`` for ``-``.

    :raises DataError: there is no such file, or it is of a kind that is not read.
    """
    if docs == "-":
        return None
    path = Path(docs)
    if path.is_dir():
        for name in ("corpus.jsonl", "corpus.jsonl.gz"):
            if (path / name).is_file():
                return path / name
        if not _parts(path):
            raise DataError(
                f"{path} holds neither corpus.jsonl nor corpus.jsonl.gz, as a BEIR directory does, nor parts named "
                f"*{', *'.join(LINES + TABLES)}"
            )
        return path
    if not path.exists():
        raise DataError(
            f"{path} does not exist; give a JSONL, CSV or Parquet file, a directory of them, or - for standard input"
        )
    if _suffix(path) in _NEVER:
        raise DataError(f"{path}: {_suffix(path)[1:]} files are not read; convert it to JSONL, CSV or Parquet")
    return path


def _suffix(path: Path) -> str:
    return (path.with_suffix("") if path.suffix.lower() == ".gz" else path).suffix.lower()


def _parts(folder: Path) -> list[Path]:
    """The files of a directory that hold documents, by name; hidden ones and markers of success hold none."""
    inside = (each for each in folder.iterdir() if each.is_file() and not each.name.startswith((".", "_")))
    return sorted(each for each in inside if _suffix(each) in LINES + TABLES)


def input_files(file: Path) -> list[Path]:
    """The files that are read for what :func:`documents_file` gave: the parts of a directory, or the file itself."""
    return _parts(file) if file.is_dir() else [file]


def numbered_records(file: Path | None, form: str | None = None) -> Iterator[tuple[int, bytes]]:
    """Number and line of JSON of every record; numbers run on over the parts of a directory.

    :param file: as :func:`documents_file` gives it.
    :param form: one of :data:`FORMATS`; ``None`` tells it by the suffix, and takes standard input for JSON lines.
    :raises DataError: a file cannot be read to its end, or standard input should be Parquet.
    """
    parts = [file] if file is None else input_files(file)
    before = 0
    for part in parts:
        number = 0
        for number, line in _records(part, form):
            yield before + number, line
        before += number


def _records(file: Path | None, form: str | None) -> Iterator[tuple[int, bytes]]:
    suffix = "" if file is None else _suffix(file)
    if form == "parquet" or (form is None and suffix == ".parquet"):
        if file is None:
            raise DataError("Parquet is read from its end and cannot come from standard input; save it to a file")
        return parquet_lines(file)
    if form == "csv" or (form is None and suffix in TABLES):
        return csv_lines(file)
    return numbered_lines(file)


def parse_record(line: bytes) -> Record:
    """The record on a line of JSON.

    :raises BadRecordError: no JSON object, no usable id, or neither title nor text.
    """
    try:
        value = parse_json(line)
    except ValueError as error:
        raise BadRecordError("not_json", str(error)) from error
    if not isinstance(value, dict):
        raise BadRecordError("not_json", f"a record is a JSON object, this is a {type(value).__name__}")
    found = value.get("_id", value.get("id"))
    if not is_id(found):
        raise BadRecordError("no_id", f"_id (or id) must be text or a whole number, got {str(found)[:40]!r}")
    doc_id = str(found)
    if len(doc_id.encode()) > MAX_ID_BYTES:
        raise BadRecordError("no_id", f"_id is longer than {MAX_ID_BYTES} bytes, more than engines take")
    parts = [_text(value.get("title")), _text(value.get("text"))]
    if not any(part.strip() for part in parts):
        raise BadRecordError("no_text", "title and text are both empty or absent")
    return Record(doc_id, {key: each for key, each in value.items() if key != "_id"}, "\n".join(filter(None, parts)))


def _text(value: Any) -> str:
    """The words of a title or text: a string, a number or a list of them, as engines index them."""
    if isinstance(value, list):
        return "\n".join(filter(None, map(_text, value)))
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        if value is not None:
            raise BadRecordError("no_text", f"title and text must be text, got a {type(value).__name__}")
        return ""
    return str(value)


class Spool:
    """Accepted records, to be read as often as needed: input may be a pipe, and texts may not fit in memory."""

    def __init__(self, memory_bytes: int = SPOOL_BYTES) -> None:
        self._lines = tempfile.SpooledTemporaryFile(max_size=memory_bytes)  # noqa: SIM115 (closed by __exit__)

    def add(self, line: bytes) -> None:
        """Keeps the line of a record that :func:`parse_record` accepted."""
        self._lines.write(line.strip() + b"\n")

    def records(self, start: int = 0) -> Iterator[Record]:
        """The records in the order they were kept, without the first ``start``."""
        self._lines.seek(0)
        for line in islice(self._lines, start, None):
            yield parse_record(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lines.close()


def accepted(
    file: Path | None, rejects: Rejects, form: str | None = None
) -> Iterator[tuple[int, bytes, Record | None]]:
    """Line number, line and record of every record; ``None`` for one that was put into ``rejects``.

    Of records with the same id the first is accepted.

    :param form: as in :func:`numbered_records`.
    :raises DataError: the file cannot be read to its end.
    """
    seen: set[str] = set()
    source = source_name(file)
    for number, line in numbered_records(file, form):
        record: Record | None = None
        try:
            record = parse_record(line)
            if record.doc_id in seen:
                raise BadRecordError("duplicate_id", f"_id {record.doc_id[:80]!r} was read before; the first is kept")
            seen.add(record.doc_id)
        except BadRecordError as error:
            rejects.add(error.kind, source=source, line=number, reason=str(error), record=shown(line))
            record = None
        yield number, line, record


def source_name(file: Path | None) -> str:
    """How a source is called in the rejects file."""
    return "-" if file is None else file.name
