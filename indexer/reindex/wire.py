"""Requests whose answers stay text until somebody knows their type, asked again while the engine is only busy."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from indexer.writer import engine_errors
from rerank_plugin.engines.connect import EMBEDDED_PREFIX, connect
from rerank_plugin.errors import ConfigError, MissingExtraError

T = TypeVar("T")

#: A node that leaves is missed for about half a minute; a queue that is full drains in seconds.
PATIENCE_S = 300.0
FIRST_WAIT_S, LONGEST_WAIT_S, JITTER_S = 0.2, 10.0, 1.0
REQUEST_TIMEOUT_S = 120
CONNECTIONS = 32
TRANSIENT = frozenset({408, 429, 502, 503, 504})


def load_msgspec() -> Any:
    """The msgspec module: documents pass through as bytes, only what the signals need is decoded.

    :raises MissingExtraError: it is not installed.
    """
    try:
        import msgspec
    except ImportError as error:
        raise MissingExtraError("reindexing", "index") from error
    return msgspec


class _Text:
    """A serializer for opensearch-py that leaves answers as they came."""

    mimetype = "application/json"

    def loads(self, text: str) -> str:
        return text

    def dumps(self, value: Any) -> str | bytes:
        return value if isinstance(value, (str, bytes)) else cast(bytes, load_msgspec().json.encode(value))


class _Texts:
    """A client whose answers are text, made of one whose answers are values."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.transport = self

    def perform_request(self, method: str, path: str, params: dict[str, Any], body: Any) -> str:
        params = {**params, "request_timeout": REQUEST_TIMEOUT_S}
        return json.dumps(self._client.transport.perform_request(method, path, params=params, body=body))

    def close(self) -> None:
        """The client is closed by who opened it."""


@dataclass(frozen=True, slots=True)
class Wire:
    """Two clients of one server: opensearch-py's usual one, and one whose answers are text; threads may share both."""

    client: Any
    raw: Any

    @classmethod
    def open(cls, url: str) -> Wire:
        """Clients for a server; nothing is contacted yet.

        :raises ConfigError: the URL is none, or names the embedded engine, whose indexes are files: load them again.
        """
        if url.startswith(EMBEDDED_PREFIX):
            raise ConfigError("this needs a server, http(s)://host:9200; an embedded index is made anew with load")
        options = {"timeout": REQUEST_TIMEOUT_S, "pool_maxsize": CONNECTIONS, "max_retries": 2}
        return cls(connect(url, **options), connect(url, serializer=_Text(), **options))

    @classmethod
    def over(cls, client: Any) -> Wire:
        """The two roads over one client that exists, of a server or of the embedded engine; for short answers."""
        return cls(client, _Texts(client))

    def close(self) -> None:
        """Closes both clients."""
        self.client.close()
        self.raw.close()

    def ask(self, doing: str, call: Callable[[Any], T]) -> T:
        """What ``call`` returns, given the usual client; asked again, for minutes, while the engine is only busy.

        :raises EngineError: refused, or still busy at the end; the message begins with ``doing``.
        """
        with engine_errors(doing):
            return patient(lambda: call(self.client))

    def text(self, doing: str, method: str, path: str, body: Any, **parameters: Any) -> str:
        """The text of the answer to one request; asked again, for minutes, while the engine is only busy.

        :raises EngineError: refused, or still busy at the end; the message begins with ``doing``.
        """
        with engine_errors(doing):
            return patient(lambda: self.once(method, path, body, **parameters))

    def once(self, method: str, path: str, body: Any, **parameters: Any) -> str:
        """The same, asked once; errors are opensearch-py's own."""
        return cast(str, self.raw.transport.perform_request(method, path, params=parameters, body=body))


def patient(call: Callable[[], T]) -> T:
    """What ``call`` returns; transient failures are tried again with growing waits and jitter, for minutes.

    :raises OpenSearchException: a permanent failure at once, a transient one when patience is over.
    :raises MissingExtraError: stamina is not installed.
    """
    try:
        import stamina
    except ImportError as error:
        raise MissingExtraError("writing to an engine", "index") from error

    for attempt in stamina.retry_context(
        on=is_transient,
        attempts=None,
        timeout=PATIENCE_S,
        wait_initial=FIRST_WAIT_S,
        wait_max=LONGEST_WAIT_S,
        wait_jitter=JITTER_S,
    ):
        with attempt:
            return call()
    raise AssertionError("a retry context returns or raises")


def is_transient(error: Exception) -> bool:
    """Whether the same request may well succeed in a moment: no connection, or an engine that is busy."""
    from opensearchpy.exceptions import ConnectionError, SSLError, TransportError

    if isinstance(error, ConnectionError):
        return not isinstance(error, SSLError)
    return isinstance(error, TransportError) and bool(error.args) and error.args[0] in TRANSIENT


def quiet() -> None:
    """Retries are told by us where they matter: stamina's own warnings would go to standard error."""
    logging.getLogger("stamina").addHandler(logging.NullHandler())
