"""Whether and how one search is reranked: decided from its body and parameters alone (DESIGN 6.3)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from rerank_plugin.client.options import KEY, Options, read_options
from rerank_plugin.client.query_text import NoQueryText, Path, QueryText, read_query_text
from rerank_plugin.client.source import PARAMS as SOURCE_PARAMS
from rerank_plugin.client.source import asked_source, param_text
from rerank_plugin.config import Rerank, switched_off
from rerank_plugin.domain.source_filter import SourceFilter
from rerank_plugin.errors import ConfigError, DataError

#: Hits an engine returns when it is not told how many.
DEFAULT_SIZE = 10
#: URL parameters whose meaning our requests carry in their bodies.
_MOVED_PARAMS = frozenset(
    {"from", "size", "sort", "explain", "ignore", "q", "df", "analyzer", "analyze_wildcard", "default_operator"}
    | {"lenient", *SOURCE_PARAMS}
)
_QUERY_STRING_PARAMS = ("analyzer", "analyze_wildcard", "default_operator", "lenient")
_SCORE_SORTS: tuple[Any, ...] = (
    "_score",
    "_score:desc",
    {"_score": "desc"},
    {"_score": {"order": "desc"}},
    {"_score": {}},
)


@dataclass(frozen=True, slots=True)
class Search:
    """A search as the caller sent it."""

    #: As it stands in the path or header: a name, an alias, a pattern, several; empty is every index.
    index: str
    #: URL parameters, or an msearch item's header.
    params: Mapping[str, Any]
    #: A mapping, JSON text or nothing.
    body: Any


@dataclass(frozen=True, slots=True)
class Off:
    """The search is none of our business: reranking is switched off."""

    #: What the engine gets: the caller's own, less our key.
    body: Any


@dataclass(frozen=True, slots=True)
class Skip:
    """The search goes to the engine as it is, and the response says why."""

    body: Any
    reason: str
    window: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A search that will be reranked."""

    index: str
    #: Parameters of our own requests; what their bodies say is left out.
    params: Mapping[str, Any]
    #: What the engine gets if all else fails: the caller's own, less our key.
    own_body: Any
    #: The same as a mapping, URL parameters moved in, without paging, ``_source`` and sort.
    body: Mapping[str, Any]
    query: Mapping[str, Any]
    text: str
    #: Where the query asks for ``text``; empty when the caller named a text that the query does not ask for.
    leaves: tuple[Path, ...]
    #: Fields the query searches.
    fields: tuple[str, ...]
    from_: int
    size: int
    source: SourceFilter
    settings: Rerank
    order_id: str = ""

    @property
    def window(self) -> int:
        """Candidates rescored."""
        return self.settings.window

    @property
    def end(self) -> int:
        """Place behind the page's last hit."""
        return self.from_ + self.size


def make_plan(search: Search, settings: Rerank) -> Plan | Skip | Off:
    """How the search is reranked, or why not.

    :raises ConfigError: its ``rerank`` object cannot be followed.
    """
    own_body, body, given = split_body(search.body)
    if switched_off():  # this stands above the request's own wish
        return Off(own_body)
    settings = settings.for_index(unquote(search.index)) if settings.indices else settings
    try:
        settings = settings.with_environment()
    except ConfigError as error:  # the environment's mistake is not the caller's
        return Skip(own_body, str(error), settings.window)
    options = read_options(given, settings)
    allowed = options.settings
    if allowed.mode == "off":
        return Off(own_body)
    if body is None:
        return Skip(own_body, "the body is no JSON object", allowed.window)
    reason = _passes_through(body, search.params)
    if reason:
        return Skip(own_body, reason, allowed.window)
    try:
        return _planned(search, own_body, body, options)
    except (DataError, ValueError) as error:
        return Skip(own_body, f"not understood: {error}", allowed.window)


def split_body(given: Any) -> tuple[Any, Mapping[str, Any] | None, Any]:
    """The engine's body, the same as a mapping (None where it is none), and the ``rerank`` object."""
    body = given
    if isinstance(given, (str, bytes)):
        try:
            body = json.loads(given)
        except (ValueError, RecursionError):  # the engine has words for both
            body = None
    if given is None:
        return None, {}, None
    if not isinstance(body, Mapping):
        return given, None, None
    if KEY not in body:
        return given, body, None
    stripped = {key: value for key, value in body.items() if key != KEY}
    return stripped, stripped, body[KEY]


