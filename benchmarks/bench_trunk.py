"""Our int8 scorer against sentence-transformers' CrossEncoder and encoder (torch fp32, defaults), same trunk and pairs.

    python benchmarks/bench_trunk.py [--windows N] [--threads N] [--collection NAME] [--json]

Real BM25 windows of 100 (CACM by default, from RERANK_DATA or ../shared/data; without it, the demo corpus). Every
window is run by every contestant before the next one, in turning order, so that whatever else the machine does falls
on all alike; the time of a contestant is its sum over windows. Tokenizing is part of everybody's time. The order
quality is that of cosines: our int8 against sentence-transformers' own fp32 vectors.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from rerank_plugin.demo_data import DIRECTORY
from rerank_plugin.engines.connect import connect
from rerank_plugin.evaluation.collection import read_beir
from rerank_plugin.models.folder import ModelFolder, default_model_folder
from rerank_plugin.models.trunk import OnnxTrunk, open_trunk
from rerank_plugin.models.types import Encoded
from rerank_plugin.training.parity import Window, bm25_windows, cosines, kendall_tau, mean_ndcg

PACKAGES = ("onnxruntime", "tokenizers", "torch", "transformers", "sentence-transformers", "numpy")
LARGEST_LOSS = 0.005


def main() -> None:
    """Prints the table, or with --json one object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collection", default="cacm")
    parser.add_argument("--windows", type=int, default=20, help="windows to time; all count for nDCG")
    parser.add_argument("--threads", type=int, default=None, help="of ours; torch keeps its default")
    parser.add_argument("--json", action="store_true", dest="as_json")
    options = parser.parse_args()
    windows, name = _windows(options.collection)
    ours = open_trunk(ModelFolder.open(default_model_folder()), threads=options.threads)
    contestants, encoder = _contestants(ours)
    times = _timed(contestants, windows[: options.windows])
    pairs = sum(len(window.texts) for window in windows[: options.windows])
    result = {
        "collection": name,
        "windows": len(windows[: options.windows]),
        "pairs": pairs,
        "pairs_per_second": {each: round(pairs / float(spent.sum()), 1) for each, spent in times.items()},
        "ratios": _ratios(times),
        **_quality(ours, encoder, windows),
        "model": ours.name,
        "processor": _processor(),
        "versions": {each: version(each) for each in PACKAGES},
    }
    print(json.dumps(result, indent=1) if options.as_json else _table(result))


