"""The alias that applications use: moved in one step, and moved back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from indexer.reindex.target import Described, allow_writes, describe, exists
from indexer.reindex.wire import Wire
from rerank_plugin.errors import EngineError


@dataclass(frozen=True, slots=True)
class Switch:
    """One atomic change of aliases."""

    alias: str
    actions: list[dict[str, Any]]

    def run(self, wire: Wire) -> None:
        """Does it, whole or not at all.

        :raises EngineError: the engine refused.
        """
        body = {"actions": self.actions}
        wire.ask(f"switching the alias {self.alias}", lambda client: client.indices.update_aliases(body=body))


def plan_switch(wire: Wire, alias: str, source: Described, dest: str, *, replace_index: bool) -> Switch:
    """How ``alias`` comes to stand for ``dest``; its filter and routing stay.

    :param replace_index: the alias may take the place of the source itself where that has its name: the source is
        deleted in the same step, and there is no way back.
    :raises EngineError: the name belongs to an index, or to an alias of other indexes.
    """
    if not exists(wire, alias):
        return Switch(alias, [{"add": {"index": dest, "alias": alias}}])
    if alias == source.name:
        if not replace_index:
            raise EngineError(
                f"{alias} is the source itself and no alias; name another alias, or let the alias take its place with "
                "--replace-index, which deletes the source in the same step"
            )
        return Switch(alias, [{"remove_index": {"index": alias}}, {"add": {"index": dest, "alias": alias}}])
    holder = describe(wire, alias)
    if holder.name == alias:
        raise EngineError(f"{alias} is an index and not an alias; name another alias")
    if holder.name == dest:
        return Switch(alias, [])
    if holder.name != source.name:
        raise EngineError(f"the alias {alias} stands for {holder.name} and not for the source {source.name}")
    return Switch(alias, _moved(alias, holder, dest))


def rollback(wire: Wire, alias: str) -> tuple[str, str]:
    """The index the alias stood for and the older one it stands for again, which is open for writing again.

    :raises EngineError: the alias does not stand for an index that reindex made, or its source is gone.
    """
    holder = describe(wire, alias)
    older = holder.meta.get("source") if isinstance(holder.meta, dict) else None
    if holder.name == alias or not older:
        raise EngineError(f"{alias} does not stand for an index that rerank-index reindex made; nothing was changed")
    if not exists(wire, older) or describe(wire, older).name != older:
        raise EngineError(f"the source {older} of {holder.name} is gone; nothing was changed")
    allow_writes(wire, older)
    Switch(alias, _moved(alias, holder, older)).run(wire)
    return holder.name, older


def _moved(alias: str, holder: Described, to: str) -> list[dict[str, Any]]:
    properties = holder.aliases[alias]
    return [
        {"remove": {"index": holder.name, "alias": alias, "must_exist": True}},
        {"add": {"index": to, "alias": alias, **properties}},
    ]
