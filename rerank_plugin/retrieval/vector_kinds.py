"""Which FAISS index fits how many vectors, tuned to a recall that is measured on the vectors themselves.

flat   every vector is looked at: exact
hnsw   a graph of neighbours (Malkov and Yashunin 2016): a search touches a few thousand vectors
ivf    lists around centroids (Jegou et al. 2011): adds 1 % of memory to the vectors, where the graph adds a fifth

All three keep the vectors whole, so that a cosine, once a document is found, is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rerank_plugin.retrieval.vector_folder import load_faiss

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KINDS = ("flat", "hnsw", "ivf")
#: Vectors up to which a kind is chosen. An exact search of 50,000 vectors of 384 dimensions took 12 ms on one core;
#: beyond a million, a graph takes long to build.
MOST_FLAT, MOST_HNSW = 50_000, 1_000_000
#: Neighbours per vector, and how far the graph looks for them.
NEIGHBOURS, LOOKS = 32, 120
#: Vectors per list that centroids are trained on.
TRAINED_PER_LIST = 50
#: The effort of a search is doubled until so many of the true nearest hundred are found.
RECALL, DEPTH = 0.98, 100
QUERIES = 200
#: Share of dead vectors above which an index is built anew.
MOST_DEAD = 0.2
EFFORTS = {"hnsw": (128, 256, 512, 1024), "ivf": (8, 16, 32, 64, 128, 256)}


@dataclass(frozen=True, slots=True)
class Built:
    """A FAISS index and what is known of it."""

    index: Any
    kind: str
    #: Share of the true nearest hundred that a search finds; 1 for an exact one.
    recall: float


def kind_for(vectors: int) -> str:
    """The kind for so many vectors."""
    return "flat" if vectors <= MOST_FLAT else "hnsw" if vectors <= MOST_HNSW else "ivf"


def build(matrix: NDArray[np.float32], kind: str | None = None) -> Built:
    """An index over normalised vectors, (documents, dimensions).

    :param kind: one of :data:`KINDS`; ``None`` chooses by size.
    :raises ValueError: no such kind.
    :raises MissingExtraError: faiss is not installed.
    """
    faiss = load_faiss()
    count, dimensions = matrix.shape
    kind = kind_for(count) if kind is None or not count else kind
    if kind == "flat":
        index = faiss.IndexFlatIP(dimensions)
    elif kind == "hnsw":
        index = faiss.IndexHNSWFlat(dimensions, NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = LOOKS
    elif kind == "ivf":
        index = _trained(faiss, matrix)
    else:
        raise ValueError(f"a vector index is {', '.join(KINDS)}; got {kind!r}")
    index.add(matrix)
    return Built(index, kind, tuned(index, kind, matrix))


def _trained(faiss: Any, matrix: NDArray[np.float32]) -> Any:
    import numpy as np

    count, dimensions = matrix.shape
    lists = max(1, min(int(4 * count**0.5), count // TRAINED_PER_LIST))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dimensions), dimensions, lists, faiss.METRIC_INNER_PRODUCT)
    chosen = np.random.default_rng(0).permutation(count)[: max(lists * TRAINED_PER_LIST, 1)]
    index.cp.min_points_per_centroid = 1
    index.train(np.ascontiguousarray(matrix[np.sort(chosen)]))
    index.set_direct_map_type(faiss.DirectMap.Array)
    return index


def tuned(index: Any, kind: str, matrix: NDArray[np.float32]) -> float:
    """Recall@100 at the least effort that reaches :data:`RECALL`, to which the index is set.

    Measured against an exact search over all, with queries halfway between two of the vectors: a question lies between
    documents more often than on one, and is harder to find the way from.

    :param matrix: every vector of the index.
    """
    if kind == "flat" or not len(matrix):
        return 1.0
    import numpy as np

    depth = min(DEPTH, len(matrix))
    pairs = np.random.default_rng(1).integers(len(matrix), size=(QUERIES, 2))
    queries = np.ascontiguousarray(matrix[pairs].mean(axis=1), dtype=np.float32)
    queries /= np.maximum(np.linalg.norm(queries, axis=1, keepdims=True), 1e-9)
    wanted, _ = load_faiss().knn(queries, matrix, depth, load_faiss().METRIC_INNER_PRODUCT)
    # Equal cosines are equally right: what counts is how near the found ones are.
    least = wanted[:, -1:] - 1e-6
    recall = 0.0
    for effort in EFFORTS[kind]:
        _set_effort(index, kind, effort)
        found, _ = index.search(queries, depth)
        recall = float(np.mean(found >= least))
        if recall >= RECALL:
            break
    return round(recall, 4)


def _set_effort(index: Any, kind: str, effort: int) -> None:
    if kind == "hnsw":
        index.hnsw.efSearch = effort
    else:
        index.nprobe = min(effort, index.nlist)


def grown(
    index: Any, kind: str, doc_ids: Sequence[str | None], matrix: NDArray[np.float32], more: Sequence[str]
) -> tuple[Built, list[str | None]]:
    """The index with more vectors, and the ids of all its positions; built anew where that is cheap or due.

    :param doc_ids: of the index; ``None`` where the vector is dead.
    :param matrix: the new vectors, normalised, of the documents ``more``.
    """
    import numpy as np

    living = [place for place, each in enumerate(doc_ids) if each is not None]
    wanted = max(kind, kind_for(len(living) + len(more)), key=KINDS.index)
    if wanted == "flat" or wanted != kind or len(doc_ids) - len(living) > MOST_DEAD * len(doc_ids):
        kept = index.reconstruct_batch(np.array(living, dtype=np.int64)) if living else np.empty((0, index.d))
        rows = np.ascontiguousarray(np.vstack([kept, matrix.reshape(-1, index.d)]), dtype=np.float32)
        return build(rows, wanted), [*(doc_ids[place] for place in living), *more]
    if len(more):
        index.add(matrix)
    rows = index.reconstruct_n(0, index.ntotal)
    return Built(index, kind, tuned(index, kind, rows)), [*doc_ids, *more]


def all_but(dead: Sequence[int]) -> Any:
    """A selector of every position but these."""
    import numpy as np

    faiss = load_faiss()
    return faiss.IDSelectorNot(faiss.IDSelectorBatch(np.array(dead, dtype=np.int64)))


def only(index: Any, kind: str, selector: Any) -> Any:
    """Search parameters for the selected positions, at the effort that the index is set to."""
    faiss = load_faiss()
    if kind == "hnsw":
        return faiss.SearchParametersHNSW(sel=selector, efSearch=index.hnsw.efSearch)
    return faiss.SearchParametersIVF(sel=selector, nprobe=index.nprobe)
