"""Documents by id: get, exists, source, mget."""

from __future__ import annotations

from typing import Any

from rerank_plugin.domain.source_filter import SourceFilter
from rerank_plugin.engines.embedded.json_text import parse_json
from rerank_plugin.engines.embedded.parameters import flag, source_option
from rerank_plugin.engines.embedded.refusal import Refusal, illegal, unsupported
from rerank_plugin.engines.embedded.request import Answer, Engine, Request
from rerank_plugin.engines.embedded.segments import Stored
from rerank_plugin.engines.embedded.store import IndexStore
from rerank_plugin.engines.embedded.writes import PRIMARY_TERM
from rerank_plugin.errors import DataError

READ_PARAMETERS = frozenset({"_source", "_source_includes", "_source_excludes", "realtime", "refresh"})


def source_filter(option: Any) -> SourceFilter:
    """The parsed ``_source`` option.

    :raises Refusal: 400 when it is none.
    """
    try:
        return SourceFilter.parse(option)
    except DataError as error:
        raise Refusal(400, "parsing_exception", str(error)) from error


def found_document(stored: Stored, index: str, wanted: SourceFilter) -> dict[str, Any]:
    """The object that get and mget give for a document."""
    shown: dict[str, Any] = {
        "_index": index,
        "_id": stored.doc_id,
        "_version": stored.version,
        "_seq_no": stored.order,
        "_primary_term": PRIMARY_TERM,
        "found": True,
    }
    if wanted.fetch:
        shown["_source"] = wanted.apply(parse_json(stored.source))
    return shown


def _read(request: Request, store: IndexStore) -> Stored | None:
    if flag(request.params, "refresh", False):
        store.refresh()
    return store.get(request.names["id"], realtime=flag(request.params, "realtime", True))


def get(engine: Engine, request: Request) -> Answer:
    """``GET|HEAD /{index}/_doc/{id}``."""
    store = engine.one_index(request.names["index"])
    stored = _read(request, store)
    if stored is None:
        return Answer(404, {"_index": store.name, "_id": request.names["id"], "found": False})
    return Answer(200, found_document(stored, store.name, source_filter(source_option(request.params))))


def get_source(engine: Engine, request: Request) -> Answer:
    """``GET|HEAD /{index}/_source/{id}``: the document and nothing else."""
    store = engine.one_index(request.names["index"])
    stored = _read(request, store)
    if stored is None:
        where = f"[{store.name}]/[{request.names['id']}]"
        raise Refusal(404, "resource_not_found_exception", f"Document not found {where}")
    return Answer(200, source_filter(source_option(request.params)).apply(parse_json(stored.source)))


def mget(engine: Engine, request: Request) -> Answer:
    """``GET|POST /_mget`` and ``/{index}/_mget``."""
    body = request.json()
    unknown = sorted(set(body) - {"docs", "ids"})
    if unknown:
        raise Refusal(400, "parsing_exception", f"unknown key [{unknown[0]}] for mget")
    wanted = body["docs"] if "docs" in body else [{"_id": each} for each in body.get("ids", [])]
    if not isinstance(wanted, list) or not wanted:
        reason = "Validation Failed: 1: no documents to get;"
        raise Refusal(400, "action_request_validation_exception", reason)
    return Answer(200, {"docs": [_one(engine, request, each) for each in wanted]})


def _one(engine: Engine, request: Request, wanted: Any) -> dict[str, Any]:
    if not isinstance(wanted, dict) or "_id" not in wanted:
        raise Refusal(400, "action_request_validation_exception", "Validation Failed: 1: id is missing for doc 0;")
    unknown = sorted(set(wanted) - {"_index", "_id", "_source"})
    if unknown:
        raise unsupported(f"{unknown[0]} of mget")
    index, doc_id = wanted.get("_index", request.index), str(wanted["_id"])
    if index is None:
        raise illegal("index is missing for doc 0")
    option = source_filter(source_option(request.params, wanted.get("_source")))
    try:
        store = engine.one_index(index)
        stored = store.get(doc_id, realtime=flag(request.params, "realtime", True))
    except Refusal as refusal:
        return {"_index": index, "_id": doc_id, "error": refusal.body()["error"]}
    if stored is None:
        return {"_index": index, "_id": doc_id, "found": False}
    return found_document(stored, index, option)
