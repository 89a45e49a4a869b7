"""``_search``, ``_msearch`` and ``_count``: a body to a response."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rerank_plugin.domain.source_filter import SourceFilter
from rerank_plugin.engines.embedded.clause import Clause, Context, constant
from rerank_plugin.engines.embedded.json_text import parse_json
from rerank_plugin.engines.embedded.parameters import check_parameters, source_option
from rerank_plugin.engines.embedded.query import compile_query
from rerank_plugin.engines.embedded.ranking import Scored, every, top
from rerank_plugin.engines.embedded.ranking import count as count_matches
from rerank_plugin.engines.embedded.reads import source_filter
from rerank_plugin.engines.embedded.refusal import Refusal, ShardRefusal, illegal, unparsable, unsupported
from rerank_plugin.engines.embedded.request import ONE_SHARD, Answer, Engine, Request
from rerank_plugin.engines.embedded.sorting import Sorted, SortKey, parse_sort, sort_matches
from rerank_plugin.engines.embedded.store import IndexStore
from rerank_plugin.engines.embedded.writes import PRIMARY_TERM

DEFAULT_TRACKED = 10_000
MAX_RESULT_WINDOW = 10_000
SEARCH_PARAMETERS = frozenset({
    "from", "size", "sort", "_source", "_source_includes", "_source_excludes", "track_total_hits", "track_scores",
    "version", "seq_no_primary_term",
})  # fmt: skip
_BODY = frozenset({
    "query", "post_filter", "from", "size", "sort", "_source", "track_total_hits", "track_scores", "min_score",
    "version", "seq_no_primary_term", "timeout",
})  # fmt: skip
_KNOWN_ELSEWHERE = frozenset({
    "aggs", "aggregations", "highlight", "suggest", "rescore", "collapse", "search_after", "pit", "slice", "knn", "ext",
    "script_fields", "stored_fields", "docvalue_fields", "fields", "explain", "profile", "terminate_after", "rank",
    "indices_boost", "stats", "derived", "runtime_mappings", "search_pipeline", "retriever", "sub_searches",
    "include_named_queries_score", "verbose_pipeline",
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A search body, checked."""

    query: Any
    post_filter: Any
    first: int
    size: int
    sort: list[SortKey]
    source: SourceFilter
    #: ``None``: no total. Otherwise the number up to which it is exact.
    tracked: int | None
    track_scores: bool
    min_score: float | None
    version: bool
    sequence: bool


def parse_search(body: Mapping[str, Any], params: Mapping[str, Any]) -> Search:
    """The search that a body and a query string ask for; the query string goes first.

    :raises Refusal: 400 that names the part which is unknown, wrong or not supported here.
    """
    for key in body:
        if key in _KNOWN_ELSEWHERE:
            raise unsupported(str(key))
        if key not in _BODY:
            raise unparsable(f"Unknown key for a VALUE in [{key}].")
    given = {**body, **{key: params[key] for key in SEARCH_PARAMETERS & set(params) if not key.startswith("_source")}}
    if isinstance(given.get("sort"), str) and "," in given["sort"]:
        given["sort"] = given["sort"].split(",")
    minimum = given.get("min_score")
    if minimum is not None and (isinstance(minimum, bool) or not isinstance(minimum, (int, float))):
        raise unparsable(f"[min_score] must be a number, got [{minimum}]")
    return Search(
        query=given.get("query"),
        post_filter=given.get("post_filter"),
        first=_whole(given, "from", 0),
        size=_whole(given, "size", 10),
        sort=parse_sort(given.get("sort")),
        source=source_filter(source_option(params, body.get("_source"))),
        tracked=_tracked(given.get("track_total_hits", DEFAULT_TRACKED)),
        track_scores=_flag(given, "track_scores"),
        min_score=minimum,
        version=_flag(given, "version"),
        sequence=_flag(given, "seq_no_primary_term"),
    )


def _whole(given: Mapping[str, Any], name: str, default: int) -> int:
    value = given.get(name, default)
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise unparsable(f"[{name}] must be a whole number, got [{value}]") from error
    if number < 0 or isinstance(value, bool):
        raise illegal(f"[{name}] parameter cannot be negative, found [{value}]")
    return number


def _flag(given: Mapping[str, Any], name: str) -> bool:
    value = str(given.get(name, False)).lower()
    if value not in {"true", "false"}:
        raise illegal(f"Failed to parse value [{given[name]}] as only [true] or [false] are allowed.")
    return value == "true"


def _tracked(value: Any) -> int | None:
    text = str(value).lower()
    if text in {"true", "false"}:
        return 2**31 - 1 if text == "true" else None
    try:
        number = int(value)
    except (TypeError, ValueError) as error:
        raise illegal(f"[track_total_hits] must be true, false or a whole number, got [{value}]") from error
    if number < -1:
        raise illegal(f"[track_total_hits] parameter must be positive or equals to -1, got {number}")
    return 2**31 - 1 if number == -1 else number


def run_search(engine: Engine, store: IndexStore, search: Search) -> dict[str, Any]:
    """The response to a search of one index.

    :raises Refusal: 400 for a query or a window that this engine does not serve.
    """
    started = time.perf_counter()
    window = int(store.metadata.settings.get("max_result_window", MAX_RESULT_WINDOW))
    if search.first + search.size > window:
        raise ShardRefusal(
            "illegal_argument_exception",
            f"Result window is too large, from + size must be less than or equal to: [{window}] but was "
            f"[{search.first + search.size}]. See the scroll api for a more efficient way to request large data sets. "
            "This limit can be set by changing the [index.max_result_window] index level setting.",
        )
    context = Context(store.snapshot(), engine.clock())
    clause = _clause(context, search)
    page, total, best = _matches(context, clause, search)
    hits = [_hit(store, context, search, each) for each in page]
    shown: dict[str, Any] = {"total": _total(total, search.tracked)} if search.tracked is not None else {}
    if search.sort and not search.track_scores and (search.sort[0].field, search.sort[0].order) != ("_score", "desc"):
        best = None
    shown.update(max_score=None if best is None or search.size == 0 else _float32(best), hits=hits)
    took = int((time.perf_counter() - started) * 1000)
    return {"took": took, "timed_out": False, "_shards": dict(ONE_SHARD), "hits": shown}


