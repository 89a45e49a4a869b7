"""A list of pairs to judge next, as a file that people fill in, and the way of its grades into ``qrels/train.tsv``."""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from rerank_plugin.errors import DataError
from rerank_plugin.evaluation.collection import Query, lines, one_of, read_qrels, read_queries, same_text
from rerank_plugin.evaluation.result import write_text
from rerank_plugin.evaluation.writers import csv_text

#: Characters of a document that people are shown.
SNIPPET = 400
SUFFIXES = (".csv", ".jsonl")
#: First line of a BEIR file of judgments.
HEADER = "query-id\tcorpus-id\tscore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A pair to judge: what people see of it."""

    query_id: str
    doc_id: str
    query: str
    #: The beginning of the document, on one line.
    text: str
    #: What makes it worth judging.
    why: str
    #: To be filled in with a whole number, 0 for not relevant; empty is no judgment.
    grade: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unheld:
    """A directory's queries that may be judged for training."""

    #: One per text, blank ones left out; none has a text of a query that is judged in another split than ``train``.
    queries: tuple[Query, ...]
    #: Query id -> document -> grade, in ``train``; of queries of one text together, under each of their ids.
    judged: dict[str, dict[str, int]]
    #: Ids of queries that other splits validate or test, and of those with their texts.
    held: frozenset[str]


def read_unheld(folder: Path) -> Unheld:
    """What of a BEIR directory may be judged for training; there need be no judgments yet.

    :raises DataError: a file cannot be read.
    """
    queries = read_queries(one_of(folder, "queries.jsonl"))
    ids: dict[str, list[str]] = {}
    for query in queries:
        ids.setdefault(same_text(query.text), []).append(query.query_id)
    held: set[str] = set()
    judged: dict[str, dict[str, int]] = {}
    for file in sorted((folder / "qrels").glob("*.tsv*")):
        split = file.name.removesuffix(".gz").removesuffix(".tsv")
        found = read_qrels(file)
        if split == "train":
            judged = found
        else:
            held |= found.keys()
    for same in ids.values():
        if held.intersection(same):
            held |= set(same)
        together = {document: grade for key in same for document, grade in judged.get(key, {}).items()}
        judged |= {key: together for key in same if together}
    firsts = {same[0] for text, same in ids.items() if text} - held
    return Unheld(
        queries=tuple(query for query in queries if query.query_id in firsts), judged=judged, held=frozenset(held)
    )


def snippet(text: str) -> str:
    """The beginning of a text, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= SNIPPET else f"{line[: SNIPPET - 1]}…"


def require_new(file: Path) -> None:
    """Nothing, where a queue can be written to the file.

    :raises DataError: its suffix is of no known form, or it exists: it may be half filled in.
    """
    if file.suffix not in SUFFIXES:
        raise DataError(f"{file} must end in {' or '.join(SUFFIXES)}")
    if file.exists():
        raise DataError(f"{file} exists, and people may have filled it in; give another --out")


def write_queue(rows: Sequence[Row], file: Path) -> None:
    """Writes the rows as CSV or JSON lines, by the suffix."""
    records = [asdict(row) for row in rows]
    if file.suffix == ".csv":
        text = csv_text([[each.name for each in fields(Row)], *(list(record.values()) for record in records)])
    else:
        text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, text)


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a filled list."""

    #: Judgments that ``qrels/train.tsv`` had not.
    added: int
    #: Judgments that stood there already.
    known: int
    #: Rows without a grade.
    empty: int


