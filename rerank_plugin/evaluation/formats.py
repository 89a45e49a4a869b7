"""Queries and judgments in the forms other tools write, told apart by what is in the file.

| form | queries | judgments |
|---|---|---|
| BEIR | ``queries.jsonl`` | tsv with a header |
| TREC | ``id TAB text`` lines | qrels: query, iteration, document, grade |
| plain text | one query a line | |
| Quepid CSV, and our judging list | column ``query`` | columns ``query``, ``docid``, ``rating`` |
| Search Relevance Workbench | ``querySetQueries`` with ``queryText`` | ``judgmentRatings``: ``query``, ``ratings`` |
| ``_rank_eval`` body | ``requests`` with ``id`` and ``request`` or ``params`` | the ``ratings`` of its requests |

Quepid and the Workbench name a query by its text: such judgments count for every query of that text, whatever case
and spaces it is written with.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rerank_plugin.client.query_text import QueryText, read_query_text
from rerank_plugin.errors import DataError
from rerank_plugin.evaluation.collection import (
    Collection,
    Judgments,
    Query,
    joined,
    lines,
    read_qrels,
    read_queries,
    same_text,
)

#: Grades that fractional ratings are cut into, 0 to this: trec_eval knows whole grades only.
HIGHEST_CUT = 4
#: Headings of a CSV file, small and without spaces and underscores -> what they are.
_QUERY, _DOCUMENT, _RATING = ("query", "querytext"), ("docid", "documentid"), ("rating", "grade", "relevance")


def read_collection(name: str, queries: Path, qrels: Path) -> Collection:
    """Queries and judgments of any of the forms, joined.

    :raises DataError: a file is missing or cannot be understood, or no query is judged.
    """
    return joined(name, read_any_queries(queries), read_judgments(qrels), (queries, qrels))


def unjudged_collection(name: str, queries: Path) -> Collection:
    """Queries without judgments; a text that occurs again counts once.

    :raises DataError: the file is missing, cannot be understood, or has no query.
    """
    asked = {same_text(query.text): query for query in reversed(read_any_queries(queries))}
    kept = tuple(reversed(asked.values()))
    return Collection(name=name, queries=kept, qrels={}, unjudged=len(kept), without_relevant=0)


def read_any_queries(path: Path) -> tuple[Query, ...]:
    """The queries of a file; those without an id of their own are called q1, q2, ... by their place.

    :raises DataError: the file is missing, cannot be understood, or has no query.
    """
    whole = _json_object(path)
    if whole is not None and "querySetQueries" in _inner(whole):
        texts = [each.get("queryText") for each in _objects(_inner(whole)["querySetQueries"], path)]
        found = _numbered(str(text) for text in texts if text)
    elif whole is not None and "requests" in whole:
        found = tuple(_rank_eval_query(each, path) for each in _objects(whole["requests"], path))
    elif _first_line(path).lstrip().startswith("{"):
        found = read_queries(path)
    elif (rows := _csv_rows(path)) is not None:
        found = _numbered(_distinct(row[0] for row in rows))
    else:
        found = _text_queries(path)
    if not found:
        raise DataError(f"{path} has no queries; give one a line, or a file of another known form")
    return found


def read_judgments(path: Path) -> Judgments:
    """The judgments of a file; a row without a rating is no judgment.

    :raises DataError: the file is missing or cannot be understood, or two ratings contradict each other.
    """
    whole = _json_object(path)
    if whole is not None and "judgmentRatings" in _inner(whole):
        rows = [
            (str(each.get("query", "")), str(rating.get("docId", "")), rating.get("rating"))
            for each in _objects(_inner(whole)["judgmentRatings"], path)
            for rating in _objects(each.get("ratings"), path)
        ]
        return _graded(rows, path, by_text=True)
    if whole is not None and "requests" in whole:
        rows = [
            (str(each.get("id", "")), str(rating.get("_id", "")), rating.get("rating"))
            for each in _objects(whole["requests"], path)
            for rating in _objects(each.get("ratings"), path)
        ]
        return _graded(rows, path, by_text=False)
    judged = _csv_rows(path)
    if judged is not None:
        return _graded(judged, path, by_text=True)
    return Judgments(grades=read_qrels(path))


def _graded(rows: Iterable[tuple[str, str, Any]], path: Path, *, by_text: bool) -> Judgments:
    """Ratings as whole grades: as they are where all are whole, else cut into ``HIGHEST_CUT`` + 1 equal parts."""
    ratings: dict[str, dict[str, float]] = {}
    for query, document, rating in rows:
        if rating is None or not str(rating).strip():
            continue
        try:
            value = float(rating)
        except (TypeError, ValueError) as error:
            raise DataError(f"{path}: a rating is a number, got {str(rating)[:20]!r} for {query[:60]!r}") from error
        if not math.isfinite(value) or not document:
            raise DataError(f"{path}: a rating needs a document and a finite number, got {document!r} and {rating!r}")
        known = ratings.setdefault(same_text(query) if by_text else query, {})
        if known.setdefault(document, value) != value:
            raise DataError(f"{path}: {query[:60]!r} and {document!r} have two different ratings; keep one")
    values = [value for each in ratings.values() for value in each.values()]
    if all(value.is_integer() for value in values):
        grades = {query: {document: int(value) for document, value in each.items()} for query, each in ratings.items()}
        return Judgments(grades=grades, by_text=by_text)
    top = max(values)
    cut = {
        query: {document: round(HIGHEST_CUT * max(value, 0.0) / top) for document, value in each.items()}
        for query, each in ratings.items()
    }
    note = f"ratings of {path.name} are fractions: cut into grades 0 to {HIGHEST_CUT}, where {top:g} is {HIGHEST_CUT}"
    return Judgments(grades=cut, by_text=by_text, note=note)


def _json_object(path: Path) -> dict[str, Any] | None:
    """The file as one JSON object; ``None`` for anything else, JSON lines too."""
    text = "\n".join(line for _, line in lines(path)) if _first_line(path).lstrip().startswith("{") else ""
    try:
        loaded = json.loads(text)
    except ValueError:
        return None
    return loaded if isinstance(loaded, dict) and "_id" not in loaded else None


def _inner(whole: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the Workbench stores: the object itself, or the first hit's ``_source`` in the answer to a GET."""
    hits = whole.get("hits")
    first = hits.get("hits", [None])[:1] if isinstance(hits, Mapping) else []
    source = first[0].get("_source") if first and isinstance(first[0], Mapping) else None
    return source if isinstance(source, Mapping) else whole


