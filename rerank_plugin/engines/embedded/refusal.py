"""Errors as the engines write them: a type, a reason, a status."""

from __future__ import annotations

from typing import Any

from rerank_plugin.errors import EngineError


class Refusal(EngineError):
    """A request that gets an error object for an answer; it never leaves the connection as this class."""

    def __init__(
        self,
        status: int,
        kind: str,
        reason: str,
        *,
        caused_by: tuple[str, str] | None = None,
        details: dict[str, Any] | None = None,
        root: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.kind = kind
        self.reason = reason
        self.caused_by = caused_by
        self.details = details or {}
        self.root = root

    def error(self) -> dict[str, Any]:
        """The object that stands under ``error`` in a bulk item."""
        error: dict[str, Any] = {"type": self.kind, "reason": self.reason, **self.details}
        if self.caused_by is not None:
            error["caused_by"] = {"type": self.caused_by[0], "reason": self.caused_by[1]}
        return error

    def body(self) -> dict[str, Any]:
        """The whole body of an error response."""
        root = self.root or {"type": self.kind, "reason": self.reason, **self.details}
        return {"error": {"root_cause": [root], **self.error()}, "status": self.status}


class ShardRefusal(Refusal):
    """400 for a search that parses and that the index cannot run; the engines report it as a failure of the shards."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(400, kind, reason)

    def of_index(self, name: str) -> Refusal:
        """The error of the whole search."""
        root = {"type": self.kind, "reason": self.reason, "index": name}
        details = {"phase": "query", "grouped": True, "failed_shards": [{"shard": 0, "index": name, "reason": root}]}
        kind, reason = "search_phase_execution_exception", "all shards failed"
        return Refusal(400, kind, reason, details=details, root=root)


def illegal(reason: str) -> Refusal:
    """400 for an argument that makes no sense."""
    return Refusal(400, "illegal_argument_exception", reason)


def unparsable(reason: str) -> Refusal:
    """400 for a body that is not in the query language."""
    return Refusal(400, "parsing_exception", reason)


def unsupported(what: str) -> Refusal:
    """400 for what the engines can do and this one cannot."""
    return illegal(f"[{what}] is not supported by the embedded engine")


def unmappable(reason: str, caused_by: tuple[str, str] | None = None) -> Refusal:
    """400 for a mapping or a document that does not fit it."""
    return Refusal(400, "mapper_parsing_exception", reason, caused_by=caused_by)


def index_not_found(name: str) -> Refusal:
    """404 for an index that does not exist."""
    details = {
        "index": name,
        "resource.id": name,
        "resource.type": "index_or_alias",
        "index_uuid": "_na_",
    }
    return Refusal(404, "index_not_found_exception", f"no such index [{name}]", details=details)
