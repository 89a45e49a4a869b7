"""One document written: index, create, update, delete; bulk.py runs the same for many."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rerank_plugin.engines.embedded import indices
from rerank_plugin.engines.embedded.json_text import dump_json, parse_json
from rerank_plugin.engines.embedded.parameters import integer, wants_refresh
from rerank_plugin.engines.embedded.refusal import Refusal, illegal, unmappable, unsupported
from rerank_plugin.engines.embedded.request import WRITTEN_SHARD, Answer, Engine, Request
from rerank_plugin.engines.embedded.segments import Stored
from rerank_plugin.engines.embedded.store import IndexStore

MAX_ID_BYTES = 512
WRITE_PARAMETERS = frozenset({"refresh", "if_seq_no", "if_primary_term", "op_type"})
#: This engine never fails over, so there is only ever the first primary.
PRIMARY_TERM = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One operation on one document."""

    #: ``index``, ``create``, ``update`` or ``delete``.
    action: str
    #: ``None`` lets the engine make one (``index`` and ``create`` only).
    doc_id: str | None
    #: The document, or the body of an update, as JSON text; empty for ``delete``.
    raw: bytes = b""
    if_seq_no: int | None = None


def checked_id(doc_id: Any) -> str:
    """An id the engines would take.

    :raises Refusal: 400 that says what is wrong with it.
    """
    text = doc_id if isinstance(doc_id, str) else str(doc_id)
    if not text:
        raise illegal("if _id is specified it must not be empty")
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise illegal("_id must be proper Unicode") from error
    if size > MAX_ID_BYTES:
        raise illegal(f"id [{text[:40]}...] is too long, must be no longer than {MAX_ID_BYTES} bytes but was: {size}")
    return text


def perform(store: IndexStore, write: Write) -> tuple[int, dict[str, Any]]:
    """Does one write; its status and the object that stands in an answer or a bulk item.

    :raises Refusal: it is not done.
    """
    doc_id = checked_id(write.doc_id) if write.doc_id is not None else uuid.uuid4().hex[:20]
    if write.if_seq_no is not None:
        _check_sequence(store, doc_id, write.if_seq_no)
    if write.action == "delete":
        return _delete(store, doc_id)
    if write.action == "update":
        return _update(store, doc_id, _json(write.raw))
    if write.action == "create" and (existing := store.get(doc_id)) is not None:
        raise _conflict(doc_id, f"document already exists (current version [{existing.version}])")
    stored, is_new = store.put(doc_id, write.raw, _json(write.raw))
    return _result(store, stored, is_new)


def _json(raw: bytes) -> Any:
    try:
        return parse_json(raw)
    except Refusal as refusal:
        raise unmappable("failed to parse", (refusal.kind, refusal.reason)) from refusal


def _result(store: IndexStore, stored: Stored, is_new: bool) -> tuple[int, dict[str, Any]]:
    result = "created" if is_new else "updated"
    return (201 if is_new else 200), _item(store, stored.doc_id, stored.version, stored.order, result)


def _item(store: IndexStore, doc_id: str, version: int, order: int, result: str) -> dict[str, Any]:
    shards = {"total": 0, "successful": 0, "failed": 0} if result == "noop" else dict(WRITTEN_SHARD)
    return {
        "_index": store.name,
        "_id": doc_id,
        "_version": version,
        "result": result,
        "_shards": shards,
        "_seq_no": order,
        "_primary_term": PRIMARY_TERM,
    }


def _check_sequence(store: IndexStore, doc_id: str, expected: int) -> None:
    stored = store.get(doc_id)
    if stored is None or stored.order != expected:
        found = f"current document has seqNo [{stored.order}]" if stored is not None else "but no document was found"
        raise _conflict(doc_id, f"required seqNo [{expected}], primary term [{PRIMARY_TERM}]. {found}")


def _conflict(doc_id: str, what: str) -> Refusal:
    return Refusal(409, "version_conflict_engine_exception", f"[{doc_id}]: version conflict, {what}")


def _delete(store: IndexStore, doc_id: str) -> tuple[int, dict[str, Any]]:
    found = store.get(doc_id) is not None
    version, order = store.delete(doc_id)
    return (200 if found else 404), _item(store, doc_id, version, order, "deleted" if found else "not_found")


def _update(store: IndexStore, doc_id: str, body: Any) -> tuple[int, dict[str, Any]]:
    if not isinstance(body, dict):
        raise illegal("an update must be a JSON object")
    unknown = sorted(set(body) - {"doc", "upsert", "doc_as_upsert", "detect_noop", "_source"})
    if unknown:
        raise unsupported(f"{unknown[0]} of update")
    doc = body.get("doc")
    if not isinstance(doc, dict):
        raise Refusal(400, "action_request_validation_exception", "Validation Failed: 1: script or doc is missing;")
    stored = store.get(doc_id)
    if stored is None:
        first = doc if body.get("doc_as_upsert") in (True, "true") else body.get("upsert")
        if not isinstance(first, dict):
            raise Refusal(
                404, "document_missing_exception", f"[{doc_id}]: document missing", details={"index": store.name}
            )
        return _result(store, *store.put(doc_id, dump_json(first), first))
    before = parse_json(stored.source)
    after = merge(before, doc)
    if after == before and body.get("detect_noop", True) is not False and dump_json(after) == dump_json(before):
        return 200, _item(store, doc_id, stored.version, stored.order, "noop")
    return _result(store, *store.put(doc_id, dump_json(after), after))


def merge(before: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """``before`` with a partial document laid over it: objects are merged, everything else is replaced."""
    merged = dict(before)
    for key, value in change.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def write_one(engine: Engine, request: Request) -> Answer:
    """``PUT|POST /{index}/_doc/{id}``, ``_create``, ``_update``, ``DELETE``."""
    action = _action(request)
    write = Write(
        action=action, doc_id=request.names.get("id"), raw=request.body, if_seq_no=integer(request.params, "if_seq_no")
    )
    if action != "delete" and not request.body.strip():
        raise Refusal(400, "parse_exception", "request body is required")
    refresh = wants_refresh(request.params)
    name = request.names["index"]
    store = engine.cluster.store(name) if action == "delete" else indices.create_for_write(engine, name)
    with store.writing():
        status, item = perform(store, write)
        if refresh:
            store.refresh()
            item["forced_refresh"] = True
        else:
            store.settle()
    return Answer(status, item)


def _action(request: Request) -> str:
    if request.method == "DELETE":
        return "delete"
    endpoint = request.path.split("/")[2]
    if endpoint == "_doc":
        op_type = str(request.params.get("op_type", "index"))
        if op_type not in {"index", "create"}:
            raise illegal(f"opType must be 'create' or 'index', found: [{op_type}]")
        return op_type
    return endpoint.removeprefix("_")
