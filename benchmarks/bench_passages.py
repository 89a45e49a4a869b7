"""What reading more of long texts brings and costs: nDCG@10 and time by ``passages``, through the reranking client.

    python benchmarks/bench_passages.py [--collection NAME] [--split NAME] [--queries N] [--json]

BM25 windows of 100 of the embedded engine, over title and text in one field. Every query is asked with each number of
passages before the next query, so that whatever else the machine does falls on all alike; times are ratios to one
passage. Without the collections (RERANK_DATA, else ../shared/data) it says so and ends.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from opensearchpy import helpers

from rerank_plugin import wrap
from rerank_plugin.engines.connect import connect
from rerank_plugin.evaluation.collection import read_beir
from rerank_plugin.training.parity import ndcg_at_10

PASSAGES = (1, 2, 4)


def main() -> None:
    """Prints one line per number of passages, or with --json one object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collection", default="nfcorpus")
    parser.add_argument("--split", default="dev")
    parser.add_argument("--queries", type=int, default=10)
    parser.add_argument("--json", action="store_true", dest="as_json")
    options = parser.parse_args()
    folder = Path(os.environ.get("RERANK_DATA", "../shared/data")) / "beir" / options.collection
    if not folder.is_dir():
        sys.stderr.write(f"needs the collection {folder.name}: set RERANK_DATA to the folder of the collections\n")
        return
    result = measured(folder, options.split, options.queries)
    if options.as_json:
        print(json.dumps(result))
        return
    for each in result["passages"]:
        print(
            f"{folder.name} {options.split} passages {each['passages']}: nDCG@10 {each['nDCG@10']:.4f}, "
            f"{each['time']:.2f} x the time, {each['truncated']:.1f} texts of a window truncated"
        )


def measured(folder: Path, split: str, limit: int) -> dict[str, Any]:
    """Means over the first ``limit`` judged queries of the split."""
    judged = read_beir(folder, split).first(limit)
    gains: dict[int, list[float]] = {each: [] for each in PASSAGES}
    spent, truncated = dict.fromkeys(PASSAGES, 0.0), dict.fromkeys(PASSAGES, 0)
    with tempfile.TemporaryDirectory(prefix="rerank-bench-") as scratch:
        plain = connect(f"embedded:{scratch}/engine")
        loaded(plain, folder)
        for query in judged.queries:
            body = {"query": {"match": {"content": query.text}}, "size": 100, "_source": False}
            grades = judged.qrels[query.query_id]
            ideal = sorted(grades.values(), reverse=True)
            for passages in PASSAGES:
                client = CLIENTS.setdefault(
                    passages, wrap(plain, {"passages": passages, "text_fields": ["content"], "dense": "reorder"})
                )
                began = time.perf_counter()
                found = client.search(index="texts", body=body)
                spent[passages] += time.perf_counter() - began
                truncated[passages] += found["rerank"]["truncated"]
                order = [grades.get(hit["_id"], 0) for hit in found["hits"]["hits"]]
                gains[passages].append(ndcg_at_10(-np.arange(len(order)), order, ideal))
    return {
        "collection": folder.name,
        "split": split,
        "queries": len(judged.queries),
        "passages": [
            {
                "passages": each,
                "nDCG@10": float(np.mean(gains[each])),
                "time": spent[each] / spent[1],
                "truncated": truncated[each] / len(judged.queries),
            }
            for each in PASSAGES
        ],
    }


#: One client, and so one cache of vectors, per number of passages.
CLIENTS: dict[int, Any] = {}


def loaded(client: Any, folder: Path) -> None:
    """The collection as the index ``texts``."""
    mapping = {"mappings": {"properties": {"content": {"type": "text", "analyzer": "english"}}}}
    client.indices.create(index="texts", body=mapping)
    with gzip.open(folder / "corpus.jsonl.gz", "rt", encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    actions = (
        {"_index": "texts", "_id": each["_id"], "content": f"{each.get('title', '')}\n{each['text']}"}
        for each in records
    )
    helpers.bulk(client, actions, refresh=True)


if __name__ == "__main__":
    main()
