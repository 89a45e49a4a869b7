"""``rerank-index load``: files to an enriched index. Everything is read and computed before the engine is touched."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexer.catalogue import Catalogue
from indexer.enrich import Signals, compute_signals
from indexer.mapping import TEXT_FIELDS, index_body
from indexer.progress import Progress
from indexer.rejects import Rejects
from indexer.report import LoadReport
from indexer.signal_config import SignalConfig
from indexer.sources import Spool, accepted, documents_file
from indexer.vectors import Encoder, encode
from indexer.writer import IndexWriter
from rerank_plugin.domain.index_meta import IndexMeta, VectorsMeta
from rerank_plugin.errors import ConfigError, DataError, EngineError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FORBIDDEN = '\\ / * ? " < > | , # :'
#: What OpenSearch and Elasticsearch take; a HEAD request for another name is refused without a reason.
_INDEX_NAME = re.compile(r"(?![._+-])[^\\/*?\"<>|,#:\sA-Z]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadJob:
    """What to load, and how."""

    index: str
    #: A file, a directory, or ``-``.
    docs: str
    #: ``jsonl``, ``csv`` or ``parquet``; ``None`` tells it by the suffix.
    form: str | None = None
    links: Path | None = None
    events: Path | None = None
    #: Folder for the vector index; ``None`` makes no vectors and no novelty.
    vectors: Path | None = None
    #: The clock of freshness, with a time zone.
    now: datetime
    #: ``None`` chooses one from the ages of the documents.
    half_life_days: float | None = None
    rejects: Path
    recreate: bool = False
    analyzer: str = "english"
    signals: SignalConfig = field(default_factory=SignalConfig)
    #: Stands in ``_meta`` and tells two loads apart.
    run_id: str

    def __post_init__(self) -> None:
        if not _INDEX_NAME.fullmatch(self.index) or len(self.index.encode()) > 255:
            raise ConfigError(
                f"an index name is lower case, without spaces and {_FORBIDDEN}, and does not begin with . _ - or +; "
                f"got {self.index[:80]!r}"
            )


def load(job: LoadJob, client: Any, encoder: Encoder | None, progress: Progress) -> LoadReport:
    """The account of the load, once the index is complete.

    :param client: an opensearch-py client of the engine.
    :param encoder: makes the vectors; needed where ``job.vectors`` is given.
    :raises DataError: a file cannot be read, or holds no usable record.
    :raises EngineError: the index exists, or the engine refused or went away.
    :raises VectorIndexError: the vector folder cannot be written.
    """
    started = time.perf_counter()
    file = documents_file(job.docs)
    _check_outputs(job, file)
    writer = IndexWriter(client, job.index)
    writer.check_free(recreate=job.recreate)
    with Rejects(job.rejects) as rejects, Spool() as spool:
        catalogue = Catalogue(job.signals, rejects, file)
        read = _read(job, file, catalogue, spool, rejects, progress)
        vectors, stored, made = _vectors(job, catalogue, spool, encoder, progress)
        signals = compute_signals(
            catalogue, job.signals, vectors, now=job.now, half_life_days=job.half_life_days, progress=progress
        )
        writer.create(index_body(job.analyzer), recreate=job.recreate)
        written = writer.write(_enriched(spool, signals), len(catalogue), rejects, progress)
        if not written:
            raise EngineError(f"the engine refused every document; the reasons stand in {job.rejects}")
        writer.describe(_meta(job, signals, written, stored))
    return LoadReport(
        index=job.index,
        read=read,
        written=written,
        rejected=rejects.lost,
        problems=dict(rejects.counts),
        rejects_file=str(job.rejects) if rejects.counts else None,
        seconds=time.perf_counter() - started,
        signals=signals.account,
        vectors=made,
    )


def _check_outputs(job: LoadJob, file: Path | None) -> None:
    """Refuses, before any work, to write over what is read or over things that are not ours."""
    inputs = [each.resolve() for each in (file, job.links, job.events) if each is not None]
    if job.rejects.resolve() in inputs:
        raise DataError(f"--rejects names {job.rejects}, which is read as input; name another file")
    if job.vectors is not None:
        from rerank_plugin.retrieval.vector_folder import check_replaceable

        check_replaceable(job.vectors)


def _read(
    job: LoadJob, file: Path | None, catalogue: Catalogue, spool: Spool, rejects: Rejects, progress: Progress
) -> int:
    """How many records were read; the accepted ones are in the catalogue and in the spool."""
    read = 0
    with progress.step("reading", None) as advance:
        for number, line, record in accepted(file, rejects, job.form):
            read += 1
            if record is not None:
                catalogue.add(number, line, record)
                spool.add(line)
            advance(1)
    if not len(catalogue):
        seen = f"{read} records were read and all rejected, see {job.rejects}" if read else "it is empty"
        raise DataError(f"{job.docs} holds no document to load: {seen}; no index was made or changed")
    if job.links is not None:
        catalogue.add_links(job.links)
    if job.events is not None:
        catalogue.add_events(job.events, now=job.now)
    return read


def _vectors(
    job: LoadJob, catalogue: Catalogue, spool: Spool, encoder: Encoder | None, progress: Progress
) -> tuple[NDArray[np.float32] | None, VectorsMeta | None, dict[str, Any] | None]:
    """The vectors, what their folder now holds, and an account for the report; all ``None`` without ``--vectors``."""
    if job.vectors is None or encoder is None:
        return None, None, None
    from rerank_plugin.retrieval.dense import VectorIndex

    vectors, truncated = encode(encoder, (record.text for record in spool), len(catalogue), progress)
    name = job.vectors.resolve().name
    meta = VectorIndex.write(job.vectors, catalogue.doc_ids, vectors, name=name, model=encoder.name)
    account = {"folder": str(job.vectors), "model": meta.model, "dimensions": meta.dimensions, "truncated": truncated}
    account |= {"kind": meta.kind, "recall@100": meta.recall}
    return vectors, meta, account


def _enriched(spool: Spool, signals: Signals) -> Iterator[tuple[str, dict[str, Any]]]:
    """Id and document as it is stored: the record's own fields, and ``rerank``."""
    for position, record in enumerate(spool):
        yield record.doc_id, {**record.fields, "rerank": signals.rerank_object(position)}


def _meta(job: LoadJob, signals: Signals, written: int, vectors: VectorsMeta | None) -> IndexMeta:
    return IndexMeta(
        reference_time=job.now,
        half_life_days=signals.half_life_days,
        text_fields=TEXT_FIELDS,
        run_id=job.run_id,
        documents=written,
        signals={
            "config": job.signals.as_json(),
            "config_hash": job.signals.digest,
            "knots": signals.knots.as_json(),
            **signals.account,
        },
        vectors=vectors,
    )
