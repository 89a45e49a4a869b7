"""What indices say of themselves: ``_meta.rerank`` of their mappings, read seldom and remembered."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

from opensearchpy.exceptions import AuthenticationException, RequestError, TransportError

from rerank_plugin.client.calls import EngineCall
from rerank_plugin.client.steps import ReadMapping
from rerank_plugin.client.ttl_cache import TtlCache
from rerank_plugin.domain.index_meta import IndexMeta
from rerank_plugin.errors import DataError

#: How long an answer is believed: a reindex behind an alias is seen after this time, or at its first unknown index.
TTL_SECONDS = 60.0
#: The same where the engine could not be reached, or a cluster without a manager did not answer in time.
UNREACHED_SECONDS = 5.0
#: Index expressions remembered.
SIZE = 256


#: ``local``: the answering node's own view, since a cluster that elects a new manager answers no other for a while.
_PICKED = {"filter_path": "*.mappings._meta.rerank", "ignore_unavailable": "true", "local": "true"}


@dataclass(frozen=True, slots=True)
class Metas:
    """What the indices behind one index expression say of themselves."""

    #: Concrete index -> its meta; indices that say nothing, or nothing readable, are absent.
    metas: Mapping[str, IndexMeta] = field(default_factory=dict)
    #: Every concrete index seen.
    indices: frozenset[str] = frozenset()
    #: Why something is missing, for the status; empty when nothing is.
    note: str = ""


class MetaCache:
    """Remembers what :func:`read_metas` found, also that nothing could be read."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._found: TtlCache[Metas] = TtlCache(SIZE, TTL_SECONDS, clock)

    def get(self, index: str) -> Metas | None:
        """What is remembered of an index expression."""
        return self._found.get(index)

    def put(self, index: str, metas: Metas, *, seconds: float = TTL_SECONDS) -> None:
        """Remember."""
        self._found.put(index, metas, ttl_seconds=seconds)


def read_metas(
    index: str, cache: MetaCache, *, seen: frozenset[str] = frozenset()
) -> Generator[ReadMapping, Any, Metas]:
    """What the indices behind an expression say of themselves; a note where something is missing.

    :param seen: concrete indices that hits came from: one that is unknown makes the mapping be read again.
    :raises AuthenticationException: the engine does not know the caller.
    """
    known = cache.get(index)
    if known is not None and seen <= known.indices:
        return known
    seconds = TTL_SECONDS
    try:
        try:
            answer = yield ReadMapping(index)
        except RequestError:  # a 400: the embedded engine knows no filter_path
            answer = yield ReadMapping(index, whole=True)
        found = parse_mapping(answer)
    except AuthenticationException:
        raise  # the caller's own search will be told the same; knocking more often gets accounts locked
    except TransportError as error:
        found = Metas(note=f"not readable ({error.status_code})")
        seconds = TTL_SECONDS if isinstance(error.status_code, int) else UNREACHED_SECONDS
    # an index behind another name (a remote cluster's) is unknown for good: remembering it spares the next search
    found = Metas(found.metas, found.indices | seen, found.note)
    cache.put(index, found, seconds=seconds)
    return found


def mapping_call(step: ReadMapping, headers: Mapping[str, str] | None) -> EngineCall:
    """The request that reads what indices say of themselves; the mappings of a thousand indices are large."""
    path = f"/{step.index}/_mapping" if step.index else "/_mapping"
    params = {} if step.whole else dict(_PICKED)
    return EngineCall(method="GET", path=path, params=params, headers=headers)


def parse_mapping(answer: Any) -> Metas:
    """The metas in the answer to ``GET /{index}/_mapping``."""
    metas: dict[str, IndexMeta] = {}
    notes: dict[str, None] = {}
    indices = answer if isinstance(answer, Mapping) else {}
    for name, described in indices.items():
        mappings = described.get("mappings") if isinstance(described, Mapping) else None
        stored = ((mappings or {}).get("_meta") or {}).get("rerank")
        if stored is None:
            notes[f"{name} has no _meta.rerank"] = None
            continue
        try:
            metas[name] = IndexMeta.from_json(stored)
        except (DataError, AttributeError, TypeError) as error:
            notes[f"{name}: {error}"] = None
    if not indices:
        notes["no _meta.rerank"] = None
    several = len(notes) > 1
    note = next(iter(notes), "") + (f", and {len(notes) - 1} more" if several else "")
    return Metas(metas, frozenset(indices), note)
