"""Authority: PageRank over links between documents, joined with the trust given to their sources.

    authority = link_share * q(PageRank) + (1 - link_share) * q(trust)

where q is the mid-quantile within the collection. A document without trust has q(PageRank) alone; in a collection
without links trust stands alone. Documents nobody links to share the lowest PageRank: that is known, not missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from indexer.signals.scaling import feature, mid_quantile
from rerank_plugin.errors import MissingExtraError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TOLERANCE = 1e-10
MAX_ITERATIONS = 200


@dataclass(frozen=True, slots=True)
class PageRank:
    """Scores that sum to 1, and how they were reached."""

    #: (documents,)
    scores: NDArray[np.float64]
    #: Distinct links between different documents.
    links: int
    iterations: int
    #: Sum of absolute changes in the last iteration.
    residual: float

    @property
    def converged(self) -> bool:
        """Whether the last iteration changed less than the tolerance."""
        return self.residual < TOLERANCE


def pagerank(sources: Sequence[int], targets: Sequence[int], documents: int, *, damping: float = 0.85) -> PageRank:
    """PageRank by power iteration (Page et al. 1999); the mass of documents without links goes to all alike.

    Links are counted once, links of a document to itself not at all.

    :param sources: position of the linking document of each link; ``targets`` of the one that gains by it.
    :raises MissingExtraError: scipy is not installed.
    """
    import numpy as np

    try:
        from scipy.sparse import csr_array
    except ImportError as error:
        raise MissingExtraError("authority from links", "index") from error

    if documents == 0:
        return PageRank(np.empty(0), 0, 0, 0.0)
    edges = np.unique(np.array([sources, targets], dtype=np.int64).reshape(2, -1), axis=1)
    tails, heads = edges[:, edges[0] != edges[1]]
    out_degree = np.bincount(tails, minlength=documents)
    dangling = out_degree == 0
    flow = csr_array((1.0 / out_degree[tails], (heads, tails)), shape=(documents, documents))
    ranks = np.full(documents, 1.0 / documents)
    residual, iteration = float("inf"), 0
    while residual >= TOLERANCE and iteration < MAX_ITERATIONS:
        iteration += 1
        base = (1.0 - damping + damping * ranks[dangling].sum()) / documents
        updated = damping * (flow @ ranks) + base
        updated /= updated.sum()
        residual = float(np.abs(updated - ranks).sum())
        ranks = updated
    return PageRank(ranks, len(tails), iteration, residual)


def authority(ranks: PageRank | None, trust: Sequence[float | None], *, link_share: float) -> list[float | None]:
    """One feature per document; ``None`` where neither links nor trust say anything.

    :param ranks: ``None``, or without a link: the collection has no links.
    :param trust: finite numbers on any scale; only their order counts.
    :param link_share: part of PageRank where both are known, in [0, 1].
    """
    import numpy as np

    by_trust: list[float | None] = [None] * len(trust)
    known = [position for position, value in enumerate(trust) if value is not None]
    quantiles = mid_quantile(np.array([trust[position] for position in known], dtype=np.float64))
    for position, quantile in zip(known, quantiles.tolist(), strict=True):
        by_trust[position] = feature(quantile)
    if ranks is None or ranks.links == 0:
        return by_trust
    # Equal ranks differ in their last digits, depending on the order of sums; nine digits make them ties again.
    by_links = mid_quantile(np.round(ranks.scores * len(trust), 9))
    return [
        feature(linked if trusted is None else link_share * linked + (1.0 - link_share) * trusted)
        for linked, trusted in zip(by_links.tolist(), by_trust, strict=True)
    ]