def _clause(context: Context, search: Search) -> Clause:
    import tantivy

    if search.query is None:
        clause = constant(tantivy.Query.all_query(), 1.0)
    else:
        clause = compile_query(context, search.query)
    if search.post_filter is None:
        return clause
    kept = tantivy.Query.const_score_query(compile_query(context, search.post_filter).query, 0.0)
    must = tantivy.Occur.Must
    return Clause(tantivy.Query.boolean_query([(must, clause.query), (must, kept)]), clause.constant)


def _matches(context: Context, clause: Clause, search: Search) -> tuple[list[Sorted], int, float | None]:
    """The page, how many match in all, and the best score."""
    end = search.first + search.size
    if search.sort:
        ranked = [each for each in sort_matches(context, clause, search.sort) if _scores(each.hit, search)]
        best = max((each.hit.score for each in ranked), default=None)
        return ranked[search.first : end], len(ranked), best
    if search.min_score is not None:
        kept = [hit for hit in every(context.snapshot.view, clause) if _scores(hit, search)]
        total = len(kept)
    else:
        found = top(context.snapshot.view, clause, end)
        kept, total = found.hits, found.total
    best = kept[0].score if kept else None
    return [Sorted(hit, []) for hit in kept[search.first : end]], total, best


def _scores(hit: Scored, search: Search) -> bool:
    return search.min_score is None or hit.score >= search.min_score


def _hit(store: IndexStore, context: Context, search: Search, found: Sorted) -> dict[str, Any]:
    stored = context.snapshot.view.stored(found.hit.address)
    scored = not search.sort or search.track_scores or any(key.field == "_score" for key in search.sort)
    hit: dict[str, Any] = {"_index": store.name, "_id": stored.doc_id}
    if search.version:
        hit["_version"] = stored.version
    if search.sequence:
        hit.update(_seq_no=stored.order, _primary_term=PRIMARY_TERM)
    hit["_score"] = _float32(found.hit.score) if scored else None
    if search.source.fetch:
        source = parse_json(stored.source)
        hit["_source"] = source if search.source.everything else search.source.apply(source)
    if search.sort:
        hit["sort"] = [
            _float32(value) if key.field == "_score" else value
            for key, value in zip(search.sort, found.values, strict=True)
        ]
    return hit


def _float32(value: float) -> float:
    """A 32-bit float as the engines print it: the digits it has, not those of its 64-bit expansion."""
    return float(f"{value:.8g}")


def _total(total: int, tracked: int) -> dict[str, Any]:
    return {"value": total, "relation": "eq"} if total <= tracked else {"value": tracked, "relation": "gte"}


def search(engine: Engine, request: Request) -> Answer:
    """``GET|POST /{index}/_search``."""
    parsed = parse_search(request.json(), request.params)
    store = _searched(engine, request.index)
    with _of_index(store):
        return Answer(200, run_search(engine, store, parsed))


@contextmanager
def _of_index(store: IndexStore) -> Iterator[None]:
    try:
        yield
    except ShardRefusal as refusal:
        raise refusal.of_index(store.name) from refusal


def _searched(engine: Engine, index: str | None) -> IndexStore:
    return engine.one_index(index or "_all")


def count(engine: Engine, request: Request) -> Answer:
    """``GET|POST /{index}/_count``."""
    body = request.json()
    for key in body:
        if key != "query":
            raise unparsable(f"request does not support [{key}]")
    store = _searched(engine, request.index)
    context = Context(store.snapshot(), engine.clock())
    with _of_index(store):
        clause = compile_query(context, body.get("query", {"match_all": {}}))
    return Answer(200, {"count": count_matches(context.snapshot.view, clause), "_shards": dict(ONE_SHARD)})


def msearch(engine: Engine, request: Request) -> Answer:
    """``POST /_msearch`` and ``/{index}/_msearch``: each search on its own.

    :raises Refusal: 400 for a search that cannot be parsed, which the engines refuse together with all the others; an
        index that is missing or cannot run a search concerns that search only.
    """
    started = time.perf_counter()
    lines = request.body.split(b"\n")
    if lines and not lines[-1].strip():
        lines.pop()
    if not lines or len(lines) % 2:
        raise illegal(
            "The msearch request must be pairs of a header line and a body line, terminated by a newline [\\n]"
        )
    responses = [_one_of_many(engine, request, *lines[at : at + 2]) for at in range(0, len(lines), 2)]
    return Answer(200, {"took": int((time.perf_counter() - started) * 1000), "responses": responses})


def _one_of_many(engine: Engine, request: Request, head: bytes, body: bytes) -> dict[str, Any]:
    header = parse_json(head) if head.strip() else {}
    body_json = parse_json(body)
    if not isinstance(header, dict) or not isinstance(body_json, dict):
        raise unparsable("[msearch] header and body must be JSON objects")
    index = header.pop("index", request.index)
    if isinstance(index, list):
        index = ",".join(index)
    check_parameters(header, frozenset(), "/_msearch")
    parsed = parse_search(body_json, {})
    try:
        store = _searched(engine, index)
    except Refusal as refusal:
        return refusal.body()
    try:
        return {**run_search(engine, store, parsed), "status": 200}
    except ShardRefusal as refusal:
        return refusal.of_index(store.name).body()
