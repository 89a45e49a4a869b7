"""``rerank-index load``: files to an enriched index. Everything is read and computed before the engine is touched."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexer.catalogue import Catalogue
from indexer.enrich import Signals, compute_signals
from indexer.load_state import LoadState, begin, clock
from indexer.mapping import TEXT_FIELDS, index_body
from indexer.new_index import NewIndex
from indexer.progress import Progress
from indexer.reindex.bulk import Operation, Outcome
from indexer.rejects import Rejects
from indexer.report import LoadReport
from indexer.saved import alone
from indexer.signal_config import SignalConfig
from indexer.sources import Spool, accepted, documents_file
from indexer.vectors import Encoder, encode
from rerank_plugin.domain.index_meta import IndexMeta, VectorsMeta
from rerank_plugin.errors import ConfigError, DataError, EngineError, VectorIndexError

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
    #: Where the load notes how far it is, and what waits beside it.
    state: Path
    #: ``now`` was asked for; a load that goes on otherwise keeps the clock it began with.
    fixed_now: bool = False
    #: ``events`` is a file that can be read again, not a copy of what the engine had at the moment.
    repeatable: bool = True
    #: What the engine acknowledges outlives its end; the embedded one keeps it in memory until a refresh.
    lasting: bool = False
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
    """The account of the load, once the index is complete; one that was cut off goes on.

    :param client: an opensearch-py client of the engine.
    :param encoder: makes the vectors; needed where ``job.vectors`` is given.
    :raises DataError: a file cannot be read, or holds no usable record.
    :raises EngineError: the index exists, or the engine refused or went away.
    :raises VectorIndexError: the vector folder cannot be written.
    """
    with alone(job.state):
        return _load(job, client, encoder, progress)


def _load(job: LoadJob, client: Any, encoder: Encoder | None, progress: Progress) -> LoadReport:
    started = time.perf_counter()
    file = documents_file(job.docs)
    _check_outputs(job, file)
    target = NewIndex(client, job.index)
    beginning = begin(job, file, target.standing(), None if encoder is None else encoder.name)
    state = beginning.state
    job = replace(job, now=clock(state), run_id=state.run_id)
    skipped = state.written
    with Rejects(job.rejects, mark=state.mark) as rejects, Spool() as spool:
        catalogue = Catalogue(job.signals, rejects, file)
        read = _read(job, file, catalogue, spool, rejects, progress)
        _keep(state, len(catalogue))
        vectors, stored, made = _vectors(job, state, catalogue, spool, encoder, progress)
        signals = _signals(job, state, catalogue, vectors, progress)
        rejects.listen()
        if not beginning.goes_on:
            target.create(index_body(job.analyzer), run_id=job.run_id, replace=beginning.replace)
            state.begin_writing(rejects.mark(), target.set_aside() if job.lasting else {})
        if state.aside:
            target.hurry(state.aside)
        _write(target, state, _operations(spool, signals, state.position), rejects, progress, lasting=job.lasting)
        if state.aside:
            target.put_back(state.aside)
        _check_written(target, state, job.rejects)
        target.describe(_meta(job, signals, state.written, stored))
        state.remove()
    return LoadReport(
        index=job.index,
        read=read,
        written=state.written - skipped,
        skipped=skipped,
        rejected=rejects.lost,
        problems=dict(rejects.counts),
        rejects_file=str(job.rejects) if rejects.counts else None,
        seconds=time.perf_counter() - started,
        signals=signals.account,
        vectors=made,
        notes=[*beginning.notes, *([f"a load that was cut off went on: {skipped:,} were written"] if skipped else [])],
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


def _keep(state: LoadState, documents: int) -> None:
    """From here on a load that is cut off can go on.

    :raises DataError: other documents were read than before.
    """
    if state.total not in (0, documents):
        raise DataError(
            f"{documents} documents were read, {state.total} before this load was cut off; remove {state.file} and "
            "load with --recreate"
        )
    state.total = documents
    state.save()


def _vectors(
    job: LoadJob, state: LoadState, catalogue: Catalogue, spool: Spool, encoder: Encoder | None, progress: Progress
) -> tuple[NDArray[np.float32] | None, VectorsMeta | None, dict[str, Any] | None]:
    """The vectors, what their folder now holds, and an account for the report; all ``None`` without ``--vectors``."""
    if job.vectors is None or encoder is None:
        return None, None, None

    def saved(vectors: int, truncated: int) -> None:
        state.encoded += vectors
        state.truncated += truncated
        state.save()

    bytes_needed = state.encoded * encoder.dimensions * 4
    if not state.vectors_file.exists() or state.vectors_file.stat().st_size < bytes_needed:
        state.encoded = state.truncated = 0
    texts = (record.text for record in spool.records(state.encoded))
    vectors = encode(encoder, texts, len(catalogue), state.vectors_file, progress, done=state.encoded, saved=saved)
    meta = _folder(job.vectors, state, catalogue.doc_ids, vectors, encoder)
    account = {"folder": str(job.vectors), "model": meta.model, "dimensions": meta.dimensions}
    account |= {"truncated": state.truncated, "kind": meta.kind, "recall@100": meta.recall}
    return vectors, meta, account


def _folder(
    folder: Path, state: LoadState, doc_ids: list[str], vectors: NDArray[np.float32], encoder: Encoder
) -> VectorsMeta:
    """What the folder holds: written now, or by the load that was cut off."""
    from rerank_plugin.retrieval.dense import VectorIndex

    if state.vectors is not None:
        meta = VectorsMeta(**state.vectors)
        with suppress(VectorIndexError):
            VectorIndex.open(folder, meta)
            return meta
    meta = VectorIndex.write(folder, doc_ids, vectors, name=folder.resolve().name, model=encoder.name)
    state.vectors = asdict(meta)
    state.save()
    return meta


def _signals(
    job: LoadJob, state: LoadState, catalogue: Catalogue, vectors: NDArray[np.float32] | None, progress: Progress
) -> Signals:
    """All signals; what needs the whole collection is computed again from the files, but novelty is kept."""
    known = None if vectors is None else _novelty_before(state)
    signals = compute_signals(
        catalogue,
        job.signals,
        vectors,
        known_novelty=known,
        now=job.now,
        half_life_days=job.half_life_days,
        progress=progress,
    )
    if vectors is not None and known is None:
        import numpy as np

        scratch = state.novelty_file.with_suffix(".part.npy")
        np.save(scratch, np.array(signals.features["novelty"], dtype=np.float64))  # None becomes NaN
        scratch.replace(state.novelty_file)
    return signals


def _novelty_before(state: LoadState) -> list[float | None] | None:
    """The novelty that the load which was cut off had computed; ``None`` where it had not."""
    import numpy as np

    try:
        found = np.load(state.novelty_file, allow_pickle=False)
    except (OSError, ValueError):
        return None
    return [None if value != value else value for value in found.tolist()] if len(found) == state.total else None


def _operations(spool: Spool, signals: Signals, start: int) -> Iterator[Operation]:
    """What is written: each record's own fields, and ``rerank``, under its id."""
    for position, record in enumerate(spool.records(start), start):
        head = json.dumps({"index": {"_id": record.doc_id}}, ensure_ascii=False)
        document = json.dumps({**record.fields, "rerank": signals.rerank_object(position)}, ensure_ascii=False)
        yield Operation(record.doc_id, f"{head}\n{document}\n".encode())


def _write(
    target: NewIndex,
    state: LoadState,
    operations: Iterator[Operation],
    rejects: Rejects,
    progress: Progress,
    *,
    lasting: bool,
) -> None:
    def done(records: int, outcome: Outcome) -> None:
        state.advance(records, written=outcome.done, refused=outcome.refused, mark=rejects.mark())

    with progress.step("writing", state.total) as advance:
        advance(state.position)
        try:
            target.write(operations, rejects, lasting=lasting, done=done, advance=advance)
        except EngineError as error:
            raise EngineError(
                f"{error} ({state.position} of {state.total} documents are done; the same command goes on from there)"
            ) from error


def _check_written(target: NewIndex, state: LoadState, rejects: Path) -> None:
    """Compares what the engine holds with what it acknowledged.

    :raises EngineError: it has taken nothing, or its count differs.
    """
    if not state.written:
        state.remove()
        raise EngineError(f"the engine refused every document; the reasons stand in {rejects}")
    counted = target.count()
    if counted != state.written:
        state.remove()
        raise EngineError(
            f"{state.index} holds {counted} documents, the engine acknowledged {state.written}; is something else "
            "writing to it? Load again with --recreate"
        )


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
