"""The command ``rerank-index``: a thin skin over :mod:`indexer.load`. Data on standard output, progress on error."""

from __future__ import annotations

import logging
import re
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from indexer.events.command import clicks_command, counts_command
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
from indexer.refresh.command import refresh_command
from indexer.reindex.command import reindex_command
from rerank_plugin.errors import RerankError, os_error_line


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rerank-plugin")
def commands() -> None:
    """Write enriched indexes that rerank_plugin reads."""


@commands.command("load")
@ENGINE
@click.option("--index", required=True, help="Name of the index to make.")
@click.option(
    "--docs", required=True, help="JSONL, CSV (.gz too) or Parquet file, a directory, or - for standard input."
)
@click.option("--format", "form", type=click.Choice(["jsonl", "csv", "parquet"]), help="[default: by the suffix]")
@click.option("--links", type=FILE, help='Links between documents: {"from","to"} per line, or two columns with a tab.')
@click.option(
    "--events",
    metavar=EVENTS,
    callback=events_of,
    help='Counts per document: {"_id","views",...} or {"_id","event"} per line; ubi is ubi_queries and ubi_events of '
    "the engine.",
)
@click.option("--vectors", type=FOLDER, help="Folder for the vector index; without it there is no novelty.")
@click.option("--model", type=FOLDER, help="Model folder that makes the vectors.  [default: the shipped one]")
@click.option("--signals", type=FILE, help="TOML or JSON naming the fields of dates, links, trust and counts.")
@click.option("--now", metavar="ISO", help="The clock of freshness.  [default: the time of the load]")
@click.option("--half-life-days", type=float, help="Half-life of freshness.  [default: median age, at least 365]")
@click.option("--analyzer", type=click.Choice(["english", "standard", "cjk"]), default="english", show_default=True)
@click.option(
    "--rejects",
    type=click.Path(path_type=Path, dir_okay=False),
    help="JSONL file of what was left out and why.  [default: INDEX.rejects.jsonl in this directory]",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where the load notes how far it is.  [default: INDEX.load.json in this directory]",
)
@click.option("--recreate", is_flag=True, help="Replace the index if it exists.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def load_command(**options: Any) -> None:
    """Files to an enriched index: authority, freshness, novelty and popularity beside every document.

    Bad records are counted, listed with their line and reason, and stop nothing. A load that was cut off goes on when
    the same command is given again in the same directory; standard input is read from its beginning.

    \b
    rerank-index load --engine http://localhost:9200 --index articles --docs articles.jsonl.gz
    zcat dump.csv.gz | rerank-index load --engine embedded:data --index articles --docs - --format csv
    """
    from indexer.events.engine import Ubi, events_file
    from indexer.load import LoadJob, load
    from indexer.reindex.wire import quiet
    from rerank_plugin.engines.connect import EMBEDDED_PREFIX, connect

    quiet()
    stem = re.sub(r"[^\w.-]", "_", options["index"])
    job = LoadJob(
        index=options["index"],
        docs=options["docs"],
        form=options["form"],
        links=options["links"],
        vectors=options["vectors"],
        now=clock_of(options["now"]),
        half_life_days=half_life_of(options["half_life_days"]),
        rejects=options["rejects"] or Path(f"{stem}.rejects.jsonl"),
        state=options["state"] or Path(f"{stem}.load.json"),
        fixed_now=options["now"] is not None,
        repeatable=not isinstance(options["events"], Ubi),
        lasting=not options["engine"].startswith(EMBEDDED_PREFIX),
        recreate=options["recreate"],
        analyzer=options["analyzer"],
        signals=signals_of(options["signals"]),
        run_id=uuid.uuid4().hex,
    )
    encoder = None if job.vectors is None else encoder_of(options["model"])
    progress = progress_of()
    with (
        events_file(options["events"], options["engine"], progress) as events,
        _closed(connect(options["engine"])) as client,
    ):
        report = load(replace(job, events=events), client, encoder, progress)
    print_report(report, as_json=options["as_json"])


commands.add_command(clicks_command)
commands.add_command(counts_command)
commands.add_command(reindex_command)
commands.add_command(refresh_command)


@contextmanager
def _closed(client: Any) -> Iterator[Any]:
    """The client, closed at the end.

    The embedded engine writes what waits when it is closed: on a full disk that fails as the load before it did, and
    the load's own error is the one to tell.

    :raises EngineError: the load went well and the engine failed at the end.
    """
    from opensearchpy.exceptions import OpenSearchException

    from indexer.writer import engine_errors

    try:
        yield client
    except BaseException:
        with suppress(OpenSearchException):
            client.close()
        raise
    with engine_errors("closing the engine"):
        client.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs ``rerank-index`` and exits: 0 when done, 1 with one line on standard error, 2 for wrong usage."""
    # opensearch-py logs failed requests with tracebacks; what matters of them stands in our own line.
    logging.getLogger("opensearch").addHandler(logging.NullHandler())
    try:
        commands.main(args=arguments, prog_name="rerank-index", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        _fail(
            "stopped by the keyboard; what was being written is incomplete: load again as before, or reindex --resume"
        )
    except RerankError as error:
        _fail(str(error))
    except OSError as error:
        _fail(os_error_line(error))
    except Exception as error:
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        where = "" if place is None else f" at {Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno}"
        _fail(f"unexpected {type(error).__name__}{where}: {error}; please report it")


def _fail(message: str) -> None:
    click.echo(f"rerank-index: {' '.join(message.split())}", err=True)
    sys.exit(1)
