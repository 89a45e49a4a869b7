"""What the clauses of the query language share: their context, their compiled form, their options."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rerank_plugin.engines.embedded.mapping import Field
from rerank_plugin.engines.embedded.mapping import Mapping as IndexMapping
from rerank_plugin.engines.embedded.refusal import Refusal, ShardRefusal, illegal, unparsable
from rerank_plugin.engines.embedded.segments import Column
from rerank_plugin.engines.embedded.store import Snapshot

if TYPE_CHECKING:
    import tantivy


@dataclass(frozen=True, slots=True)
class Context:
    """What a query is compiled against."""

    snapshot: Snapshot
    now: datetime

    @property
    def schema(self) -> tantivy.Schema:
        return self.snapshot.view.schema

    @property
    def mapping(self) -> IndexMapping:
        return self.snapshot.mapping

    def column(self, path: str) -> tuple[Field, Column] | None:
        """A field with its column; ``None`` for one that is unmapped or that no document had at the last refresh.

        :raises Refusal: 400 for a text field that is not indexed.
        """
        field = self.mapping.fields.get(path)
        if field is not None and field.type == "text" and not field.indexed:
            reason = f"failed to create query: Cannot search on field [{path}] since it is not indexed."
            raise ShardRefusal("query_shard_exception", reason)
        column = self.snapshot.view.columns.get(path)
        return None if field is None or column is None else (field, column)


@dataclass(frozen=True, slots=True)
class Clause:
    """A compiled clause."""

    query: tantivy.Query
    #: Whether all its matches score the same; such results are in the order of indexing.
    constant: bool


def constant(query: tantivy.Query, boost: float) -> Clause:
    """A clause whose matches all score ``boost``."""
    import tantivy

    return Clause(tantivy.Query.const_score_query(query, boost), constant=True)


def nothing() -> Clause:
    """A clause without matches."""
    import tantivy

    return Clause(tantivy.Query.empty_query(), constant=True)


@contextmanager
def reading_values() -> Iterator[None]:
    """Turns the error of a value that its field cannot have into the engines' error for such a query."""
    try:
        yield
    except ShardRefusal:
        raise
    except Refusal as refusal:
        raise ShardRefusal("query_shard_exception", f"failed to create query: {refusal.reason}") from refusal


def options(clause: str, body: Any, known: frozenset[str]) -> dict[str, Any]:
    """The object of a clause, its keys checked.

    :raises Refusal: 400 that names the clause and the key.
    """
    if not isinstance(body, Mapping):
        raise unparsable(f"[{clause}] query malformed, no start_object after query name")
    for key in body:
        if key not in known:
            raise unparsable(f"[{clause}] query does not support [{key}]")
    return dict(body)


def one_field(clause: str, body: Any, shorthand: str, known: frozenset[str]) -> tuple[str, dict[str, Any]]:
    """Field and options of a clause like ``{"match": {"title": ...}}``; a plain value stands for ``shorthand``.

    :raises Refusal: 400 for more than one field or an option that is not known.
    """
    if not isinstance(body, Mapping) or not body:
        raise unparsable(f"[{clause}] query malformed, no field name")
    names = list(body)
    if len(names) > 1:
        raise unparsable(f"[{clause}] query doesn't support multiple fields, found [{names[0]}] and [{names[1]}]")
    name, value = names[0], body[names[0]]
    if isinstance(value, Mapping):
        return name, options(clause, value, known | {"boost"})
    return name, {shorthand: value}


def boost_of(given: Mapping[str, Any]) -> float:
    """The clause's boost.

    :raises Refusal: 400 for one that is negative or no number.
    """
    try:
        boost = float(given.get("boost", 1.0))
    except (TypeError, ValueError) as error:
        raise Refusal(400, "number_format_exception", f'For input string: "{given["boost"]}"') from error
    if not math.isfinite(boost) or boost < 0:
        raise illegal(f"negative [boost] are not allowed in [{boost}], use a value between 0 and 1 to deboost")
    return boost


def minimum_should_match(value: Any, clauses: int) -> int:
    """How many of ``clauses`` must match: a number, or a percentage rounded down; negative ones say how many may fail.

    :raises Refusal: 400 for the conditional forms, which this engine does not have.
    """
    text = str(value).strip()
    try:
        if text.endswith("%"):
            share = int(text[:-1])
            wanted = clauses * share // 100 if share >= 0 else clauses - clauses * -share // 100
        else:
            wanted = int(text)
            wanted = wanted if wanted >= 0 else clauses + wanted
    except ValueError as error:
        raise illegal(
            f"minimum_should_match [{text[:40]}]: the embedded engine takes a whole number or a percentage"
        ) from error
    return max(wanted, 0)