def import_grades(file: Path, folder: Path) -> Imported:
    """Puts the grades of a filled list behind what ``qrels/train.tsv`` holds; the same list again adds nothing.

    :raises DataError: a row cannot be understood, names no query or document of the directory, or a query of another
        split, or it contradicts a judgment; then nothing was written.
    """
    asked = read_unheld(folder)
    known_ids = {query.query_id for query in read_queries(one_of(folder, "queries.jsonl"))}
    new: dict[tuple[str, str], int] = {}
    wanted: dict[str, str] = {}
    known = empty = 0
    for where, query_id, doc_id, grade in _filled(file):
        if grade is None:
            empty += 1
            continue
        if query_id not in known_ids:
            raise DataError(f"{where}: {folder} has no query {query_id!r}; give the directory that the list is of")
        if query_id in asked.held:
            raise DataError(f"{where}: the query {query_id!r} validates or is tested; take its rows out of the list")
        before = asked.judged.get(query_id, {}).get(doc_id, new.get((query_id, doc_id)))
        if before is not None and before != grade:
            raise DataError(f"{where}: {query_id!r} and {doc_id!r} have the grade {before} already, not {grade}")
        known += before is not None
        if before is None:
            new[query_id, doc_id] = grade
            wanted.setdefault(doc_id, where)
    _require_documents(folder, wanted)
    if new:
        _append(folder, [f"{query_id}\t{doc_id}\t{grade}" for (query_id, doc_id), grade in new.items()])
    return Imported(len(new), known, empty)


def _filled(file: Path) -> Iterator[tuple[str, str, str, int | None]]:
    """``FILE:ROW``, query, document, and the grade, ``None`` where there is none."""
    if file.suffix not in SUFFIXES:
        raise DataError(f"{file} must end in {' or '.join(SUFFIXES)}")
    for where, record in _csv_records(file) if file.suffix == ".csv" else _json_records(file):
        query_id, doc_id, grade = (record.get(name) for name in ("query_id", "doc_id", "grade"))
        if not query_id or not doc_id:
            raise DataError(f"{where}: a row needs query_id and doc_id, as the list was written")
        written = "" if grade is None else str(grade).strip()
        if not written:
            yield where, str(query_id), str(doc_id), None
        elif (whole := re.fullmatch(r"(\d+)(?:\.0*)?", written)) is None:  # spreadsheets write 1.0
            raise DataError(f"{where}: a grade is a whole number, 0 or more, got {written[:20]!r}")
        else:
            yield where, str(query_id), str(doc_id), int(whole[1])


def _csv_records(file: Path) -> Iterator[tuple[str, dict[str, object]]]:
    reader = csv.DictReader([f"{line}\n" for _, line in lines(file)])
    if not {"query_id", "doc_id", "grade"} <= set(reader.fieldnames or ()):
        raise DataError(f"{file} needs the columns query_id, doc_id and grade, separated by commas")
    for number, record in enumerate(reader, start=1):
        yield f"{file}, row {number}", dict(record)


def _json_records(file: Path) -> Iterator[tuple[str, dict[str, object]]]:
    for where, line in lines(file):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise DataError(f"{where}: a row is a JSON object, got {line[:60]!r}") from error
        if not isinstance(record, dict):
            raise DataError(f"{where}: a row is a JSON object, got {line[:60]!r}")
        yield where, record


def _require_documents(folder: Path, wanted: dict[str, str]) -> None:
    """Nothing, where the corpus has every document; they are looked for until all are found."""
    missing = dict(wanted)
    for _, line in lines(one_of(folder, "corpus.jsonl")):
        if not missing:
            return
        try:
            missing.pop(str(json.loads(line)["_id"]), None)
        except (ValueError, KeyError, TypeError):
            continue  # loading counts the records that are none
    if missing:
        doc_id, where = next(iter(missing.items()))
        raise DataError(f"{where}: {folder} has no document {doc_id!r}; give the directory that the list is of")


def _append(folder: Path, rows: Sequence[str]) -> None:
    """The rows behind the file's own bytes, written whole or not at all."""
    from rerank_plugin.models.folder import write_whole

    plain, packed = folder / "qrels" / "train.tsv", folder / "qrels" / "train.tsv.gz"
    old = b""
    if plain.exists():
        old = plain.read_bytes()
    elif packed.exists():
        old = gzip.decompress(packed.read_bytes())
    if not old.strip():
        old = f"{HEADER}\n".encode()
    whole = old + (b"" if old.endswith(b"\n") else b"\n") + "".join(f"{row}\n" for row in rows).encode()
    plain.parent.mkdir(parents=True, exist_ok=True)
    if packed.exists() and not plain.exists():
        write_whole(packed, gzip.compress(whole, mtime=0))
    else:
        write_whole(plain, whole)
