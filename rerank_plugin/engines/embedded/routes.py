"""Which operation answers which method and path."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from rerank_plugin.engines.embedded import indices, reads, search, writes
from rerank_plugin.engines.embedded.bulk import bulk
from rerank_plugin.engines.embedded.cluster import check_name
from rerank_plugin.engines.embedded.parameters import check_parameters
from rerank_plugin.engines.embedded.refusal import Refusal, illegal
from rerank_plugin.engines.embedded.request import Answer, Engine, Request

Operation = Callable[[Engine, Request], Answer]


@dataclass(frozen=True, slots=True)
class Route:
    """Methods and path of an operation, and the parameters it understands."""

    methods: frozenset[str]
    parts: tuple[str, ...]
    operation: Operation
    parameters: frozenset[str]


def _route(methods: str, path: str, operation: Operation, parameters: frozenset[str] = frozenset()) -> Route:
    return Route(frozenset(methods.split()), tuple(part for part in path.split("/") if part), operation, parameters)


_BULK = frozenset({"refresh", "_source"})
_ROUTES = (
    _route("GET HEAD", "/", indices.info),
    _route("GET", "/_cluster/health", indices.health),
    _route("GET", "/_cluster/health/{index}", indices.health),
    _route("POST PUT", "/_bulk", bulk, _BULK),
    _route("POST PUT", "/{index}/_bulk", bulk, _BULK),
    _route("GET POST", "/_search", search.search, search.SEARCH_PARAMETERS),
    _route("GET POST", "/{index}/_search", search.search, search.SEARCH_PARAMETERS),
    _route("GET POST", "/_msearch", search.msearch),
    _route("GET POST", "/{index}/_msearch", search.msearch),
    _route("GET POST", "/_count", search.count),
    _route("GET POST", "/{index}/_count", search.count),
    _route("GET POST", "/_mget", reads.mget, reads.READ_PARAMETERS),
    _route("GET POST", "/{index}/_mget", reads.mget, reads.READ_PARAMETERS),
    _route("POST GET", "/_refresh", indices.refresh),
    _route("POST GET", "/{index}/_refresh", indices.refresh),
    _route("POST GET", "/_flush", indices.refresh),
    _route("POST GET", "/{index}/_flush", indices.refresh),
    _route("POST", "/{index}/_forcemerge", indices.refresh),
    _route("GET", "/_mapping", indices.get_mapping),
    _route("GET", "/{index}/_mapping", indices.get_mapping),
    _route("PUT POST", "/{index}/_mapping", indices.put_mapping),
    _route("GET", "/_settings", indices.get_settings),
    _route("GET", "/{index}/_settings", indices.get_settings),
    _route("PUT", "/{index}/_settings", indices.put_settings),
    _route("GET HEAD", "/{index}/_doc/{id}", reads.get, reads.READ_PARAMETERS),
    _route("GET HEAD", "/{index}/_source/{id}", reads.get_source, reads.READ_PARAMETERS),
    _route("PUT POST DELETE", "/{index}/_doc/{id}", writes.write_one, writes.WRITE_PARAMETERS),
    _route("POST", "/{index}/_doc", writes.write_one, writes.WRITE_PARAMETERS),
    _route("PUT POST", "/{index}/_create/{id}", writes.write_one, writes.WRITE_PARAMETERS),
    _route("POST", "/{index}/_update/{id}", writes.write_one, writes.WRITE_PARAMETERS),
    _route("PUT", "/{index}", indices.create),
    _route("DELETE", "/{index}", indices.delete),
    _route("HEAD", "/{index}", indices.exists),
    _route("GET", "/{index}", indices.get),
)


def answer(engine: Engine, method: str, url: str, params: Mapping[str, Any], body: bytes) -> Answer:
    """The answer to a request.

    :raises Refusal: it is not done; 400 for a path that no operation here has, 405 for a method it does not take.
    """
    path = url.partition("?")[0]
    parts = tuple(unquote(part, errors="surrogateescape") for part in path.split("/") if part)
    allowed: set[str] = set()
    for route in _ROUTES:
        names = _names(route.parts, parts)
        if names is None:
            continue
        if method not in route.methods:
            allowed |= route.methods
            continue
        check_parameters(params, route.parameters, path)
        return route.operation(engine, Request(method=method, path=path, params=params, body=body, names=names))
    if method == "PUT" and len(parts) == 1:
        check_name(parts[0])  # says what is wrong with the name
    if allowed:
        reason = f"Incorrect HTTP method for uri [{path}] and method [{method}], allowed: {sorted(allowed)}"
        raise Refusal(405, "method_not_allowed_exception", reason)
    raise illegal(f"[{method} {path}] is not supported by the embedded engine")


def _names(pattern: tuple[str, ...], parts: tuple[str, ...]) -> dict[str, str] | None:
    """The named parts of a path that fits the pattern; an index never starts with an underscore."""
    if len(pattern) != len(parts):
        return None
    names: dict[str, str] = {}
    for wanted, found in zip(pattern, parts, strict=True):
        if wanted.startswith("{"):
            if wanted == "{index}" and found.startswith("_") and found != "_all":
                return None
            names[wanted[1:-1]] = found
        elif wanted != found:
            return None
    return names
