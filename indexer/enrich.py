"""From what is known of the documents to the ``rerank`` object of each (DESIGN 4), with an account of every signal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean, quantiles
from typing import TYPE_CHECKING, Any

from indexer.catalogue import Catalogue
from indexer.knots import Knots, fit
from indexer.progress import Progress
from indexer.signal_config import SignalConfig
from indexer.signals.authority import PageRank, authority, pagerank
from indexer.signals.freshness import aging, freshness, half_life_for, iso_z
from indexer.signals.novelty import novelty
from indexer.signals.popularity import popularity
from rerank_plugin.domain.factors import PRIORS
from rerank_plugin.domain.index_meta import FEATURES_VERSION

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """The features of a collection, one list per factor in load order; ``None`` where unknown."""

    features: dict[str, list[float | None]]
    dates: list[datetime | None]
    #: Of each document's own type; see :func:`indexer.evidence.half_life_of`.
    half_lives: list[float | None]
    half_life_days: float
    #: Factor -> coverage, spread and how it was made: for ``--json`` and for ``_meta``.
    account: dict[str, dict[str, Any]]
    #: The scaling, for documents that come later.
    knots: Knots

    def rerank_object(self, position: int) -> dict[str, Any]:
        """The ``rerank`` object of one document; unknown features have no key."""
        stored: dict[str, Any] = {"features_version": FEATURES_VERSION}
        for factor in PRIORS:
            value = self.features[factor][position]
            if value is not None:
                stored[factor] = value
        return stored | aging(self.dates[position], self.half_lives[position], common=self.half_life_days)


def compute_signals(
    catalogue: Catalogue,
    config: SignalConfig,
    vectors: NDArray[np.float32] | None,
    *,
    known_novelty: list[float | None] | None = None,
    now: datetime,
    half_life_days: float | None,
    progress: Progress,
) -> Signals:
    """All signals of a collection.

    :param vectors: (documents, dimensions), L2-normalised; ``None`` leaves novelty unknown.
    :param known_novelty: novelty where it was computed before.
    :param half_life_days: ``None`` chooses one from the ages of the documents.
    :raises MissingExtraError: a library that a signal needs is not installed.
    """
    dates = catalogue.dates
    half_life = half_life_for(dates, now=now) if half_life_days is None else half_life_days
    features = {"freshness": freshness(dates, now=now, half_life_days=half_life, own=catalogue.half_lives)}
    fresh: dict[str, Any] = {
        "half_life_days": half_life,
        "half_life_from": "ages" if half_life_days is None else "given",
        "reference_time": iso_z(now),
    }
    ranks, trusted = _ranks(catalogue, config)
    features["authority"] = authority(ranks, catalogue.trust, link_share=config.link_share)
    knots = fit(
        config,
        dates=dates,
        trust=catalogue.trust,
        counts=catalogue.counts,
        now=now,
        half_life_days=half_life_days,
        ranks=None if ranks is None or not ranks.links else ranks.scores * len(catalogue),
    )
    features["popularity"] = popularity(catalogue.counts, knots=knots.popularity, weights=config.counts)
    features["novelty"] = known_novelty or _novelty(vectors, dates, progress)
    popular = {"knots": dict(knots.popularity), **catalogue.events}
    details = {"authority": trusted, "freshness": fresh, "popularity": popular, "novelty": {}}
    reasons = {
        "authority": "no links and no trust",
        "freshness": "no dates",
        "popularity": "no counts",
        "novelty": "no vectors: load with --vectors" if vectors is None else "no dates",
    }
    account = {factor: {**_spread(features[factor], reasons[factor]), **details[factor]} for factor in PRIORS}
    return Signals(
        features=features,
        dates=dates,
        half_lives=catalogue.half_lives,
        half_life_days=half_life,
        account=account,
        knots=knots,
    )


def _novelty(
    vectors: NDArray[np.float32] | None, dates: Sequence[datetime | None], progress: Progress
) -> list[float | None]:
    if vectors is None:
        return [None] * len(dates)
    with progress.step("novelty", sum(date is not None for date in dates)) as advance:
        return novelty(vectors, dates, advance=advance)


def _ranks(catalogue: Catalogue, config: SignalConfig) -> tuple[PageRank | None, dict[str, Any]]:
    sources, targets = catalogue.edges()
    ranks = None
    if sources:
        ranks = pagerank(
            sources,
            targets,
            len(catalogue),
            damping=config.damping,
            trust=catalogue.trust,
            seed_share=config.seed_share,
            voters=catalogue.owners,
        )
    account: dict[str, Any] = {
        "links": 0 if ranks is None else ranks.links,
        "trusted": sum(each is not None for each in catalogue.trust),
    }
    if ranks is not None:
        account["pagerank"] = {
            "iterations": ranks.iterations,
            "residual": float(f"{ranks.residual:.3g}"),
            "converged": ranks.converged,
        }
    return ranks, account


def _spread(values: Sequence[float | None], reason: str) -> dict[str, Any]:
    """How many documents have the feature and how far it tells them apart; why, where none has."""
    known = [value for value in values if value is not None]
    account: dict[str, Any] = {"documents": len(known), "coverage": round(len(known) / max(len(values), 1), 4)}
    if not known:
        return {**account, "absent": reason}
    cuts = quantiles(known, n=20, method="inclusive") if len(known) > 1 else known * 19
    return {**account, "mean": round(fmean(known), 4), "p05": round(cuts[0], 4), "p95": round(cuts[18], 4)}
