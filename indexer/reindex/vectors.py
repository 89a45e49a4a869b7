"""Vectors of the documents of an index: into a folder before they are copied, or into a field while they are."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexer.evidence import date_of
from indexer.progress import Progress
from indexer.reindex.pages import BEFORE_ALL, Sweep
from indexer.reindex.ranks import Ranks, key_of
from indexer.reindex.wire import load_msgspec
from indexer.signal_config import SignalConfig, look_up
from indexer.signals.novelty import novelty
from indexer.vectors import MAX_CHARACTERS, TEXTS_AT_ONCE, Encoder
from rerank_plugin.domain.index_meta import VectorsMeta
from rerank_plugin.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: The field of the engine's own vectors, which the client reads as ``vector_field``.
VECTOR_FIELD = "rerank_vector"
#: Digits of a coordinate in a document: a cosine is then right within 1e-6.
DIGITS = 6


def text_of(document: dict[str, Any], fields: Sequence[str]) -> str:
    """What the model reads of a document: these fields, dots going deeper, joined by newlines."""
    found = (look_up(document, name) for name in fields)
    parts = [part for value in found for part in (value if isinstance(value, list) else [value])]
    return "\n".join(str(part) for part in parts if isinstance(part, (str, int, float)) and part != "")


@dataclass(frozen=True, slots=True)
class FieldVectors:
    """Vectors for a field of the engine, made a page at a time; threads share one model session."""

    encoder: Encoder
    text_fields: tuple[str, ...]
    _one: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, sources: Sequence[Any]) -> list[bytes]:
        """The JSON of each document's vector; ``null`` for one without text."""
        msgspec = load_msgspec()
        texts = [text_of(msgspec.json.decode(source), self.text_fields)[:MAX_CHARACTERS] for source in sources]
        written = [b"null"] * len(texts)
        places = [place for place, text in enumerate(texts) if text.strip()]
        for start in range(0, len(places), TEXTS_AT_ONCE):
            some = places[start : start + TEXTS_AT_ONCE]
            with self._one:
                vectors = self.encoder.encode([texts[place] for place in some]).vectors
            for place, vector in zip(some, vectors.tolist(), strict=True):
                written[place] = msgspec.json.encode([round(number, DIGITS) for number in vector])
        return written

    @property
    def mapping(self) -> dict[str, Any]:
        """The field in the mapping: the engine ``lucene``, named because the default one may be absent from a node."""
        method = {"name": "hnsw", "engine": "lucene", "space_type": "cosinesimil"}
        return {"type": "knn_vector", "dimension": self.encoder.dimensions, "method": method}


def write_vectors(
    sweep: Sweep,
    upto: dict[int, int],
    folder: Path,
    encoder: Encoder,
    config: SignalConfig,
    text_fields: Sequence[str],
    progress: Progress,
) -> tuple[VectorsMeta, Ranks]:
    """What the folder now holds, and the novelty of each document by its id; the vectors wait on disk, not in memory.

    :raises VectorIndexError: the folder cannot be written.
    :raises DataError: no document has a text.
    """
    import numpy as np

    from rerank_plugin.retrieval.dense import VectorIndex

    ids: dict[str, None] = {}
    dates: list[datetime | None] = []
    with tempfile.TemporaryFile() as spool, progress.step("encoding", sum(upto.values()) + len(upto)) as advance:
        for batch, done in _batches(sweep, upto, text_fields):
            new = [(doc_id, document, text) for doc_id, document, text in batch if doc_id not in ids]
            if new:
                vectors = encoder.encode([text[:MAX_CHARACTERS] for _, _, text in new]).vectors
                spool.write(np.ascontiguousarray(vectors, dtype=np.float32).tobytes())
                ids |= dict.fromkeys(doc_id for doc_id, _, _ in new)
                dates += [_date(config, document) for _, document, _ in new]
            advance(done)
        if not ids:
            raise DataError(f"no document of {sweep.index} has text in {', '.join(text_fields)}; name others")
        spool.flush()
        matrix: NDArray[np.float32] = np.memmap(spool, np.float32, "r", shape=(len(ids), encoder.dimensions))
        name = folder.resolve().name
        meta = VectorIndex.write(folder, list(ids), matrix, name=name, model=encoder.name)
        with progress.step("novelty", sum(date is not None for date in dates)) as advance:
            found = novelty(matrix, dates, advance=advance)
    known = sorted((key_of(doc_id), value) for doc_id, value in zip(ids, found, strict=True) if value is not None)
    keys = np.array([key for key, _ in known], dtype=np.uint64)
    return meta, Ranks(keys, np.array([value for _, value in known], dtype=np.float64))


def _batches(
    sweep: Sweep, upto: dict[int, int], text_fields: Sequence[str]
) -> Iterator[tuple[list[tuple[str, dict[str, Any], str]], int]]:
    """Id, document and text of every document with one, some at a time; positions of the shards they stand for."""
    decode = load_msgspec().json.decode
    for shard, last in upto.items():
        done = BEFORE_ALL
        for page in sweep.pages(shard, BEFORE_ALL, last):
            read = ((hit.id, decode(hit.source)) for hit in page.hits)
            whole = [(doc_id, document, text_of(document, text_fields)) for doc_id, document in read]
            texts = [each for each in whole if each[2].strip()]
            for start in range(0, len(texts), TEXTS_AT_ONCE):
                yield texts[start : start + TEXTS_AT_ONCE], 0
            yield [], page.upto - done
            done = page.upto


def _date(config: SignalConfig, document: dict[str, Any]) -> datetime | None:
    try:
        return date_of(config, document)
    except (DataError, OverflowError):
        return None  # listed when the document is copied
