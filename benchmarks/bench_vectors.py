"""What vectors cost: documents encoded per second and core, and the size of their folder, per million documents.

    .venv/bin/python benchmarks/bench_vectors.py [--docs 500] [--threads 1] [--collection scifact]

Real documents of a BEIR collection (from RERANK_DATA or ../shared/data; without it, the demo corpus), in their order,
by the shipped model, as `rerank-index load --vectors` encodes them: 256 at a time, sorted by length inside, cut at
the model's limit of tokens. Tokenizing is part of the time. Below 50,000 documents the folder holds one vector and one
id for each, so its size grows with their number; the larger kinds add their graph or lists to that.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np

from indexer.progress import Silent
from indexer.rejects import Rejects
from indexer.sources import accepted, documents_file
from indexer.vectors import encode
from rerank_plugin.demo_data import DIRECTORY
from rerank_plugin.models.folder import ModelFolder, default_model_folder
from rerank_plugin.models.load import open_encoder
from rerank_plugin.models.tokens import TextTokenizer
from rerank_plugin.retrieval.dense import VectorIndex

MILLION = 1_000_000


def documents(collection: str, count: int, scratch: Path) -> tuple[str, dict[str, str]]:
    """The name of the collection, and id and text of its first documents."""
    root = Path(os.environ.get("RERANK_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    folder = root / "beir" / collection
    if not folder.is_dir():
        folder, collection = DIRECTORY, "the demo corpus"
    with Rejects(scratch / "rejects.jsonl") as rejects:
        records = (record for _, _, record in accepted(documents_file(str(folder)), rejects) if record is not None)
        return collection, {record.doc_id: record.text for record in islice(records, count)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=int, default=500)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--collection", default="scifact")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rerank-bench-") as scratch:
        name, texts = documents(asked.collection, asked.docs, Path(scratch))
        model = ModelFolder.open(default_model_folder())
        encoder = open_encoder(model, threads=asked.threads)
        encoder.encode(list(texts.values())[:2])  # opens the session
        spent_before, started = time.process_time(), time.perf_counter()
        vectors = encode(encoder, texts.values(), len(texts), Path(scratch) / "v", Silent(), saved=lambda *_: None)
        seconds, spent = time.perf_counter() - started, time.process_time() - spent_before
        folder = Path(scratch) / "vectors"
        started = time.perf_counter()
        VectorIndex.write(folder, list(texts), np.asarray(vectors), name="vectors", model=encoder.name)
        writing = time.perf_counter() - started
        size = sum(file.stat().st_size for file in folder.iterdir())
    tokenizer = TextTokenizer(model.read("tokenizer").decode("utf-8"), encoder.max_tokens)
    lengths = [len(each.ids) for each in tokenizer(list(texts.values()))]
    print(
        f"{name}: {len(texts):,} documents, {np.mean(lengths):.0f} tokens in mean (median {np.median(lengths):.0f}, "
        f"95 % below {np.quantile(lengths, 0.95):.0f}), {asked.threads} thread(s)"
    )
    print(
        f"encoding {len(texts) / seconds:.1f} documents/s, {len(texts) / spent:.1f} per second of one core; "
        f"folder written in {writing:.2f} s"
    )
    print(
        f"per million: {MILLION / len(texts) * spent / 3600:.1f} core-hours, "
        f"{MILLION / len(texts) * size / 1e9:.2f} GB of folder ({encoder.dimensions} dimensions)"
    )


if __name__ == "__main__":
    main()
