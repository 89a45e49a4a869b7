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


def pagerank(
    sources: Sequence[int] | NDArray[np.int64],
    targets: Sequence[int] | NDArray[np.int64],
    documents: int,
    *,
    damping: float = 0.85,
    trust: Sequence[float | None] = (),
    seed_share: float = 0.0,
    voters: Sequence[int] = (),
) -> PageRank:
    """PageRank by power iteration (Page et al. 1999); the mass of documents without links goes where readers start.

    Links are counted once, links of a document to itself not at all. Two things damp link farms: readers who start at
    trusted documents never reach a farm that no trusted page leads to (TrustRank, Gyongyi et al. 2004), and a farm of
    one owner has one vote for each document, none for its own.

    :param sources: position of the linking document of each link; ``targets`` of the one that gains by it.
    :param trust: of each document, at least 0 (lower counts as 0); ``None`` is 0.
    :param seed_share: the part of readers who start at trusted documents, in proportion to their trust, in [0, 1]; the
        others start anywhere. Where nobody is trusted, all do.
    :param voters: number of the owner of each document, at least 0; -1 where it has none. Empty: no two share one.
    :raises MissingExtraError: scipy is not installed.
    """
    import numpy as np

    try:
        from scipy.sparse import csr_array
    except ImportError as error:
        raise MissingExtraError("authority from links", "index") from error

    if documents == 0:
        return PageRank(np.empty(0), 0, 0, 0.0)
    links = np.unique(np.asarray(sources, dtype=np.int64) * documents + np.asarray(targets, dtype=np.int64))
    tails, heads = np.divmod(links, documents)
    del links
    kept = tails != heads
    owners = np.asarray(voters, dtype=np.int64) if len(voters) else np.full(documents, -1, dtype=np.int64)
    kept &= (owners[tails] != owners[heads]) | (owners[tails] < 0)
    tails, heads = tails[kept], heads[kept]
    shares = _votes(owners[tails], heads, documents) / np.bincount(tails, minlength=documents)[tails]
    # What a document does not pass on, all of it where it links nowhere, starts anew.
    leaks = 1.0 - np.bincount(tails, weights=shares, minlength=documents)
    flow = csr_array((shares, (heads.astype(np.int32), tails.astype(np.int32))), shape=(documents, documents))
    count = len(tails)
    del tails, heads, shares
    restart = _restart(trust, documents, seed_share)
    ranks = restart.copy()
    residual, iteration = float("inf"), 0
    while residual >= TOLERANCE and iteration < MAX_ITERATIONS:
        iteration += 1
        updated = damping * (flow @ ranks) + (1.0 - damping + damping * float(ranks @ leaks)) * restart
        updated /= updated.sum()
        residual = float(np.abs(updated - ranks).sum())
        ranks = updated
    return PageRank(ranks, count, iteration, residual)


def _votes(owners: NDArray[np.int64], heads: NDArray[np.int64], documents: int) -> NDArray[np.float64]:
    """The weight of each link: 1 over the links that its owner's documents have to the same one."""
    import numpy as np

    votes = np.ones(len(heads))
    owned = owners >= 0
    if owned.any():
        _, which, counts = np.unique(owners[owned] * documents + heads[owned], return_inverse=True, return_counts=True)
        votes[owned] = 1.0 / counts[which]
    return votes


def _restart(trust: Sequence[float | None], documents: int, seed_share: float) -> NDArray[np.float64]:
    """Where readers start: shares that sum to 1."""
    import numpy as np

    restart = np.full(documents, 1.0 / documents)
    if seed_share > 0 and len(trust):
        seeds = np.array([max(each or 0.0, 0.0) for each in trust])
        if seeds.sum() > 0:
            restart = (1.0 - seed_share) * restart + seed_share * seeds / seeds.sum()
    return restart


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
