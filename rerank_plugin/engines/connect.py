"""The one way to reach an engine: a URL in, opensearch-py's own client out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from opensearchpy import OpenSearch

from rerank_plugin.errors import ConfigError

EMBEDDED_PREFIX = "embedded:"
FORMS = "http(s)://host:9200 (user:password@ before the host where needed; several by commas) or embedded:PATH"
DEFAULT_PORTS = {"http": 9200, "https": 443}


def connect(url: str, **client_kwargs: Any) -> OpenSearch:
    """A plain opensearch-py client for an engine: a server by its URL (its nodes by theirs), or a folder here.

    Nothing is contacted yet. Further arguments go to the client as they are; ``http_auth`` given there goes before
    credentials in the URL. The embedded engine takes one of its own: ``clock``, a function that gives the time which
    ``now`` means in date expressions.

    :raises ConfigError: the URL has none of the two forms. The message never holds credentials.
    :raises MissingExtraError: ``embedded:`` without the packages it needs.
    """
    if not isinstance(url, str):
        raise ConfigError(f"an engine is written {FORMS}; got {type(url).__name__}")
    if url.startswith(EMBEDDED_PREFIX):
        return _embedded(url.removeprefix(EMBEDDED_PREFIX), client_kwargs)
    if url.partition("://")[0].lower() in DEFAULT_PORTS:
        return _remote(url, client_kwargs)
    raise ConfigError(f"an engine is written {FORMS}; got {_without_credentials(url)!r}")


def _embedded(path: str, client_kwargs: dict[str, Any]) -> OpenSearch:
    if not path.strip() or "\0" in path:
        raise ConfigError("embedded: needs the folder that holds the indexes, as in embedded:./data; got none")
    # Imported here so that a client of a server does not need the packages of the embedded engine.
    from rerank_plugin.engines.embedded.connection import EmbeddedConnection

    host = {"host": "embedded", "path": str(Path(path).expanduser())}
    return OpenSearch(hosts=[host], connection_class=EmbeddedConnection, **client_kwargs)


def _remote(url: str, client_kwargs: dict[str, Any]) -> OpenSearch:
    # A comma may stand in a password too: only one before a new URL parts them.
    parts = [_parts(each) for each in re.split(r",\s*(?=https?://)", url, flags=re.IGNORECASE)]
    credentials = next(filter(None, map(_credentials, parts)), None)
    if credentials is not None:
        client_kwargs = {"http_auth": credentials, **client_kwargs}
    return OpenSearch(hosts=[_host(each) for each in parts], **client_kwargs)


def _parts(url: str) -> SplitResult:
    problem = f"{_without_credentials(url)!r} is no usable engine URL; write {FORMS}"
    try:
        parts = urlsplit(url.strip())
        parts.port  # noqa: B018 (asked here because it may be none)
    except ValueError as error:
        raise ConfigError(problem) from error.__cause__
    if parts.scheme.lower() not in DEFAULT_PORTS or not parts.hostname or parts.query or parts.fragment:
        raise ConfigError(problem)
    return parts


def _host(parts: SplitResult) -> dict[str, Any]:
    host: dict[str, Any] = {"host": parts.hostname, "port": parts.port or DEFAULT_PORTS[parts.scheme.lower()]}
    if parts.scheme.lower() == "https":
        host.update(scheme="https", use_ssl=True)
    if parts.path.strip("/"):
        host["url_prefix"] = parts.path.strip("/")
    return host


def _credentials(parts: SplitResult) -> tuple[str, str] | None:
    if parts.username is None:
        return None
    return unquote(parts.username), unquote(parts.password or "")


def _without_credentials(url: str) -> str:
    """The URL as it may stand in a message: what precedes the last ``@`` and what follows a ``?`` replaced."""
    scheme, separator, rest = url.rpartition("://")
    _, at, host = rest.rpartition("@")
    place, query, _ = host.partition("?")
    return f"{scheme}{separator}{'***@' if at else ''}{place}{'?***' if query else ''}"[:200]
