"""``sort``: by fields, by ``_score``, by ``_doc``; missing values last unless asked otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rerank_plugin.engines.embedded.clause import Clause, Context
from rerank_plugin.engines.embedded.mapping import FLOATS
from rerank_plugin.engines.embedded.ranking import Scored, every
from rerank_plugin.engines.embedded.refusal import ShardRefusal, illegal, unparsable, unsupported
from rerank_plugin.engines.embedded.segments import ORDER, Column, View

SCORE, DOC = "_score", "_doc"
#: What stands in ``sort`` for a missing number, as in the engines' answers.
_NO_LONG = {"asc": 2**63 - 1, "desc": -(2**63)}
_NO_INTEGER = {"asc": 2**31 - 1, "desc": -(2**31)}
_NO_FLOAT = {"asc": "Infinity", "desc": "-Infinity"}
_MISSING: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("long", "date"), _NO_LONG),
    **dict.fromkeys(("integer", "short", "byte", "boolean"), _NO_INTEGER),
    **dict.fromkeys(FLOATS, _NO_FLOAT),
}


@dataclass(frozen=True, slots=True)
class SortKey:
    """One part of a ``sort``."""

    field: str
    #: ``asc`` or ``desc``.
    order: str
    missing_first: bool = False
    #: The type of a field that the mapping does not have; ``None`` makes that an error.
    unmapped_type: str | None = None


@dataclass(frozen=True, slots=True)
class Sorted:
    """A match in its place, with the values that put it there."""

    hit: Scored
    values: list[Any]


def parse_sort(option: Any) -> list[SortKey]:
    """The parts of a ``sort`` option; empty when it asks for nothing but the score.

    :raises Refusal: 400 for a form this engine does not have.
    """
    listed = option if isinstance(option, list) else [] if option is None else [option]
    keys = [_key(each) for each in listed]
    return [] if [(key.field, key.order) for key in keys] == [(SCORE, "desc")] else keys


def _key(option: Any) -> SortKey:
    if option == "_id" or (isinstance(option, Mapping) and "_id" in option):
        raise unsupported("sort by _id")
    if isinstance(option, str):
        name, _, order = option.partition(":")
        return SortKey(name, _order(order or ("desc" if name == SCORE else "asc")))
    if not isinstance(option, Mapping) or len(option) != 1:
        raise unparsable("[sort] a part of it must be a field name or an object with one field")
    ((name, given),) = option.items()
    if not isinstance(given, Mapping):
        return SortKey(name, _order(given))
    unknown = sorted(set(given) - {"order", "missing", "unmapped_type", "mode"})
    if unknown:
        raise unparsable(f"[field_sort] unknown field [{unknown[0]}]")
    missing = given.get("missing", "_last")
    if missing not in {"_first", "_last"}:
        raise unsupported("missing other than _first and _last of sort")
    order = _order(given.get("order", "desc" if name == SCORE else "asc"))
    if given.get("mode", {"asc": "min", "desc": "max"}[order]) != {"asc": "min", "desc": "max"}[order]:
        raise unsupported(f"mode {given['mode']} of sort")
    return SortKey(name, order, missing == "_first", given.get("unmapped_type"))


def _order(value: Any) -> str:
    order = str(value).lower()
    if order not in {"asc", "desc"}:
        raise illegal(f"Unknown SortOrder [{value}]")
    return order


def sort_matches(context: Context, clause: Clause, keys: list[SortKey]) -> list[Sorted]:
    """All matches in the order of ``keys``, ties in the order of indexing.

    :raises Refusal: 400 for a field that is unmapped, or is text.
    """
    view = context.snapshot.view
    hits = every(view, clause)
    addresses = [hit.address for hit in hits]
    places = [int(value or 0) for value in view.searcher.fast_field_values(ORDER, addresses)] if hits else []
    found = [Sorted(hit, []) for hit in hits]
    ranked = sorted(range(len(hits)), key=places.__getitem__)
    columns = [_values(context, clause, key, hits, places) for key in keys]
    # Stable sorts from the last key to the first leave ties in the order of indexing.
    for key, values in reversed(list(zip(keys, columns, strict=True))):
        present = [at for at in ranked if values[at] is not None]
        absent = [at for at in ranked if values[at] is None]
        present.sort(key=values.__getitem__, reverse=key.order == "desc")
        ranked = absent + present if key.missing_first else present + absent
    for key, values in zip(keys, columns, strict=True):
        empty = _shown_missing(context, key)
        for at, value in enumerate(values):
            found[at].values.append(empty if value is None else value)
    return [found[at] for at in ranked]


def _values(context: Context, clause: Clause, key: SortKey, hits: list[Scored], places: list[int]) -> list[Any]:
    if key.field == SCORE:
        return [hit.score for hit in hits]
    if key.field == DOC:
        return list(places)
    column = _column(context, key)
    if column is None:
        return [None] * len(hits)
    view = context.snapshot.view
    names = [column.largest, column.name] if key.order == "desc" else [column.name]
    lists = [_column_values(view, clause, column, name, hits) for name in names]
    return [next((value for value in row if value is not None), None) for row in zip(*lists, strict=True)]


def _column(context: Context, key: SortKey) -> Column | None:
    field = context.mapping.fields.get(key.field)
    if field is None:
        if key.unmapped_type is None:
            raise ShardRefusal("query_shard_exception", f"No mapping found for [{key.field}] in order to sort on")
        return None
    if field.type == "text":
        raise ShardRefusal(
            "illegal_argument_exception",
            "Text fields are not optimised for operations that require per-document field data like sorting; "
            f"[{key.field}] is one. Please use a keyword field instead",
        )
    return context.snapshot.view.columns.get(key.field)


def _column_values(view: View, clause: Clause, column: Column, name: str, hits: list[Scored]) -> list[Any]:
    if not hits:
        return []
    if column.kind != "raw":
        return list(view.searcher.fast_field_values(name, [hit.address for hit in hits]))
    # Strings come only from a search ordered by them.
    ordered = view.searcher.search(clause.query, limit=len(hits), count=False, order_by_field=name).hits
    by_address = {(address.segment_ord, address.doc): value for value, address in ordered}
    return [by_address.get((hit.address.segment_ord, hit.address.doc)) for hit in hits]


def _shown_missing(context: Context, key: SortKey) -> Any:
    field = context.mapping.fields.get(key.field)
    kind = field.type if field is not None else str(key.unmapped_type)
    order = key.order if not key.missing_first else {"asc": "desc", "desc": "asc"}[key.order]
    return _MISSING.get(kind, {}).get(order)
