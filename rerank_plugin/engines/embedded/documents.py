"""A JSON document into the columns of its index, and the fields it adds to the mapping."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from rerank_plugin.engines.embedded.dates import looks_like_date
from rerank_plugin.engines.embedded.mapping import DEPTH_LIMIT, Field, Mapping
from rerank_plugin.engines.embedded.refusal import Refusal, illegal, unmappable
from rerank_plugin.engines.embedded.values import Value, to_value, unusable

_NUMBER = re.compile(r"[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?")


@dataclass(slots=True)
class Columns:
    """What a document puts into the index: values by field path, and every path that has a value."""

    values: dict[str, list[Value]] = field(default_factory=dict)
    present: set[str] = field(default_factory=set)


def read_document(mapping: Mapping, doc_id: str, source: Any, *, lenient: bool = False) -> tuple[Mapping, Columns]:
    """The document's columns, and the mapping with the fields that dynamic mapping adds for it.

    :param lenient: leave out values that do not fit, for documents that were accepted under an older mapping.
    :raises Refusal: 400 for a value that does not fit its field, or an unknown field where ``dynamic`` is strict.
    """
    if not isinstance(source, dict):
        raise unmappable("failed to parse", ("not_x_content_exception", "a document must be a JSON object"))
    reader = _Reader(mapping, doc_id, lenient)
    reader.object(source, "", mapping.dynamic, depth=1)
    if not reader.added:
        return mapping, reader.columns
    grown = mapping.merge({"properties": reader.added})
    again = _Reader(grown, doc_id, lenient)
    again.object(source, "", grown.dynamic, depth=1)
    return grown, again.columns


class _Reader:
    def __init__(self, mapping: Mapping, doc_id: str, lenient: bool) -> None:
        self.mapping = mapping
        self.doc_id = doc_id
        self.lenient = lenient
        self.columns = Columns()
        #: Properties by dotted path, as a mapping body takes them.
        self.added: dict[str, Any] = {}

    def object(self, source: dict[str, Any], prefix: str, dynamic: str, depth: int) -> None:
        if depth > DEPTH_LIMIT:
            raise illegal(
                f"Limit of mapping depth [{DEPTH_LIMIT}] has been exceeded due to object field [{prefix[:80]}]"
            )
        for key, value in source.items():
            if "." in key or not key.strip():
                self.dotted(key, value, prefix, dynamic, depth)
            else:
                self.put(prefix + key, value, dynamic, depth)

    def dotted(self, key: str, value: Any, prefix: str, dynamic: str, depth: int) -> None:
        first, _, rest = key.partition(".")
        if not first.strip() or not rest.strip():
            shown = key if key.strip() else ""
            raise unmappable(
                "failed to parse", ("illegal_argument_exception", f"field name [{prefix}{shown}] has an empty part")
            )
        self.put(prefix + first, {rest: value}, dynamic, depth)

    def put(self, path: str, value: Any, dynamic: str, depth: int) -> None:
        if value is None:
            return
        leaf = self.mapping.fields.get(path)
        if leaf is not None:
            self.leaf(leaf, value)
            return
        inner = self.mapping.objects.get(path)
        if inner is not None:
            if inner.enabled:
                self.inner(path, value, inner.dynamic, depth)
            return
        if dynamic == "strict":
            name = path.rpartition(".")[2]
            raise Refusal(
                400,
                "strict_dynamic_mapping_exception",
                f"mapping set to strict, dynamic introduction of [{name}] within [{path.rpartition('.')[0] or '_doc'}] "
                "is not allowed",
            )
        if dynamic == "true":
            self.introduce(path, value, depth)

    def inner(self, path: str, value: Any, dynamic: str, depth: int) -> None:
        if isinstance(value, dict):
            self.object(value, f"{path}.", dynamic, depth + 1)
        elif isinstance(value, list):
            for each in value:
                self.inner(path, each, dynamic, depth)
        elif value is not None and not self.lenient:
            raise unmappable(
                f"object mapping for [{path}] tried to parse field [{path}] as object, but found a concrete value"
            )

    def introduce(self, path: str, value: Any, depth: int) -> None:
        """Notes the mapping of an unknown field, by its first value; ``read_document`` then reads again."""
        first = _first(value)
        if isinstance(first, dict):
            self.added.setdefault(path, {"type": "object"})
            self.inner(path, value, "true", depth)
        elif first is not None:
            self.added.setdefault(path, self.dynamic_type(first))

    def dynamic_type(self, value: Any) -> dict[str, Any]:
        if isinstance(value, bool):
            return {"type": "boolean"}
        if isinstance(value, int):
            return {"type": "long"}
        if isinstance(value, float):
            return {"type": "float"}
        if self.mapping.date_detection and not _NUMBER.fullmatch(value) and looks_like_date(value):
            return {"type": "date"}
        return {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}}

    def leaf(self, leaf: Field, value: Any) -> None:
        for each in _flat(value):
            self.scalar(leaf, each)
            for target in leaf.copy_to:
                self.copy(target, each)

    def copy(self, target: str, value: Any) -> None:
        leaf = self.mapping.fields.get(target)
        if leaf is not None:
            self.scalar(leaf, value)
        elif target in self.mapping.objects:
            raise unmappable(f"copy_to of [{target}] must name a field, not an object")
        elif self.mapping.dynamic == "true":
            self.added.setdefault(target, self.dynamic_type(value))

    def scalar(self, leaf: Field, value: Any) -> None:
        try:
            if isinstance(value, dict):
                raise Refusal(400, "illegal_state_exception", "Can't get text on a START_OBJECT")
            stored = [(each, to_value(each, value)) for each in (leaf, *leaf.subfields)]
        except Refusal as refusal:
            if leaf.ignore_malformed or self.lenient:
                return
            raise unusable(leaf, self.doc_id, value, refusal) from refusal
        for each, kept in stored:
            if kept is not None:
                self.columns.values.setdefault(each.path, []).append(kept)
                self.mark(each.path)

    def mark(self, path: str) -> None:
        while path and path not in self.columns.present:
            self.columns.present.add(path)
            path = path.rpartition(".")[0]


def _flat(value: Any) -> list[Any]:
    if not isinstance(value, list):
        return [] if value is None else [value]
    found: list[Any] = []
    waiting = [iter(value)]
    while waiting:
        for each in waiting[-1]:
            if isinstance(each, list):
                waiting.append(iter(each))
                break
            if each is not None:
                found.append(each)
        else:
            waiting.pop()
    return found


def _first(value: Any) -> Any:
    found = _flat(value)
    return found[0] if found else None