def _windows(collection: str) -> tuple[list[Window], str]:
    root = Path(os.environ.get("RERANK_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    folder = root / "beir" / collection
    if not folder.is_dir():
        folder, collection = DIRECTORY, "the demo corpus"
    judged = read_beir(folder)
    documents = {record["_id"]: _text(record) for record in _records(folder)}
    queries = {query.query_id: query.text for query in judged.queries}
    with tempfile.TemporaryDirectory(prefix="rerank-bench-") as scratch:
        return bm25_windows(connect(f"embedded:{scratch}/engine"), documents, queries, judged.qrels), collection


def _records(folder: Path) -> Iterator[dict[str, Any]]:
    plain, packed = folder / "corpus.jsonl", folder / "corpus.jsonl.gz"
    with plain.open(encoding="utf-8") if plain.is_file() else gzip.open(packed, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def _text(record: dict[str, Any]) -> str:
    return "\n".join(filter(None, (record.get("title"), record.get("text"))))


def _contestants(ours: OnnxTrunk) -> tuple[dict[str, Callable[[Window], object]], Any]:
    from sentence_transformers import CrossEncoder, SentenceTransformer
    from transformers.utils import logging

    from rerank_plugin.training.two_mode import shipped_backbone

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    encoder = SentenceTransformer(str(shipped_backbone()), device="cpu")
    # The head is new and its scores mean nothing; its speed is that of any cross-encoder of this size.
    crossing = CrossEncoder(str(shipped_backbone()), num_labels=1, device="cpu")
    return {
        "ours int8, encode": lambda window: ours.encode(window.texts),
        "ours int8, pairs": lambda window: ours.interact(window.query, window.texts),
        "sentence-transformers encoder": lambda window: encoder.encode(list(window.texts), show_progress_bar=False),
        "sentence-transformers CrossEncoder": lambda window: crossing.predict(
            [(window.query, text) for text in window.texts], show_progress_bar=False
        ),
    }, encoder


def _timed(contestants: dict[str, Callable[[Window], object]], windows: list[Window]) -> dict[str, Any]:
    """Seconds of each contestant per window, after one window that does not count."""
    names = list(contestants)
    for name in names:
        contestants[name](windows[0])
    spent: dict[str, list[float]] = {name: [] for name in names}
    for turn, window in enumerate(windows):
        for place in range(len(names)):
            name = names[(turn + place) % len(names)]
            start = time.perf_counter()
            contestants[name](window)
            spent[name].append(time.perf_counter() - start)
    return {name: np.array(times) for name, times in spent.items()}


def _ratios(times: dict[str, Any]) -> dict[str, dict[str, float]]:
    """How many times faster, over all windows and in the median window."""
    rivals = {
        "encode against the encoder": ("ours int8, encode", "sentence-transformers encoder"),
        "pairs against the CrossEncoder": ("ours int8, pairs", "sentence-transformers CrossEncoder"),
        "pairs against the encoder": ("ours int8, pairs", "sentence-transformers encoder"),
    }
    return {
        label: {
            "sum": round(float(times[rival].sum() / times[own].sum()), 2),
            "median": round(float(np.median(times[rival] / times[own])), 2),
        }
        for label, (own, rival) in rivals.items()
    }


class _Reference:
    """sentence-transformers' encoder where a trunk is asked for."""

    name = "sentence-transformers"
    dimensions = 384

    def __init__(self, encoder: Any) -> None:
        self._encoder = encoder

    def encode(self, texts: Any) -> Encoded:
        vectors = self._encoder.encode(list(texts), show_progress_bar=False)
        return Encoded(vectors, np.zeros(len(texts), dtype=np.bool_))


def _quality(ours: OnnxTrunk, encoder: Any, windows: list[Window]) -> dict[str, Any]:
    own, reference = cosines(ours, windows), cosines(_Reference(encoder), windows)
    taus = np.array([kendall_tau(one, other) for one, other in zip(own, reference, strict=True)])
    small, full = mean_ndcg(own, windows), mean_ndcg(reference, windows)
    return {
        "nDCG@10": {"ours": round(small, 4), "fp32": round(full, 4), "difference": round(small - full, 4)},
        "kendall_tau": {
            "min": round(float(taus.min()), 4),
            "median": round(float(np.median(taus)), 4),
            "mean": round(float(taus.mean()), 4),
            "windows": len(taus),
        },
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    named = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine()
    )
    return f"{named}, {os.cpu_count()} cores"


def _table(result: dict[str, Any]) -> str:
    rows = [f"{result['windows']} BM25 windows of {result['collection']}, {result['pairs']} pairs, one run", ""]
    rows += [f"  {name:38}{speed:10.1f} pairs/s" for name, speed in result["pairs_per_second"].items()]
    rows += ["", "  times faster                                 sum    median window"]
    rows += [f"  {name:38}{ratio['sum']:10.2f}{ratio['median']:12.2f}" for name, ratio in result["ratios"].items()]
    quality, taus = result["nDCG@10"], result["kendall_tau"]
    rows += [
        "",
        f"  nDCG@10 of cosines: int8 {quality['ours']:.4f}, fp32 {quality['fp32']:.4f}, "
        f"difference {quality['difference']:+.4f} (allowed {LARGEST_LOSS})",
        f"  Kendall tau per window: min {taus['min']}, median {taus['median']}, mean {taus['mean']} "
        f"({taus['windows']} windows)",
        "",
        f"  {result['model']} on {result['processor']}",
        "  " + ", ".join(f"{name} {number}" for name, number in result["versions"].items()),
    ]
    return "\n".join(rows)


if __name__ == "__main__":
    main()
