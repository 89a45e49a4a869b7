"""The part vectors play in one search: cosines for its window, and documents added to it (DESIGN 6.6)."""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from rerank_plugin.client.dense import Dense
from rerank_plugin.client.meta import Metas
from rerank_plugin.client.plan import Plan
from rerank_plugin.client.query_text import Path, optional_clauses
from rerank_plugin.client.rewrite import Key
from rerank_plugin.client.steps import Local
from rerank_plugin.errors import RerankError

Reply = Any

#: The field into which the indexer copies all text of a document.
CONTENT_FIELD = "content"


@dataclass(frozen=True, slots=True)
class Similarity:
    """What the vector index says of a window."""

    #: In the window's order; ``None`` where the ranker must look for itself.
    cosines: tuple[float | None, ...]
    #: Documents near the query that are not in the window, nearest first, with their cosines.
    near: dict[Key, float] = field(default_factory=dict)
    #: The index of the folder's documents, where some are near; empty otherwise.
    index: str = ""
    #: For the status; empty when there is nothing to say.
    note: str = ""


def similarity(
    plan: Plan, dense: Dense | None, metas: Metas, keys: Sequence[Key]
) -> Generator[Local, Reply, Similarity]:
    """Cosines of the window, and with ``extend`` the documents to add.

    A vector index that cannot be used, or that belongs to other indices, costs nothing but its help: the note says so.
    """
    settings = plan.settings
    none = (None,) * len(keys)
    if dense is None or settings.dense == "off":
        return Similarity(none)
    try:
        checksum = yield Local(dense.checksum)
        covered = {
            name for name, meta in metas.metas.items() if meta.vectors is not None and meta.vectors.checksum == checksum
        }
        if not covered:
            return Similarity(none, note="the configured vectors belong to none of the indices searched")
        known = yield Local(partial(dense.cosines, plan.text, [doc_id for _, doc_id in keys]))
        cosines = tuple(cosine if index in covered else None for (index, _), cosine in zip(keys, known, strict=True))
        if settings.dense != "extend":
            return Similarity(cosines)
        note = cannot_extend(plan, metas)
        if not note and len(covered) > 1:
            note = "nothing added: several of the indices searched have these vectors"
        if note:
            return Similarity(cosines, note=note)
        found = yield Local(partial(dense.nearest, plan.text, settings.dense_size + len(keys)))
    except RerankError as error:
        return Similarity(none, note=" ".join(str(error).split()))
    [index] = covered
    return Similarity(cosines, near=_added(index, found, keys, settings.dense_size), index=index)


def near_among(
    plan: Plan, dense: Dense, similar: Similarity, allowed: Sequence[Key], keys: Sequence[Key]
) -> Generator[Local, Reply, Similarity]:
    """The same, but near are the nearest of the ``allowed`` documents.

    :param keys: the window's.
    """
    size, among = plan.settings.dense_size, [doc_id for index, doc_id in allowed if index == similar.index]
    found = yield Local(partial(dense.nearest, plan.text, size + len(keys), among))
    return replace(similar, near=_added(similar.index, found, keys, size))


def _added(index: str, found: Sequence[tuple[str, float]], keys: Collection[Key], size: int) -> dict[Key, float]:
    seen = set(keys)
    near = [((index, doc_id), cosine) for doc_id, cosine in found if (index, doc_id) not in seen]
    return dict(near[:size])


def waived_clauses(plan: Plan, metas: Metas) -> tuple[Path, ...]:
    """The clauses that a document found by vectors need not match."""
    text_fields = {CONTENT_FIELD, *(field for meta in metas.metas.values() for field in meta.text_fields)}
    text_fields.update(plan.settings.text_paths)
    return optional_clauses(plan.query, plan.leaves, text_fields)


def cannot_extend(plan: Plan, metas: Metas) -> str:
    """Why nothing may be added to this search; empty where something may."""
    if plan.body.get("collapse"):
        return "nothing added: the search collapses its hits"
    if not plan.leaves:
        return "nothing added: the query has no clause that asks for this text"
    if not waived_clauses(plan, metas):
        return "nothing added: the clause that asks for this text may hold other conditions too"
    return ""
