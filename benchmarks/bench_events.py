"""An event log to features (cleaning, windows, click model and all) against one plain DuckDB GROUP BY of the file.

    python benchmarks/bench_events.py [--events 10000000] [--rounds 1] [--spark] [--json]

The log is made by a documented, seeded query: users search one of a thousand words a day, see ten documents, click by
position and liking, and view or buy what they clicked; JSON lines, about 150 bytes each. Both sides run in processes of
their own, in turning order, with two threads and the same memory limit; times are the sum of processor seconds, which
a busy machine changes little, and the peak memory is each process's own. ``--spark`` (extra ``spark``) does the same
work on Spark, two threads in one Java machine: its time is by the clock, and its features must be the same.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

SEED = 20261
NOW = datetime(2025, 6, 1, tzinfo=UTC)
#: Of ten impressions about one is clicked, so this many lines come of one search.
LINES_PER_SEARCH = 11

MAKE = """
COPY (
  WITH searches AS (
    SELECT n, hash(n, {seed}) AS h FROM range({searches}) t(n)
  ), shown AS (
    SELECT 'u' || (h % 200000) AS "user", 'words ' || ((h // 7) % 1000) AS query,
           TIMESTAMP '2025-03-01' + INTERVAL (h % 7900000) SECOND AS happened, p AS position,
           'd' || (((h // 7) % 1000) * 30 + ((h // 1000003 + p * 7) % 30)) AS doc,
           hash(h, p, 1) % 10000 / 10000.0 AS luck
    FROM searches, range(1, 11) r(p)
  )
  SELECT doc AS _id, 'impression' AS event, happened AS time, "user", query, position FROM shown
  UNION ALL
  SELECT doc, 'click', happened, "user", query, position FROM shown
  WHERE luck < 0.4 / position * (0.2 + (hash(doc) % 100) / 100.0)
) TO '{file}' (FORMAT json)
"""
PLAIN = """
SELECT _id, event, count(*) FROM read_json('{file}', format='newline_delimited',
  columns={{_id: 'VARCHAR', event: 'VARCHAR', time: 'VARCHAR', "user": 'VARCHAR', query: 'VARCHAR',
            position: 'VARCHAR'}})
GROUP BY ALL
"""


def make(file: Path, *, events: int) -> dict[str, Any]:
    """Writes the log; the number of its lines. In its own process: a child's peak begins at its parent's."""
    import duckdb

    con = duckdb.connect(config={"memory_limit": "1GB", "threads": 2, "preserve_insertion_order": False})
    con.execute(MAKE.format(seed=SEED, searches=max(events // LINES_PER_SEARCH, 1), file=file))
    [lines] = con.execute(
        f"SELECT count(*) FROM read_csv('{file}', header=false, delim='\\1', columns={{'l': 'VARCHAR'}})"
    ).fetchone()  # type: ignore[misc]
    return {"lines": int(lines)}


def run_ours(file: Path, backend: str = "duckdb") -> dict[str, Any]:
    """Log to features per document."""
    from indexer.events.summary import summarise
    from indexer.signal_config import SignalConfig
    from indexer.signals.popularity import fit_knots, popularity

    weights = SignalConfig().counts
    found = summarise(file, now=NOW, backend=backend)
    counts = list(found.counts.values())
    features = popularity(counts, knots=fit_knots(counts, weights), weights=weights)
    return {"documents": len(features), "features": dict(zip(found.counts, features, strict=True)), **found.account}


def run_spark(file: Path) -> dict[str, Any]:
    """The same on Spark."""
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[2]").config("spark.driver.memory", "2g")
    # Two hundred partitions, which is usual, are for many machines.
    builder = builder.config("spark.sql.shuffle.partitions", "4").config("spark.ui.showConsoleProgress", "false")
    builder.config("spark.ui.enabled", "false").config("spark.log.level", "ERROR").getOrCreate()
    return run_ours(file, "spark")


def run_plain(file: Path) -> dict[str, Any]:
    """Counts by document and kind."""
    import duckdb

    con = duckdb.connect(config={"memory_limit": "1GB", "preserve_insertion_order": False})
    return {"rows": len(con.execute(PLAIN.format(file=file)).fetchall())}


def measured(side: str, file: Path, events: int = 0) -> dict[str, Any]:
    """One side in a process of its own."""
    command = [sys.executable, __file__, "--events", str(events), "--one", side, str(file)]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(told.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--spark", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        began, processor = time.perf_counter(), time.process_time()
        side, file = asked.one
        runs = {"make": partial(make, events=asked.events), "ours": run_ours, "plain": run_plain, "spark": run_spark}
        found = runs[side](Path(file))
        spent = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - processor}
        print(json.dumps({**found, **spent, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "events.jsonl"
        lines = measured("make", file, asked.events)["lines"]
        megabytes = file.stat().st_size / 1e6
        sides = ("ours", "plain", *(("spark",) if asked.spark else ()))
        told: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
        for number in range(asked.rounds):
            for side in sides if number % 2 == 0 else sides[::-1]:
                told[side].append(measured(side, file))
    total = {
        side: {name: sum(each[name] for each in rounds) for name in ("seconds", "cpu_seconds")}
        for side, rounds in told.items()
    }
    features = [each.pop("features") for rounds in told.values() for each in rounds if "features" in each]
    apart = max(abs(each[doc] - value) for each in features for doc, value in features[0].items())
    ratios = {name: total["ours"][name] / total["plain"][name] for name in ("seconds", "cpu_seconds")}
    peaks = {side: max(each["peak_mb"] for each in rounds) for side, rounds in told.items()}
    if asked.json:
        print(
            json.dumps({"lines": lines, "runs": told, "ratios": ratios, "peak_mb": peaks, "apart": apart, "seed": SEED})
        )
        return
    last = told["ours"][-1]
    print(f"  {lines:,} events, {megabytes:,.0f} MB, {last['documents']:,} documents; {last['events']}")
    looks = last["propensities"]
    print(f"  propensities {looks['looks']} after {looks['rounds']} rounds (made with 1 / position)")
    print(
        f"  ours / plain GROUP BY: {ratios['seconds']:.2f} by the clock, {ratios['cpu_seconds']:.2f} by processor time"
    )
    print(f"  peak memory: ours {peaks['ours']:.0f} MB, plain {peaks['plain']:.0f} MB")
    if asked.spark:
        slower = total["spark"]["seconds"] / total["ours"]["seconds"]
        print(f"  Spark / ours: {slower:.2f} by the clock, its start included; features at most {apart:.1g} apart")
    libraries = ", ".join(f"{each} {version(each)}" for each in ("duckdb", "ibis-framework", "numpy", "pyarrow"))
    print(
        f"  seed {SEED}, {asked.rounds} rounds, {platform.machine()}, Python {platform.python_version()}, {libraries}"
    )


if __name__ == "__main__":
    main()
