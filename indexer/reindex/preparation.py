"""The beginning of a run: knots, links and the empty destination, or what an earlier attempt left of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from indexer.knots import Knots
from indexer.mapping import TEXT_FIELDS
from indexer.progress import Progress
from indexer.reindex import target
from indexer.reindex.enricher import Enricher, FieldReader, add_links_file, events_by_id
from indexer.reindex.pages import Sweep, refresh, safe_positions
from indexer.reindex.ranks import Ranks
from indexer.reindex.state import RunState
from indexer.reindex.survey import collect_links, link_keys, only, survey
from indexer.reindex.vectors import VECTOR_FIELD, FieldVectors, write_vectors
from indexer.reindex.wire import Wire
from indexer.rejects import Rejects
from indexer.vectors import Encoder
from rerank_plugin.domain.index_meta import IndexMeta, VectorsMeta
from rerank_plugin.errors import DataError, EngineError

if TYPE_CHECKING:
    from indexer.reindex.job import ReindexJob


@dataclass(frozen=True, slots=True)
class _Surveyed:
    """What was found out of the source before it is copied."""

    knots: Knots
    ranks: Ranks
    #: What is told of the links; empty where there are none.
    links: dict[str, Any]
    vectors: VectorsMeta | None
    novelty: Ranks


def open_run(
    job: ReindexJob,
    wire: Wire,
    source: target.Described,
    rejects: Rejects,
    progress: Progress,
    encoder: Encoder | None = None,
) -> tuple[RunState, Enricher, dict[str, Any]]:
    """The state to go on from, what makes documents of what is read, and the ``_meta.rerank`` for the end.

    :raises DataError: there is nothing to resume, or a file cannot be read.
    :raises EngineError: the destination exists, or belongs to another run.
    """
    texts = job.text_fields or text_fields(source.mappings)
    field_vectors = FieldVectors(encoder, texts) if job.engine_vectors and encoder is not None else None
    read = FieldReader(job.signals)
    if job.resume:
        state = _resumed(job, wire, source)
        found = _found_before(state)
        events = events_by_id(job.events, rejects, now=found.knots.reference_time)
    else:
        if target.exists(wire, job.dest):
            raise EngineError(
                f"{job.dest} exists; name a new index"
                + (f", or go on with the run of {job.state} with --resume" if job.state.exists() else "")
            )
        state = RunState(file=job.state, run_id=job.run_id, source=source.name, source_uuid=source.uuid, dest=job.dest)
        state.save()  # asks whether the file can be written before anything is made
        events = events_by_id(job.events, rejects, now=job.now)
        found = _find_out(job, state, Sweep(wire=wire, index=source.name), read, events, rejects, progress)
        if job.vectors is not None and encoder is not None:
            found = _with_vectors(job, state, found, Sweep(wire=wire, index=source.name), encoder, texts, progress)
        more = {} if field_vectors is None else {VECTOR_FIELD: field_vectors.mapping}
        _make(job, wire, source, state, found, more)
    enrich = Enricher(
        index=source.name,
        config=job.signals,
        knots=found.knots,
        read=read,
        rejects=rejects,
        rank=found.ranks,
        events=events,
        novelty=found.novelty,
        vectors=field_vectors,
    )
    meta = _meta(job, texts, found, state.run_id)
    if field_vectors is not None:
        account = {"model": field_vectors.encoder.name, "dimensions": field_vectors.encoder.dimensions}
        meta["vector_field"] = {"name": VECTOR_FIELD, **account}
    return state, enrich, meta


def _find_out(
    job: ReindexJob,
    state: RunState,
    whole: Sweep,
    read: FieldReader,
    events: dict[str, dict[str, float]],
    rejects: Rejects,
    progress: Progress,
) -> _Surveyed:
    refresh(whole.wire, whole.index)
    upto = safe_positions(whole.wire, whole.index)
    with progress.step("surveying", None):
        seen = survey(whole, upto, job.signals, read, events.get)
    ranks = Ranks.none()
    links: dict[str, Any] = {}
    if seen.links or job.links is not None:
        with progress.step("links", sum(upto.values()) + len(upto)) as advance:
            table = collect_links(only(whole, link_keys(job.signals)), upto, job.signals, read, advance)
        add_links_file(table, job.links, rejects)
        ranks, links = table.ranks(job.signals)
        ranks.save(state.ranks_file)
    knots = seen.knots(job.signals, now=job.now, half_life_days=job.half_life_days, ranks=ranks.values)
    return _Surveyed(knots, ranks, links, None, Ranks.none())


def _with_vectors(
    job: ReindexJob,
    state: RunState,
    found: _Surveyed,
    whole: Sweep,
    encoder: Encoder,
    texts: tuple[str, ...],
    progress: Progress,
) -> _Surveyed:
    assert job.vectors is not None
    upto = safe_positions(whole.wire, whole.index)
    vectors, novelty = write_vectors(whole, upto, job.vectors, encoder, job.signals, texts, progress)
    novelty.save(state.novelty_file)
    return replace(found, vectors=vectors, novelty=novelty)


def _found_before(state: RunState) -> _Surveyed:
    """What the attempt that was cut off had found out.

    :raises DataError: a file is gone.
    """
    vectors = state.knots["vectors"]
    return _Surveyed(
        Knots.from_json(state.knots["scaling"]),
        Ranks.read(state.ranks_file) if state.knots["links"] else Ranks.none(),
        state.knots["links"],
        None if vectors is None else VectorsMeta(**vectors),
        Ranks.none() if vectors is None else Ranks.read(state.novelty_file),
    )


def _make(
    job: ReindexJob,
    wire: Wire,
    source: target.Described,
    state: RunState,
    found: _Surveyed,
    more: dict[str, Any],
) -> None:
    """Makes the destination; the state knows of it before it is there."""
    vectors = None if found.vectors is None else asdict(found.vectors)
    state.knots = {"scaling": found.knots.as_json(), "links": found.links, "vectors": vectors}
    state.save()
    state.dest_uuid, state.set_aside = target.create(
        wire, source, job.dest, run_id=job.run_id, keep_replicas=job.keep_replicas, more=more
    )
    state.save()


def _resumed(job: ReindexJob, wire: Wire, source: target.Described) -> RunState:
    state = RunState.read_file(job.state)
    for what, have, want in (
        ("source", source.name, state.source),
        ("source", source.uuid, state.source_uuid),
        ("dest", job.dest, state.dest),
    ):
        if have != want:
            raise EngineError(f"{job.state} belongs to a run with the {what} {want}, this is {have}; start anew")
    if not target.exists(wire, job.dest):
        raise DataError(f"the run of {job.state} was cut off before it had made {job.dest}; start it without --resume")
    dest = target.describe(wire, job.dest)
    if (dest.mappings.get("_meta") or {}).get("rerank_run") != state.run_id:
        raise EngineError(f"{job.dest} is not the index that the run of {job.state} made; start anew")
    if not state.dest_uuid:  # killed between making the index and noting it
        state.dest_uuid = dest.uuid
        state.set_aside = target.set_aside(source, keep_replicas=job.keep_replicas)
    return state


def _meta(job: ReindexJob, texts: tuple[str, ...], found: _Surveyed, run_id: str) -> dict[str, Any]:
    signals = {
        "config": job.signals.as_json(),
        "config_hash": job.signals.digest,
        "knots": found.knots.as_json(),
        "links": found.links,
    }
    return IndexMeta(
        reference_time=found.knots.reference_time,
        half_life_days=found.knots.half_life_days,
        text_fields=texts,
        run_id=run_id,
        signals=signals,
        vectors=found.vectors,
    ).to_json()


def text_fields(mappings: dict[str, Any]) -> tuple[str, ...]:
    """The fields the model is to read: title and text where both are there, else every text field at the top."""
    properties = mappings.get("properties", {})
    texts = [name for name, each in properties.items() if each.get("type") == "text"]
    return TEXT_FIELDS if set(TEXT_FIELDS) <= set(texts) else tuple(sorted(texts))
