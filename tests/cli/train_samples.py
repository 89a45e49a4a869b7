"""A tiny collection, and ``rerank train`` on it, for the tests of that command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rerank_plugin.cli.main import main


def collection(folder: Path, *, splits: tuple[str, ...] = ("train", "test")) -> Path:
    """Documents that all match every query; the relevant ones say "approved", which no query does."""
    (folder / "qrels").mkdir(parents=True)
    documents = [
        {"_id": f"d{number}", "title": "", "text": f"report of the {kind} number {number}", "metadata": {}}
        for number in range(8)
        for kind in ["approved vessel" if number < 3 else "rejected vessel"]
    ]
    written(folder / "corpus.jsonl", documents)
    written(folder / "queries.jsonl", [{"_id": f"q{n}", "text": f"report of vessel {n + 20}"} for n in range(20)])
    for place, split in enumerate(splits):
        rows = [f"q{n}\td{d}\t1" for n in range(10 * place, 10 * place + 10) for d in range(3)]
        (folder / "qrels" / f"{split}.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *rows]) + "\n")
    return folder


def written(path: Path, records: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(each) + "\n" for each in records), encoding="utf-8")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["train", *arguments])
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


STEPS = ["max_steps=8", "validate_every=4", "tokens=16", "groups=2", "group_size=6", "learning_rate=5e-4"]
SETTINGS = [part for setting in STEPS for part in ("--set", setting)]
