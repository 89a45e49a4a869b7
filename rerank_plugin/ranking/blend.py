"""The log-odds blend of DESIGN 3: z_final = z + sum_f s_f g_f (u_f - 1/2), with its exact explanation.

Laws (tests/ranking/test_blend.py): monotone in every utility; an exact no-op at zero weights and at utility 1/2;
additive; bounded: a document passes another only if their z differ by less than sum_f s_f g_f; independent of a common
offset of z.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rerank_plugin.domain.candidate import Candidate, FactorTerm, Ranked
from rerank_plugin.domain.factors import PRIORS, Weights

#: What a factor says of a document of which it knows nothing.
NEUTRAL = 0.5


def sigmoid(z: float) -> float:
    """1 / (1 + exp(-z)), without overflow at either end."""
    if z >= 0:
        return 1.0 / (1.0 + math.exp(-z))
    grown = math.exp(z)
    return grown / (1.0 + grown)


def factor_terms(candidate: Candidate, weights: Weights, gates: Mapping[str, float]) -> dict[str, FactorTerm]:
    """One term per factor beside relevance; an unknown feature says ``NEUTRAL`` and so contributes exactly 0."""
    terms: dict[str, FactorTerm] = {}
    for factor in PRIORS:
        feature = candidate.features[factor]
        utility = NEUTRAL if feature is None else feature
        weight, gate = weights[factor], gates[factor]
        terms[factor] = FactorTerm(
            utility=utility,
            weight=weight,
            gate=gate,
            contribution=weight * gate * (utility - NEUTRAL),
            origin="missing" if feature is None else "feature",
        )
    return terms


def blend(z: float, candidate: Candidate, weights: Weights, gates: Mapping[str, float]) -> Ranked:
    """One candidate with its final log-odds; ``z`` must be finite.

    :param z: calibrated relevance in log-odds.
    :param gates: how much the query asks for each factor, in [0.2, 1].
    """
    terms = factor_terms(candidate, weights, gates)
    z_final = z + math.fsum(term.contribution for term in terms.values())
    return Ranked(candidate=candidate, z=z, z_final=z_final, final_score=sigmoid(z_final), factors=terms)


def in_order(ranked: Sequence[Ranked]) -> tuple[Ranked, ...]:
    """By (-z_final, retrieval_rank): strict, because retrieval ranks differ."""
    return tuple(sorted(ranked, key=lambda each: (-each.z_final, each.candidate.retrieval_rank)))
