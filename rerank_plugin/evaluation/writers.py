"""Queries and judgments in the forms other tools read: what :mod:`formats` reads comes out again."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rerank_plugin.evaluation.arms import query_body
from rerank_plugin.evaluation.collection import Collection, Query
from rerank_plugin.evaluation.result import write_text

#: The longest name that the Workbench takes.
_LONGEST_NAME = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A collection to be written, with what a request to an engine needs."""

    collection: Collection
    index: str
    fields: Sequence[str]

    def rows(self) -> list[tuple[Query, str, int]]:
        """Every judgment of a query whose text is known, in the order of the queries."""
        qrels = self.collection.qrels
        return [
            (query, document, grade)
            for query in self.collection.queries
            for document, grade in qrels.get(query.query_id, {}).items()
        ]


def _beir(given: Written) -> dict[str, str]:
    queries = [{"_id": query.query_id, "text": query.text} for query in given.collection.queries]
    judged = [f"{query.query_id}\t{document}\t{grade}\n" for query, document, grade in given.rows()]
    return {
        "queries.jsonl": "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in queries),
        "qrels/test.tsv": "query-id\tcorpus-id\tscore\n" + "".join(judged),
    }


def _trec(given: Written) -> dict[str, str]:
    topics = [f"{query.query_id}\t{' '.join(query.text.split())}\n" for query in given.collection.queries]
    judged = [f"{query.query_id} 0 {document} {grade}\n" for query, document, grade in given.rows()]
    return {"topics.tsv": "".join(topics), "qrels.txt": "".join(judged)}


def _quepid(given: Written) -> dict[str, str]:
    rows = [(query.text, document, str(grade)) for query, document, grade in given.rows()]
    return {"quepid.csv": csv_text([("query", "docid", "rating"), *rows])}


def _workbench(given: Written) -> dict[str, str]:
    name = given.collection.name[:_LONGEST_NAME]
    by_text: dict[str, list[dict[str, str]]] = {}
    for query, document, grade in given.rows():
        by_text.setdefault(query.text, []).append({"docId": document, "rating": f"{float(grade)}"})
    queries = {
        "name": name,
        "sampling": "manual",
        "querySetQueries": [{"queryText": query.text} for query in given.collection.queries],
    }
    judgments = {
        "name": name,
        "type": "IMPORT_JUDGMENT",
        "judgmentRatings": [{"query": text, "ratings": ratings} for text, ratings in by_text.items()],
    }
    return {"query_set.json": _json(queries), "judgments.json": _json(judgments)}


def _rank_eval(given: Written) -> dict[str, str]:
    ratings: dict[str, list[dict[str, Any]]] = {}
    for query, document, grade in given.rows():
        if grade >= 0:  # the engine refuses others
            rated = {"_index": given.index, "_id": document, "rating": grade}
            ratings.setdefault(query.query_id, []).append(rated)
    requests = [
        {
            "id": query.query_id,
            "request": {"query": query_body(query.text, given.fields)},
            "ratings": ratings.get(query.query_id, []),
        }
        for query in given.collection.queries
    ]
    # its gain is 2^grade - 1: rerank evaluate --gain exponential gives the same number
    metric = {"dcg": {"k": 10, "normalize": True}}
    return {"rank_eval.json": _json({"requests": requests, "metric": metric})}


#: Form -> what it makes of a collection: file names and texts.
FORMS: Mapping[str, Callable[[Written], dict[str, str]]] = {
    "beir": _beir,
    "trec": _trec,
    "quepid": _quepid,
    "workbench": _workbench,
    "rank_eval": _rank_eval,
}


def write_form(form: str, given: Written, out: Path) -> list[Path]:
    """Writes a form's files under ``out``; their paths come back. ``OSError`` where the folder cannot be written."""
    paths: list[Path] = []
    for name, text in FORMS[form](given).items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
        paths.append(path)
    return paths


def csv_text(rows: Sequence[Sequence[str]]) -> str:
    """Rows as CSV (RFC 4180, with plain line ends)."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue()


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"
