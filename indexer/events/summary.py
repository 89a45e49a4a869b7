"""From an event log to counts per document: no robots, no one counted twice a day, old events less, nothing later.

For each document and kind, count = sum over its events of w(age), where w is the share of the windows of 7, 30 and 90
days that hold the event (an undated one counts whole), and an actor counts once a day for a document, kind and query.
``click_rate`` is 1,000 times the smoothed click rate (``clickmodel.smoothed_rates``), positions taken out: clicks a
thousand looks would bring. Popularity then log-scales all of them alike (``signals/popularity.py``).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexer.events.backends import Backend, error_line, open_backend
from indexer.events.clickmodel import fit_propensities, smoothed_rates
from indexer.events.log import read_log
from rerank_plugin.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from ibis import Table
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


def summarise(log: Path | str, *, now: datetime, backend: str = "duckdb") -> Summary:
    """The counts of a log as of ``now``: events after it are not looked at.

    :param log: a file; for Spark also a folder or a URL that its workers can read.
    :raises DataError: the log cannot be read, or holds no event.
    :raises MissingExtraError: a library of the backend is not installed.
    """
    with events_kept(log, now=now, backend=backend) as kept:
        return _summarise(kept)


@dataclass(frozen=True, slots=True)
class Kept:
    """The events of a log that count."""

    #: One row as :func:`_votes` makes them.
    votes: Table
    #: How many events were read, by what became of them.
    seen: dict[str, int]
    backend: Backend


@contextmanager
def events_kept(log: Path | str, *, now: datetime, backend: str = "duckdb") -> Iterator[Kept]:
    """The events that count as of ``now``; they live as long as the context.

    :raises DataError: the log cannot be read, or holds no event.
    :raises MissingExtraError: a library of the backend is not installed.
    """
    runs = open_backend(backend)
    try:
        yield _kept(runs, str(log), now)
    except DataError:
        raise
    except Exception as error:  # what a backend meets while it runs: a file cut off, a disk that is full
        raise DataError(f"cannot read the events of {log}: {error_line(error)}") from error
    finally:
        runs.close()


def _kept(backend: Backend, location: str, now: datetime) -> Kept:
    votes = backend.kept("votes", _votes(read_log(backend, location), now))
    told = backend.fetched(votes.group_by("what").agg(rows=votes.events.sum()))
    seen = {each["what"]: int(each["rows"]) for each in told.to_pylist()}
    kept = votes.filter(votes.what == "kept")
    robots = backend.kept("robots", _robots(kept))
    caught = backend.fetched(robots.agg(events=robots.total.sum()))["events"][0].as_py()
    if caught:
        kept = kept.anti_join(robots, ["who", "day"])
        seen |= {"kept": seen["kept"] - int(caught), "robots": int(caught)}
    if not seen.get("kept"):
        raise DataError(f"{location} holds no event up to {now:%Y-%m-%d}: {seen or 'it is empty'}")
    return Kept(kept, seen, backend)


def _summarise(kept: Kept) -> Summary:
    import numpy as np

    counts: dict[str, dict[str, float]] = {}
    votes = kept.votes
    by_kind = kept.backend.fetched(votes.group_by("doc", "kind").agg(count=votes.votes.sum() / len(WINDOWS)))
    for doc, kind, count in zip(*(by_kind[name].to_pylist() for name in ("doc", "kind", "count")), strict=True):
        counts.setdefault(doc, {})[kind] = count
    account: dict[str, Any] = {"events": kept.seen}
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

    #: What there is, and (rows,): the places of each row's.
    queries: list[str]
    query_numbers: NDArray[np.int64]
    docs: list[str]
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
    log, ``votes`` what they count, times the number of ``WINDOWS``: whole numbers, whose sum is the same in any order.
    """
    import ibis

    now = now.astimezone(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    since = [midnight - timedelta(days - 1) for days in WINDOWS]
    held = sum((log.time >= ibis.literal(each, log.time.type())).cast("int64") for each in since)
    shown = log.kind == SHOWN
    countable = log["count"].between(0.0, sys.float_info.max)  # neither infinite nor NaN, which both take for more
    who = ibis.cases((shown, ibis.null("string")), else_=log.actor)
    # What is no event has no document, what is later no kind: a column more to group by would be felt.
    keyed = log.mutate(
        doc=ibis.cases((countable & log.kind.notnull(), log.doc), else_=ibis.null("string")),
        kind=ibis.cases((log.time > ibis.literal(now, log.time.type()), ibis.null("string")), else_=log.kind),
        who=who,
        weight=ibis.cases((log.time.isnull(), len(WINDOWS)), else_=held),
        day=ibis.cases((who.notnull(), log.time.cast("timestamp").date()), else_=ibis.null("date")),
        place=ibis.cases((shown, log.position), else_=ibis.null("int64")),
    )
    grouped = keyed.group_by("who", "doc", "kind", "query", "day", "place").agg(
        events=keyed.count(),
        counted=(keyed["count"] * keyed.weight).sum(),
        weight=keyed.weight.max(),
        position=keyed.position.min(),
    )
    return grouped.mutate(
        what=ibis.cases((grouped.doc.isnull(), "bad"), (grouped.kind.isnull(), "later"), else_="kept"),
        votes=ibis.cases((grouped.who.isnull(), grouped.counted), else_=grouped.weight),
    )


def _robots(kept: Table) -> Table:
    """Who did too much on one day, and how much."""
    busy = kept.filter(kept.who.notnull() & kept.day.notnull()).group_by("who", "day").agg(total=kept.events.sum())
    return busy.filter(busy.total > ROBOT_EVENTS)


def cleaned(queries: pa.ChunkedArray) -> pa.ChunkedArray:
    """Queries as they are compared: lower case, without white space around them."""
    import pyarrow.compute as pc

    return pc.utf8_trim_whitespace(pc.utf8_lower(queries))


def looked_at(kept: Kept) -> Placed:
    """The pairs of the log with their propensities; no rows where no event has query, document and position.

    Rows are by query, document and position, so that the same log has the same propensities to the last digit.
    """
    import numpy as np

    votes = kept.votes
    placed = votes.filter(votes.query.notnull() & votes.position.notnull() & votes.kind.isin([SHOWN, "clicks"]))
    grouped = placed.group_by("query", "doc", "position").agg(
        impressions=placed.votes.sum(where=placed.kind == SHOWN), clicks=placed.votes.sum(where=placed.kind == "clicks")
    )
    rows = kept.backend.fetched(grouped)
    (queries, query_numbers), (docs, doc_numbers) = _numbered(cleaned(rows["query"])), _numbered(rows["doc"])
    positions, places = np.unique(rows["position"].to_numpy(), return_inverse=True)
    keys, same = np.unique((query_numbers * len(docs) + doc_numbers) * len(positions) + places, return_inverse=True)
    impressions, clicks = (
        np.bincount(same, np.nan_to_num(rows[name].to_numpy().astype(np.float64)), len(keys)) / len(WINDOWS)
        for name in ("impressions", "clicks")
    )
    shown = impressions > 0
    keys, clicks, impressions = keys[shown], clicks[shown], np.maximum(impressions, clicks)[shown]
    pairs, places = np.divmod(keys, max(len(positions), 1))
    numbers = np.cumsum(np.diff(pairs, prepend=pairs[:1]) > 0)
    fitted = fit_propensities(numbers, positions[places], impressions, clicks)
    looks = impressions * fitted.looks[np.searchsorted(fitted.positions, positions[places])]
    told = dict(zip(fitted.positions.tolist()[:10], np.round(fitted.looks, 4).tolist()[:10], strict=True))
    account = {"looks": told, "rounds": fitted.rounds, "converged": fitted.converged}
    query_numbers, doc_numbers = np.divmod(pairs, max(len(docs), 1))
    return Placed(*_used(queries, query_numbers), *_used(docs, doc_numbers), impressions, looks, clicks, account)


def _numbered(texts: pa.ChunkedArray) -> tuple[pa.Array, NDArray[np.int64]]:
    """The different texts in order, and for every text its place among them."""
    import numpy as np
    import pyarrow.compute as pc

    encoded = texts.combine_chunks().dictionary_encode()
    order = pc.sort_indices(encoded.dictionary)
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order.to_numpy()] = np.arange(len(order))
    return encoded.dictionary.take(order), ranks[encoded.indices.to_numpy()]


def _used(texts: pa.Array, numbers: NDArray[np.int64]) -> tuple[list[str], NDArray[np.int64]]:
    """The texts that a number names, and the numbers that name them there."""
    import numpy as np

    used = np.bincount(numbers, minlength=len(texts)) > 0
    return texts.take(np.flatnonzero(used)).to_pylist(), (np.cumsum(used) - 1)[numbers]
