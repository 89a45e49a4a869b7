"""A REST request as the operations see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rerank_plugin.engines.embedded.cluster import Cluster
from rerank_plugin.engines.embedded.json_text import parse_json
from rerank_plugin.engines.embedded.refusal import Refusal, illegal
from rerank_plugin.engines.embedded.store import IndexStore

#: Every answer's account of shards: this engine has one.
ONE_SHARD = {"total": 1, "successful": 1, "skipped": 0, "failed": 0}
WRITTEN_SHARD = {"total": 1, "successful": 1, "failed": 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What every operation may use."""

    cluster: Cluster
    #: Gives the time that ``now`` means; aware, any zone.
    clock: Callable[[], datetime]

    def one_index(self, names: str) -> IndexStore:
        """The index a request names.

        :raises Refusal: 404 when it does not exist, 400 for lists and patterns of more than one.
        """
        if "," in names or "*" in names or names == "_all":
            raise illegal(f"the embedded engine searches one index at a time, got [{names}]; name a single index")
        return self.cluster.store(names)

    def indexes(self, names: str | None) -> list[IndexStore]:
        """The indexes of a request that may name several, or none for all."""
        if names in {None, "", "_all", "*"}:
            return [self.cluster.store(name) for name in self.cluster.names()]
        return [self.cluster.store(name) for name in str(names).split(",")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, its path already taken apart."""

    method: str
    path: str
    params: Mapping[str, Any]
    body: bytes
    #: Named parts of the path: ``index``, ``id``.
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def index(self) -> str | None:
        """The index part of the path, if it has one."""
        return self.names.get("index")

    def json(self) -> dict[str, Any]:
        """The body as a JSON object; empty when there is no body.

        :raises Refusal: 400 when it is something else.
        """
        if not self.body.strip():
            return {}
        parsed = parse_json(self.body)
        if not isinstance(parsed, dict):
            raise Refusal(400, "parsing_exception", "Expected [START_OBJECT] but found something else")
        return parsed


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and JSON object of a response."""

    status: int
    body: Any
