"""Links and events that come in files of their own, beside the documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from indexer.lines import numbered_lines, parse_json, shown
from indexer.rejects import Rejects
from indexer.sources import source_name
from indexer.values import is_id, is_number

_ID_KEYS = ("_id", "id", "doc_id")
_EVENT_KEYS = ("event", "action_name")


def read_links(file: Path, rejects: Rejects) -> Iterator[tuple[int, str, str]]:
    """Line number, linking id and linked id; lines that are none go to ``rejects`` as ``bad_link``.

    A line is ``{"from": id, "to": id}``, ``[id, id]`` or two columns with a tab between them; a first line that reads
    from and to is passed over as a header.

    :raises DataError: the file cannot be read to its end.
    """
    for number, line in numbered_lines(file):
        try:
            source, target = _link(line)
        except ValueError as error:
            rejects.add("bad_link", source=source_name(file), line=number, reason=str(error), record=shown(line))
            continue
        if number == 1 and (source.lower(), target.lower()) == ("from", "to"):
            continue
        yield number, source, target


def _link(line: bytes) -> tuple[str, str]:
    if line.lstrip()[:1] in (b"{", b"["):
        value = parse_json(line)
        ends = [value.get("from"), value.get("to")] if isinstance(value, dict) else value
    else:
        ends = line.decode("utf-8").rstrip("\r\n").split("\t")[:2]
    if len(ends) != 2 or not all(is_id(each) for each in ends):
        raise ValueError("a link is two ids: from and to, or two columns with a tab between them")
    return str(ends[0]), str(ends[1])


def event_counts(
    file: Path, rejects: Rejects, *, now: datetime
) -> tuple[Iterator[tuple[int, str, dict[str, float]]], dict[str, Any]]:
    """Line number, document id and counts by kind of an events file, and an account of it.

    A file of counts is read as it stands (:func:`read_events`); a log of events is brought down to counts as of ``now``
    (:func:`indexer.events.summary.summarise`), and its line numbers are 0.

    :raises DataError: the file cannot be read to its end.
    :raises MissingExtraError: it is a log, and Ibis or DuckDB is not installed.
    """
    from indexer.events.log import is_log
    from indexer.events.summary import summarise

    if not is_log(file):
        return read_events(file, rejects), {}
    summary = summarise(file, now=now)
    bad = summary.account["events"].get("bad", 0)
    if bad:
        reason = f"{bad} lines are no events: each names a document, and what was done under event"
        rejects.add("bad_event", source=source_name(file), line=0, reason=reason, record="")
    return ((0, doc_id, counts) for doc_id, counts in summary.counts.items()), summary.account


def read_events(file: Path, rejects: Rejects) -> Iterator[tuple[int, str, dict[str, float]]]:
    """Line number, document id and counts by kind; lines that are none go to ``rejects`` as ``bad_event``.

    A line holds counts, ``{"_id": id, "views": 12, "clicks": 3}``, or one event, ``{"_id": id, "event": "click"}`` with
    an optional ``count``; an event adds to the kind of its name with an s (click to clicks).

    :raises DataError: the file cannot be read to its end.
    """
    for number, line in numbered_lines(file):
        try:
            value = parse_json(line)
            if not isinstance(value, dict):
                raise ValueError("an event is a JSON object")
            doc_id = next((value[key] for key in _ID_KEYS if is_id(value.get(key))), None)
            if doc_id is None:
                raise ValueError("an event names its document under _id")
            counts = _counts_of_line(value)
        except ValueError as error:
            rejects.add("bad_event", source=source_name(file), line=number, reason=str(error), record=shown(line))
            continue
        yield number, str(doc_id), counts


def _counts_of_line(value: Mapping[str, Any]) -> dict[str, float]:
    name = next((value[key] for key in _EVENT_KEYS if isinstance(value.get(key), str) and value[key]), None)
    if name is not None:
        count = value.get("count", 1)
        if not is_number(count):
            raise ValueError("the count of an event is a number")
        return {name if name.endswith("s") else f"{name}s": float(count)}
    counts = {kind: float(count) for kind, count in value.items() if kind not in _ID_KEYS and is_number(count)}
    if not counts:
        raise ValueError("an event holds counts by kind, or an event's name under event")
    return counts
