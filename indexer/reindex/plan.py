"""What a run would do: the answer to ``--dry-run``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from indexer.reindex import target
from indexer.reindex.alias import plan_switch
from indexer.reindex.enricher import FieldReader
from indexer.reindex.pages import Sweep, refresh, safe_positions
from indexer.reindex.preparation import text_fields
from indexer.reindex.survey import survey
from indexer.reindex.wire import Wire
from rerank_plugin.errors import EngineError

if TYPE_CHECKING:
    from indexer.reindex.job import ReindexJob


def plan(job: ReindexJob, wire: Wire) -> dict[str, Any]:
    """The steps and the scaling of a run; nothing is changed, the source is refreshed.

    :raises EngineError: it could not be done, and why.
    """
    source = target.describe(wire, job.source)
    if target.exists(wire, job.dest):
        raise EngineError(f"{job.dest} exists; name a new index")
    switch = None
    if job.alias is not None:
        switch = plan_switch(wire, job.alias, source, job.dest, replace_index=job.replace_index)
    read = FieldReader(job.signals)
    refresh(wire, source.name)
    upto = safe_positions(wire, source.name)
    seen = survey(Sweep(wire=wire, index=source.name), upto, job.signals, read, lambda _: None)
    knots = seen.knots(job.signals, now=job.now, half_life_days=job.half_life_days, ranks=None)
    return {
        "dry_run": True,
        "source": source.name,
        "dest": job.dest,
        "documents": target.count(wire, source.name),
        "shards": source.shards,
        "settings_set_aside": target.set_aside(source, keep_replicas=job.keep_replicas),
        "text_fields": list(job.text_fields or text_fields(source.mappings)),
        "half_life_days": knots.half_life_days,
        "popularity_knots": dict(knots.popularity),
        "sampled": len(seen.evidence),
        "dated": sum(each.date is not None for each in seen.evidence),
        "trusted": sum(each.trust is not None for each in seen.evidence),
        "counted": sum(bool(each.counts) for each in seen.evidence),
        "links": seen.links or job.links is not None,
        "alias_actions": [] if switch is None else switch.actions,
    }
