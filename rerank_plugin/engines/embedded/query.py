"""The query language: which clause is compiled by what, and the clauses that hold others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rerank_plugin.engines.embedded.clause import (
    Clause,
    Context,
    boost_of,
    constant,
    minimum_should_match,
    options,
)
from rerank_plugin.engines.embedded.refusal import illegal, unparsable
from rerank_plugin.engines.embedded.term_clauses import exists, ids, match_all, match_none, term, terms, value_range
from rerank_plugin.engines.embedded.text_clauses import match, match_phrase, multi_match

#: Clauses inside clauses beyond which a query is refused.
MAX_DEPTH = 50
_LISTS = ("must", "filter", "should", "must_not")


def compile_query(context: Context, body: Any, depth: int = 0) -> Clause:
    """The tantivy form of a query.

    :raises Refusal: 400 that names the clause which is unknown, malformed or not supported here.
    """
    if depth > MAX_DEPTH:
        raise unparsable(f"The nested depth of the query exceeds the maximum nested depth of {MAX_DEPTH}")
    if not isinstance(body, Mapping):
        raise unparsable("[_na] query malformed, must start with start_object")
    if not body:
        raise illegal("query malformed, empty clause found")
    names = list(body)
    if len(names) > 1:
        raise unparsable(f"[{names[0]}] malformed query, expected [END_OBJECT] but found [FIELD_NAME]")
    name = names[0]
    if name in _LEAVES:
        return _LEAVES[name](context, body[name])
    if name in _COMPOUND:
        return _COMPOUND[name](context, body[name], depth)
    raise unparsable(f"unknown query [{name}]")


def _bool(context: Context, body: Any, depth: int) -> Clause:
    import tantivy

    given = options("bool", body, frozenset({*_LISTS, "minimum_should_match", "boost"}))
    parts = {name: _inner(context, given.get(name, []), depth) for name in _LISTS}
    boost = boost_of(given)
    if not any(parts.values()):
        return match_all(context, {"boost": boost})
    must, must_not, should = tantivy.Occur.Must, tantivy.Occur.MustNot, tantivy.Occur.Should
    queries = [(must, part.query) for part in parts["must"]]
    queries += [(must, tantivy.Query.const_score_query(part.query, 0.0)) for part in parts["filter"]]
    queries += [(must_not, part.query) for part in parts["must_not"]]
    optional = [(should, part.query) for part in parts["should"]]
    needed = _needed(given, len(optional), least=0 if parts["must"] or parts["filter"] else 1)
    if needed > len(optional):
        return Clause(tantivy.Query.empty_query(), constant=True)
    if not parts["must"] and not parts["filter"] and needed == 0:
        queries.append((must, tantivy.Query.const_score_query(tantivy.Query.all_query(), 0.0)))
    if optional:
        queries.append((must if needed else should, _some(optional, needed)))
    same = all(part.constant for part in parts["must"]) and not optional
    return Clause(tantivy.Query.boost_query(tantivy.Query.boolean_query(queries), boost), constant=same)


def _some(optional: list[tuple[Any, Any]], needed: int) -> Any:
    import tantivy

    return tantivy.Query.boolean_query(optional, minimum_number_should_match=needed if needed > 1 else None)


def _needed(given: Mapping[str, Any], optional: int, least: int) -> int:
    """How many of ``should`` must match; at least one where nothing else says what matches."""
    if not optional:
        return 0
    return max(minimum_should_match(given.get("minimum_should_match", 0), optional), least)


def _inner(context: Context, clauses: Any, depth: int) -> list[Clause]:
    listed = clauses if isinstance(clauses, list) else [clauses]
    return [compile_query(context, each, depth + 1) for each in listed]


def _constant_score(context: Context, body: Any, depth: int) -> Clause:
    given = options("constant_score", body, frozenset({"filter", "boost"}))
    if "filter" not in given:
        raise unparsable("[constant_score] requires a 'filter' element")
    return constant(compile_query(context, given["filter"], depth + 1).query, boost_of(given))


def _dis_max(context: Context, body: Any, depth: int) -> Clause:
    import tantivy

    given = options("dis_max", body, frozenset({"queries", "tie_breaker", "boost"}))
    parts = _inner(context, given.get("queries") or [], depth)
    if not parts:
        raise unparsable("[dis_max] requires 'queries' field with at least one clause")
    tie_breaker = boost_of({"boost": given.get("tie_breaker", 0.0)})
    best = tantivy.Query.disjunction_max_query([part.query for part in parts], tie_breaker=tie_breaker)
    return Clause(tantivy.Query.boost_query(best, boost_of(given)), constant=False)


_LEAVES: dict[str, Callable[[Context, Any], Clause]] = {
    "exists": exists,
    "ids": ids,
    "match": match,
    "match_all": match_all,
    "match_none": match_none,
    "match_phrase": match_phrase,
    "multi_match": multi_match,
    "range": value_range,
    "term": term,
    "terms": terms,
}
_COMPOUND: dict[str, Callable[[Context, Any, int], Clause]] = {
    "bool": _bool,
    "constant_score": _constant_score,
    "dis_max": _dis_max,
}
