"""What benchmarks share: where collections lie, their clocks, and how figures are written."""

from __future__ import annotations

import json
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rerank_plugin.models.folder import write_whole

#: The clock of freshness: the collections are old, and at today's date all of their documents are.
NOW = {
    "cacm": datetime(1980, 1, 1, tzinfo=UTC),
    "stackexchange": datetime(2025, 1, 1, tzinfo=UTC),
    "peps": datetime(2025, 1, 1, tzinfo=UTC),
}


def collections_folder() -> Path:
    """The folder of BEIR directories: under ``RERANK_DATA``, else beside the checkout."""
    root = os.environ.get("RERANK_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(root) / "beir"


def keep(out: Path, told: dict[str, Any]) -> None:
    """Writes to OUT what a run was told; another may not go on with what lies there."""
    file = out / "told.json"
    if file.exists() and json.loads(file.read_text(encoding="utf-8")) != told:
        sys.exit(f"Error: {out} holds a run with other settings or models; give another --out")
    out.mkdir(parents=True, exist_ok=True)
    write_whole(file, json.dumps(told).encode("utf-8"))


def silent(_: str, __: int) -> AbstractContextManager[Any]:
    """A progress that shows nothing."""
    return nullcontext(lambda: None)


def tell(line: str) -> None:
    """A line with the time on standard error."""
    print(f"{datetime.now():%H:%M:%S} {line}", file=sys.stderr, flush=True)


def short(number: float, form: str) -> str:
    """As tables have it, without the zero before the point."""
    return format(number, form).replace("0.", ".", 1) if abs(number) < 1 else format(number, form)


def difference(of: dict[str, Any]) -> str:
    """``delta`` and the ends of ``ci95``, where there is one."""
    low_high = "" if of["ci95"] is None else f", {'..'.join(short(each, '+.3f') for each in of['ci95'])}"
    return short(of["delta"], "+.3f") + low_high
