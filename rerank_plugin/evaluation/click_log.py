"""Event logs as training reads them: JSON lines with impressions and clicks, in the form of ``docs/signals.md``.

The names are those that the indexer knows, which the reading side may not import. What one actor does with one document
for one query counts once a day, as there; events without an actor count each. Robots are not looked for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rerank_plugin.domain.clicks import ClickLog, Shown
from rerank_plugin.domain.features import parse_date
from rerank_plugin.errors import DataError
from rerank_plugin.evaluation.collection import lines, same_text

#: What is read -> the names that it may have, first come first taken.
NAMES = {
    "doc": ("_id", "id", "doc_id", "object_id"),
    "kind": ("event", "action_name"),
    "time": ("time", "timestamp"),
    "position": ("position",),
    "actor": ("user", "client_id", "session", "session_id"),
    "query": ("user_query", "query"),
    "count": ("count",),
}
KINDS = ("impression", "click")


@dataclass(frozen=True, slots=True)
class _Event:
    kind: str
    query: str
    doc_id: str
    position: int
    count: int
    #: Actor and day; ``None`` where there is no actor.
    once: tuple[str, str] | None


def read_clicks(file: Path, *, now: datetime) -> ClickLog:
    """The impressions and clicks of a log, nothing later than ``now``.

    Other events, lines that cannot be read, and clicks on a place where the document was not shown are passed over.

    :raises DataError: the file cannot be read, or holds no impression with query, document and position.
    """
    seen: set[tuple[object, ...]] = set()
    counts: dict[str, dict[str, dict[int, list[int]]]] = {}
    for _, line in lines(file):
        event = _event(line, now)
        if event is None:
            continue
        if event.once is not None:
            key = (event.kind, event.query, event.doc_id, *event.once)
            if key in seen:
                continue
            seen.add(key)
        places = counts.setdefault(event.query, {}).setdefault(event.doc_id, {})
        places.setdefault(event.position, [0, 0])[KINDS.index(event.kind)] += event.count
    found = {query: {doc_id: _shown(places) for doc_id, places in by_doc.items()} for query, by_doc in counts.items()}
    if not any(shown for by_doc in found.values() for shown in by_doc.values()):
        raise DataError(
            f'{file} has no impression with query, document and position, such as {{"_id": "a", "event": "impression", '
            '"query": "graph search", "position": 2}; a click alone does not say what was passed over'
        )
    return found


def _shown(places: Mapping[int, list[int]]) -> tuple[Shown, ...]:
    return tuple(
        Shown(position, impressions, min(clicks, impressions))
        for position, (impressions, clicks) in sorted(places.items())
        if impressions
    )


def _event(line: str, now: datetime) -> _Event | None:
    """The event of a line; ``None`` for one that is no impression or click, or not to be read."""
    try:
        record = json.loads(line)
        kind = str(_named(record, "kind")).removesuffix("s")
        position, count = int(_named(record, "position")), int(_named(record, "count") or 1)
        query, doc_id = same_text(str(_named(record, "query") or "")), str(_named(record, "doc") or "")
        time, actor = _named(record, "time"), _named(record, "actor")
        moment = None if time is None else parse_date(time)
    except (ValueError, TypeError, AttributeError, DataError):
        return None
    if kind not in KINDS or not query or not doc_id or position < 1 or count < 1:
        return None
    if moment is not None and moment > now:
        return None
    day = "" if moment is None else moment.date().isoformat()
    return _Event(kind, query, doc_id, position, count, None if actor is None else (str(actor), day))


def _named(record: Mapping[str, Any], name: str) -> Any:
    return next((value for each in NAMES[name] if (value := record.get(each)) is not None), None)
