"""The destination: made like its source, tuned for loading, tuned back; and the source closed for writing."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from indexer.mapping import rerank_mapping
from indexer.reindex.pages import MOST_PER_PAGE
from indexer.reindex.wire import Wire
from rerank_plugin.errors import EngineError

#: Settings that belong to one index and cannot be given to another.
OF_ONE_INDEX = (
    "index.uuid",
    "index.creation_date",
    "index.provided_name",
    "index.history_uuid",
    "index.version.",
    "index.resize.",
    "index.blocks.",
    "index.routing.allocation.initial_recovery.",
    "index.verified_before_close",
    "index.remote_store.",
)
REFRESH = "index.refresh_interval"
#: Settings put aside while loading, and put back: copies and refreshes cost, a pipeline would change documents again.
WHILE_LOADING: Mapping[str, Any] = {
    REFRESH: "-1",
    "index.number_of_replicas": "0",
    "index.auto_expand_replicas": None,
    "index.default_pipeline": None,
    "index.final_pipeline": None,
    "index.search.default_pipeline": None,
}
REPLICAS = ("index.number_of_replicas", "index.auto_expand_replicas")
WRITE_BLOCK = "index.blocks.write"
#: How long copies may take to be ready before the alias moves.
READY_S = 600
#: How long the copies of an empty index may take; a cluster that has no room for all of them goes on without.
COPIES_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """One index as the engine describes it."""

    name: str
    uuid: str
    settings: dict[str, Any]
    mappings: dict[str, Any]
    #: Alias -> its properties.
    aliases: dict[str, dict[str, Any]]

    @property
    def shards(self) -> int:
        """Number of primary shards."""
        return int(self.settings["index.number_of_shards"])

    @property
    def blocked(self) -> bool:
        """Whether it is closed for writing."""
        return str(self.settings.get(WRITE_BLOCK, "false")).lower() == "true"

    @property
    def meta(self) -> Any:
        """What ``_meta.rerank`` of the mapping holds; ``None`` where nothing is there."""
        return (self.mappings.get("_meta") or {}).get("rerank")


def describe(wire: Wire, name: str) -> Described:
    """The one index of that name or behind that alias.

    :raises EngineError: there is none, or an alias of several.
    """
    doing = f"looking for the index {name}"
    found = wire.ask(doing, lambda client: client.indices.get(index=name, flat_settings=True))
    if len(found) != 1:
        raise EngineError(f"{name} stands for {len(found)} indexes ({', '.join(sorted(found))}); name one of them")
    ((index, body),) = found.items()
    settings = body["settings"]
    return Described(
        name=index,
        uuid=settings["index.uuid"],
        settings=settings,
        mappings=body.get("mappings", {}),
        aliases=body.get("aliases", {}),
    )


def exists(wire: Wire, name: str) -> bool:
    """Whether there is an index or alias of that name.

    :raises EngineError: the engine cannot be asked.
    """
    return bool(wire.ask(f"looking for {name}", lambda client: client.indices.exists(index=name)))


def set_aside(source: Described, *, keep_replicas: bool) -> dict[str, Any]:
    """The settings to put back after loading; ``None`` is the engine's default."""
    return {
        key: source.settings.get(key)
        for key, value in WHILE_LOADING.items()
        if (value is not None or key in source.settings) and not (keep_replicas and key in REPLICAS)
    }


def create(
    wire: Wire, source: Described, dest: str, *, run_id: str, keep_replicas: bool, more: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """The uuid of the new index, and the settings to put back after loading (``None``: the engine's default).

    :param keep_replicas: whether copies are made while loading, so that the loss of a node loses nothing.
    :param more: further properties of the mapping.
    :raises EngineError: the engine refused.
    """
    aside = set_aside(source, keep_replicas=keep_replicas)
    settings = {key: value for key, value in source.settings.items() if not key.startswith(OF_ONE_INDEX)}
    for key in aside:
        settings.pop(key, None)
        if WHILE_LOADING[key] is not None:
            settings[key] = WHILE_LOADING[key]
    mappings = copy.deepcopy(source.mappings)
    mappings.setdefault("properties", {}).update({"rerank": rerank_mapping(), **more})
    meta = {key: value for key, value in mappings.get("_meta", {}).items() if key != "rerank"}
    mappings["_meta"] = {**meta, "rerank_run": run_id}
    if any(each.get("type") == "knn_vector" for each in more.values()):
        settings["index.knn"] = "true"
    body = {"settings": settings, "mappings": mappings}
    wire.ask(f"creating the index {dest}", lambda client: client.indices.create(index=dest, body=body))
    if keep_replicas:  # a copy that is not there yet saves nothing
        wire.ask(
            f"waiting for the copies of {dest}",
            lambda client: client.cluster.health(
                index=dest,
                wait_for_status="green",
                timeout=f"{COPIES_S}s",
                request_timeout=COPIES_S + 10,
            ),
        )
    return describe(wire, dest).uuid, aside


def put_back(wire: Wire, dest: str, aside: Mapping[str, Any]) -> None:
    """The settings as the source has them, and every copy that can be made is ready.

    :raises EngineError: the engine refused, or copies were not ready in time.
    """
    if aside:
        wire.ask(
            f"restoring the settings of {dest}",
            lambda client: client.indices.put_settings(index=dest, body=dict(aside)),
        )
    health = wire.ask(
        f"waiting for {dest}",
        lambda client: client.cluster.health(
            index=dest,
            wait_for_status="yellow",
            wait_for_no_initializing_shards=True,
            timeout=f"{READY_S}s",
            request_timeout=READY_S + 10,
        ),
    )
    if health["timed_out"]:
        raise EngineError(
            f"{dest} was not ready after {READY_S} s; see its cluster's health, then go on (reindex with --resume, "
            "load by the same command)"
        )


def write_meta(wire: Wire, dest: Described, stored: Mapping[str, Any]) -> None:
    """Puts ``stored`` under ``_meta.rerank``: an index without it is an unfinished one.

    :raises EngineError: the engine refused.
    """
    others = {key: value for key, value in (dest.mappings.get("_meta") or {}).items() if key != "rerank"}
    body = {"_meta": {**others, "rerank": dict(stored)}}
    wire.ask(f"describing the index {dest.name}", lambda client: client.indices.put_mapping(index=dest.name, body=body))


def block_writes(wire: Wire, index: str) -> None:
    """Closes an index for writing; returns once no write is under way.

    :raises EngineError: the engine refused.
    """
    wire.ask(
        f"closing {index} for writing",
        lambda client: client.transport.perform_request("PUT", f"/{index}/_block/write"),
    )


def allow_writes(wire: Wire, index: str) -> None:
    """Opens an index for writing again.

    :raises EngineError: the engine refused.
    """
    wire.ask(
        f"opening {index} for writing",
        lambda client: client.indices.put_settings(index=index, body={WRITE_BLOCK: None}),
    )


def count(wire: Wire, index: str) -> int:
    """How many documents a search of the index can find.

    :raises EngineError: the engine refused.
    """
    return int(wire.ask(f"counting {index}", lambda client: client.count(index=index))["count"])


def page_limit(index: Described) -> int:
    """Documents that one page of the index may hold."""
    return min(int(index.settings.get("index.max_result_window", 10_000)), MOST_PER_PAGE)
