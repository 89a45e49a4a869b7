"""``rerank-index clicks``: a log to a table of queries and documents, and to judgments that training reads."""

from __future__ import annotations

import json
from pathlib import Path

import click

from indexer.options import FOLDER, clock_of
from rerank_plugin.errors import DataError


@click.command("clicks")
@click.option(
    "--events",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="An event log, as for load: JSONL, CSV or Parquet.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The table to write: .parquet, .csv or .jsonl.",
)
@click.option("--judgments", type=FOLDER, help="A folder for queries.jsonl and qrels/train.tsv made of the table.")
@click.option(
    "--least-actors",
    type=click.IntRange(0),
    default=5,
    show_default=True,
    help="Queries clicked by fewer different people are left out; 0 keeps all.",
)
@click.option("--now", metavar="ISO", help="Later events are not looked at.  [default: the time of the run]")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def clicks_command(
    events: Path, out: Path, judgments: Path | None, least_actors: int, now: str | None, as_json: bool
) -> None:
    """What people clicked for each query, positions taken out, from an event log.

    \b
    rerank-index clicks --events events.jsonl --out clicks.parquet
    rerank-index clicks --events events.jsonl --out clicks.csv --judgments beir/from-clicks
    """
    from indexer.events.clicks import SUFFIXES, click_table, write_judgments, write_table

    if out.suffix not in SUFFIXES:
        raise DataError(f"{out} must end in {', '.join(SUFFIXES)}")
    found = click_table(events, now=clock_of(now), least_actors=least_actors)
    if not len(found.table):
        raise DataError(
            f"no query of {events} was clicked by {least_actors} different people; nothing was written "
            "(--least-actors lowers that, 0 is for logs without people)"
        )
    judged = {} if judgments is None else write_judgments(found, judgments)
    write_table(found.table, out)
    account = {"file": str(out), **found.account, **({"judgments": judged} if judged else {})}
    if as_json:
        click.echo(json.dumps(account))
        return
    click.echo(f"{account['rows']} rows of {account['queries']} queries written to {out}")
    if account["rare_queries"]:
        click.echo(f"{account['rare_queries']} queries left out: fewer than {least_actors} people clicked")
    if judged:
        click.echo(f"{judged['judgments']} judgments of {judged['queries']} queries written to {judgments}")
