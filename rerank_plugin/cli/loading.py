"""Filling an index from a command of the reading side: ``rerank-index load`` as its own process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rerank_plugin.errors import DataError

if TYPE_CHECKING:
    from datetime import datetime

    from rerank_plugin.wiring import Setup


def analyzer_for(folder: Path) -> str:
    """``cjk`` where at least 30 % of the letters of the first 200 documents are Chinese, Japanese or Korean.

    :raises DataError: the folder has no corpus.
    """
    from itertools import islice

    from rerank_plugin.evaluation.collection import lines, one_of

    letters: list[str] = []
    for _, line in islice(lines(one_of(folder, "corpus.jsonl")), 200):
        try:
            text = str(json.loads(line)["text"])
        except (ValueError, KeyError, TypeError):
            continue  # a bad record; loading counts it
        letters += filter(str.isalpha, text)
    cjk = sum("\u3040" <= letter <= "\u9fff" or "\uac00" <= letter <= "\ud7af" for letter in letters)
    return "cjk" if letters and cjk >= 0.3 * len(letters) else "english"


def load(folder: Path, out: Path, setup: Setup, analyzer: str, *, model: Path | None = None) -> dict[str, Any]:
    """Runs ``rerank-index load`` as its own process; what it printed comes back and stays in ``OUT/load.json``.

    The reading side never imports the writing side, so a command is the way between them. Its messages go straight to
    our standard error.
    """
    # -P: a folder called indexer where the command is run must not take the place of ours.
    command = [sys.executable, "-P", "-c", "from indexer.cli import main; main()", "load"]
    command += ["--engine", setup.engine, "--index", setup.index, "--docs", str(folder), "--analyzer", analyzer]
    command += ["--vectors", str(out / "vectors"), "--rejects", str(out / "rejects.jsonl")]
    command += ["--state", str(out / "load.state.json"), "--now", setup.now.isoformat(), "--json"]
    if model is not None:
        command += ["--model", str(model)]
    finished = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if finished.returncode != 0:
        raise click.exceptions.Exit(finished.returncode if finished.returncode > 0 else 1)
    try:
        loaded: dict[str, Any] = json.loads(finished.stdout)
    except ValueError as error:
        raise DataError("rerank-index load printed no JSON; run it by hand to see why") from error
    (out / "load.json").write_text(json.dumps(loaded, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return loaded


def filled(folder: Path, scratch: Path, *, model: Path, now: datetime) -> Setup:
    """Where a BEIR directory can be searched: an embedded engine in ``scratch`` with vectors made by a model."""
    from rerank_plugin.wiring import Setup

    setup = Setup(engine=f"embedded:{scratch / 'engine'}", index="collection", now=now, vectors=scratch / "vectors")
    load(folder, scratch, setup, analyzer_for(folder), model=model)
    return setup
