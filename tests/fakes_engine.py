"""A scripted engine behind opensearch-py's own client: it keeps documents in memory and misbehaves on request."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from opensearchpy import Connection, OpenSearch
from opensearchpy.exceptions import ConnectionError

#: What happens to a document of a bulk request: ``None`` takes it, a pair is the status and error it gets.
Fate = Callable[[str, dict[str, Any]], tuple[int, dict[str, str]] | None]


class FakeEngine:
    """The indices API, ``_bulk`` and ``_count`` as far as the indexer uses them."""

    def __init__(self, *, fate: Fate = lambda doc_id, source: None, dies_after_bulks: int | None = None) -> None:
        self.indexes: dict[str, dict[str, Any]] = {}
        self.documents: dict[str, dict[str, dict[str, Any]]] = {}
        self.aliases: dict[str, str] = {}
        #: Documents and bytes of each bulk request.
        self.bulks: list[tuple[int, int]] = []
        #: Settings of the index at each of them.
        self.settings_of_bulks: list[dict[str, Any]] = []
        #: Settings that every new index has from a template.
        self.template: dict[str, Any] = {}
        self.calls: list[str] = []
        self.refuses: dict[str, tuple[int, dict[str, Any]]] = {}
        self.miscounts_by = 0
        self.fate = fate
        #: After so many bulk requests there is no answer any more; ``None`` for ever.
        self.dies_after_bulks = dies_after_bulks

    def client(self) -> OpenSearch:
        """A client of this engine."""
        return OpenSearch(hosts=[{"host": "fake", "engine": self}], connection_class=_FakeConnection, max_retries=0)

    def answer(self, method: str, url: str, body: Any) -> tuple[int, Any]:
        """Status and JSON for one request."""
        self.calls.append(f"{method} {url}")
        parts = url.strip("/").split("/")
        if f"{method} {parts[-1]}" in self.refuses:
            return self.refuses[f"{method} {parts[-1]}"]
        if parts[-1] == "_bulk":
            return self._bulk(parts[0], body)
        if parts[0] == "_cluster":
            return 200, {"timed_out": False}
        index = self.aliases.get(parts[0], parts[0])
        if method == "PUT" and len(parts) == 1:
            settings = {"index.number_of_replicas": "1", **self.template}
            self.indexes[index], self.documents[index] = {"settings": settings, **json.loads(body)}, {}
            return 200, {"acknowledged": True}
        if index not in self.indexes:
            return 404, {"error": {"type": "index_not_found_exception", "reason": f"no such index [{index}]"}}
        if method == "DELETE":
            del self.documents[index]
            return 200, {index: self.indexes.pop(index)}
        if parts[-1] == "_mapping":
            self.indexes[index]["mappings"] |= json.loads(body)
        elif parts[-1] == "_settings" and method == "PUT":
            settings = self.indexes[index]["settings"]
            for key, value in json.loads(body).items():  # null is the engine's default
                settings.pop(key, None)
                settings |= {} if value is None else {key: value}
        elif parts[-1] == "_count":
            return 200, {"count": len(self.documents[index]) + self.miscounts_by}
        return 200, {index: self.indexes[index]}

    def _bulk(self, index: str, body: Any) -> tuple[int, Any]:
        if self.dies_after_bulks is not None and len(self.bulks) >= self.dies_after_bulks:
            raise ConnectionError("N/A", "Connection refused", OSError("Connection refused"))
        data = body if isinstance(body, bytes) else body.encode()
        lines = data.decode().strip().split("\n")
        self.bulks.append((len(lines) // 2, len(data)))
        self.settings_of_bulks.append(dict(self.indexes[index]["settings"]))
        items = []
        for action, line in zip(lines[::2], lines[1::2], strict=True):
            target, source = json.loads(action)["index"], json.loads(line)
            refusal = self.fate(target["_id"], source)
            if refusal is None:
                self.documents[index][target["_id"]] = source
            status, error = (201, None) if refusal is None else refusal
            items.append({"index": {"_id": target["_id"], "status": status, **({"error": error} if error else {})}})
        return 200, {"errors": False, "items": items}


class _FakeConnection(Connection):
    def __init__(self, *, engine: FakeEngine, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._engine = engine

    def perform_request(self, method: str, url: str, *args: Any, **kwargs: Any) -> tuple[int, Any, str]:
        body = kwargs.get("body", args[1] if len(args) > 1 else None)
        status, answer = self._engine.answer(method, url, body)
        raw = json.dumps(answer)
        ignored = kwargs.get("ignore") or ()
        if not 200 <= status < 300 and status not in ignored:
            self._raise_error(status, raw, "application/json")
        return status, {"content-type": "application/json"}, raw

    def close(self) -> None:
        """Nothing is open."""
