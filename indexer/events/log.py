"""Event logs as tables: JSON lines, CSV and Parquet, our own names and those of User Behavior Insights 1.3.

The expressions are Ibis's: DuckDB runs them on one machine, larger than memory, and Spark on many.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexer.events.backends import Backend
from indexer.lines import numbered_lines, parse_json

if TYPE_CHECKING:
    from ibis import Table

#: Column of ours -> the names it may have, first come first taken.
NAMES: dict[str, tuple[str, ...]] = {
    "doc": ("_id", "id", "doc_id", "object_id"),
    "kind": ("event", "action_name"),
    "time": ("time", "timestamp"),
    "position": ("position",),
    "actor": ("user", "client_id", "session", "session_id"),
    "query": ("user_query", "query"),  # in UBI ``query`` is the whole request, ``user_query`` the words typed
    "query_id": ("query_id",),
    "count": ("count",),
}
NAMES_OF_OURS = ("doc", "kind", "time", "position", "actor", "query", "count")
#: The hits of a query, in the order in which they were shown.
_HITS = "query_response_hit_ids"
#: What User Behavior Insights nests.
_ATTRIBUTES = "event_attributes"
_TABLE_SUFFIXES = (".csv", ".parquet")
#: Lines looked at to tell a log from a file of counts.
_LOOKED_AT = 20


def is_log(file: Path) -> bool:
    """Whether a file holds events, one a line, rather than counts per document.

    :raises DataError: it cannot be read.
    """
    if file.suffix.lower() in _TABLE_SUFFIXES:
        return True
    for number, line in numbered_lines(file):
        try:
            value = parse_json(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            names = (_HITS, *NAMES["kind"])
            timed = any(name in value for name in (*NAMES["time"], *NAMES["query"], *NAMES["actor"]))
            return timed and any(name in value for name in names)
        if number >= _LOOKED_AT:
            break
    return False


def read_log(backend: Backend, location: str) -> Table:
    """The log under our names, all rows: ``doc, kind, time, position, actor, query, count``.

    The names are those that its first 10,000 lines use. A line that cannot be read, or whose time cannot, is a row
    without ``doc``: taken as undated, an event of tomorrow would count today. Of a query
    with its hits (``ubi_queries``) every hit is an impression, and its text is that of the events with its
    ``query_id``.

    :raises DataError: there is no such file.
    """
    import ibis

    raw = backend.table(location, [*(name for names in NAMES.values() for name in names), _ATTRIBUTES, _HITS])
    columns = {each.lower(): each for each in raw.columns}

    def first(name: str, *more: Any) -> Any:
        found = [raw[columns[each]].cast("string") for each in NAMES[name] if each in columns]
        return ibis.coalesce(*found, *more) if found or more else ibis.null("string")

    nested = raw[_ATTRIBUTES] if _ATTRIBUTES in columns else None
    place = [] if nested is None else [nested["position"]["ordinal"].cast("string")]
    kind = first("kind")
    events = raw.select(
        doc=first("doc", *([] if nested is None else [nested["object"]["object_id"]])),
        kind=ibis.cases((kind.endswith("s"), kind), else_=kind + "s"),
        written=first("time"),
        position=backend.whole(first("position", *place)),
        actor=first("actor"),
        query=first("query"),
        query_id=first("query_id"),
        count=ibis.coalesce(first("count").try_cast("float64"), 1.0),
        **({"hits": raw[_HITS]} if _HITS in columns else {}),
    )
    events = _timed(backend, events)
    return (_with_hits(events) if _HITS in columns else events).select(*NAMES_OF_OURS)


def _timed(backend: Backend, events: Table) -> Table:
    """``time`` (an instant) instead of ``written``; where that cannot be read, neither document nor hits."""
    import ibis

    written = events.written
    # Twice as fast as a time without a zone, for which DuckDB asks a calendar what the connection's zone, UTC, means.
    named = ibis.cases((written.length() == len("2025-05-31 10:00:00"), written + "Z"), else_=written)
    events = events.mutate(time=backend.instant(named))
    # CASE evaluates what follows for the other rows only; a conjunction or COALESCE would for all of them.
    events = events.mutate(
        time=ibis.cases((events.time.notnull(), events.time), else_=_moment(backend, written.strip()))
    )
    unread = ibis.cases((events.time.notnull(), False), else_=written.strip().length() > 0)
    hits = {"hits": ibis.cases((unread, ibis.null("array<string>")), else_=events.hits)} if "hits" in events else {}
    return events.mutate(doc=ibis.cases((unread, ibis.null("string")), else_=events.doc), **hits).drop("written")


def _with_hits(events: Table) -> Table:
    """The events, with an impression for every hit of a query and the query's text for what was done about it."""
    import ibis

    is_query = events.hits.notnull() & events.kind.isnull()
    queries = events.filter(is_query)
    shown = (
        queries.select("time", "actor", "query", "hits", place=ibis.range(queries.hits.length()).unnest())
        .mutate(doc=ibis._.hits[ibis._.place], kind=ibis.literal("impressions"), count=1.0)
        .mutate(position=(ibis._.place + 1).cast("int64"))
    )
    texts = queries.group_by("query_id").agg(text=queries.query.max())
    done = events.filter(~is_query).left_join(texts, "query_id").mutate(query=ibis.coalesce(ibis._.query, ibis._.text))
    return done.select(*NAMES_OF_OURS).union(shown.select(*NAMES_OF_OURS))


def _moment(backend: Backend, text: Any) -> Any:
    """The instant that a text names: ISO 8601, UTC where it names no zone, or seconds (ten digits) or milliseconds
    since 1970; anything else is no time."""
    import ibis

    number = backend.whole(text)
    milliseconds = ibis.cases((number < 10_000_000_000, number * 1000), else_=number)
    return ibis.coalesce(backend.instant(text), backend.instant_at(milliseconds))
