"""Which documents two indexes do not share: ids and states of both in a scratch database on disk, compared there."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from indexer.reindex.pages import BEFORE_ALL, PageSize, Sweep, checkpoints, refresh
from indexer.reindex.wire import Wire

#: Documents listed per request: only ids come.
LISTED = 10_000


@dataclass(frozen=True, slots=True)
class Stray:
    """A document of one side only, or in two states."""

    doc_id: str
    routing: str | None
    #: ``_version`` in the destination; ``_seq_no`` + 1 in the source.
    version: int


class Difference:
    """The documents of a source and of its copy, as a context manager; memory stays flat."""

    def __init__(self, wire: Wire, executor: Executor) -> None:
        self._wire = wire
        self._executor = executor
        self._folder = tempfile.TemporaryDirectory(prefix="rerank-difference-")
        self._database = sqlite3.connect(Path(self._folder.name) / "ids.sqlite", isolation_level=None)
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("PRAGMA synchronous = OFF")
        for side in ("source", "dest"):
            self._database.execute(
                f"CREATE TABLE {side} (id TEXT, routing TEXT, version INTEGER, PRIMARY KEY (id, routing)) WITHOUT ROWID"
            )

    def look(self, source: str, dest: str) -> None:
        """Lists both sides, the destination first: what is there and then not in the source was deleted there.

        :raises EngineError: the engine refused, or stayed away.
        """
        self._list("dest", dest, lambda hit: int(hit.version))
        self._list("source", source, lambda hit: int(hit.seq_no) + 1)

    def deleted(self) -> Iterator[Stray]:
        """Documents of the destination that the source does not have."""
        return self._strays(
            "SELECT dest.id, dest.routing, dest.version FROM dest LEFT JOIN source USING (id, routing) "
            "WHERE source.id IS NULL"
        )

    def missing(self) -> Iterator[Stray]:
        """Documents of the source that the destination lacks."""
        return self._strays(
            "SELECT source.id, source.routing, source.version FROM source LEFT JOIN dest USING (id, routing) "
            "WHERE dest.id IS NULL"
        )

    def stale(self) -> Iterator[Stray]:
        """Documents that the destination has in another state than the source."""
        return self._strays(
            "SELECT source.id, source.routing, source.version FROM source JOIN dest USING (id, routing) "
            "WHERE source.version != dest.version"
        )

    def _strays(self, query: str) -> Iterator[Stray]:
        for doc_id, routing, version in self._database.execute(query):
            yield Stray(doc_id, routing or None, version)

    def _list(self, table: str, index: str, version: Callable[[Any], int]) -> None:
        self._database.execute(f"DELETE FROM {table}")
        refresh(self._wire, index)
        sweep = Sweep(wire=self._wire, index=index, source=False, version=True, size=PageSize(LISTED, LISTED))
        # Shard after shard, the next page fetched while this one is stored.
        for shard, (_, newest) in checkpoints(self._wire, index).items():
            pages = sweep.pages(shard, BEFORE_ALL, newest)
            fetched = self._executor.submit(next, pages, None)
            while (page := fetched.result()) is not None:
                fetched = self._executor.submit(next, pages, None)
                rows = ((hit.id, hit.routing or "", version(hit)) for hit in page.hits)
                self._database.execute("BEGIN")
                # A document that changed while it was listed is met twice: its newest state counts.
                self._database.executemany(f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?)", rows)
                self._database.execute("COMMIT")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._database.close()
        self._folder.cleanup()
