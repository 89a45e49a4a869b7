"""``rerank-index clicks`` and ``counts``: what an event log comes to, as files that training and loading read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from indexer.events.backends import BACKENDS
from indexer.options import EVENTS, FOLDER, clock_of, log_of, progress_of
from rerank_plugin.errors import ConfigError, DataError

if TYPE_CHECKING:
    from indexer.events.engine import Ubi

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _log_options(out: str) -> Callable[[_Command], _Command]:
    """The options of what is made of a log.

    :param out: what ``--out`` says of the file.
    """
    options = (
        click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON."),
        click.option("--now", metavar="ISO", help="Later events are not looked at.  [default: the time of the run]"),
        click.option(
            "--backend",
            type=click.Choice(BACKENDS),
            default=BACKENDS[0],
            show_default=True,
            help="What aggregates: spark is for logs that outgrow one machine (extra spark).",
        ),
        click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help=out),
        click.option("--engine", help="Where ubi_queries and ubi_events of --events ubi are, http(s)://host:9200."),
        click.option(
            "--events",
            metavar=EVENTS,
            callback=log_of,
            required=True,
            help="An event log, as for load: JSONL, CSV or Parquet; for spark anything its workers can read.",
        ),
    )

    def given(command: _Command) -> _Command:
        for option in options:
            command = option(command)
        return command

    return given


@contextmanager
def _log(events: str | Ubi, engine: str | None) -> Iterator[str]:
    """Where the log is; that of an engine is copied as long as the context lasts."""
    from indexer.events.engine import events_file

    if isinstance(events, str):
        yield events
        return
    if engine is None:
        raise ConfigError("--events ubi needs --engine, http(s)://host:9200, which holds the indexes")
    with events_file(events, engine, progress_of()) as file:
        yield str(file)


@click.command("clicks")
@_log_options("The table to write: .parquet, .csv or .jsonl.")
@click.option("--judgments", type=FOLDER, help="A folder for queries.jsonl and qrels/train.tsv made of the table.")
@click.option(
    "--least-actors",
    type=click.IntRange(0),
    default=5,
    show_default=True,
    help="Queries clicked by fewer different people are left out; 0 keeps all.",
)
def clicks_command(
    events: str | Ubi,
    engine: str | None,
    backend: str,
    out: Path,
    judgments: Path | None,
    least_actors: int,
    now: str | None,
    as_json: bool,
) -> None:
    """What people clicked for each query, positions taken out, from an event log.

    \b
    rerank-index clicks --events events.jsonl --out clicks.parquet
    rerank-index clicks --events events.jsonl --out clicks.csv --judgments beir/from-clicks
    """
    from indexer.events.clicks import SUFFIXES, click_table, write_judgments, write_table

    if out.suffix not in SUFFIXES:
        raise DataError(f"{out} must end in {', '.join(SUFFIXES)}")
    with _log(events, engine) as log:
        found = click_table(log, now=clock_of(now), least_actors=least_actors, backend=backend)
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


@click.command("counts")
@_log_options("The file to write: JSON lines of documents and their counts.")
def counts_command(
    events: str | Ubi, engine: str | None, backend: str, out: Path, now: str | None, as_json: bool
) -> None:
    """What load, reindex and refresh make of an event log, as a file that they take in its place.

    \b
    rerank-index counts --events s3a://logs/2025.parquet --backend spark --out counts.jsonl
    rerank-index refresh --engine http://localhost:9200 --index articles --events counts.jsonl
    """
    from indexer.events.summary import summarise

    with _log(events, engine) as log:
        found = summarise(log, now=clock_of(now), backend=backend)
    with out.open("w", encoding="utf-8") as lines:
        for doc_id in sorted(found.counts):
            counts = dict(sorted(found.counts[doc_id].items()))  # backends give kinds in any order
            lines.write(json.dumps({"_id": doc_id, **counts}, ensure_ascii=False) + "\n")
    account = {"file": str(out), "documents": len(found.counts), **found.account}
    if as_json:
        click.echo(json.dumps(account))
        return
    told = ", ".join(f"{number} {name}" for name, number in found.account["events"].items())
    click.echo(f"counts of {account['documents']} documents written to {out} (events: {told})")
