"""``rerank-index reindex``: options to a job, and what it did to a report."""

from __future__ import annotations

import re
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from indexer.options import (
    ENGINE,
    FILE,
    FOLDER,
    clock_of,
    encoder_of,
    half_life_of,
    print_report,
    progress_of,
    signals_of,
)

if TYPE_CHECKING:
    from indexer.reindex.job import ReindexJob, Run
    from indexer.report import LoadReport

_NEW_FILE = click.Path(path_type=Path, dir_okay=False)


#: What ``--vectors`` takes in place of a folder.
ENGINE_VECTORS = "engine"


@click.command("reindex")
@ENGINE
@click.option("--source", help="Index to copy, or an alias of one.")
@click.option("--dest", help="Name of the enriched copy; it must not exist yet.")
@click.option("--alias", help="Alias that moves to the copy in one step, once the copy is whole.")
@click.option("--replace-index", is_flag=True, help="Let the alias take the name of the source, which is deleted.")
@click.option("--resume", is_flag=True, help="Go on with a run that was cut off.")
@click.option("--rollback", is_flag=True, help="Move --alias back to the index that its copy was made from.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@click.option("--state", type=_NEW_FILE, help="Where the run notes how far it is.  [default: DEST.reindex.json]")
@click.option("--links", type=FILE, help="Links between documents, as for load.")
@click.option("--events", type=FILE, help="Counts per document or a log, a file as for load.")
@click.option("--vectors", metavar="DIR|engine", help="Folder for the vector index, or a k-NN field of the engine.")
@click.option("--model", type=FOLDER, help="Model folder that makes the vectors.  [default: the shipped one]")
@click.option("--signals", type=FILE, help="TOML or JSON naming the fields of dates, links, trust and counts.")
@click.option("--text-fields", help="Fields the model reads, by commas.  [default: title,text, else every text field]")
@click.option("--now", metavar="ISO", help="The clock of freshness.  [default: the time of the run]")
@click.option("--half-life-days", type=float, help="Half-life of freshness.  [default: median age, at least 365]")
@click.option("--throttle", type=float, metavar="N", help="At most so many documents per second.")
@click.option("--workers", type=int, default=4, show_default=True, help="Shards, or halves of one, copied at once.")
@click.option("--keep-replicas", is_flag=True, help="Make copies while loading: a node may be lost.")
@click.option("--verify-all", is_flag=True, help="Compare every document with its copy, not a thousand.")
@click.option("--rejects", type=_NEW_FILE, help="JSONL file of what was refused.  [default: DEST.rejects.jsonl]")
@click.option("--allow-rejects", type=int, default=0, show_default=True, help="Refused documents to put up with.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def reindex_command(**options: Any) -> None:
    """An index in use to an enriched copy behind the same alias, without downtime or loss."""
    from indexer.reindex.wire import Wire, quiet

    quiet()
    wire = Wire.open(options["engine"])
    try:
        if options["rollback"]:
            _roll_back(wire, options)
            return
        started = time.perf_counter()
        job = _job(options)
        if options["dry_run"]:
            _show_plan(job, wire, options)
            return
        from indexer.reindex.job import reindex

        encoder = encoder_of(options["model"]) if options["vectors"] else None
        run = reindex(job, wire, progress_of(), encoder)
        print_report(_report(run, time.perf_counter() - started), as_json=options["as_json"])
    finally:
        wire.close()


def _job(options: dict[str, Any]) -> ReindexJob:
    from indexer.reindex.job import ReindexJob

    for name in ("source", "dest"):
        if not options[name]:
            raise click.UsageError(f"Missing option '--{name}'.")
    stem = re.sub(r"[^\w.-]", "_", options["dest"])
    return ReindexJob(
        source=options["source"],
        dest=options["dest"],
        alias=options["alias"],
        replace_index=options["replace_index"],
        resume=options["resume"],
        state=options["state"] or Path(f"{stem}.reindex.json"),
        vectors=Path(options["vectors"]) if options["vectors"] not in (None, ENGINE_VECTORS) else None,
        engine_vectors=options["vectors"] == ENGINE_VECTORS,
        links=options["links"],
        events=options["events"],
        now=clock_of(options["now"]),
        half_life_days=half_life_of(options["half_life_days"]),
        signals=signals_of(options["signals"]),
        text_fields=tuple(filter(None, (options["text_fields"] or "").split(","))),
        rejects=options["rejects"] or Path(f"{stem}.rejects.jsonl"),
        allow_rejects=options["allow_rejects"],
        keep_replicas=options["keep_replicas"],
        throttle=options["throttle"],
        workers=options["workers"],
        verify_all=options["verify_all"],
        run_id=uuid.uuid4().hex,
    )


def _report(run: Run, seconds: float) -> LoadReport:
    from indexer.reindex.target import count
    from indexer.reindex.verify import account_of
    from indexer.report import LoadReport

    problems = dict(run.rejects.counts)
    return LoadReport(
        index=run.job.dest,
        alias=run.job.alias,
        read=run.account.read,
        written=count(run.wire, run.job.dest),
        rejected=run.state.rejected,
        problems=problems,
        rejects_file=str(run.job.rejects) if run.job.rejects.exists() else None,
        seconds=seconds,
        signals=account_of(run.wire, run.job.dest, run.enrich.knots, run.state.knots["links"]),
        notes=_notes(run),
        more={
            "source": run.source.name,
            "resumed": run.job.resume,
            "deleted": run.account.deleted,
            "rounds": run.account.rounds,
            "compared": run.account.compared,
            "write_block_seconds": round(run.account.blocked_seconds, 3),
        },
    )


def _notes(run: Run) -> list[str]:
    """A copy has no vectors unless they are asked for: who had some should know."""
    meta = run.source.meta
    had = isinstance(meta, dict) and meta.get("vectors")
    if not had or run.job.vectors is not None or run.job.engine_vectors:
        return []
    return [f"the vectors of {run.source.name} are not those of {run.job.dest}: give --vectors for them and novelty"]


def _roll_back(wire: Any, options: dict[str, Any]) -> None:
    import json

    from indexer.reindex.alias import rollback

    if not options["alias"]:
        raise click.UsageError("--rollback needs --alias")
    newer, older = rollback(wire, options["alias"])
    told = {"alias": options["alias"], "index": older, "was": newer}
    line = f"{options['alias']} stands for {older} again; what was written to {newer} since stays there only"
    click.echo(json.dumps(told) if options["as_json"] else line)


def _show_plan(job: ReindexJob, wire: Any, options: dict[str, Any]) -> None:
    import json

    from indexer.reindex.plan import plan

    told = plan(job, wire)
    if options["as_json"]:
        click.echo(json.dumps(told))
        return
    for key, value in told.items():
        click.echo(f"{key}: {value if isinstance(value, str) else json.dumps(value)}")
