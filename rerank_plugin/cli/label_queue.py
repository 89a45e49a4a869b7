"""``rerank train label-queue``: what to judge next, and the way of the grades into the training judgments."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import click

from rerank_plugin.cli import common
from rerank_plugin.cli.loading import filled
from rerank_plugin.errors import ConfigError


@click.command("label-queue")
@click.option("--data", type=common.FOLDER, required=True, help="A BEIR directory; it may have no judgments yet.")
@click.option("--out", type=common.FILE, help="The list to write: .csv or .jsonl.")
@click.option("--import", "filled_in", type=common.FILE, help="A filled list, to be added to qrels/train.tsv.")
@click.option("--count", type=click.IntRange(1), default=100, show_default=True, help="Pairs of the list at most.")
@click.option(
    "--queries", type=click.IntRange(1), default=500, show_default=True, help="Queries that are asked at most."
)
@click.option("--model", type=common.FOLDER, help="The model folder that ranks.  [default: the shipped one]")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the draws.")
@common.now_option
@common.json_option
def label_queue(
    data: Path,
    out: Path | None,
    filled_in: Path | None,
    count: int,
    queries: int,
    model: Path | None,
    seed: int,
    now: datetime | None,
    as_json: bool,
) -> None:
    """What to judge next: the pairs of query and document that the served order is least sure of.

    Every query is searched the way applications search. A pair is worth judging where words, vectors and model do not
    agree on whether it belongs to the first ten, and where the model itself is undecided; a query's second pair counts
    half, its third a third. Queries that other splits than train judge are not asked. Fill in the column grade with a
    whole number, 0 for not relevant; rows may stay empty. --import puts the grades behind those of qrels/train.tsv,
    loses nothing, and adds nothing the second time.

    \b
    rerank train label-queue --data beir/my-collection --out queue.csv
    rerank train label-queue --data beir/my-collection --import queue.csv
    """
    if (out is None) == (filled_in is None):
        raise ConfigError("give either --out, to write a list, or --import, to read a filled one")
    if filled_in is not None:
        _import(filled_in, data, as_json)
        return
    from rerank_plugin import wiring
    from rerank_plugin.evaluation.label_queue import require_new, write_queue
    from rerank_plugin.models.folder import default_model_folder
    from rerank_plugin.wiring.queueing import label_queue as queue_of
    from rerank_plugin.wiring.queueing import unheld

    assert out is not None
    require_new(out)
    collection, reader = unheld(data, most=queries, seed=seed), model or default_model_folder()
    with tempfile.TemporaryDirectory(prefix="rerank-queue-") as scratch:
        setup: wiring.Setup = filled(data, Path(scratch), model=reader, now=now or common.present())
        rows = queue_of(setup, collection, reader, count=count, seed=seed, progress=common.progress)
    write_queue(rows, out)
    asked = len({row.query_id for row in rows})
    if as_json:
        common.print_json({"file": str(out), "pairs": len(rows), "queries": asked, "asked": len(collection.queries)})
    else:
        click.echo(f"{len(rows)} pairs of {asked} queries, of {len(collection.queries)} asked, written to {out}")


def _import(file: Path, data: Path, as_json: bool) -> None:
    from rerank_plugin.evaluation.label_queue import import_grades

    found = import_grades(file, data)
    if as_json:
        common.print_json({"file": str(data / "qrels" / "train.tsv"), **asdict(found)})
    else:
        click.echo(f"{found.added} judgments added to {data}, {found.known} were there, {found.empty} rows are empty")
