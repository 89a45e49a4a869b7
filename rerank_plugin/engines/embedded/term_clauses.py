"""Clauses that read exact values: term, terms, range, exists, ids, match_all, constant_score's inner parts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rerank_plugin.engines.embedded.clause import (
    Clause,
    Context,
    boost_of,
    constant,
    nothing,
    one_field,
    options,
    reading_values,
)
from rerank_plugin.engines.embedded.dates import Span, evaluate, parse_formats
from rerank_plugin.engines.embedded.mapping import INTEGER_BITS, Field
from rerank_plugin.engines.embedded.refusal import illegal, unparsable, unsupported
from rerank_plugin.engines.embedded.segments import ID, PRESENT, Column
from rerank_plugin.engines.embedded.values import as_text, boolean, floating, number

if TYPE_CHECKING:
    import tantivy

#: k1 + 1: tantivy's BM25 has this factor of the textbook; Lucene's, and so OpenSearch's since 3.0, has not.
_BM25_FACTOR = 2.2
BM25_SCALE = 1 / _BM25_FACTOR
MAX_TERMS = 65_536
_LOWEST, _HIGHEST = -(2**63), 2**63 - 1
_BOUNDS = ("gte", "gt", "lte", "lt")


def match_all(_context: Context, body: Any) -> Clause:
    """``match_all``."""
    import tantivy

    return constant(tantivy.Query.all_query(), boost_of(options("match_all", body, frozenset({"boost"}))))


def match_none(_context: Context, body: Any) -> Clause:
    """``match_none``."""
    options("match_none", body, frozenset({"boost"}))
    return nothing()


def ids(context: Context, body: Any) -> Clause:
    """``ids``: documents by ``_id``."""
    given = options("ids", body, frozenset({"values", "boost"}))
    values = given.get("values", [])
    return _ids(context, values if isinstance(values, list) else [values], boost_of(given))


def _ids(context: Context, values: Sequence[Any], boost: float) -> Clause:
    import tantivy

    wanted = [as_text(value) for value in values]
    return constant(tantivy.Query.term_set_query(context.schema, ID, wanted), boost) if wanted else nothing()


def exists(context: Context, body: Any) -> Clause:
    """``exists``: the field, or any field inside the object, has a value."""
    import tantivy

    given = options("exists", body, frozenset({"field", "boost"}))
    if not isinstance(given.get("field"), str):
        raise unparsable("[exists] must be provided with a [field]")
    term = tantivy.Query.term_query(context.schema, PRESENT, as_text(given["field"]))
    return constant(term, boost_of(given))


def term(context: Context, body: Any) -> Clause:
    """``term``: one exact value; on a text field one word as it stands in the index."""
    path, given = one_field("term", body, "value", frozenset({"value"}))
    if given.get("value") is None:
        raise illegal("value cannot be null")
    if isinstance(given["value"], (list, dict)):
        raise unparsable("[term] query does not support array of values")
    boost = boost_of(given)
    if path == "_id":
        return _ids(context, [given["value"]], boost)
    target = context.column(path)
    return nothing() if target is None else term_on(context, *target, given["value"], boost)


def terms(context: Context, body: Any) -> Clause:
    """``terms``: any of several exact values."""
    import tantivy

    if not isinstance(body, Mapping):
        raise unparsable("[terms] query malformed, no start_object after query name")
    paths = [key for key in body if key != "boost"]
    if len(paths) != 1:
        raise unparsable(f"[terms] query requires exactly one field, got {len(paths)}")
    path, values = paths[0], body[paths[0]]
    if isinstance(values, Mapping):
        raise unsupported("terms lookup")
    if not isinstance(values, list) or any(value is None or isinstance(value, (list, dict)) for value in values):
        raise unparsable("[terms] query requires a list of values that are not null")
    if len(values) > MAX_TERMS:
        raise illegal(
            f"The number of terms [{len(values)}] used in the Terms Query has exceeded the allowed maximum of "
            f"[{MAX_TERMS}]."
        )
    if path == "_id":
        return _ids(context, values, boost_of(body))
    target = context.column(path)
    if target is None or not values:
        return nothing()
    field, column = target
    if field.type == "date":
        spans = [(tantivy.Occur.Should, term_on(context, field, column, value, 1.0).query) for value in values]
        return constant(tantivy.Query.boolean_query(spans), boost_of(body))
    if field.type == "boolean" and len(values) == 1:
        return term_on(context, field, column, values[0], boost_of(body))
    with reading_values():
        keys = [key for key in (_key(field, value) for value in values) if key is not None]
    return (
        constant(tantivy.Query.term_set_query(context.schema, column.name, keys), boost_of(body)) if keys else nothing()
    )


def term_on(context: Context, field: Field, column: Column, value: Any, boost: float) -> Clause:
    """The clause for one exact value of a field; all matches score ``boost``, but on text fields by BM25.

    :raises Refusal: 400 for a value that the field's type cannot have.
    """
    import tantivy

    if field.type == "date":
        span = _date(context, value, field.formats)
        return constant(_int_range(context, column, span.first, span.last), boost)
    with reading_values():
        key = _key(field, value)
    if key is None:
        return nothing()
    query = tantivy.Query.term_query(context.schema, column.name, key, index_option="basic")
    if column.kind == "words":
        return Clause(tantivy.Query.boost_query(query, boost * BM25_SCALE), constant=False)
    if field.type == "boolean":
        boost *= _rarity(context, column, key)
    return constant(query, boost)


def _rarity(context: Context, column: Column, key: str | float) -> float:
    """BM25 of a term in a field of one term per document, which is how the engines score booleans."""
    searcher = context.snapshot.view.searcher
    documents, having = searcher.doc_freq(PRESENT, column.path), searcher.doc_freq(column.name, key)
    return math.log(1 + max(documents - having + 0.5, 0.5) / (having + 0.5)) / _BM25_FACTOR


def _key(field: Field, value: Any) -> str | int | float | None:
    """The value as the column holds it; ``None`` when no document can have it."""
    if field.type in {"text", "keyword"}:
        return as_text(value)
    if field.type == "boolean":
        return boolean(value)
    wanted = number(value)
    if field.type not in INTEGER_BITS:
        return floating(field.type, wanted)
    if isinstance(wanted, float) and not wanted.is_integer():
        return None
    return int(wanted) if _LOWEST <= wanted <= _HIGHEST else None


def _date(context: Context, value: Any, formats: Sequence[str]) -> Span:
    with reading_values():
        return evaluate(as_text(value), formats, context.now)


def value_range(context: Context, body: Any) -> Clause:
    """``range`` on numbers, dates (with date math) and exact strings."""
    path, given = one_field("range", body, "gte", frozenset({*_BOUNDS, "format"}))
    if not isinstance(body[path], Mapping):
        raise unparsable("[range] query malformed, no start_object after field name")
    target = context.column(path)
    if target is None:
        return nothing()
    field, column = target
    bounds = {key: given[key] for key in _BOUNDS if given.get(key) is not None}
    if field.type == "date":
        formats = parse_formats(given["format"]) if "format" in given else field.formats
        query = _date_range(context, column, bounds, formats)
    elif field.type in INTEGER_BITS or field.type == "boolean":
        query = _integer_range(context, field, column, bounds)
    elif column.kind == "float":
        query = _float_range(context, field, column, bounds)
    else:
        query = _string_range(context, column, {key: as_text(value) for key, value in bounds.items()})
    return constant(query, boost_of(given))


def _date_range(context: Context, column: Column, bounds: Mapping[str, Any], formats: Sequence[str]) -> tantivy.Query:
    # A date that covers a span counts as a whole: "lte 2020-05-31" means to the last millisecond of that day.
    spans = {key: _date(context, value, formats) for key, value in bounds.items()}
    lows = [spans["gte"].first] if "gte" in spans else []
    lows += [spans["gt"].last + 1] if "gt" in spans else []
    highs = [spans["lte"].last] if "lte" in spans else []
    highs += [spans["lt"].first - 1] if "lt" in spans else []
    return _int_range(context, column, max(lows, default=_LOWEST), min(highs, default=_HIGHEST))


def _integer_range(context: Context, field: Field, column: Column, bounds: Mapping[str, Any]) -> tantivy.Query:
    read = boolean if field.type == "boolean" else number
    with reading_values():
        values = {key: read(value) for key, value in bounds.items()}
    lows = [_rounded(values["gte"], math.ceil)] if "gte" in values else []
    lows += [_rounded(values["gt"], math.floor) + 1] if "gt" in values else []
    highs = [_rounded(values["lte"], math.floor)] if "lte" in values else []
    highs += [_rounded(values["lt"], math.ceil) - 1] if "lt" in values else []
    return _int_range(context, column, max(lows, default=_LOWEST), min(highs, default=_HIGHEST))


def _rounded(value: float, how: Any) -> int:
    if math.isfinite(value):
        return int(how(value))
    return 2**64 if value > 0 else -(2**64)


def _int_range(context: Context, column: Column, low: int, high: int) -> tantivy.Query:
    import tantivy

    if low > high or low > _HIGHEST or high < _LOWEST:
        return tantivy.Query.empty_query()
    kind = tantivy.FieldType.Integer
    return tantivy.Query.range_query(context.schema, column.name, kind, max(low, _LOWEST), min(high, _HIGHEST))


def _float_range(context: Context, field: Field, column: Column, bounds: Mapping[str, Any]) -> tantivy.Query:
    import tantivy

    with reading_values():
        values = {key: floating(field.type, value) for key, value in bounds.items()}
    low, above = _tightest(values.get("gte"), values.get("gt"), larger=True)
    high, below = _tightest(values.get("lte"), values.get("lt"), larger=False)
    low, high = (-math.inf if low is None else low), (math.inf if high is None else high)
    if low > high or (low == high and (above or below)):
        return tantivy.Query.empty_query()
    kind = tantivy.FieldType.Float
    return tantivy.Query.range_query(
        context.schema, column.name, kind, low, high, include_lower=not above, include_upper=not below
    )


def _tightest(inclusive: Any, exclusive: Any, *, larger: bool) -> tuple[Any, bool]:
    """The bound that decides, and whether it is exclusive."""
    if inclusive is None or exclusive is None:
        return (inclusive, False) if exclusive is None else (exclusive, True)
    decides = exclusive >= inclusive if larger else exclusive <= inclusive
    return (exclusive, True) if decides else (inclusive, False)


def _string_range(context: Context, column: Column, bounds: Mapping[str, str]) -> tantivy.Query:
    """Through the list of terms: tantivy has no range on text. Order is that of UTF-8, as in Lucene."""
    import tantivy

    searcher = context.snapshot.view.searcher
    keys = {key: value.encode() for key, value in bounds.items()}
    inside = [word for word, _ in searcher.terms_with_prefix(column.name, "") if _in_range(word.encode(), keys)]
    return tantivy.Query.term_set_query(context.schema, column.name, inside) if inside else tantivy.Query.empty_query()


def _in_range(word: bytes, keys: Mapping[str, bytes]) -> bool:
    return (
        ("gte" not in keys or word >= keys["gte"])
        and ("gt" not in keys or word > keys["gt"])
        and ("lte" not in keys or word <= keys["lte"])
        and ("lt" not in keys or word < keys["lt"])
    )
