"""The vector folder of an index kept up: vectors of new documents added, those of deleted ones taken out."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from indexer.progress import Progress
from indexer.reindex.pages import BEFORE_ALL, PageSize, Sweep
from indexer.reindex.vectors import text_of
from indexer.reindex.wire import Wire
from indexer.vectors import MAX_CHARACTERS, TEXTS_AT_ONCE, Encoder
from rerank_plugin.domain.index_meta import VectorsMeta
from rerank_plugin.errors import VectorIndexError

LISTED = 10_000


@dataclass(frozen=True, slots=True)
class FolderChange:
    """What a refresh did to the vectors."""

    meta: VectorsMeta
    added: int
    deleted: int


def update_folder(
    wire: Wire,
    index: str,
    upto: dict[int, int],
    folder: Path,
    encoder: Encoder,
    *,
    expected: VectorsMeta,
    rewritten: Collection[str],
    text_fields: tuple[str, ...],
    progress: Progress,
) -> FolderChange | None:
    """What was done; ``None`` where the folder has exactly the documents of the index.

    :param rewritten: documents whose text may be another than their vector's.
    :raises VectorIndexError: the folder is not that of the index, or the model is not the one that made it.
    """
    import numpy as np

    from rerank_plugin.retrieval.dense import VectorIndex
    from rerank_plugin.retrieval.vector_folder import read_folder

    if encoder.name != expected.model:
        raise VectorIndexError(
            f"{folder} was made by {expected.model}, not {encoder.name}; name its model with --model"
        )
    known = {each for each in read_folder(folder, expected).doc_ids if each is not None}
    there = _routing_of_all(wire, index, upto)
    deleted = known - there.keys()
    wanted = {doc_id: routing for doc_id, routing in there.items() if doc_id not in known or doc_id in rewritten}
    ids: list[str] = []
    parts: list[Any] = []
    with progress.step("encoding", len(wanted)) as advance:
        for batch in _texts(wire, index, wanted, text_fields):
            texts = [(doc_id, text) for doc_id, text in batch if text.strip()]
            if texts:
                ids += [doc_id for doc_id, _ in texts]
                parts.append(encoder.encode([text[:MAX_CHARACTERS] for _, text in texts]).vectors)
            advance(len(batch))
    if not ids and not deleted:
        return None
    vectors = np.concatenate(parts) if parts else np.empty((0, expected.dimensions), dtype=np.float32)
    meta = VectorIndex.update(folder, ids, vectors, delete=deleted, expected=expected)
    return FolderChange(meta, len(ids), len(deleted))


def _routing_of_all(wire: Wire, index: str, upto: dict[int, int]) -> dict[str, str | None]:
    """The routing of every document by its id."""
    sweep = Sweep(wire=wire, index=index, source=False, size=PageSize(LISTED, LISTED))
    return {
        hit.id: hit.routing
        for shard, last in upto.items()
        for page in sweep.pages(shard, BEFORE_ALL, last)
        for hit in page.hits
    }


def _texts(
    wire: Wire, index: str, wanted: dict[str, str | None], text_fields: tuple[str, ...]
) -> Iterator[list[tuple[str, str]]]:
    remaining = iter(wanted.items())
    while batch := list(islice(remaining, TEXTS_AT_ONCE)):
        docs = [{"_id": doc_id, **({} if routing is None else {"routing": routing})} for doc_id, routing in batch]
        found = json.loads(wire.text(f"reading {index}", "POST", f"/{index}/_mget", {"docs": docs}))["docs"]
        yield [(each["_id"], text_of(each["_source"], text_fields)) for each in found if each.get("found")]
