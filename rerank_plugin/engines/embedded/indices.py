"""Operations on indexes: create, delete, exists, get, mapping, settings, refresh; and the engine's own name."""

from __future__ import annotations

from typing import Any

from rerank_plugin.engines.embedded.mapping import Mapping
from rerank_plugin.engines.embedded.metadata import Metadata
from rerank_plugin.engines.embedded.refusal import Refusal, illegal, unsupported
from rerank_plugin.engines.embedded.request import WRITTEN_SHARD, Answer, Engine, Request
from rerank_plugin.engines.embedded.store import IndexStore

#: What ``GET /`` gives as version: the release whose JSON, scores and defaults this engine follows.
FOLLOWED_VERSION = "3.5.0"
#: Settings an index may have; they change nothing here but ``max_result_window`` and the field limit.
_SETTINGS = {
    "number_of_shards": "1",
    "number_of_replicas": "0",
    "refresh_interval": None,
    "max_result_window": None,
    "mapping.total_fields.limit": None,
    "auto_expand_replicas": None,
    "codec": None,
    "translog.durability": None,
    "translog.flush_threshold_size": None,
    "translog.sync_interval": None,
}
_FINAL = frozenset({"number_of_shards", "codec"})


def info(_engine: Engine, _request: Request) -> Answer:
    """``GET /``."""
    return Answer(
        200,
        {
            "name": "embedded",
            "cluster_name": "embedded",
            "cluster_uuid": "embedded",
            "version": {
                "distribution": "opensearch",
                "number": FOLLOWED_VERSION,
                "build_type": "embedded",
                "minimum_wire_compatibility_version": FOLLOWED_VERSION,
                "minimum_index_compatibility_version": FOLLOWED_VERSION,
            },
            "tagline": "The embedded engine of rerank-plugin, speaking OpenSearch's JSON",
        },
    )


def health(engine: Engine, request: Request) -> Answer:
    """``GET /_cluster/health``: always green, there is nothing that could be yellow."""
    count = len(engine.indexes(request.index))
    return Answer(
        200,
        {
            "cluster_name": "embedded",
            "status": "green",
            "timed_out": False,
            "number_of_nodes": 1,
            "number_of_data_nodes": 1,
            "active_primary_shards": count,
            "active_shards": count,
            "relocating_shards": 0,
            "initializing_shards": 0,
            "unassigned_shards": 0,
        },
    )


def create(engine: Engine, request: Request) -> Answer:
    """``PUT /{index}``."""
    name = request.names["index"]
    body = request.json()
    unknown = sorted(set(body) - {"settings", "mappings", "aliases"})
    if unknown:
        raise Refusal(400, "parse_exception", f"unknown key [{unknown[0]}] for create index")
    if body.get("aliases"):
        raise unsupported("aliases")
    settings = {key: value for key, value in _SETTINGS.items() if value is not None}
    settings |= _settings(body.get("settings") or {})
    engine.cluster.create(name, settings, Mapping.parse(body.get("mappings") or {}))
    return Answer(200, {"acknowledged": True, "shards_acknowledged": True, "index": name})


def create_for_write(engine: Engine, name: str) -> IndexStore:
    """The index a document is written to; made with a dynamic mapping when it does not exist, as the engines do."""
    if not engine.cluster.exists(name):
        settings = {key: value for key, value in _SETTINGS.items() if value is not None}
        try:
            engine.cluster.create(name, settings, Mapping.parse({}))
        except Refusal as refusal:
            if refusal.kind != "resource_already_exists_exception":
                raise
    return engine.cluster.store(name)


def delete(engine: Engine, request: Request) -> Answer:
    """``DELETE /{index}``; patterns are refused, as engines with destructive_requires_name do."""
    names = request.names["index"]
    if "*" in names or names == "_all":
        raise illegal("Wildcard expressions or all indices are not allowed")
    for name in names.split(","):
        engine.cluster.store(name)
    for name in names.split(","):
        engine.cluster.delete(name)
    return Answer(200, {"acknowledged": True})


def exists(engine: Engine, request: Request) -> Answer:
    """``HEAD /{index}``."""
    return Answer(200 if all(engine.cluster.exists(name) for name in request.names["index"].split(",")) else 404, {})


def get(engine: Engine, request: Request) -> Answer:
    """``GET /{index}``."""
    return Answer(
        200,
        {
            store.name: {
                "aliases": {},
                "mappings": dict(store.metadata.mapping.json),
                "settings": _shown_settings(store.name, store.metadata),
            }
            for store in engine.indexes(request.index)
        },
    )


def get_mapping(engine: Engine, request: Request) -> Answer:
    """``GET /{index}/_mapping``."""
    stores = engine.indexes(request.index)
    return Answer(200, {store.name: {"mappings": dict(store.metadata.mapping.json)} for store in stores})


def put_mapping(engine: Engine, request: Request) -> Answer:
    """``PUT /{index}/_mapping``: more fields, a new ``_meta``."""
    for store in engine.indexes(request.index):
        store.change_mapping(request.json())
    return Answer(200, {"acknowledged": True})


def get_settings(engine: Engine, request: Request) -> Answer:
    """``GET /{index}/_settings``."""
    stores = engine.indexes(request.index)
    return Answer(200, {store.name: {"settings": _shown_settings(store.name, store.metadata)} for store in stores})


def put_settings(engine: Engine, request: Request) -> Answer:
    """``PUT /{index}/_settings``."""
    settings = _settings(request.json())
    final = sorted(set(settings) & _FINAL)
    if final:
        raise illegal(f"Can't update non dynamic settings [[index.{final[0]}]] for open indices")
    for store in engine.indexes(request.index):
        store.change_settings(settings)
    return Answer(200, {"acknowledged": True})


def refresh(engine: Engine, request: Request) -> Answer:
    """``POST /{index}/_refresh``, and ``_flush`` and ``_forcemerge``, which mean the same here."""
    stores = engine.indexes(request.index)
    for store in stores:
        store.refresh()
    return Answer(200, {"_shards": {**WRITTEN_SHARD, "total": len(stores), "successful": len(stores)}})


def _shown_settings(name: str, metadata: Metadata) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "provided_name": name,
        "creation_date": str(metadata.created_ms),
        "uuid": metadata.uuid,
        "version": {"created": FOLLOWED_VERSION},
    }
    for key, value in metadata.settings.items():
        inner = shown
        *parents, last = key.split(".")
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[last] = value
    return {"index": shown}


def _settings(body: dict[str, Any]) -> dict[str, str]:
    """Settings by flat name without ``index.``, every value as text, as the engines show them."""
    flat: dict[str, Any] = {}
    waiting: list[tuple[str, Any]] = [("", body)]
    while waiting:
        prefix, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(f"{prefix}{'.' if prefix else ''}{key}", each) for key, each in value.items()]
        else:
            flat[prefix.removeprefix("settings.").removeprefix("index.")] = value
    for name, value in flat.items():
        if name not in _SETTINGS:
            reason = f"unknown setting [index.{name}]: the embedded engine knows {', '.join(sorted(_SETTINGS))}"
            raise Refusal(400, "settings_exception", reason)
        if name in {"max_result_window", "mapping.total_fields.limit"} and not str(value).isdigit():
            raise illegal(f"Failed to parse value [{value}] for setting [index.{name}]")
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in flat.items()
        if value is not None
    }