def _objects(value: Any, path: Path) -> list[Mapping[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(each, Mapping) for each in value):
        raise DataError(f"{path}: a list of objects was expected, got {str(value)[:60]!r}")
    return value


def _first_line(path: Path) -> str:
    return next((line for _, line in lines(path)), "")


def _rank_eval_query(request: Mapping[str, Any], path: Path) -> Query:
    params = request.get("params")
    texts = [each for each in (params or {}).values() if isinstance(each, str)] if isinstance(params, Mapping) else []
    read = read_query_text((request.get("request") or {}).get("query"))
    text = read.text if isinstance(read, QueryText) else texts[0] if len(texts) == 1 else None
    if text is None or not request.get("id"):
        raise DataError(f"{path}: a request needs an id and one query text, got {str(request)[:80]!r}")
    return Query(str(request["id"]), text)


def _csv_rows(path: Path) -> list[tuple[str, str, Any]] | None:
    """(query, document, rating) of a CSV file that names its columns; ``None`` for any other file."""
    heads = [_head(each) for each in next(csv.reader([_first_line(path)]), [])]
    query, document, rating = (
        next((heads.index(name) for name in names if name in heads), None) for names in (_QUERY, _DOCUMENT, _RATING)
    )
    if query is None:
        return None
    text = "\n".join(line for _, line in lines(path))
    rows: list[tuple[str, str, Any]] = []
    for row in list(csv.reader(text.splitlines(keepends=True)))[1:]:
        cells = [
            row[place].strip() if place is not None and place < len(row) else "" for place in (query, document, rating)
        ]
        if cells[0]:
            rows.append((cells[0], cells[1], cells[2]))
    return rows


def _head(text: str) -> str:
    return text.strip().casefold().replace(" ", "").replace("_", "")


def _text_queries(path: Path) -> tuple[Query, ...]:
    """``id TAB text`` lines where every line has one tab, else one query a line."""
    rows = [line.split("\t") for _, line in lines(path)]
    if rows and all(len(row) == 2 and row[0].strip() and row[1].strip() for row in rows):
        ids = [row[0].strip() for row in rows]
        if len(set(ids)) < len(ids):
            twice = next(each for each in ids if ids.count(each) > 1)
            raise DataError(f"{path}: the query id {twice!r} occurs twice; ids must differ")
        return tuple(Query(row[0].strip(), row[1].strip()) for row in rows)
    return _numbered(" ".join(" ".join(row).split()) for row in rows)


def _numbered(texts: Iterable[str]) -> tuple[Query, ...]:
    return tuple(Query(f"q{place}", text) for place, text in enumerate(texts, start=1))


def _distinct(texts: Iterable[str]) -> Iterator[str]:
    seen: set[str] = set()
    for text in texts:
        if same_text(text) not in seen:
            seen.add(same_text(text))
            yield text
