"""What one record says for the signals: its date, the trust in its source, its counts and its links."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from indexer.dates import any_date
from indexer.signal_config import EVENTS_FIELD, SignalConfig, look_up
from indexer.values import is_id, is_number


def date_of(config: SignalConfig, fields: Mapping[str, Any]) -> datetime | None:
    """The publication date; ``None`` where the record has none.

    :raises DataError: it has one that nobody can read; an ``OverflowError`` where it is beyond all calendars.
    """
    for name in config.date:
        value = look_up(fields, name)
        if value is not None and value != "":
            return any_date(value)
    return None


def half_life_of(config: SignalConfig, fields: Mapping[str, Any]) -> float | None:
    """The half-life of the record's own type in days, 0 for one that does not age; ``None``: as the collection's."""
    for name in config.type:
        kind = look_up(fields, name)
        if isinstance(kind, str) and kind in config.evergreen:
            return 0.0
        if isinstance(kind, str) and kind in config.half_lives:
            return float(config.half_lives[kind])
    return None


def trust_of(config: SignalConfig, fields: Mapping[str, Any]) -> float | None:
    """Trust in the source, by the table where there is one, else by a number in the record."""
    for name, table in config.trust_table.items():
        value = str(look_up(fields, name))
        if value in table:
            return float(table[value])
    if config.trust_table:
        return None
    values = (look_up(fields, name) for name in config.trust)
    return next((float(value) for value in values if is_number(value)), None)


def owner_of(config: SignalConfig, fields: Mapping[str, Any]) -> str | None:
    """Who owns the document: by the first field that says so."""
    for name in config.owner:
        value = look_up(fields, name)
        if is_id(value):
            return str(value)
    return None


def counts_of(config: SignalConfig, fields: Mapping[str, Any]) -> dict[str, float]:
    """Counts by kind, of the kinds that have a weight."""
    events = look_up(fields, EVENTS_FIELD)
    # A record names few of the kinds that may be named: look only for those, documents come by the million.
    named = set().union(*(place for place in (events, fields.get("metadata"), fields) if isinstance(place, dict)))
    counts: dict[str, float] = {}
    for kind in config.counts:
        if kind not in named and "." not in kind:
            continue
        value = events.get(kind) if isinstance(events, dict) else None
        value = value if is_number(value) else look_up(fields, kind)
        if is_number(value):
            counts[kind] = float(value)
    return counts


def links_of(config: SignalConfig, fields: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every link: the field it stands in, and what should be the id of a document (see :func:`is_id`)."""
    for name in config.links:
        value = look_up(fields, name)
        for target in value if isinstance(value, list) else [value]:
            if target is not None:
                yield name, target


def linked_ids(config: SignalConfig, fields: Mapping[str, Any]) -> list[str]:
    """The ids of the documents that gain authority by this one; what is no id is passed over."""
    return [str(target) for _, target in links_of(config, fields) if is_id(target)]
