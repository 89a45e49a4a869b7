"""The main job run once per collection, as a user runs it: ``rerank demo --dataset``, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from rerank_plugin.evaluation.compare import PerQuery, read_per_query

RERANK = [sys.executable, "-P", "-c", "from rerank_plugin.cli.main import main; main()"]
INDEXER = [sys.executable, "-P", "-c", "from indexer.cli import main; main()"]


def run_json(*command: str) -> dict[str, Any]:
    """What a command printed as JSON; fails with its standard error where it failed."""
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    printed: dict[str, Any] = json.loads(finished.stdout)
    return printed


@dataclass(frozen=True, slots=True)
class Job:
    """One finished demo."""

    out: Path
    result: dict[str, Any]

    @property
    def per_query(self) -> PerQuery:
        """Its values per query."""
        return read_per_query(self.out / "per_query.json")


@pytest.fixture(scope="session")
def main_job(tmp_path_factory: pytest.TempPathFactory, collection: Callable[[str], Path]) -> Callable[[str], Job]:
    """From a collection's name to its finished demo; run once per session, skipped where the collection is absent."""

    @cache
    def run(name: str) -> Job:
        folder = collection(name)
        out = tmp_path_factory.mktemp("main-job") / name
        command = [*RERANK, "demo", "--dataset", str(folder), "--out", str(out), "--now", "2026-01-01", "--json"]
        return Job(out, run_json(*command))

    return run
