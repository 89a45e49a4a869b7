"""The factors of a ranking and the weights a caller may give them (DESIGN 2 and 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rerank_plugin.domain.numbers import is_finite_number
from rerank_plugin.errors import ConfigError

#: The factors beside relevance: everything that is known of a document before a query is asked.
PRIORS: tuple[str, ...] = ("authority", "freshness", "novelty", "popularity")
FACTORS: tuple[str, ...] = ("relevance", *PRIORS)
#: All weights together may move a document by at most this many log-odds.
MAX_WEIGHT_SUM = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """How many log-odds each factor may move a document between utility 0 and utility 1.

    :raises ConfigError: a weight is negative or not finite, or the sum exceeds ``MAX_WEIGHT_SUM``.
    """

    authority: float = 0.0
    freshness: float = 0.0
    novelty: float = 0.0
    popularity: float = 0.0

    def __post_init__(self) -> None:
        for factor in PRIORS:
            value = getattr(self, factor)
            if not is_finite_number(value) or value < 0:
                raise ConfigError(f"the weight of {factor} must be a finite number of at least 0, got {value!r}")
        total = sum(self.as_dict().values())
        if total > MAX_WEIGHT_SUM + 1e-12:
            raise ConfigError(f"weights may sum to at most {MAX_WEIGHT_SUM:g} log-odds, got {total:g}; lower some")

    def __getitem__(self, factor: str) -> float:
        return float(getattr(self, factor))

    def as_dict(self) -> dict[str, float]:
        """The weights by factor name, in the order of ``PRIORS``."""
        return {factor: float(getattr(self, factor)) for factor in PRIORS}

    @classmethod
    def of(cls, values: Mapping[str, float]) -> Weights:
        """Weights from a mapping; factors that are not named get 0.

        :raises ConfigError: a name is no factor, or a value is not allowed.
        """
        unknown = sorted(set(values) - set(PRIORS), key=str)
        if unknown:
            raise ConfigError(f"unknown factor {unknown[0]!r} in weights; the factors are {', '.join(PRIORS)}")
        return cls(**values)

    @classmethod
    def parse(cls, text: str) -> Weights:
        """Weights from ``authority=0.5,freshness=1``, the form of ``--weights``.

        :raises ConfigError: the text is not of that form.
        """
        values: dict[str, float] = {}
        for part in filter(None, (piece.strip() for piece in text.split(","))):
            name, sign, number = part.partition("=")
            try:
                if not sign:
                    raise ValueError
                values[name.strip()] = float(number)
            except ValueError as error:
                raise ConfigError(f"weights are written factor=number,factor=number; got {part!r}") from error
        return cls.of(values)
