"""What the commands share: options, output, progress, and the one place where errors become a line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from rerank_plugin.errors import DataError, RerankError, os_error_line

Command = TypeVar("Command", bound=Callable[..., Any])

ENGINE_HELP = "http(s)://host:9200 of an OpenSearch or Elasticsearch, or embedded:PATH."
FOLDER = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(path_type=Path)


def _moment(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> datetime | None:
    if value is None:
        return None
    from rerank_plugin.domain.features import parse_date

    try:
        return parse_date(value)
    except DataError as error:
        raise click.BadParameter(str(error)) from error


def now_option(command: Command) -> Command:
    """``--now``: the clock of freshness, ``2020-05-31`` or ``2020-05-31T12:00:00Z``; without a zone it is UTC."""
    told = "The clock for freshness and age.  [default: the present]"
    return click.option("--now", metavar="DATE", callback=_moment, help=told)(command)


def json_option(command: Command) -> Command:
    """``--json``: one JSON object on standard output."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")(command)


def present() -> datetime:
    """The time, where ``--now`` was not given; whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


def print_json(value: Any) -> None:
    """One JSON object on standard output."""
    click.echo(json_text(value))


def json_text(value: Any) -> str:
    """One JSON object, as people read it."""
    return json.dumps(value, ensure_ascii=False, indent=2, default=str)


def tell(message: str) -> None:
    """A line for a person, on standard error: standard output is for data."""
    click.echo(message, err=True)


def clean(text: str) -> str:
    """The text as UTF-8 can carry it: bytes of a command line that were none become a replacement character."""
    return text.encode("utf-8", "replace").decode("utf-8")


@contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[], None]]:
    """A function to call after each step; a bar on standard error if that is a terminal, else nothing."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(label, total=total)
        yield lambda: bars.advance(task)


def as_line(error: BaseException) -> str | None:
    """The error as one line for a person; ``None`` for one that is not expected and so needs its traceback."""
    if isinstance(error, RerankError):
        return _joined(str(error))
    if isinstance(error, OSError):
        return _joined(os_error_line(error))
    return _engine_line(error)


def _engine_line(error: BaseException) -> str | None:
    """What opensearch-py raised; it is only asked for when something has imported it already."""
    exceptions = sys.modules.get("opensearchpy.exceptions")
    if exceptions is None:
        return None
    if isinstance(error, exceptions.ConnectionError):
        return _joined(f"the engine cannot be reached ({error.error}); check --engine, and that it is running")
    if isinstance(error, exceptions.SerializationError):
        return _joined(f"what answers at --engine sends no JSON ({error}); is it an OpenSearch or Elasticsearch?")
    if isinstance(error, exceptions.TransportError):
        if str(error.error).lstrip().startswith("<"):
            return _joined(
                f"what answers at --engine sent a web page with status {error.status_code}; "
                "is it an OpenSearch or Elasticsearch, or a proxy before one?"
            )
        kind, reason = _reason(error)
        if kind == "index_not_found_exception":
            return _joined(
                f"the engine has no such index ({reason}); check --index, or load one with rerank-index load"
            )
        return _joined(f"the engine answered {error.status_code}: {kind}: {reason}")
    if type(error).__module__.startswith("opensearchpy."):
        return _joined(f"the engine's client failed: {type(error).__name__}: {error}")
    return None


def _reason(error: Any) -> tuple[str, str]:
    """Kind and reason of an engine's error, whose body may be JSON of two shapes, or no JSON at all."""
    info = error.info
    told = info.get("error", info) if isinstance(info, dict) else info
    if isinstance(told, dict):
        causes = told.get("root_cause") or [told]
        reason = causes[0].get("reason") if isinstance(causes[0], dict) else None
        return str(told.get("type", error.error)), str(reason or told.get("reason") or error.error)
    return str(error.error), str(told or error.error)


def _joined(text: str) -> str:
    """One line, of a length that a terminal can show."""
    line = " ".join(text.split())
    return line if len(line) <= 600 else f"{line[:599]}…"
