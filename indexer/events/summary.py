"""From an event log to counts per document: no robots, no one counted twice a day, old events less, nothing later.

For each document and kind, count = sum over its events of w(age), where w is the share of the windows of 7, 30 and 90
days that hold the event (an undated one counts whole), and an actor counts once a day for a document, kind and query.
``click_rate`` is 1,000 times the smoothed click rate (``clickmodel.smoothed_rates``), positions taken out: clicks a
thousand looks would bring. Popularity then log-scales all of them alike (``signals/popularity.py``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexer.events.clickmodel import fit_propensities, smoothed_rates
from indexer.events.log import connect, read_log
from rerank_plugin.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from ibis import Table
    from ibis.backends.duckdb import Backend
    from numpy.typing import NDArray

#: Days; an event counts the share of them that it lies in.
WINDOWS = (7, 30, 90)
#: An actor who did more on one day is taken for a robot, and what it did that day is left out.
ROBOT_EVENTS = 1_000
CLICK_RATE = "click_rate"
#: The kind of what was shown, whatever came of it.
SHOWN = "impressions"


@dataclass(frozen=True, slots=True)
class Summary:
    """What a log says."""

    #: Document id -> kind -> count, as ``popularity`` takes them.
    counts: dict[str, dict[str, float]]
    #: How many events were read and what became of them; the propensities, for ``--json``.
    account: dict[str, Any]


def summarise(file: Path, *, now: datetime) -> Summary:
    """The counts of a log as of ``now``: events after it are not looked at.

    :raises DataError: the file cannot be read, or holds no event.
    :raises MissingExtraError: Ibis or DuckDB is not installed.
    """
    with events_kept(file, now=now) as (kept, seen):
        return _summarise(kept, seen)


@contextmanager
def events_kept(file: Path, *, now: datetime) -> Iterator[tuple[Table, dict[str, int]]]:
    """The events that count as of ``now``, and what became of the log's; the table lives as long as the context.

    :raises DataError: the file cannot be read, or holds no event.
    :raises MissingExtraError: Ibis or DuckDB is not installed.
    """
    try:
        file.open("rb").close()
    except OSError as error:
        raise DataError(f"cannot read the events of {file}: {error.strerror}; check the path") from error
    con = connect()
    try:
        yield _kept(con, file, now)
    except DataError:
        raise
    except Exception as error:  # what DuckDB meets while it runs: a file cut off, a disk that is full
        raise DataError(f"cannot read the events of {file}: {str(error).splitlines()[0]}") from error
    finally:
        con.disconnect()


def _kept(con: Backend, file: Path, now: datetime) -> tuple[Table, dict[str, int]]:
    votes = con.create_table("votes", _votes(read_log(con, file), now), temp=True)
    told = votes.group_by("what").agg(rows=votes.events.sum()).to_pyarrow().to_pylist()
    seen = {each["what"]: int(each["rows"]) for each in told}
    kept = con.create_table("kept", _without_robots(votes), temp=True)
    people = int(kept.events.sum().fill_null(0).to_pyarrow().as_py())
    if seen.get("kept", 0) > people:
        seen |= {"kept": people, "robots": seen["kept"] - people}
    if not people:
        raise DataError(f"{file} holds no event up to {now:%Y-%m-%d}: {seen or 'it is empty'}")
    return kept, seen


def _summarise(kept: Table, seen: dict[str, int]) -> Summary:
    import numpy as np

    counts: dict[str, dict[str, float]] = {}
    by_kind = kept.group_by("doc", "kind").agg(count=kept.votes.sum()).to_pyarrow()
    for doc, kind, count in zip(*(by_kind[name].to_pylist() for name in ("doc", "kind", "count")), strict=True):
        counts.setdefault(doc, {})[kind] = count
    account: dict[str, Any] = {"events": seen}
    placed = looked_at(kept)
    if len(placed.docs):
        account["propensities"] = placed.account
        by_doc = [
            np.bincount(placed.doc_numbers, each, len(placed.docs)).astype(np.float64)
            for each in (placed.looks, placed.clicks)
        ]
        for doc, rate in zip(placed.docs, smoothed_rates(*by_doc).tolist(), strict=True):
            counts[doc][CLICK_RATE] = 1000.0 * rate
    return Summary(counts, account)


@dataclass(frozen=True, slots=True)
class Placed:
    """Impressions and clicks by query, document and position, positions taken out."""

    queries: list[str]
    docs: list[str]
    #: (rows,): places in ``queries`` and ``docs``.
    query_numbers: NDArray[np.int64]
    doc_numbers: NDArray[np.int64]
    #: (rows,): how often it was shown, how often it was looked at by the propensity of its position, and its clicks.
    impressions: NDArray[np.float64]
    looks: NDArray[np.float64]
    clicks: NDArray[np.float64]
    #: The propensities, for ``--json``.
    account: dict[str, Any]


def _votes(log: Table, now: datetime) -> Table:
    """The log brought together, with what became of it under ``what``.

    What was done has one row per actor, document, kind, query and day, and counts once (that of nobody each time); what
    was shown, the greater part of a log by far, has one per document, query and position. ``events`` are rows of the
    log, ``votes`` what they count, by their age.
    """
    import ibis

    moment = ibis.literal(now.astimezone(UTC).replace(tzinfo=None), "timestamp")
    age = moment.delta(log.time, unit="day")
    shown = log.kind == SHOWN
    countable = (log["count"] >= 0) & ~log["count"].isinf() & ~log["count"].isnan()
    held = sum((age < days).cast("int64") for days in WINDOWS) / len(WINDOWS)
    keyed = log.mutate(
        what=ibis.cases(
            (log.doc.isnull() | log.kind.isnull() | ~countable, "bad"),
            (log.time > moment, "later"),
            else_="kept",
        ),
        who=ibis.cases((shown, ibis.null("string")), else_=log.actor),
        weight=ibis.cases((log.time.isnull(), 1.0), else_=held),
        day=ibis.cases((shown, ibis.null("int64")), else_=age),
        place=ibis.cases((shown, log.position), else_=ibis.null("int64")),
    )
    grouped = keyed.group_by("what", "who", "doc", "kind", "query", "day", "place").agg(
        events=keyed.count(),
        counted=(keyed["count"] * keyed.weight).sum(),
        weight=keyed.weight.max(),
        position=keyed.position.min(),
    )
    return grouped.mutate(votes=ibis.cases((grouped.who.isnull(), grouped.counted), else_=grouped.weight))


def _without_robots(votes: Table) -> Table:
    """The rows that are kept, less those of actors who did too much on one day."""
    kept = votes.filter(votes.what == "kept")
    busy = kept.filter(kept.who.notnull()).group_by("who", "day").agg(total=kept.events.sum())
    robots = busy.filter(busy.total > ROBOT_EVENTS).select("who", "day")
    return kept.anti_join(robots, ["who", "day"])


def _pairs(kept: Table) -> Table:
    """Impressions and clicks by query, document and position, where the log has all three."""
    kept = kept.mutate(query=kept.query.lower().strip())
    placed = kept.filter(kept.query.notnull() & kept.position.notnull() & kept.kind.isin([SHOWN, "clicks"]))
    grouped = placed.group_by("query", "doc", "position").agg(
        impressions=placed.votes.sum(where=placed.kind == SHOWN), clicks=placed.votes.sum(where=placed.kind == "clicks")
    )
    return grouped.filter(grouped.impressions > 0)


def looked_at(kept: Table) -> Placed:
    """The pairs of the log with their propensities; no rows where no event has query, document and position."""
    import numpy as np

    pairs = _pairs(kept).to_pyarrow()
    clicks = np.nan_to_num(pairs["clicks"].to_numpy().astype(np.float64))
    impressions = np.maximum(pairs["impressions"].to_numpy().astype(np.float64), clicks)
    positions = pairs["position"].to_numpy()
    docs = pairs["doc"].combine_chunks().dictionary_encode()
    queries = pairs["query"].combine_chunks().dictionary_encode()
    names, texts = docs.dictionary.to_pylist(), queries.dictionary.to_pylist()
    doc_numbers, query_numbers = (each.indices.to_numpy().astype(np.int64) for each in (docs, queries))
    _, numbers = np.unique(query_numbers * max(len(names), 1) + doc_numbers, return_inverse=True)
    fitted = fit_propensities(numbers.astype(np.int64), positions, impressions, clicks)
    looks = impressions * fitted.looks[np.searchsorted(fitted.positions, positions)] if len(pairs) else impressions
    shown = dict(zip(fitted.positions.tolist()[:10], np.round(fitted.looks, 4).tolist()[:10], strict=True))
    account = {"looks": shown, "rounds": fitted.rounds, "converged": fitted.converged}
    return Placed(texts, names, query_numbers, doc_numbers, impressions, looks, clicks, account)
