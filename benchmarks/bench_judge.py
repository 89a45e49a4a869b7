"""A collection on a real OpenSearch: loaded, enriched, and every arm of the judge compared with BM25.

    python benchmarks/bench_judge.py [NAME ...] [--engine URL] [--arm SPEC ...] [--out DIR] [--json]

NAME is a BEIR directory under RERANK_DATA or ../shared/data (default: cacm). Without --engine an OpenSearch is started
for the run (Java 21 and Maven). What happens is what a user types: `rerank-index load`, then `rerank evaluate`; the two
command lines are printed. Rivals learn from dev or train queries where the collection has them, else by
cross-validation. Figures are nDCG@10, linear gain, of the test queries; clock 2026-01-01, seed 0.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ARMS = ("bm25", "dense", "fused", "sum", "lightgbm", "rerank")
CLOCK = "2026-01-01"


def main() -> None:
    """Prints one table row per collection, or with --json all results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=["cacm"])
    parser.add_argument("--engine", help="URL of a running OpenSearch or Elasticsearch, or embedded:PATH")
    parser.add_argument("--arm", action="append", help="in place of the usual arms; may be repeated")
    parser.add_argument("--out", type=Path, help="keeps the reports there")
    parser.add_argument("--json", action="store_true", dest="as_json")
    options = parser.parse_args()
    data = Path(os.environ.get("RERANK_DATA") or ROOT.parent / "shared" / "data") / "beir"
    absent = [name for name in options.names if not (data / name).is_dir()]
    if absent:
        print(f"skipped: no collection {absent[0]} under {data}; set RERANK_DATA to the folder that holds beir/")
        return
    arms = tuple(options.arm or ARMS)
    node = None if options.engine else _started()
    engine = options.engine or (node.url if node is not None else "")
    try:
        with tempfile.TemporaryDirectory() as scratch:
            out = options.out or Path(scratch)
            results = {name: _judged(engine, name, data / name, arms, out / name) for name in options.names}
    finally:
        if node is not None:
            node.stop()
    if options.as_json:
        print(json.dumps(results, indent=2))
        return
    print(table(results))


def table(results: dict[str, dict[str, Any]]) -> str:
    """nDCG@10 per collection and arm; reranking less the best rival with its 95 % interval; p50 of two arms."""
    labels = list(next(iter(results.values()))["arms"])
    rows = [["collection", "queries", *labels, "rerank - fused, 95 %", "p50 ms bm25 / rerank"]]
    rows.append(["---"] * len(rows[0]))
    for name, result in results.items():
        found = {
            (row["baseline"], row["candidate"]): row for row in result["comparisons"] if row["measure"] == "nDCG@10"
        }
        row = found.get(("fused", "rerank"))
        times = [result["arms"].get(label, {}).get("latency_ms", {}).get("p50") for label in ("bm25", "rerank")]
        rows.append(
            [
                name,
                str(result["queries"]),
                *(f"{result['arms'][label]['nDCG@10']:.3f}".removeprefix("0") for label in labels),
                "-" if row is None else f"{row['ci95'][0]:+.3f} to {row['ci95'][1]:+.3f}",
                " / ".join("-" if each is None else f"{each:.0f}" for each in times),
            ]
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _started() -> Any:
    sys.path.insert(0, str(ROOT / "tests"))
    from harness.opensearch import start_or_leave

    return start_or_leave()


def _judged(engine: str, name: str, folder: Path, arms: Sequence[str], out: Path) -> dict[str, Any]:
    """Loads one collection and evaluates it; the result of ``rerank evaluate``."""
    out.mkdir(parents=True, exist_ok=True)
    index = f"judge-{name}"
    where = ["--engine", engine, "--index", index, "--vectors", str(out / "vectors"), "--now", CLOCK]
    _run("indexer.cli", "rerank-index", ["load", *where, "--docs", str(folder), "--recreate"], out)
    asked = [each for arm in arms for each in ("--arm", arm)]
    _run(
        "rerank_plugin.cli.main",
        "rerank",
        ["evaluate", *where, "--dataset", str(folder), *asked, "--out", str(out)],
        out,
    )
    found: dict[str, Any] = json.loads((out / "result.json").read_text(encoding="utf-8"))
    return found


def _run(module: str, program: str, arguments: list[str], out: Path) -> None:
    if program == "rerank-index":
        arguments = [*arguments, "--rejects", str(out / "rejects.jsonl")]
    print(shlex.join([program, *arguments]), file=sys.stderr)
    code = f"import sys; from {module} import main; sys.argv[0] = {program!r}; main()"
    finished = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL, check=False
    )
    if finished.returncode:
        sys.exit(finished.returncode)


if __name__ == "__main__":
    main()
