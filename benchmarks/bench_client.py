"""What the drop-in client itself costs on a real OpenSearch: everything but the model, which is a no-op here.

    python benchmarks/bench_client.py [--engine URL] [--documents N] [--searches N] [--window N] [--json]

Without --engine an OpenSearch is started for the run (Java 21 and Maven). Four clients ask the same queries, one after
the other in an order that is drawn anew for every query, so that noise of the machine falls on all alike:

    plain     opensearch-py, size 10              window    opensearch-py, size = window, what reranking must fetch
    off       ours, mode off, size 10             on        ours, size 10 of a window, with a scorer that says 0

Marks: p50 of `on` at most that of `window` + 10 %, of `off` at most that of `plain` + 3 %, each as the median over
queries of the ratio inside one query. Beside them, the processor time that this process spends on a search, which tells
our cost on a machine that is busy with other things. Then the event loop: how late a timer of 5 ms rings while 8
searches at a time run on the loop, with AsyncOpenSearch of opensearch-py and with ours; mark: p99 under 10 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import opensearchpy
from opensearchpy import helpers

from rerank_plugin import Rerank, wrap
from rerank_plugin.client.pipeline import Pipeline
from rerank_plugin.domain.factors import Weights
from rerank_plugin.models.types import Interaction
from rerank_plugin.ranking.ranker import ModelRanker
from rerank_plugin.ranking.relevance import CASES, PAIR_CASES, Fit, RelevanceHead

ROOT = Path(__file__).resolve().parents[1]
INDEX = "bench-client"
SEED = 0
AT_A_TIME = 8
TICK_SECONDS = 0.005


class SaysNothing:
    """A scorer that finds all documents equal."""

    name = "no-op@0"

    def interact(self, query: str, texts: Sequence[str]) -> Interaction:  # noqa: ARG002
        """Zeros."""
        return Interaction(np.zeros(len(texts), np.float32), np.zeros(len(texts), np.bool_))


def no_op() -> ModelRanker:
    """The package's own ranker over the scorer that says nothing: blending and explaining are part of our cost."""
    fits = {case: Fit(intercept=0.0, log_score=1.0, interaction=1.0) for case in (*CASES, *PAIR_CASES)}
    return ModelRanker(SaysNothing(), RelevanceHead(fits), Weights(freshness=0.5, authority=0.5))


