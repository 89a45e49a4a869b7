"""Bulk requests that adapt to the engine: smaller when it pushes back, larger when it keeps up; lost items go again.

Every document is written under an external version, its ``_seq_no`` in the source plus one. Replaying a page is then
harmless, and an older state of a document never replaces a newer one, in whatever order the pages arrive.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from indexer.reindex.wire import TRANSIENT, Wire, is_transient, load_msgspec, patient
from indexer.rejects import Rejects
from indexer.writer import brief, engine_errors
from rerank_plugin.errors import EngineError

START_BYTES, LEAST_BYTES, MOST_BYTES = 2 * 1024 * 1024, 64 * 1024, 16 * 1024 * 1024
#: Growth of a bulk request after one that went well; it is halved after one that did not.
GROWTH = 1.2
CONFLICT, NOT_FOUND = 409, 404


@dataclass(frozen=True, slots=True)
class Operation:
    """One line or two of a bulk request."""

    doc_id: str
    #: The action line, and the document's where there is one, each with its newline.
    body: bytes


@dataclass(slots=True)
class Outcome:
    """What became of the operations of a call."""

    done: int = 0
    #: The target has this state of the document or a newer one, or the document is gone.
    conflicts: int = 0
    refused: int = 0

    def __iadd__(self, other: Outcome) -> Outcome:
        self.done += other.done
        self.conflicts += other.conflicts
        self.refused += other.refused
        return self


class BulkWriter:
    """Writes to one index; threads may share it."""

    def __init__(self, wire: Wire, index: str, rejects: Rejects, *, pipelines: bool = False) -> None:
        """Writes to ``index``; what the engine refuses for good is listed in ``rejects``.

        :param pipelines: whether the index's own ingest pipeline may change the documents.
        """
        self._parameters = {} if pipelines else {"pipeline": "_none"}
        self._wire = wire
        self._index = index
        self._rejects = rejects
        self._lock = threading.Lock()
        #: Bytes of the next bulk request.
        self.limit = START_BYTES

    def write(self, operations: Sequence[Operation]) -> Outcome:
        """What became of the operations, in requests of the size that the engine takes at the moment.

        :raises EngineError: the engine stayed busy or away for minutes, or the index cannot be written at all.
        """
        outcome = Outcome()
        waiting = list(operations)
        while waiting:
            taken, size = 0, 0
            while taken < len(waiting) and (not taken or size + len(waiting[taken].body) <= self.limit):
                size += len(waiting[taken].body)
                taken += 1
            part, waiting = waiting[:taken], waiting[taken:]
            with engine_errors(f"writing to {self._index}"):
                outcome += self._patiently(part)
        return outcome

    def _patiently(self, part: list[Operation]) -> Outcome:
        outcome, rest = Outcome(), part

        def attempt() -> None:
            nonlocal rest
            rest = self._send(rest, outcome)
            if rest:
                self._shrink()
                raise _transient("the engine is busy")
            self._grow()

        try:
            patient(attempt)
        except Exception as error:
            if _too_large(error) and len(rest) > 1:
                self._shrink()
                middle = len(rest) // 2
                outcome += self._patiently(rest[:middle])
                outcome += self._patiently(rest[middle:])
                return outcome
            raise
        return outcome

    def _send(self, part: list[Operation], outcome: Outcome) -> list[Operation]:
        """The operations that must go again."""
        try:
            text = self._wire.once(
                "POST",
                f"/{self._index}/_bulk",
                b"".join(operation.body for operation in part),
                **self._parameters,
                filter_path="items.*.status,items.*.error.type,items.*.error.reason,items.*.error.caused_by.reason",
            )
        except Exception as error:
            if is_transient(error):
                self._shrink()
            raise
        items = json.loads(text)["items"]
        again: list[Operation] = []
        for operation, item in zip(part, items, strict=True):
            ((action, result),) = item.items()
            status = result["status"]
            if status < 300 or (action == "delete" and status == NOT_FOUND):
                outcome.done += 1
            elif status == CONFLICT or (action == "update" and status == NOT_FOUND):
                outcome.conflicts += 1
            elif status in TRANSIENT or status >= 500:
                again.append(operation)
            else:
                self._refused(operation, status, result.get("error"))
                outcome.refused += 1
        return again

    def _refused(self, operation: Operation, status: int, error: Any) -> None:
        kind = error.get("type") if isinstance(error, dict) else None
        if kind in {"cluster_block_exception", "index_not_found_exception", "security_exception"}:
            raise EngineError(f"writing to {self._index}: the engine answered {status} {brief(error)}")
        with self._lock:
            self._rejects.add(
                "refused",
                source=self._index,
                line=None,
                reason=f"{status} {brief(error)}",
                record=operation.body.decode("utf-8", errors="replace"),
            )

    def _shrink(self) -> None:
        with self._lock:
            self.limit = max(LEAST_BYTES, self.limit // 2)

    def _grow(self) -> None:
        with self._lock:
            self.limit = min(MOST_BYTES, int(self.limit * GROWTH))


def _transient(reason: str) -> Exception:
    from opensearchpy.exceptions import TransportError

    error: Exception = TransportError(429, reason, {})
    return error


def _too_large(error: Exception) -> bool:
    from opensearchpy.exceptions import TransportError

    return isinstance(error, TransportError) and bool(error.args) and error.args[0] == 413


def action(kind: str, doc_id: str, *, routing: str | None, **more: Any) -> bytes:
    """The action line of an operation with its newline."""
    target = {"_id": doc_id, **more}
    if routing is not None:
        target["routing"] = routing
    line: bytes = load_msgspec().json.encode({kind: target})
    return line + b"\n"


def copy_of(hit: Any, document: bytes) -> Operation:
    """The operation that puts ``document`` in the target as the state the source had at this hit."""
    head = action("index", hit.id, routing=hit.routing, version=hit.seq_no + 1, version_type="external_gte")
    return Operation(hit.id, head + document + b"\n")


def spliced(source: Any, extra: bytes, key: str = "rerank") -> bytes:
    """``source``, a JSON object as bytes, with ``extra`` under ``key``; every other byte of a value stays as it came.

    :raises ValueError: it is no JSON object.
    """
    msgspec = load_msgspec()
    raw = bytes(source).strip()
    if b'"%b"' % key.encode() in raw:
        fields = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])  # type: ignore[name-defined]
        fields.pop(key, None)
        raw = msgspec.json.encode(fields)
    if b"\n" in raw or b"\r" in raw:  # a document written pretty-printed; a bulk line ends at the first of these
        raw = msgspec.json.format(raw, indent=-1)
    if raw[:1] != b"{" or raw[-1:] != b"}":
        raise ValueError("no JSON object")
    inside = raw[1:-1].strip()
    return b'{%b%b"%b":%b}' % (inside, b"," if inside else b"", key.encode(), extra)