def _passes_through(body: Mapping[str, Any], params: Mapping[str, Any]) -> str:
    """Why this search is left to the engine; empty when it is not."""
    for name in ("scroll", "filter_path", "format", "source"):
        if name in params:
            return f"the parameter {name}"
    for name in ("search_after", "pit", "retriever", "slice"):
        if name in body:
            return f"{name} in the body"
    collapse = body.get("collapse")
    if collapse is not None and not (isinstance(collapse, Mapping) and set(collapse) == {"field"}):
        return "collapse with more than a field"  # its inner hits are searches of their own, over the whole group
    sort = params.get("sort", body.get("sort"))
    if isinstance(sort, (str, bytes)):
        sort = param_text(sort).split(",")
    if sort and not (sort in _SCORE_SORTS or (isinstance(sort, (list, tuple)) and list(sort) in _SORT_LISTS)):
        return "an explicit sort"
    if "_none_" in param_text(body.get("stored_fields", params.get("stored_fields", ""))):
        return "stored_fields _none_: hits have no _id"
    return ""


_SORT_LISTS = [[each] for each in _SCORE_SORTS]


def _planned(search: Search, own_body: Any, body: Mapping[str, Any], options: Options) -> Plan | Skip:
    window = options.settings.window
    from_, size = _number(search, body, "from", 0), _number(search, body, "size", DEFAULT_SIZE)
    if size == 0:
        return Skip(own_body, "size 0", window)
    query = _query(body, search.params)
    asked = _query_text(query, options.query_text)
    if isinstance(asked, NoQueryText):
        return Skip(own_body, asked.reason, window)
    if not _has_share(options.settings.share, options.user or asked.text.casefold()):
        return Skip(own_body, f"outside the share of {options.settings.share:g} of the traffic", window)
    moved = {key: value for key, value in body.items() if key not in {"from", "size", "_source", "sort", "query"}}
    if _flag(search.params.get("explain")):
        moved["explain"] = True
    return Plan(
        index=search.index,
        params={name: value for name, value in search.params.items() if name not in _MOVED_PARAMS},
        own_body=own_body,
        body=moved,
        query=query,
        text=asked.text,
        leaves=asked.leaves,
        fields=asked.fields,
        from_=from_,
        size=size,
        source=asked_source(body, search.params),
        settings=options.settings,
        order_id=options.order_id,
    )


def _has_share(share: float, who: str) -> bool:
    """Whether a user, or a query text where no user is named, is among the share that is reranked: always the same."""
    place = int.from_bytes(hashlib.sha256(who.encode("utf-8", "surrogatepass")).digest()[:8]) / 2**64
    return place < share


def _number(search: Search, body: Mapping[str, Any], name: str, default: int) -> int:
    value = search.params.get(name, body.get(name))
    number = default if value is None else int(value)
    if number < 0:
        raise DataError(f"{name} must be at least 0, got {number}")
    return number


def _flag(value: Any) -> bool:
    return value is not None and param_text(value).lower() in {"true", ""}


def _query(body: Mapping[str, Any], params: Mapping[str, Any]) -> Mapping[str, Any]:
    """The query the engine would run: a ``q`` parameter goes before the body's, as in the engine."""
    if "q" not in params:
        query = body.get("query")
        return query if isinstance(query, Mapping) and query else {"match_all": {}}
    inside: dict[str, Any] = {"query": param_text(params["q"])}
    if "df" in params:
        inside["default_field"] = param_text(params["df"])
    inside.update((name, param_text(params[name])) for name in _QUERY_STRING_PARAMS if name in params)
    return {"query_string": inside}


def _query_text(query: Mapping[str, Any], given: str) -> QueryText | NoQueryText:
    """The query's own text, or the given one; the clauses count only where they ask for the same."""
    found = read_query_text(query)
    if not given:
        return found
    if isinstance(found, QueryText) and found.text.casefold() == given.casefold():
        return found
    return QueryText(given, (), found.fields if isinstance(found, QueryText) else ())
