"""The order of one query as a client keeps it for later pages: no texts, and numbers in columns.

A hundred windows as objects would be tens of thousands of them, which the garbage collector walks again and again, in
the middle of searches; an array is one object, and none that it looks into.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rerank_plugin.client.rewrite import Key
from rerank_plugin.domain.candidate import Candidate, Ranked, Ranking
from rerank_plugin.domain.factors import PRIORS
from rerank_plugin.domain.features import Features, priors_of


@dataclass(frozen=True, slots=True)
class Order:
    """The order of one query. Columns are in the final order: what was scored, then what was not in time."""

    #: Of the query, so that no other query can claim the order.
    digest: str
    #: The documents in first-stage order, those added by vectors at the end; ``retrieval_rank`` 1 is the first.
    keys: tuple[Key, ...]
    #: How many of them the vector index added.
    added: int
    #: What the ranking says of itself; without its documents.
    said: Ranking
    retrieval_ranks: array[int]
    #: NaN where the first stage had none.
    retrieval_scores: array[float]
    #: Of the scored ones alone, as are the columns below.
    zs: array[float]
    z_finals: array[float]
    final_scores: array[float]
    #: How much the query asks for each factor.
    gates: tuple[Mapping[str, float], ...]
    #: One after the other the features of each document, in the order of ``PRIORS``; NaN where unknown.
    features: array[float]

    @classmethod
    def of(cls, digest: str, keys: Sequence[Key], added: int, ranking: Ranking) -> Order:
        """The order that a ranking gives."""
        ranked = ranking.ranked
        candidates = [*(each.candidate for each in ranked), *ranking.unscored]
        known = [value for each in ranked for value in priors_of(each.candidate.features)]
        return cls(
            digest=digest,
            keys=tuple(keys),
            added=added,
            said=replace(ranking, ranked=(), unscored=()),
            retrieval_ranks=array("l", [each.retrieval_rank for each in candidates]),
            retrieval_scores=_column([each.retrieval_score for each in candidates]),
            zs=array("d", [each.z for each in ranked]),
            z_finals=array("d", [each.z_final for each in ranked]),
            final_scores=array("d", [each.final_score for each in ranked]),
            gates=tuple([each.gates for each in ranked]),
            features=_column(known),
        )

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def scored(self) -> int:
        """How many documents were scored in time."""
        return len(self.zs)

    def key(self, place: int) -> Key:
        """The document at a place in the final order, from 0."""
        return self.keys[self.retrieval_ranks[place] - 1]

    def score(self, place: int) -> float | None:
        """Its first-stage score."""
        return _value(self.retrieval_scores[place])

    def ranked(self, place: int) -> Ranked | None:
        """What ranking said of it; ``None`` where the deadline came first."""
        if place >= self.scored:
            return None
        index, doc_id = self.key(place)
        features = [_value(each) for each in self.features[place * len(PRIORS) : (place + 1) * len(PRIORS)]]
        candidate = Candidate(
            doc_id=doc_id,
            index=index,
            retrieval_rank=self.retrieval_ranks[place],
            retrieval_score=self.score(place),
            features=Features(**dict(zip(PRIORS, features, strict=True))),
        )
        numbers = self.zs[place], self.z_finals[place], self.final_scores[place]
        return Ranked(candidate, *numbers, self.said.weights, self.gates[place])


def _column(values: Sequence[float | None]) -> array[float]:
    return array("d", [math.nan if each is None else each for each in values])


def _value(number: float) -> float | None:
    return None if math.isnan(number) else number