def main() -> None:
    """Prints the ratios and whether they keep their marks, or with --json one object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", help="URL of a running OpenSearch; its index bench-client is replaced")
    parser.add_argument("--documents", type=int, default=5000)
    parser.add_argument("--searches", type=int, default=300)
    parser.add_argument("--window", type=int, default=100)
    parser.add_argument("--json", action="store_true", dest="as_json")
    options = parser.parse_args()
    node = None if options.engine else _started()
    url = options.engine or node.url
    try:
        result = measured(url, options.documents, options.searches, options.window)
    finally:
        if node is not None:
            node.stop()
    if options.as_json:
        print(json.dumps(result))
        return
    for name, ratio in result["ratio"].items():
        mark = {"on/window": 1.10, "off/plain": 1.03}[name]
        print(f"{name}: {ratio:.3f} (at most {mark:.2f}): {'kept' if ratio <= mark else 'MISSED'}")
    print("p50 ms: " + ", ".join(f"{name} {each:.2f}" for name, each in result["p50_ms"].items()))
    print("processor ms of this process: " + ", ".join(f"{k} {v:.2f}" for k, v in result["processor_ms"].items()))
    for name, lag in result["loop_lag_ms"].items():
        print(f"event loop lag, {name}: p50 {lag['p50']:.1f}, p99 {lag['p99']:.1f}, max {lag['max']:.1f} ms")
    print(f"seed {SEED}, {result['versions']}")


def measured(url: str, documents: int, searches: int, window: int) -> dict[str, Any]:
    """All figures of one run."""
    rng = random.Random(SEED)
    plain = opensearchpy.OpenSearch(url)
    words = _loaded(plain, documents, rng)
    on = wrap(plain, pipeline=Pipeline(Rerank(window=window), ranker=no_op()))
    off = wrap(plain, rerank={"mode": "off"})
    arms: dict[str, Callable[[dict[str, Any]], Any]] = {
        "plain": lambda body: plain.search(index=INDEX, body={**body, "size": 10}),
        "off": lambda body: off.search(index=INDEX, body={**body, "size": 10}),
        "window": lambda body: plain.search(index=INDEX, body={**body, "size": window}),
        "on": lambda body: on.search(index=INDEX, body={**body, "size": 10}),
    }
    taken: dict[str, list[float]] = {name: [] for name in arms}
    processor: dict[str, list[float]] = {name: [] for name in arms}
    for number in range(searches + searches // 5):
        body = {"query": {"match": {"text": " ".join(rng.sample(words, 3))}}}
        for arm in rng.sample(sorted(arms), len(arms)):
            began, worked = time.perf_counter(), time.process_time()
            answer = arms[arm](body)
            seconds, busy = time.perf_counter() - began, time.process_time() - worked
            if arm == "on" and answer["rerank"]["status"] != "applied":
                sys.exit(f"a search was not reranked: {answer['rerank']['reason']}")
            if number >= searches // 5:  # the first fifth warms up
                taken[arm].append(seconds)
                processor[arm].append(busy)
    lag = asyncio.run(_lags(url, words, rng, window, searches))
    version = plain.info()["version"]["number"]
    plain.indices.delete(index=INDEX)
    plain.close()
    return {
        "ratio": {
            f"{ours}/{theirs}": statistics.median(a / b for a, b in zip(taken[ours], taken[theirs], strict=True))
            for ours, theirs in (("on", "window"), ("off", "plain"))
        },
        "p50_ms": {name: 1000 * statistics.median(each) for name, each in taken.items()},
        "processor_ms": {name: 1000 * statistics.fmean(each) for name, each in processor.items()},
        "loop_lag_ms": lag,
        "documents": documents,
        "searches": searches,
        "window": window,
        "seed": SEED,
        "versions": {
            "opensearch": version,
            "opensearch-py": opensearchpy.__versionstr__,
            "python": platform.python_version(),
        },
    }


async def _lags(url: str, words: list[str], rng: random.Random, window: int, searches: int) -> dict[str, Any]:
    plain = opensearchpy.AsyncOpenSearch(url)
    ours = wrap(plain, pipeline=Pipeline(Rerank(window=window), ranker=no_op()))
    late: dict[str, list[float]] = {"plain": [], "on": []}
    try:
        for _ in range(max(2, searches // 50)):
            for name, client, size in (("plain", plain, window), ("on", ours, 10)):
                bodies = [
                    {"query": {"match": {"text": " ".join(rng.sample(words, 3))}}, "size": size} for _ in range(50)
                ]
                late[name] += await _lag(client, bodies)
    finally:
        await plain.close()
    return {
        name: {
            "p50": 1000 * statistics.median(each),
            "p99": 1000 * sorted(each)[int(0.99 * (len(each) - 1))],
            "max": 1000 * max(each),
        }
        for name, each in late.items()
    }


async def _lag(client: Any, bodies: list[dict[str, Any]]) -> list[float]:
    """How many seconds late a timer rang, again and again, while the searches ran."""
    late: list[float] = []
    waiting = list(bodies)

    async def searching() -> None:
        while waiting:
            await client.search(index=INDEX, body=waiting.pop())

    work = asyncio.gather(*(searching() for _ in range(AT_A_TIME)))
    while not work.done():
        began = time.perf_counter()
        await asyncio.sleep(TICK_SECONDS)
        late.append(time.perf_counter() - began - TICK_SECONDS)
    await work
    return late


def _loaded(client: opensearchpy.OpenSearch, documents: int, rng: random.Random) -> list[str]:
    """The words to search for; the documents are of 120 words whose frequencies fall as 1 / rank, as in languages."""
    words = [f"w{number}" for number in range(3000)]
    weights = [1 / (1 + rank) for rank in range(len(words))]
    client.indices.delete(index=INDEX, ignore=[404])
    shape = {"number_of_shards": 1, "number_of_replicas": 0}
    client.indices.create(index=INDEX, body={"settings": shape, "mappings": {"properties": {"text": {"type": "text"}}}})
    helpers.bulk(
        client,
        (
            {
                "_index": INDEX,
                "_id": str(number),
                "title": f"document {number}",
                "text": " ".join(rng.choices(words, weights, k=120)),
                "rerank": {"authority": rng.random(), "published_at": f"20{rng.randrange(10, 26)}-01-01"},
            }
            for number in range(documents)
        ),
        refresh=True,
    )
    client.indices.forcemerge(index=INDEX, max_num_segments=1)
    return words[20:400]


def _started() -> Any:
    sys.path.insert(0, str(ROOT / "tests"))
    from harness.opensearch import start_or_leave

    return start_or_leave()


if __name__ == "__main__":
    main()
