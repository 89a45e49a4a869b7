"""The beginning of a run: knots, links and the empty destination, or what an earlier attempt left of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from indexer.knots import Knots
from indexer.mapping import TEXT_FIELDS
from indexer.progress import Progress
from indexer.reindex import target
from indexer.reindex.enricher import Enricher, FieldReader, add_links_file, events_by_id
from indexer.reindex.pages import Sweep, checkpoints, refresh
from indexer.reindex.ranks import Ranks
from indexer.reindex.state import RunState
from indexer.reindex.survey import collect_links, link_keys, only, survey
from indexer.reindex.wire import Wire
from indexer.rejects import Rejects
from rerank_plugin.domain.index_meta import IndexMeta
from rerank_plugin.errors import EngineError

if TYPE_CHECKING:
    from indexer.reindex.job import ReindexJob


def open_run(
    job: ReindexJob, wire: Wire, source: target.Described, rejects: Rejects, progress: Progress
) -> tuple[RunState, Enricher, dict[str, Any]]:
    """The state to go on from, what makes documents of what is read, and the ``_meta.rerank`` for the end.

    :raises DataError: there is nothing to resume, or a file cannot be read.
    :raises EngineError: the destination exists, or belongs to another run.
    """
    read = FieldReader(job.signals)
    events = events_by_id(job.events, rejects, now=job.now)
    ranks_file = job.state.with_suffix(".ranks.npz")
    if job.resume:
        state = _resumed(job, wire, source)
        knots, account = Knots.from_json(state.knots["scaling"]), state.knots["links"]
        ranks = Ranks.read(ranks_file) if state.knots["links"] else Ranks.none()
    else:
        if target.exists(wire, job.dest):
            raise EngineError(
                f"{job.dest} exists; name a new index"
                + (f", or go on with the run of {job.state} with --resume" if job.state.exists() else "")
            )
        refresh(wire, source.name)
        upto = {shard: safe for shard, (safe, _) in checkpoints(wire, source.name).items()}
        whole = Sweep(wire=wire, index=source.name)
        with progress.step("surveying", None):
            seen = survey(whole, upto, job.signals, read, events.get)
        ranks, account = Ranks.none(), {}
        if seen.links or job.links is not None:
            links_only = only(whole, link_keys(job.signals))
            with progress.step("links", sum(upto.values()) + len(upto)) as advance:
                table = collect_links(links_only, upto, job.signals, read, advance)
            add_links_file(table, job.links, rejects)
            ranks, account = table.ranks(job.signals)
            ranks.save(ranks_file)
        knots = seen.knots(job.signals, now=job.now, half_life_days=job.half_life_days, ranks=ranks.values)
        state = _begun(job, wire, source, knots, account)
    enrich = Enricher(
        index=source.name, config=job.signals, knots=knots, read=read, rejects=rejects, rank=ranks, events=events
    )
    return state, enrich, _meta(job, source, knots, account, state.run_id)


def _begun(job: ReindexJob, wire: Wire, source: target.Described, knots: Knots, account: dict[str, Any]) -> RunState:
    state = RunState(
        file=job.state,
        run_id=job.run_id,
        source=source.name,
        source_uuid=source.uuid,
        dest=job.dest,
        knots={"scaling": knots.as_json(), "links": account},
    )
    state.save()  # asks whether the file can be written before anything is made
    state.dest_uuid, state.set_aside = target.create(
        wire, source, job.dest, run_id=job.run_id, keep_replicas=job.keep_replicas, more={}
    )
    state.save()
    return state


def _resumed(job: ReindexJob, wire: Wire, source: target.Described) -> RunState:
    state = RunState.read_file(job.state)
    for what, have, want in (
        ("source", source.name, state.source),
        ("source", source.uuid, state.source_uuid),
        ("dest", job.dest, state.dest),
    ):
        if have != want:
            raise EngineError(f"{job.state} belongs to a run with the {what} {want}, this is {have}; start anew")
    dest = target.describe(wire, job.dest)
    if (dest.mappings.get("_meta") or {}).get("rerank_run") != state.run_id:
        raise EngineError(f"{job.dest} is not the index that the run of {job.state} made; start anew")
    if not state.dest_uuid:  # killed between making the index and noting it
        state.dest_uuid = dest.uuid
        state.set_aside = target.set_aside(source, keep_replicas=job.keep_replicas)
    return state


def _meta(
    job: ReindexJob, source: target.Described, knots: Knots, account: dict[str, Any], run_id: str
) -> dict[str, Any]:
    signals = {
        "config": job.signals.as_json(),
        "config_hash": job.signals.digest,
        "knots": knots.as_json(),
        "links": account,
    }
    return IndexMeta(
        reference_time=knots.reference_time,
        half_life_days=knots.half_life_days,
        text_fields=job.text_fields or text_fields(source.mappings),
        run_id=run_id,
        signals=signals,
    ).to_json()


def text_fields(mappings: dict[str, Any]) -> tuple[str, ...]:
    """The fields the model is to read: title and text where both are there, else every text field at the top."""
    properties = mappings.get("properties", {})
    texts = [name for name, each in properties.items() if each.get("type") == "text"]
    return TEXT_FIELDS if set(TEXT_FIELDS) <= set(texts) else tuple(sorted(texts))
