"""The scaling of the signals, frozen: what turns one record alone into its ``rerank`` object, today and at any refresh.

Fitted once on a collection or on an even sample of it, kept under ``_meta.rerank``. A document that arrives later is
measured against the same knots, so a refresh rewrites what changed and nothing else.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from indexer.evidence import counts_of, date_of, half_life_of, trust_of
from indexer.signal_config import SignalConfig
from indexer.signals.freshness import aging, freshness, half_life_for, iso_z
from indexer.signals.popularity import fit_knots, popularity
from indexer.signals.scaling import feature
from rerank_plugin.domain.features import parse_date
from rerank_plugin.domain.index_meta import FEATURES_VERSION
from rerank_plugin.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: A curve holds at most this many points: quantiles are then within half of one over this of the exact ones.
POINTS = 1000


@dataclass(frozen=True, slots=True)
class Curve:
    """A value's mid-quantile (see :func:`indexer.signals.scaling.mid_quantile`), read off between points."""

    values: tuple[float, ...] = ()
    quantiles: tuple[float, ...] = ()

    @classmethod
    def fit(cls, values: NDArray[np.float64]) -> Self:
        """The curve through all distinct values, or through ``POINTS`` of them; exact at its points."""
        import numpy as np

        if not len(values):
            return cls()
        distinct, counts = np.unique(values, return_counts=True)
        middles = (np.cumsum(counts) - counts / 2.0) / len(values)
        if len(distinct) > POINTS:
            # Points at even quantiles: where values lie thick, so do the points.
            places = np.unique(np.searchsorted(middles, np.linspace(0.0, 1.0, POINTS)).clip(0, len(distinct) - 1))
            distinct, middles = distinct[places], middles[places]
        return cls(tuple(distinct.tolist()), tuple(middles.tolist()))

    def __call__(self, value: float) -> float:
        """The quantile of a value, in (0, 1); 1/2 where nothing was fitted."""
        if not self.values:
            return 0.5
        # By hand: for one value at a time this takes a hundredth of numpy's interpolation.
        place = bisect_left(self.values, value)
        if place == 0 or place == len(self.values):
            return self.quantiles[min(place, len(self.values) - 1)]
        low, high = self.values[place - 1], self.values[place]
        share = (value - low) / (high - low)
        return self.quantiles[place - 1] + share * (self.quantiles[place] - self.quantiles[place - 1])

    def __bool__(self) -> bool:
        return bool(self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Knots:
    """The frozen scaling of all signals."""

    #: The clock of the stored ``freshness``.
    reference_time: datetime
    half_life_days: float
    half_life_from: str = "given"
    #: Kind of count -> the count that means 1.
    popularity: Mapping[str, float] = field(default_factory=dict)
    trust: Curve = Curve()
    #: Over PageRank times documents.
    ranks: Curve = Curve()

    def as_json(self) -> dict[str, Any]:
        """The knots as ``_meta`` and the state of a run hold them."""
        curves = {"trust": self.trust, "ranks": self.ranks}
        return {
            "reference_time": iso_z(self.reference_time),
            "half_life_days": self.half_life_days,
            "half_life_from": self.half_life_from,
            "popularity": dict(self.popularity),
            **{name: [list(curve.values), list(curve.quantiles)] for name, curve in curves.items()},
        }

    def with_ranks(self, ranks: NDArray[np.float64]) -> Knots:
        """The same knots, and those of PageRank times documents."""
        return replace(self, ranks=Curve.fit(ranks))

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """The knots as stored.

        :raises DataError: these are no knots.
        """
        try:
            trust, ranks = (Curve(*(tuple(map(float, axis)) for axis in stored[name])) for name in ("trust", "ranks"))
            return cls(
                reference_time=parse_date(stored["reference_time"]),
                half_life_days=float(stored["half_life_days"]),
                half_life_from=str(stored["half_life_from"]),
                popularity={str(kind): float(top) for kind, top in stored["popularity"].items()},
                trust=trust,
                ranks=ranks,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"the index holds no scaling knots that this release reads ({error}); use --refit"
            ) from error


def fit(
    config: SignalConfig,
    *,
    dates: Sequence[datetime | None],
    trust: Sequence[float | None],
    counts: Sequence[Mapping[str, float]],
    now: datetime,
    half_life_days: float | None,
    ranks: NDArray[np.float64] | None = None,
) -> Knots:
    """The knots that suit these records.

    :param half_life_days: ``None`` chooses one from their ages.
    :param ranks: PageRank times documents of all documents, where there are links.
    """
    import numpy as np

    return Knots(
        reference_time=now,
        half_life_days=half_life_for(dates, now=now) if half_life_days is None else half_life_days,
        half_life_from="ages" if half_life_days is None else "given",
        popularity=fit_knots(counts, config.counts),
        trust=Curve.fit(np.array([each for each in trust if each is not None], dtype=np.float64)),
        ranks=Curve() if ranks is None else Curve.fit(ranks),
    )


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one record says of itself."""

    date: datetime | None
    #: Why there is no date although the record has one.
    bad_date: str | None
    trust: float | None
    counts: Mapping[str, float]
    #: See :func:`indexer.evidence.half_life_of`.
    half_life_days: float | None = None

    @classmethod
    def of(cls, config: SignalConfig, fields: Mapping[str, Any], events: Mapping[str, float] | None = None) -> Evidence:
        """The evidence of a record's fields, with the counts of an events file added."""
        date, bad_date = None, None
        try:
            date = date_of(config, fields)
        except (DataError, OverflowError) as error:
            bad_date = str(error)
        counts = counts_of(config, fields)
        for kind, number in (events or {}).items():
            if kind in config.counts:
                counts[kind] = counts.get(kind, 0.0) + number
        return cls(date, bad_date, trust_of(config, fields), counts, half_life_of(config, fields))


def rerank_object(
    evidence: Evidence, knots: Knots, config: SignalConfig, *, rank: float | None = None, novelty: float | None = None
) -> dict[str, Any]:
    """The ``rerank`` object of one document; unknown features have no key.

    :param rank: PageRank times documents; ``None`` where there are no links at all.
    :param novelty: in [0, 1], where vectors say it.
    """
    features = {
        "authority": _authority(evidence, knots, config, rank),
        "freshness": None,
        "novelty": None if novelty is None else feature(novelty),
        "popularity": popularity([evidence.counts], knots=knots.popularity, weights=config.counts)[0],
    }
    own = evidence.half_life_days
    [features["freshness"]] = freshness(
        [evidence.date], now=knots.reference_time, half_life_days=knots.half_life_days, own=[own]
    )
    stored: dict[str, Any] = {"features_version": FEATURES_VERSION}
    stored |= {factor: value for factor, value in features.items() if value is not None}
    return stored | aging(evidence.date, own, common=knots.half_life_days)


def _authority(evidence: Evidence, knots: Knots, config: SignalConfig, rank: float | None) -> float | None:
    trusted = knots.trust(evidence.trust) if knots.trust and evidence.trust is not None else None
    if rank is None or not knots.ranks:
        return None if trusted is None else feature(trusted)
    linked = knots.ranks(round(rank, 9))
    return feature(linked if trusted is None else config.link_share * linked + (1.0 - config.link_share) * trusted)
