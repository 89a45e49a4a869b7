"""Runs: what an arm found for each query, in order; and TREC run files.

trec_eval, and so ir-measures, orders a run by score and breaks ties by document id, whatever order the lines have. So
the order is made strict before it is judged or written: judging uses minus the rank, and a file gets the arm's own
scores, lowered only where one is not below the one before it, by the smallest step that single precision can show.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from rerank_plugin.errors import DataError
from rerank_plugin.evaluation.collection import lines


@dataclass(frozen=True, slots=True)
class ScoredDocument:
    """A document in a run."""

    doc_id: str
    score: float


@dataclass(frozen=True, slots=True)
class Run:
    """Query -> documents, best first; queries that found nothing are absent or empty."""

    name: str
    found: Mapping[str, tuple[ScoredDocument, ...]]

    def ids(self, query_id: str) -> tuple[str, ...]:
        """Documents of one query, best first."""
        return tuple(each.doc_id for each in self.found.get(query_id, ()))


def strict_scores(scores: Sequence[float]) -> list[float]:
    """The scores, each below the one before it even in single precision; those that already are stay as they are.

    :raises DataError: a score is NaN or infinite.
    """
    import numpy as np

    strict: list[float] = []
    for position, score in enumerate(scores):
        if not math.isfinite(score):
            raise DataError(f"a run needs finite scores, got {score} at rank {position + 1}")
        value = np.float32(score)
        if strict and not value < np.float32(strict[-1]):
            value = np.nextafter(np.float32(strict[-1]), np.float32(-np.inf))
        strict.append(float(value))
    return strict


def write_trec(run: Run, path: Path) -> None:
    """The run as a TREC file (``query Q0 document rank score tag``), scores made strict; replaces an existing file.

    The format has no place for white space inside an id or a tag: there it becomes ``%`` and the code, as in a URL.

    :raises DataError: a score is not finite.
    """
    import numpy as np

    rows: list[str] = []
    for query_id, documents in run.found.items():
        scores = strict_scores([each.score for each in documents])
        for rank, (document, score) in enumerate(zip(documents, scores, strict=True), start=1):
            identity, tag = _word(document.doc_id), _word(run.name)
            rows.append(f"{_word(query_id)} Q0 {identity} {rank} {np.float32(score)!s} {tag}\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    part.write_text("".join(rows), encoding="utf-8")
    os.replace(part, path)


def _word(text: str) -> str:
    return "".join(quote(letter) if letter.isspace() else letter for letter in text)


def read_trec(path: Path) -> Run:
    """A TREC run file as it will be judged: by falling score, equal scores by the rank column.

    :raises DataError: naming file and line: not six columns, a score or rank that is no number, a document twice.
    """
    rows: dict[str, dict[str, tuple[float, int]]] = {}
    name = path.stem
    for where, line in lines(path):
        columns = line.split()
        if len(columns) != 6:
            raise DataError(f"{where}: a TREC run has 6 columns, got {len(columns)} in {line[:60]!r}")
        query_id, _, document, rank, score, name = columns
        try:
            key = (-float(score), int(rank))
        except ValueError as error:
            raise DataError(f"{where}: rank and score are numbers, got {rank!r} and {score!r}") from error
        if not math.isfinite(key[0]):
            raise DataError(f"{where}: a score is a finite number, got {score!r}")
        if document in rows.setdefault(query_id, {}):
            raise DataError(f"{where}: the document {document!r} occurs twice for the query {query_id!r}")
        rows[query_id][document] = key
    return Run(
        name,
        {
            query_id: tuple(
                ScoredDocument(document, -key[0])
                for document, key in sorted(documents.items(), key=lambda each: each[1])
            )
            for query_id, documents in rows.items()
        },
    )
