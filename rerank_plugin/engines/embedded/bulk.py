"""``_bulk``: many writes in one request, each with its own result."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from rerank_plugin.engines.embedded import indices
from rerank_plugin.engines.embedded.json_text import parse_json
from rerank_plugin.engines.embedded.parameters import wants_refresh
from rerank_plugin.engines.embedded.refusal import Refusal, illegal, unsupported
from rerank_plugin.engines.embedded.request import Answer, Engine, Request
from rerank_plugin.engines.embedded.store import IndexStore
from rerank_plugin.engines.embedded.writes import Write, perform

_ACTIONS = frozenset({"index", "create", "update", "delete"})
#: Keys of an action line that mean nothing here, or the same as everywhere.
_KEYS = frozenset({"_index", "_id", "if_seq_no", "if_primary_term", "retry_on_conflict", "require_alias"})


def bulk(engine: Engine, request: Request) -> Answer:
    """``POST /_bulk`` and ``/{index}/_bulk``.

    :raises Refusal: the request as a whole cannot be read, or an index cannot be written; single documents that fail
        stand in ``items`` with their error instead.
    """
    started = time.perf_counter()
    refresh = wants_refresh(request.params)
    writes = list(_lines(request))
    if not writes:
        raise Refusal(400, "action_request_validation_exception", "Validation Failed: 1: no requests added;")
    stores: dict[str, IndexStore] = {}
    items: list[dict[str, Any]] = []
    for index, write in writes:
        status, item = _one(engine, stores, index, write)
        if refresh and "error" not in item:
            item["forced_refresh"] = True
        items.append({write.action: {**item, "status": status}})
    for store in stores.values():
        if refresh:
            store.refresh()
        else:
            store.settle()
    errors = any("error" in next(iter(item.values())) for item in items)
    took = int((time.perf_counter() - started) * 1000)
    return Answer(200, {"took": took, "errors": errors, "items": items})


def _one(engine: Engine, stores: dict[str, IndexStore], index: str, write: Write) -> tuple[int, dict[str, Any]]:
    try:
        if index not in stores:
            stores[index] = indices.create_for_write(engine, index)
        with stores[index].writing():
            return perform(stores[index], write)
    except Refusal as refusal:
        if refusal.status >= 500:
            raise  # the disk or the lock: every further item would fail alike
        item = {"_index": index, "_id": write.doc_id, "error": refusal.error()}
        return refusal.status, item


def _lines(request: Request) -> Iterator[tuple[str, Write]]:
    """(index, write) of each action in the body."""
    body = request.body
    if not body.strip():
        raise Refusal(400, "parse_exception", "request body is required")
    if not body.endswith(b"\n"):
        raise illegal("The bulk request must be terminated by a newline [\\n]")
    lines = iter(enumerate(body.split(b"\n"), start=1))
    for number, line in lines:
        if not line.strip():
            continue
        action, head = _action(line, number)
        raw = b""
        if action != "delete":
            _, raw = next(lines, (0, b""))
            if not raw.strip():
                raise illegal(f"Malformed action/metadata line [{number}], a document was expected after it")
        index = head.get("_index", request.index)
        if not isinstance(index, str):
            raise Refusal(400, "action_request_validation_exception", "Validation Failed: 1: index is missing;")
        doc_id = head.get("_id")
        if doc_id is None and action in {"update", "delete"}:
            raise Refusal(400, "action_request_validation_exception", "Validation Failed: 1: id is missing;")
        yield (
            index,
            Write(
                action=action,
                doc_id=None if doc_id is None else str(doc_id),
                raw=raw,
                if_seq_no=head.get("if_seq_no"),
            ),
        )


def _action(line: bytes, number: int) -> tuple[str, dict[str, Any]]:
    try:
        parsed = parse_json(line)
    except Refusal as refusal:
        raise illegal(f"Malformed action/metadata line [{number}]: {refusal.reason}") from refusal
    if not isinstance(parsed, dict) or len(parsed) != 1:
        raise illegal(f"Malformed action/metadata line [{number}], expected START_OBJECT with one action")
    ((action, head),) = parsed.items()
    if action not in _ACTIONS:
        raise illegal(
            f"Malformed action/metadata line [{number}], expected field [create], [delete], [index] or [update] "
            f"but found [{action}]"
        )
    if not isinstance(head, dict):
        raise illegal(f"Malformed action/metadata line [{number}], expected START_OBJECT after [{action}]")
    unknown = sorted(set(head) - _KEYS)
    if unknown or head.get("require_alias"):
        raise unsupported(f"{unknown[0] if unknown else 'require_alias'} of bulk")
    return action, head
