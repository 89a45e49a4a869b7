"""Queries and judgments from files: BEIR ``queries.jsonl`` and ``qrels/*.tsv``, TREC qrels; all may end in ``.gz``."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, cast

from rerank_plugin.domain.factors import PRIORS
from rerank_plugin.errors import DataError

#: Query -> document -> grade; a grade above 0 means relevant.
Qrels = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Query:
    """One question, and the documents that may not answer it."""

    query_id: str
    text: str
    #: Documents left out of every arm: a collection that asks with its own documents names them (``metadata.self``).
    drop: frozenset[str] = frozenset()
    #: Factors that it asks for (``metadata.asks``), for a gate to learn from; ``None`` where nobody said.
    asks: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """Queries with their judgments, and what was left aside."""

    name: str
    #: Judged queries with at least one relevant document, in the order of the file.
    queries: tuple[Query, ...]
    #: Judgments of exactly those queries, and of judged ones whose text is absent: these can only score 0.
    qrels: Qrels
    #: Queries of the file without any judgment: nothing can be said of them.
    unjudged: int
    #: Judged queries without a relevant document: no order can be better than another.
    without_relevant: int
    #: What was done to the grades, in words; empty for nothing.
    note: str = ""

    def first(self, limit: int) -> Collection:
        """The first ``limit`` queries and their judgments."""
        kept = self.queries[:limit]
        asked = {query.query_id for query in kept}
        return replace(self, queries=kept, qrels={key: self.qrels[key] for key in self.qrels if key in asked})


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgments:
    """Grades as a file has them."""

    #: Query id, or text as :func:`same_text` writes it, -> document -> grade.
    grades: Qrels
    #: Whether queries are named by their text.
    by_text: bool = False
    #: What was done to the grades, in words; empty for nothing.
    note: str = ""

    def of(self, queries: Sequence[Query]) -> Qrels:
        """The grades by query id; judged queries that are not among the given ones keep the name they have here."""
        if not self.by_text:
            return self.grades
        known = {same_text(query.text) for query in queries}
        mine = {
            query.query_id: self.grades[text] for query in queries if (text := same_text(query.text)) in self.grades
        }
        return {**mine, **{text: grades for text, grades in self.grades.items() if text not in known}}


def same_text(text: str) -> str:
    """The text as it counts for equality: without its case, every run of white space one space."""
    return " ".join(text.split()).casefold()


def joined(name: str, asked: Sequence[Query], judgments: Judgments, where: tuple[Path | str, Path | str]) -> Collection:
    """Queries and judgments joined by query id, or by text.

    :param where: the two files, for a message.
    :raises DataError: no query is judged.
    """
    judged = judgments.of(asked)
    relevant = {key: grades for key, grades in judged.items() if any(grade > 0 for grade in grades.values())}
    kept = tuple(query for query in asked if query.query_id in relevant)
    if not relevant:
        raise DataError(f"{where[1]} rates no document as relevant; fill in its ratings, above 0 for relevant ones")
    if not kept:
        example, other = (next(iter(each), "none") for each in (relevant, (query.query_id for query in asked)))
        raise DataError(
            f"no query of {where[0]} has a relevant document in {where[1]}: "
            f"query ids are like {other!r} there and {example!r} here; give files of the same collection"
        )
    return Collection(
        name=name,
        queries=kept,
        qrels=relevant,
        unjudged=sum(query.query_id not in judged for query in asked),
        without_relevant=len(judged) - len(relevant),
        note=judgments.note,
    )


def read_beir(folder: Path, split: str = "test") -> Collection:
    """A BEIR directory: ``queries.jsonl`` or ``queries.jsonl.gz``, and ``qrels/SPLIT.tsv``.

    :raises DataError: a file is missing or has a bad line, or no query is judged.
    """
    queries, qrels = one_of(folder, "queries.jsonl"), one_of(folder / "qrels", f"{split}.tsv")
    judgments = Judgments(grades=read_qrels(qrels))
    return joined(folder.resolve().name, read_queries(queries), judgments, (queries, qrels))


def one_of(folder: Path, name: str) -> Path:
    """``folder/name`` or ``folder/name.gz``, whichever exists.

    :raises DataError: neither does.
    """
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise DataError(f"{folder} has neither {name} nor {name}.gz; a BEIR directory is needed")


def read_queries(path: Path) -> tuple[Query, ...]:
    """Queries of a BEIR file, one JSON object a line: ``_id``, ``text``, perhaps ``metadata.self``, ``metadata.asks``.

    :raises DataError: naming file and line: not JSON, no ``_id`` or ``text``, an id twice; or the file cannot be read.
    """
    found: dict[str, Query] = {}
    for where, line in lines(path):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise DataError(f"{where}: a query is a JSON object, got {line[:60]!r}") from error
        if not isinstance(record, dict) or not isinstance(record.get("text"), str):
            raise DataError(f"{where}: a query needs '_id' and 'text', got {line[:60]!r}")
        query_id = _identity(record.get("_id"))
        if query_id is None:
            raise DataError(f"{where}: a query needs '_id' and 'text', got {line[:60]!r}")
        if query_id in found:
            raise DataError(f"{where}: the query id {query_id!r} occurs twice; ids must differ")
        metadata = record.get("metadata")
        metadata = metadata if isinstance(metadata, dict) else {}
        own = _identity(metadata.get("self"))
        drop = frozenset() if own is None else frozenset({own})
        found[query_id] = Query(query_id, record["text"], drop, _asks(metadata.get("asks"), where))
    return tuple(found.values())


def _asks(said: Any, where: str) -> frozenset[str] | None:
    """The factors that a query asks for.

    :raises DataError: something else than a list of factors.
    """
    if said is None:
        return None
    if not isinstance(said, list) or not all(each in PRIORS for each in said):
        raise DataError(f"{where}: metadata.asks is a list of some of {', '.join(PRIORS)}, got {str(said)[:60]!r}")
    return frozenset(said)


def read_qrels(path: Path) -> dict[str, dict[str, int]]:
    """Judgments of a BEIR tsv (header, then query, document, grade) or a TREC file (query, iteration, document, grade).

    :raises DataError: naming file and line: a wrong number of columns, a grade that is no whole number, a pair judged
        twice with different grades; or the file cannot be read.
    """
    qrels: dict[str, dict[str, int]] = {}
    for number, (where, line) in enumerate(lines(path)):
        columns = line.split("\t") if "\t" in line else line.split()
        if number == 0 and columns[-1].strip() in {"score", "relevance", "rel", "grade"}:
            continue
        if len(columns) == 4:
            query_id, _, document, grade = (column.strip() for column in columns)
        elif len(columns) == 3:
            query_id, document, grade = (column.strip() for column in columns)
        else:
            raise DataError(
                f"{where}: a judgment has 3 columns (BEIR) or 4 (TREC), got {len(columns)} in {line[:60]!r}"
            )
        try:
            value = int(grade)
        except ValueError as error:
            raise DataError(f"{where}: a grade is a whole number, got {grade[:20]!r}") from error
        known = qrels.setdefault(query_id, {})
        if known.setdefault(document, value) != value:
            raise DataError(
                f"{where}: query {query_id!r} and document {document!r} have two different grades; keep one"
            )
    return qrels


def lines(path: Path) -> Iterator[tuple[str, str]]:
    """Each line that is not blank, without its end, with ``FILE:LINE`` for messages.

    :raises DataError: the file is missing, cannot be read, or is not UTF-8 text.
    """
    try:
        with _opened(path) as stream:
            for number, line in enumerate(stream, start=1):
                text = line.rstrip("\r\n")
                if text.strip():
                    yield f"{path}:{number}", text
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; give the path of a file") from error
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as text ({error}); give a UTF-8 file, plain or .gz") from error


def _opened(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return cast(IO[str], gzip.open(path, "rt", encoding="utf-8-sig"))
    return path.open(encoding="utf-8-sig")


def _identity(value: object) -> str | None:
    """Ids are strings; some collections write whole numbers."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    return str(value) or None
