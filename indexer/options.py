"""Options and answers that the commands of ``rerank-index`` share."""

from __future__ import annotations

import json
import math
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rerank_plugin.errors import ConfigError

if TYPE_CHECKING:
    from indexer.events.engine import Ubi
    from indexer.progress import Progress
    from indexer.report import LoadReport
    from indexer.signal_config import SignalConfig
    from indexer.vectors import Encoder

FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
FOLDER = click.Path(path_type=Path, file_okay=False)


def events_of(ctx: click.Context, param: click.Parameter, value: str | None) -> Path | Ubi | None:
    """``--events``: a file, or the engine's own indexes; a file whose name is ``ubi`` is written ``./ubi``."""
    found = None if value is None else log_of(ctx, param, value)
    return FILE.convert(found, param, ctx) if isinstance(found, str) else found


def log_of(ctx: click.Context, param: click.Parameter, value: str) -> str | Ubi:
    """``--events`` where it need not be a file of this machine."""
    from indexer.events.engine import Ubi

    kind, colon, names = value.partition(":")
    if kind != "ubi":
        return value
    given = [each.strip() for each in names.split(",")]
    if colon and (len(given) != 2 or not all(given)):
        raise click.BadParameter(f"{value!r} does not name two indexes; write ubi, or ubi:QUERIES,EVENTS", ctx, param)
    return Ubi(*given) if colon else Ubi()


#: How ``--help`` shows the values that :func:`events_of` takes.
EVENTS = "FILE|ubi[:QUERIES,EVENTS]"
ENGINE = click.option("--engine", required=True, help="http(s)://host:9200 or embedded:PATH.")


def clock_of(given: str | None) -> datetime:
    """The time of ``--now``; the time of day without it.

    :raises DataError: it is no date.
    """
    from rerank_plugin.domain.features import parse_date

    return datetime.now(UTC).replace(microsecond=0) if given is None else parse_date(given)


def half_life_of(given: float | None) -> float | None:
    """The half-life in days; ``None`` chooses one.

    :raises ConfigError: it is not above 0.
    """
    if given is not None and not (math.isfinite(given) and given > 0):
        raise ConfigError(f"--half-life-days must be above 0, got {given:g}")
    return given


def signals_of(file: Path | None) -> SignalConfig:
    """The settings of ``--signals``, else the usual ones.

    :raises ConfigError: the file is none of settings.
    """
    from indexer.signal_config import SignalConfig

    return SignalConfig() if file is None else SignalConfig.read(file)


def encoder_of(folder: Path | None) -> Encoder:
    """The model of ``--model``, else of ``RERANK_MODEL``, else (and beside a cross-encoder) the shipped one."""
    from rerank_plugin.config import Rerank
    from rerank_plugin.models.folder import ModelFolder, default_model_folder
    from rerank_plugin.models.load import open_encoder

    chosen = Rerank(model=folder).with_environment().model
    return open_encoder(ModelFolder.open(chosen or default_model_folder()))


def progress_of() -> Progress:
    """Bars on a terminal, nothing elsewhere."""
    from indexer.progress import Bars, Silent

    return Bars() if sys.stderr.isatty() else Silent()


def print_report(report: LoadReport, *, as_json: bool) -> None:
    """One JSON object, or a summary for people, on standard output."""
    if as_json:
        click.echo(json.dumps(report.as_json()))
        return
    from rich.console import Console

    report.show(Console())
