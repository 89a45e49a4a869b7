"""``rerank-index reindex`` against the engine's own ``_reindex`` (slices=auto, same settings), on a real OpenSearch.

    .venv/bin/python benchmarks/bench_reindex.py [--docs 200000] [--shards 2] [--rounds 2]

Documents of 1 kB with a date, views and trust, seeded. Both roads run alternately against the same node, each into a
new index with refresh and replicas off. Ours computes the signals, compares both sides and moves an alias besides.
"""

from __future__ import annotations

import argparse
import random
import re
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import opensearchpy
from opensearchpy import OpenSearch
from opensearchpy.helpers import bulk

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from harness.opensearch import start_or_leave
from indexer.progress import Silent
from indexer.reindex.job import ReindexJob, reindex
from indexer.reindex.wire import Wire, quiet

SOURCE, THEIRS, OURS = "bench-source", "bench-theirs", "bench-ours"
MAPPINGS = {
    "dynamic": False,
    "properties": {
        "title": {"type": "text"},
        "text": {"type": "text"},
        "date": {"type": "date"},
        "views": {"type": "integer"},
    },
}


def documents(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Bulk actions of documents of 1 kB whose words are distributed as in texts."""
    chance = random.Random(seed)
    words = [f"w{min(int(chance.paretovariate(0.6)), 10**6)}" for _ in range(50_000)]
    for number in range(count):
        yield {
            "_index": SOURCE,
            "_id": f"doc-{number}",
            "title": " ".join(chance.choices(words, k=5)),
            "text": " ".join(chance.choices(words, k=250))[:850],
            "date": f"20{chance.randint(10, 25)}-0{chance.randint(1, 9)}-11",
            "views": int(chance.paretovariate(0.8)),
            "owner_reputation": chance.randint(0, 1000),
        }


def fill(client: OpenSearch, count: int, shards: int, seed: int) -> float:
    """Mean bytes of the documents of the new source."""
    settings = {"number_of_shards": shards, "number_of_replicas": 0, "refresh_interval": "-1"}
    client.indices.create(index=SOURCE, body={"settings": settings, "mappings": MAPPINGS})
    bulk(client, documents(count, seed), chunk_size=2_000)
    client.indices.put_settings(index=SOURCE, body={"index.refresh_interval": "1s"})
    client.indices.flush(index=SOURCE)
    client.indices.refresh(index=SOURCE)
    sample = [hit["_source"] for hit in client.search(index=SOURCE, size=100)["hits"]["hits"]]
    return statistics.fmean(len(str(each)) for each in sample)


def theirs(client: OpenSearch, shards: int) -> float:
    """Seconds of the engine's own road."""
    settings = {"number_of_shards": shards, "number_of_replicas": 0, "refresh_interval": "-1"}
    client.indices.create(index=THEIRS, body={"settings": settings, "mappings": MAPPINGS})
    body = {"source": {"index": SOURCE}, "dest": {"index": THEIRS}}
    started = time.perf_counter()
    # As a task: the answer of a long call has a warning header for every batch, more than HTTP clients take.
    task = client.reindex(body=body, slices="auto", refresh=True, wait_for_completion=False)["task"]
    while not (told := client.tasks.get(task_id=task))["completed"]:
        time.sleep(0.1)
    seconds = time.perf_counter() - started
    if told["response"]["created"] != client.count(index=SOURCE)["count"]:
        raise SystemExit(f"_reindex did not copy everything: {told}")
    client.indices.delete(index=THEIRS)
    return seconds


def ours(wire: Wire, folder: Path) -> tuple[float, float]:
    """Seconds of ours, and of its write block."""
    job = ReindexJob(
        source=SOURCE,
        dest=OURS,
        alias="bench-live",
        state=folder / "state.json",
        now=datetime(2026, 1, 1, tzinfo=UTC),
        rejects=folder / "rejects.jsonl",
        run_id="bench",
    )
    started = time.perf_counter()
    run = reindex(job, wire, Silent())
    seconds = time.perf_counter() - started
    wire.client.indices.delete(index=OURS)
    wire.client.indices.put_settings(index=SOURCE, body={"index.blocks.write": None})
    return seconds, run.account.blocked_seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docs", type=int, default=10_000)
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args()
    quiet()
    node = start_or_leave(heap="1g")
    wire = Wire.open(node.url)
    times: dict[str, list[float]] = {"_reindex": [], "ours": []}
    try:
        size = fill(wire.client, asked.docs, asked.shards, asked.seed)
        version = wire.client.info()["version"]["number"]
        print(f"OpenSearch {version}, opensearch-py {opensearchpy.__versionstr__}, seed {asked.seed}")
        print(f"{asked.docs:,} documents of {size:,.0f} bytes, {asked.shards} shards")
        with tempfile.TemporaryDirectory() as folder:
            for number in range(asked.rounds):
                times["_reindex"].append(theirs(wire.client, asked.shards))
                seconds, blocked = ours(wire, Path(folder))
                times["ours"].append(seconds)
                print(
                    f"round {number + 1}: _reindex {times['_reindex'][-1]:.1f} s, ours {seconds:.1f} s "
                    f"(write block {blocked:.2f} s), speed ratio {times['_reindex'][-1] / seconds:.2f}",
                    flush=True,
                )
    finally:
        wire.close()
        node.stop()
    ratio = statistics.median(a / b for a, b in zip(times["_reindex"], times["ours"], strict=True))
    rates = ", ".join(f"{name} {asked.docs / min(each):,.0f} documents/s" for name, each in times.items())
    print(f"speed of ours over _reindex, median of {asked.rounds}: {ratio:.2f}; {rates}")
    status = Path("/proc/self/status")
    peak = re.search(r"VmHWM:\s+(\d+)", status.read_text(encoding="utf-8")) if status.exists() else None
    kilobytes = int(peak[1]) if peak else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"peak memory of this process {kilobytes / 1024:,.0f} MB")


if __name__ == "__main__":
    main()
