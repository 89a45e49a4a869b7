"""``rerank-index refresh``: options to a job, and what it did to a report."""

from __future__ import annotations

import re
import time
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from indexer.options import (
    ENGINE,
    EVENTS,
    FILE,
    FOLDER,
    clock_of,
    encoder_of,
    events_of,
    half_life_of,
    print_report,
    progress_of,
    signals_of,
)


@click.command("refresh")
@ENGINE
@click.option("--index", required=True, help="An enriched index, or an alias of one.")
@click.option(
    "--events",
    metavar=EVENTS,
    callback=events_of,
    help="Counts or a log, as for load: all of them, not only the new ones.",
)
@click.option("--links", type=FILE, help="Links between documents, as for load: all that records do not hold.")
@click.option("--vectors", type=FOLDER, help="The vector folder of the index: new documents in, deleted ones out.")
@click.option("--model", type=FOLDER, help="Model folder that makes the vectors.  [default: the shipped one]")
@click.option("--refit", is_flag=True, help="Fit the scaling anew; every feature may change.")
@click.option("--signals", type=FILE, help="New settings of the signals, with --refit.")
@click.option("--now", metavar="ISO", help="The clock of a refit.  [default: the time of the run]")
@click.option("--half-life-days", type=float, help="Half-life of a refit.  [default: median age, at least 365]")
@click.option("--threshold", type=float, default=0.01, show_default=True, help="Smallest change that is written.")
@click.option("--throttle", type=float, metavar="N", help="At most so many updates per second.")
@click.option("--rejects", type=click.Path(path_type=Path, dir_okay=False), help="[default: INDEX.rejects.jsonl]")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def refresh_command(**options: Any) -> None:
    """Features for documents written since, and for what new events and links changed."""
    from indexer.events.engine import events_file
    from indexer.refresh.job import RefreshJob, refresh_index
    from indexer.reindex.verify import account_of
    from indexer.reindex.wire import Wire, quiet
    from indexer.report import LoadReport

    quiet()
    started = time.perf_counter()
    job = RefreshJob(
        index=options["index"],
        links=options["links"],
        vectors=options["vectors"],
        refit=options["refit"],
        signals=None if options["signals"] is None else signals_of(options["signals"]),
        now=clock_of(options["now"]),
        half_life_days=half_life_of(options["half_life_days"]),
        threshold=options["threshold"],
        throttle=options["throttle"],
        rejects=options["rejects"] or Path(re.sub(r"[^\w.-]", "_", options["index"]) + ".rejects.jsonl"),
        run_id=uuid.uuid4().hex,
    )
    wire = Wire.open(options["engine"])
    progress = progress_of()
    try:
        encoder = encoder_of(options["model"]) if job.vectors is not None else None
        with events_file(options["events"], options["engine"], progress) as events:
            job = replace(job, events=events)
            done = refresh_index(job, wire, progress, encoder)
        report = LoadReport(
            index=done.index,
            alias=None if done.index == job.index else job.index,
            read=done.account.read,
            written=0,
            updated=done.account.updated,
            skipped=done.account.skipped,
            rejected=done.account.refused,
            problems=done.problems,
            rejects_file=str(job.rejects) if job.rejects.exists() else None,
            seconds=time.perf_counter() - started,
            signals=account_of(wire, done.index, done.knots, done.account.links),
            notes=[
                f"{kind} in the events count for nothing yet: the index was scaled without them; --refit scales anew"
                for kind in done.unscaled
            ],
            more={
                "conflicts": done.account.conflicts,
                "vectors_added": done.vectors.added if done.vectors else 0,
                "vectors_deleted": done.vectors.deleted if done.vectors else 0,
            },
        )
    finally:
        wire.close()
    print_report(report, as_json=options["as_json"])
