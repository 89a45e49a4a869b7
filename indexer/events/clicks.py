"""From an event log to a table of queries and documents: how often looked at, how often clicked, how much liked.

Positions are taken out by the same model that makes ``click_rate`` (``clickmodel.py``), and the same events count:
nothing later, no robots, no one twice a day. Queries that few people clicked are left out: what one person types may
tell who it is.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexer.events.clickmodel import LEAST_RATE, smoothed_rates
from indexer.events.summary import Kept, Placed, cleaned, events_kept, looked_at
from rerank_plugin.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

SUFFIXES = (".parquet", ".csv", ".jsonl")
#: Looks that a document needs before it is called unliked, and clicks before it is called liked.
LEAST_LOOKS = 3.0
LEAST_CLICKS = 2.0


@dataclass(frozen=True, slots=True)
class ClickTable:
    """One row per query and document that was shown, by query, the most liked document first.

    Columns: ``query`` (lower case), ``_id``, ``impressions``, ``looks`` (impressions times the chance that their
    position is looked at), ``clicks``, ``attraction`` in [0, 1] (the smoothed share of looks that became a click).
    """

    table: pa.Table
    #: Clicks per look of the whole log.
    average: float
    account: dict[str, Any]


def click_table(file: Path | str, *, now: datetime, least_actors: int, backend: str = "duckdb") -> ClickTable:
    """The table of a log as of ``now``.

    :param least_actors: queries clicked by fewer different actors are left out; 0 keeps all, those without actors too.
    :raises DataError: the file cannot be read, or has no impressions and clicks with query and position.
    :raises MissingExtraError: Ibis or DuckDB is not installed.
    """
    with events_kept(file, now=now, backend=backend) as kept:
        placed, actors = looked_at(kept), _actors(kept) if least_actors else {}
    if not placed.docs:
        raise DataError(
            f"{file} has no impression with a query and a position; a click table needs what was shown, and where"
        )
    known = [actors.get(query, 0) >= least_actors for query in placed.queries]
    account = {
        "events": kept.seen,
        "propensities": placed.account,
        "queries": sum(known),
        "rare_queries": len(known) - sum(known),
        "least_actors": least_actors,
    }
    table, average = _rows(placed, known)
    return ClickTable(table, average, {**account, "rows": len(table), "average": round(average, 6)})


def _actors(kept: Kept) -> dict[str, int]:
    """Query -> how many different actors clicked; impressions have none (``summary._votes``)."""
    import pyarrow as pa

    votes = kept.votes
    clicked = votes.filter((votes.kind == "clicks") & votes.who.notnull() & votes.query.notnull())
    pairs = kept.backend.fetched(clicked.select("query", "who").distinct())
    people = pa.table({"query": cleaned(pairs["query"]), "who": pairs["who"]})
    found = people.group_by("query").aggregate([("who", "count_distinct")])
    return dict(zip(found["query"].to_pylist(), found["who_count_distinct"].to_pylist(), strict=True))


def _rows(placed: Placed, known: list[bool]) -> tuple[pa.Table, float]:
    """The table of the known queries, and the average clicks per look of all."""
    import numpy as np
    import pyarrow as pa

    pairs, places = np.unique(placed.query_numbers * len(placed.docs) + placed.doc_numbers, return_inverse=True)
    impressions, looks, clicks = (
        np.bincount(places, each, len(pairs)).astype(np.float64)
        for each in (placed.impressions, placed.looks, placed.clicks)
    )
    attraction = np.minimum(smoothed_rates(looks, clicks), 1.0)
    queries, docs = np.divmod(pairs, len(placed.docs))
    names = np.array(placed.queries, dtype=object)[queries], np.array(placed.docs, dtype=object)[docs]
    order = [place for place in np.lexsort((names[1], -attraction, names[0])) if known[queries[place]]]
    columns: dict[str, NDArray[np.generic]] = {
        "query": names[0], "_id": names[1], "impressions": impressions, "looks": looks, "clicks": clicks,
        "attraction": attraction,
    }  # fmt: skip
    average = max(float(clicks.sum()) / max(float(looks.sum()), 1e-12), LEAST_RATE)
    numbers, texts = pa.float64(), pa.string()
    kinds = {name: texts if name in ("query", "_id") else numbers for name in columns}
    return pa.table({name: pa.array(column[order], kinds[name]) for name, column in columns.items()}), average


def write_table(table: pa.Table, file: Path) -> None:
    """Writes Parquet, CSV or JSON lines, by the suffix.

    :raises DataError: another suffix.
    """
    if file.suffix == ".parquet":
        from pyarrow.parquet import write_table as write_parquet

        write_parquet(table, file)
    elif file.suffix == ".csv":
        from pyarrow.csv import write_csv

        write_csv(table, file)
    elif file.suffix == ".jsonl":
        with file.open("w", encoding="utf-8") as lines:
            for batch in table.to_batches(max_chunksize=10_000):
                lines.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in batch.to_pylist())
    else:
        raise DataError(f"{file} must end in {', '.join(SUFFIXES)}")


def write_judgments(found: ClickTable, folder: Path) -> dict[str, int]:
    """``queries.jsonl`` and ``qrels/train.tsv`` of a BEIR directory, for ``rerank train``: how many of each.

    Grade 1: at least ``LEAST_CLICKS`` and an attraction above the log's average. Grade 0: at least ``LEAST_LOOKS``
    and an attraction below it. What lies between says too little. Queries without a grade 1 are left out. Preferring
    clicked to skipped is Joachims's (KDD 2002); the thresholds are ours, by judgement.

    :raises DataError: the folder has queries or training judgments already, or no query has a document of grade 1.
    """
    queries, qrels = folder / "queries.jsonl", folder / "qrels" / "train.tsv"
    for file in (queries, qrels):
        if file.exists():
            raise DataError(f"{file} exists; name a folder without judgments, and put corpus.jsonl beside them")
    graded: dict[str, list[tuple[str, int]]] = {}
    for row in found.table.to_pylist():
        if row["clicks"] >= LEAST_CLICKS and row["attraction"] > found.average:
            graded.setdefault(row["query"], []).append((row["_id"], 1))
        elif row["looks"] >= LEAST_LOOKS and row["attraction"] < found.average:
            graded.setdefault(row["query"], []).append((row["_id"], 0))
    graded = {query: rows for query, rows in graded.items() if any(grade for _, grade in rows)}
    if not graded:
        raise DataError(
            f"no query has a document with {LEAST_CLICKS:g} clicks and more than the average per look; nothing to learn"
        )
    qrels.parent.mkdir(parents=True, exist_ok=True)
    ids = {query: hashlib.sha256(query.encode()).hexdigest()[:16] for query in graded}
    queries.write_text(
        "".join(json.dumps({"_id": ids[query], "text": query}, ensure_ascii=False) + "\n" for query in graded), "utf-8"
    )
    lines = [f"{ids[query]}\t{doc}\t{grade}\n" for query, rows in graded.items() for doc, grade in rows]
    qrels.write_text("query-id\tcorpus-id\tscore\n" + "".join(lines), "utf-8")
    return {"queries": len(graded), "judgments": len(lines)}
