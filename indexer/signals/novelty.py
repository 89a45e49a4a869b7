"""Novelty: 1 - the highest cosine between a document and anything earlier; near 0 for a near-duplicate.

Earlier is by date, then by load order among equal dates. A document without a date has no novelty and makes no other
document less novel: whether it came before is unknown. The earliest document has novelty 1. Opposite vectors do too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from indexer.signals.scaling import feature
from rerank_plugin.retrieval.vector_folder import load_faiss

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Documents compared at a time; a block of similarities is this squared, 4 MB.
BLOCK = 1024


def novelty(
    vectors: NDArray[np.float32],
    dates: Sequence[datetime | None],
    *,
    block: int = BLOCK,
    advance: Callable[[int], None] = lambda _: None,
) -> list[float | None]:
    """One feature per document.

    Memory is one copy of the dated vectors and one block; time grows with the square of the number of documents.

    :param vectors: (documents, dimensions), L2-normalised.
    :param advance: told how many more documents are done.
    :raises MissingExtraError: faiss is not installed.
    """
    import numpy as np

    features: list[float | None] = [None] * len(dates)
    dated = [(date, position) for position, date in enumerate(dates) if date is not None]
    order = [position for _, position in sorted(dated)]
    if not order:
        return features
    earlier = load_faiss().IndexFlatIP(vectors.shape[1])
    for start in range(0, len(order), block):
        places = order[start : start + block]
        rows = np.ascontiguousarray(vectors[places], dtype=np.float32)
        highest = np.full(len(places), -1.0, dtype=np.float32)
        if earlier.ntotal:
            highest = earlier.search(rows, 1)[0][:, 0]
        within = np.tril(rows @ rows.T, k=-1) + np.triu(np.full((len(places),) * 2, -1.0, dtype=np.float32))
        highest = np.maximum(highest, within.max(axis=1))
        for place, cosine in zip(places, highest.tolist(), strict=True):
            features[place] = feature(1.0 - cosine)
        earlier.add(rows)
        advance(len(places))
    return features
