"""Clauses that read words: match, match_phrase, multi_match."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rerank_plugin.engines.embedded.analysis import positioned
from rerank_plugin.engines.embedded.clause import (
    Clause,
    Context,
    boost_of,
    minimum_should_match,
    nothing,
    one_field,
    options,
)
from rerank_plugin.engines.embedded.mapping import Field
from rerank_plugin.engines.embedded.refusal import Refusal, illegal, unparsable, unsupported
from rerank_plugin.engines.embedded.segments import Column
from rerank_plugin.engines.embedded.term_clauses import BM25_SCALE, term_on
from rerank_plugin.engines.embedded.values import as_text

if TYPE_CHECKING:
    import tantivy

#: Distinct words of one match beyond which it is refused.
MAX_WORDS = 20_000

_MATCH = frozenset({"query", "operator", "minimum_should_match", "zero_terms_query", "lenient"})
_MULTI = _MATCH | {"fields", "type", "tie_breaker", "boost"}


def match(context: Context, body: Any) -> Clause:
    """``match``: any (or, by ``operator`` and ``minimum_should_match``, all or some) of the words; BM25, summed."""
    path, given = one_field("match", body, "query", _MATCH)
    return _match_field(context, path, given, boost_of(given))


def _match_field(context: Context, path: str, given: Mapping[str, Any], boost: float) -> Clause:
    text = _query_text("match", given)
    operator = str(given.get("operator", "or")).lower()
    if operator not in {"or", "and"}:
        raise illegal(f"operator needs to be either OR or AND, but not [{given['operator']}]")
    if str(given.get("zero_terms_query", "none")).lower() != "none":
        raise unsupported("zero_terms_query")
    target = context.column(path)
    if target is None:
        return nothing()
    field, column = target
    if column.kind != "words":
        return _lenient_term(context, field, column, given, boost)
    found = [word for _, word in positioned(field.search_analyzer, text)]
    if operator == "and":
        return _words(context, column, found, boost, needed=len(found))
    needed = minimum_should_match(given.get("minimum_should_match", 1), len(found))
    return _words(context, column, found, boost, max(needed, 1))


def _query_text(clause: str, given: Mapping[str, Any]) -> str:
    if given.get("query") is None:
        raise unparsable(f"[{clause}] requires query value, found none")
    if isinstance(given["query"], (list, dict)):
        raise unparsable(f"[{clause}] unknown token [START_OBJECT] after [query]")
    return as_text(given["query"])


def _lenient_term(context: Context, field: Field, column: Column, given: Mapping[str, Any], boost: float) -> Clause:
    try:
        return term_on(context, field, column, given["query"], boost)
    except Refusal:
        if given.get("lenient") in (True, "true"):
            return nothing()
        raise


def _words(context: Context, column: Column, words: Sequence[str], boost: float, needed: int) -> Clause:
    """At least ``needed`` of ``words``; a word that stands twice counts twice, in score and in number."""
    import tantivy

    if needed > len(words):
        return nothing()
    counted = Counter(words)
    if len(counted) > MAX_WORDS:
        raise Refusal(
            400,
            "too_many_clauses",
            f"the query has {len(counted)} different words, the embedded engine takes {MAX_WORDS}; shorten it",
        )
    if len(counted) == 1:
        return Clause(_word(context, column, words[0], boost * len(words)), constant=False)
    occur, minimum = tantivy.Occur.Should, None
    if needed == len(words):
        occur = tantivy.Occur.Must
    elif needed > 1:
        each_time = [(occur, _word(context, column, word, boost)) for word in words]
        return Clause(tantivy.Query.boolean_query(each_time, minimum_number_should_match=needed), constant=False)
    parts = [(occur, _word(context, column, word, boost * times)) for word, times in counted.items()]
    return Clause(tantivy.Query.boolean_query(parts, minimum_number_should_match=minimum), constant=False)


def _word(context: Context, column: Column, word: str, boost: float) -> tantivy.Query:
    import tantivy

    # "freq" rather than positions: a bag of words needs no more.
    query = tantivy.Query.term_query(context.schema, column.name, word, index_option="freq")
    return tantivy.Query.boost_query(query, boost * BM25_SCALE)


def match_phrase(context: Context, body: Any) -> Clause:
    """``match_phrase``: the words in this order, ``slop`` moves apart at most."""
    path, given = one_field("match_phrase", body, "query", frozenset({"query", "slop", "zero_terms_query"}))
    import tantivy

    text, boost = _query_text("match_phrase", given), boost_of(given)
    slop = given.get("slop", 0)
    if isinstance(slop, bool) or not str(slop).isdigit():
        raise illegal("No negative slop allowed.")
    target = context.column(path)
    if target is None:
        return nothing()
    field, column = target
    if column.kind != "words":
        return term_on(context, field, column, given["query"], boost)
    found = positioned(field.search_analyzer, text)
    if len(found) > MAX_WORDS:
        raise Refusal(
            400, "too_many_clauses", f"the phrase has {len(found)} words, the embedded engine takes {MAX_WORDS}"
        )
    if not found:
        return nothing()
    if len(found) == 1:
        return Clause(_word(context, column, found[0][1], boost), constant=False)
    first = found[0][0]
    words = [(place - first, word) for place, word in found]
    phrase = tantivy.Query.phrase_query(context.schema, column.name, words, slop=int(slop))
    return Clause(tantivy.Query.boost_query(phrase, boost * BM25_SCALE), constant=False)


def multi_match(context: Context, body: Any) -> Clause:
    """``multi_match``: the same match on several fields; ``best_fields`` takes the best, ``most_fields`` the sum."""
    import tantivy

    given = options("multi_match", body, _MULTI)
    kind = str(given.get("type", "best_fields"))
    if kind not in {"best_fields", "most_fields"}:
        raise unsupported(f"type {kind} of multi_match")
    fields = given.get("fields")
    fields = [fields] if isinstance(fields, str) else fields
    if not isinstance(fields, list) or not fields:
        raise unparsable("[multi_match] the embedded engine needs [fields] with at least one field name")
    boost = boost_of(given)
    parts = [_match_field(context, path, given, factor * boost) for path, factor in map(_boosted, fields)]
    if len(parts) == 1:
        return parts[0]
    tie_breaker = given.get("tie_breaker", 0.0 if kind == "best_fields" else 1.0)
    if isinstance(tie_breaker, bool) or not isinstance(tie_breaker, (int, float)) or not 0 <= tie_breaker <= 1:
        raise illegal(f"tie_breaker must be between 0 and 1, got [{tie_breaker}]")
    queries = [part.query for part in parts]
    return Clause(tantivy.Query.disjunction_max_query(queries, tie_breaker=float(tie_breaker)), constant=False)


def _boosted(field: Any) -> tuple[str, float]:
    path, caret, boost = str(field).partition("^")
    if "*" in path:
        raise unsupported("wildcard in fields")
    return path, boost_of({"boost": boost} if caret else {})
