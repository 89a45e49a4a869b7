"""The list that people judge: what the arms found first, mixed, without a word of who found it."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rerank_plugin.evaluation.collection import Query
from rerank_plugin.evaluation.result import write_text
from rerank_plugin.evaluation.runs import Run
from rerank_plugin.evaluation.writers import csv_text

#: Documents of each arm that are judged.
DEPTH = 10


def pool(queries: Sequence[Query], runs: Sequence[Run], *, seed: int) -> list[tuple[Query, list[str]]]:
    """The first ``DEPTH`` documents of all runs for each query, each once, in an order that hides who found them."""
    order = random.Random(seed)
    pooled: list[tuple[Query, list[str]]] = []
    for query in queries:
        documents = sorted({document for run in runs for document in run.ids(query.query_id)[:DEPTH]})
        order.shuffle(documents)
        pooled.append((query, documents))
    return pooled


def write_judging_lists(
    pooled: Sequence[tuple[Query, Sequence[str]]],
    titles: Callable[[Sequence[str]], Mapping[str, str]],
    out: Path,
) -> dict[str, Path]:
    """Writes ``judge.csv``, with titles, and ``quepid.csv``, as Quepid imports it; ratings are empty.

    Both come back as ``--qrels`` once they are filled in; a row without a rating is no judgment.
    """
    rows: list[tuple[str, str, str, str]] = []
    for query, documents in pooled:
        known = titles(documents)
        rows += [(query.text, document, known.get(document, ""), "") for document in documents]
    paths = {"csv": out / "judge.csv", "quepid": out / "quepid.csv"}
    write_text(paths["csv"], csv_text([("query", "docid", "title", "rating"), *rows]))
    write_text(paths["quepid"], csv_text([("query", "docid", "rating"), *((row[0], row[1], "") for row in rows)]))
    return paths
