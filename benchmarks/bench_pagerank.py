"""From a file of links between string ids to written authority features: time and memory by number of links.

    python benchmarks/bench_pagerank.py [--links 1000000 10000000] [--against 1000000] [--json]

Each size runs in a process of its own, so that its peak memory is its own (at least that of its parent, which made the
links). Documents are a tenth of the links; targets follow a power law, as citations do (seed 20261). networkx and
igraph get the same links as pairs of numbers, which spares them the reading of ids, and the same damping and tolerance;
the largest difference of any score is told. Times are of the processor, so that a busy machine does not count.
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
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from indexer.catalogue import Catalogue
from indexer.rejects import Rejects
from indexer.signal_config import SignalConfig
from indexer.signals.authority import authority, pagerank
from indexer.sources import Record

SEED = 20261


def pairs(links: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Positions of linking and linked documents, and how many documents there are."""
    rng = np.random.default_rng(SEED)
    documents = max(links // 10, 10)
    popular = np.minimum((rng.pareto(1.1, links) * documents / 200).astype(np.int64), documents - 1)
    return rng.integers(0, documents, links), rng.permutation(documents)[popular], documents


def name(position: int) -> str:
    """The string id of a document."""
    return f"https://example.org/articles/{position:08d}"


def write_links(file: Path, links: int) -> int:
    """The links as two columns of ids; returns the number of documents."""
    tails, heads, documents = pairs(links)
    with file.open("w", encoding="utf-8") as out:
        for start in range(0, links, 100_000):
            part = zip(tails[start : start + 100_000].tolist(), heads[start : start + 100_000].tolist(), strict=True)
            out.writelines(f"{name(tail)}\t{name(head)}\n" for tail, head in part)
    return documents


def run_one(file: Path, documents: int, out: Path) -> dict[str, Any]:
    """Reads, ranks and writes; seconds of each part, and the process's peak memory."""
    began = time.process_time()
    with Rejects(out.with_suffix(".rejects")) as rejects:
        catalogue = Catalogue(SignalConfig(), rejects, None)
        for position in range(documents):
            catalogue.add(position + 1, b"", Record(name(position), {}, "text"))
        known = time.process_time()
        catalogue.add_links(file)
        sources, targets = catalogue.edges()
        read = time.process_time()
        ranks = pagerank(sources, targets, documents)
        ranked = time.process_time()
        features = authority(ranks, catalogue.trust, link_share=0.5)
        with out.open("w", encoding="utf-8") as written:
            for doc_id, feature in zip(catalogue.doc_ids, features, strict=True):
                written.write(json.dumps({"_id": doc_id, "authority": feature}) + "\n")
    ended = time.process_time()
    return {
        "documents": documents,
        "links": ranks.links,
        "iterations": ranks.iterations,
        "residual": ranks.residual,
        "seconds": {
            "ids": known - began,
            "reading": read - known,
            "pagerank": ranked - read,
            "features": ended - ranked,
            "all": ended - began,
        },
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def in_a_process(links: int, folder: Path) -> dict[str, Any]:
    """One size, measured apart."""
    file = folder / f"links-{links}.tsv"
    documents = write_links(file, links)
    command = [sys.executable, __file__, "--one", str(file), "--documents", str(documents)]
    told = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    told["microseconds_per_link"] = 1e6 * told["seconds"]["all"] / links
    file.unlink()
    return told


def against(links: int) -> dict[str, Any]:
    """networkx and igraph on the same links, all as numbers in memory."""
    import igraph
    import networkx

    tails, heads, documents = pairs(links)
    found: dict[str, Any] = {}
    began = time.process_time()
    ours = pagerank(tails, heads, documents)
    found["ours"] = {"seconds": time.process_time() - began}
    distinct = np.unique(np.stack([tails, heads], axis=1), axis=0)
    distinct = distinct[distinct[:, 0] != distinct[:, 1]].tolist()
    began = time.process_time()
    graph = igraph.Graph(n=documents, edges=distinct, directed=True)
    scores = np.array(graph.pagerank(damping=0.85))
    found["igraph"] = {"seconds": time.process_time() - began, "difference": float(np.abs(scores - ours.scores).max())}
    began = time.process_time()
    digraph = networkx.DiGraph()
    digraph.add_nodes_from(range(documents))
    digraph.add_edges_from(distinct)
    told = networkx.pagerank(digraph, alpha=0.85, tol=1e-10 / documents, max_iter=200)
    scores = np.array([told[each] for each in range(documents)])
    found["networkx"] = {
        "seconds": time.process_time() - began,
        "difference": float(np.abs(scores - ours.scores).max()),
    }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--links", type=int, nargs="+", default=[200_000, 2_000_000], help="sizes to run")
    parser.add_argument("--against", type=int, default=200_000, help="links for networkx and igraph; 0 leaves them out")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--documents", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(run_one(asked.one, asked.documents, asked.one.with_suffix(".features"))))
        return
    with tempfile.TemporaryDirectory() as folder:
        sizes = {links: in_a_process(links, Path(folder)) for links in asked.links}
    rivals = against(asked.against) if asked.against else {}
    if asked.json:
        print(json.dumps({"sizes": sizes, "against": rivals, "seed": SEED}))
        return
    print(f"  {'links':>12}{'documents':>12}{'CPU us/link':>13}{'of it PageRank':>16}{'peak MB':>9}{'iterations':>12}")
    for links, told in sizes.items():
        share = told["seconds"]["pagerank"] / told["seconds"]["all"]
        row = f"  {links:>12,}{told['documents']:>12,}{told['microseconds_per_link']:>13.2f}{share:>16.0%}"
        print(f"{row}{told['peak_mb']:>9.0f}{told['iterations']:>12}")
    first, last = sizes[asked.links[0]], sizes[asked.links[-1]]
    print(f"\n  cost per link, last / first: {last['microseconds_per_link'] / first['microseconds_per_link']:.2f}")
    for rival, told in rivals.items():
        ratio = told["seconds"] / rivals["ours"]["seconds"]
        line = f"  {rival:<10}{ratio:8.2f} times our time on {asked.against:,} links in memory"
        print(line + (f", largest difference of a score {told['difference']:.1e}" if "difference" in told else ""))
    libraries = ", ".join(f"{each} {version(each)}" for each in ("numpy", "scipy", "networkx", "igraph"))
    print(f"\n  seed {SEED}, {platform.machine()}, Python {platform.python_version()}, {libraries}")


if __name__ == "__main__":
    main()
