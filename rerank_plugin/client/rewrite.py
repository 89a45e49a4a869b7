"""The requests of ours that stand for one of the caller's: window, page, added documents, tail."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from rerank_plugin.client.plan import Plan
from rerank_plugin.client.query_text import Path, clause_at, replace_clauses
from rerank_plugin.domain.source_filter import SourceFilter

#: An index and an id: ids collide across indices.
Key = tuple[str, str]
#: Parts of a body whose cost grows with the hits returned: for the page only.
_COSTLY = ("highlight", "script_fields", "explain")
#: Parts that describe all documents that matched; the window's request alone carries them.
_ABOUT_ALL = ("aggregations", "aggs", "profile", "suggest", "track_total_hits")
_ABOUT_ALL_PARAMS = frozenset({"suggest_field", "suggest_mode", "suggest_size", "suggest_text", "track_total_hits"})
_WITH_INNER_HITS = ("has_child", "has_parent", "nested")


def key_of(hit: Mapping[str, Any]) -> Key:
    """What tells a hit from all others."""
    return str(hit.get("_index", "")), str(hit["_id"])


def is_costly(plan: Plan) -> bool:
    """Whether the caller wants something that should be computed for the page only."""
    return any(plan.body.get(name) for name in _COSTLY) or without_inner_hits(plan.query) != plan.query


def window_body(plan: Plan, *, size: int, source: Any) -> dict[str, Any]:
    """The caller's search from 0 to ``size``, without the costly parts."""
    cheap = {key: value for key, value in plan.body.items() if key not in _COSTLY}
    return {**cheap, "query": without_inner_hits(plan.query), "from": 0, "size": size, "_source": source}


def documents_body(
    plan: Plan, keys: Sequence[Key], *, several: bool, optional: Collection[Path] = (), cheap_source: Any = None
) -> dict[str, Any]:
    """The caller's search narrowed to the given documents, costly parts and all.

    :param several: whether the search spans several indices, whose ids may collide.
    :param optional: where the query's words stand that documents found by vectors need not match.
    :param cheap_source: where given, what is fetched of ``_source``, and then the costly parts stay away.
    """
    query: Any = waived_query(plan.query, optional)
    dropped = {*_ABOUT_ALL}
    if cheap_source is not None:
        query = without_inner_hits(query)
        dropped.update(_COSTLY)
    wanted = of_keys(keys, several=several)
    narrowed: dict[str, Any]
    if cheap_source is None and plan.body.get("explain"):
        # an explanation tells every clause of the query and the rescoring: ours may not be among them
        filters = [each for each in (wanted, plan.body.get("post_filter")) if each]
        narrowed = {"query": query, "post_filter": {"bool": {"filter": filters}}}
    else:
        dropped.add("rescore")  # the order is known; only the hits are wanted
        narrowed = {"query": {"bool": {"must": [query], "filter": [wanted]}}}
    return {
        **{key: value for key, value in plan.body.items() if key not in dropped},
        **narrowed,
        "from": 0,
        "size": len(keys),
        "_source": _option(plan.source) if cheap_source is None else cheap_source,
        "track_total_hits": False,
    }


def waived_query(query: Any, optional: Collection[Path]) -> Any:
    """The query in which each clause L at ``optional`` became "anything, and L if it matches".

    So L still scores, and every other condition still holds.
    """
    if not optional:
        return query
    anything = {"match_all": {"boost": 0}}
    clauses = {path: clause_at(query, path) for path in optional}
    return replace_clauses(
        query, {path: {"bool": {"must": [anything], "should": [each]}} for path, each in clauses.items()}
    )


def allowed_body(plan: Plan, optional: Collection[Path], *, size: int) -> dict[str, Any]:
    """The documents, up to ``size`` of them, that every condition but the words at ``optional`` lets through."""
    fences = {"post_filter": plan.body["post_filter"]} if plan.body.get("post_filter") else {}
    query = {"bool": {"filter": [without_inner_hits(waived_query(plan.query, optional))]}}
    return {"query": query, **fences, "size": size, "sort": ["_doc"], "_source": False, "track_total_hits": False}


def tail_body(plan: Plan, excluded: Sequence[Key], *, from_: int, several: bool) -> dict[str, Any]:
    """The caller's search from ``from_`` on, less documents that stand elsewhere in the order."""
    query = {"bool": {"must": [plan.query], "must_not": [of_keys(excluded, several=several)]}}
    tail = {key: value for key, value in plan.body.items() if key not in _ABOUT_ALL}
    paged = {"from": from_, "size": plan.size, "_source": _option(plan.source), "track_total_hits": False}
    return {**tail, "query": query, **paged}


def hits_only_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters for requests that only fetch hits."""
    return {name: value for name, value in params.items() if name not in _ABOUT_ALL_PARAMS}


def of_keys(keys: Sequence[Key], *, several: bool) -> dict[str, Any]:
    """A filter for exactly these documents; the index is asked for only where there are ``several``."""
    if not several:
        return {"ids": {"values": [doc_id for _, doc_id in keys]}}
    by_index: dict[str, list[str]] = {}
    for index, doc_id in keys:
        by_index.setdefault(index, []).append(doc_id)
    each = [
        {"bool": {"filter": [{"term": {"_index": index}}, {"ids": {"values": ids}}]}} for index, ids in by_index.items()
    ]
    return {"bool": {"should": each, "minimum_should_match": 1}}


def without_inner_hits(query: Any) -> Any:
    """A copy of the query that asks for no inner hits."""
    if isinstance(query, (list, tuple)):
        return [without_inner_hits(each) for each in query]
    if not isinstance(query, Mapping):
        return query
    cleaned: dict[str, Any] = {}
    for kind, inside in query.items():
        if kind in _WITH_INNER_HITS and isinstance(inside, Mapping):
            inside = {key: value for key, value in inside.items() if key != "inner_hits"}
        cleaned[kind] = without_inner_hits(inside)
    return cleaned


def _option(source: SourceFilter) -> Any:
    if not source.fetch:
        return False
    if source.everything:
        return True
    return {"includes": list(source.includes), "excludes": list(source.excludes)}
