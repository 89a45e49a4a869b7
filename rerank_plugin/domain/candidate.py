"""Candidates, and what a ranking says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rerank_plugin.domain.factors import PRIORS, Weights
from rerank_plugin.domain.features import NO_FEATURES, Features
from rerank_plugin.domain.records import record

#: The utility of a factor of which nothing is known: it then contributes exactly 0.
NEUTRAL = 0.5


@record(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A document the first stage returned."""

    doc_id: str
    #: The concrete index the document lives in; ids collide across indices.
    index: str = ""
    #: 1-based place in the first stage's order.
    retrieval_rank: int
    #: The first stage's score; ``None`` where it had none (a sorted or filtered search).
    retrieval_score: float | None
    #: What the model reads; empty when the document has no text.
    text: str = ""
    features: Features = NO_FEATURES
    #: Cosine of query and document vectors where a vector index knows it; the scorer encodes the text otherwise.
    cosine: float | None = None


@dataclass(frozen=True, slots=True)
class FactorTerm:
    """One factor's part in the final log-odds of one document."""

    utility: float
    weight: float
    gate: float
    #: weight * gate * (utility - 1/2), in log-odds.
    contribution: float
    #: Where the utility came from: ``feature``, or ``missing`` (then it is 1/2).
    origin: str


@record(frozen=True, slots=True)
class Ranked:
    """A candidate with its place in the final order: z plus one term per factor is exactly z_final."""

    candidate: Candidate
    #: Calibrated relevance in log-odds.
    z: float
    z_final: float
    final_score: float
    weights: Weights
    #: How much the query asks for each factor.
    gates: Mapping[str, float]

    @property
    def factors(self) -> dict[str, FactorTerm]:
        """One term per factor beside relevance; made when asked, since a page shows few of a window's documents."""
        terms: dict[str, FactorTerm] = {}
        for factor in PRIORS:
            feature = self.candidate.features[factor]
            utility = NEUTRAL if feature is None else feature
            weight, gate = self.weights[factor], self.gates[factor]
            contribution = weight * gate * (utility - NEUTRAL)
            terms[factor] = FactorTerm(utility, weight, gate, contribution, "missing" if feature is None else "feature")
        return terms


@dataclass(frozen=True, slots=True)
class Ranking:
    """The window in its final order, and what it took."""

    #: By (-z_final, retrieval_rank); candidates that were not scored in time follow in the first stage's order.
    ranked: tuple[Ranked, ...]
    unscored: tuple[Candidate, ...]
    weights: Weights
    model: str
    #: Documents of which the model could not read everything.
    truncated: int
    #: Candidates with at least one unknown factor.
    features_missing: int
    #: Milliseconds in the model.
    model_ms: float
    #: Documents whose language the model does not know: they count as without text.
    unknown: int = 0
    #: Why the window is to be left in the engine's order after all; empty when it is not.
    refusal: str = ""
    #: Documents of which nothing could be read, text or vector: they kept the first stage's place.
    unread: int = 0
    #: What the status is to say of vectors; empty when there is nothing to say.
    dense: str = ""
