"""opensearch-py's ``Connection`` to an engine in this process: everything above it works as with a server."""

from __future__ import annotations

import json
import time
import weakref
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from opensearchpy import Connection

from rerank_plugin.engines.embedded.cluster import Shared, acquire, release
from rerank_plugin.engines.embedded.filter_path import filtered
from rerank_plugin.engines.embedded.refusal import Refusal
from rerank_plugin.engines.embedded.request import Answer, Engine
from rerank_plugin.engines.embedded.routes import answer
from rerank_plugin.errors import RerankError

_HEADERS = {"content-type": "application/json; charset=UTF-8"}


def _texts(params: Mapping[str, Any]) -> dict[str, str]:
    """Parameters as they would stand in a URL; opensearch-py hands some over as bytes."""
    return {
        name: value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)
        for name, value in params.items()
    }


def _utc_now() -> datetime:
    return datetime.now(UTC)


class EmbeddedConnection(Connection):
    """Answers requests from the folder ``path``; ``clock`` gives the time that ``now`` means in date expressions.

    Errors are the exceptions that the same answer from a server would raise. Connections of one process share the
    engine; the last one to be closed (or collected) writes what is waiting and gives the lock back.
    """

    def __init__(
        self, host: str = "embedded", *, path: str, clock: Callable[[], datetime] = _utc_now, **kwargs: Any
    ) -> None:
        super().__init__(host=host, **{**kwargs, "port": None})
        self.path = Path(path)
        self.host = f"embedded:{path}"
        self._clock = clock
        self._shared: Shared | None = None
        self._finalizer: weakref.finalize[[Path], EmbeddedConnection] | None = None

    def perform_request(
        self,
        method: str,
        url: str,
        params: Mapping[str, Any] | None = None,
        body: bytes | str | None = None,
        timeout: float | None = None,  # noqa: ARG002 (answers come from this process; nothing to wait for)
        ignore: Collection[int] = (),
        headers: Mapping[str, str] | None = None,  # noqa: ARG002 (content negotiation has nothing to negotiate here)
    ) -> tuple[int, dict[str, str], str]:
        """Status, headers and JSON text of the answer.

        :raises opensearchpy.TransportError: the subclass a server's answer of that status would raise.
        """
        full_url = f"{url}?{urlencode(params)}" if params else url
        raw = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body or b""
        started = time.perf_counter()
        reply = self._answer(method.upper(), url, _texts(params or {}), raw)
        text = "" if method.upper() == "HEAD" else json.dumps(reply.body)
        duration = time.perf_counter() - started
        if not 200 <= reply.status < 300 and reply.status not in ignore:
            self.log_request_fail(method, self.host + full_url, full_url, raw, duration, reply.status, text)
            self._raise_error(reply.status, text, _HEADERS["content-type"])
        self.log_request_success(method, self.host + full_url, full_url, raw, reply.status, text, duration)
        return reply.status, dict(_HEADERS), text

    def _answer(self, method: str, url: str, params: dict[str, Any], body: bytes) -> Answer:
        filter_path = params.pop("filter_path", "")
        try:
            found = answer(self._open(), method, url, params, body)
            return replace(found, body=filtered(found.body, filter_path)) if filter_path else found
        except Refusal as refusal:
            return Answer(refusal.status, refusal.body())
        except RerankError as error:
            return Answer(500, Refusal(500, "exception", str(error)).body())

    def _open(self) -> Engine:
        if self._shared is None:
            self._shared = acquire(self.path)
            self._finalizer = weakref.finalize(self, _release_quietly, self.path)
        return Engine(cluster=self._shared.cluster, clock=self._clock)

    def close(self) -> None:
        """Writes what is waiting and lets other processes write; a later request opens the engine again.

        :raises opensearchpy.TransportError: what is waiting cannot be written.
        """
        finalizer, self._finalizer, self._shared = self._finalizer, None, None
        if finalizer is not None and finalizer.detach() is not None:
            try:
                release(self.path)
            except Refusal as refusal:
                self._raise_error(refusal.status, json.dumps(refusal.body()), _HEADERS["content-type"])


def _release_quietly(path: Path) -> None:
    """For a connection that is collected without ``close``: there is no caller to tell of a failure."""
    try:
        release(path)
    except RerankError:
        return
