"""The log-odds blend of DESIGN 3: z_final = z + sum_f s_f g_f (u_f - 1/2), with its exact explanation.

Laws (tests/ranking/test_blend.py): monotone in every utility; an exact no-op at zero weights and at utility 1/2;
additive; bounded: a document passes another only if their z differ by less than sum_f s_f g_f; independent of a common
offset of z.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rerank_plugin.domain.candidate import NEUTRAL, Candidate, Ranked
from rerank_plugin.domain.factors import PRIORS, Weights


def sigmoid(z: float) -> float:
    """1 / (1 + exp(-z)), without overflow at either end."""
    if z >= 0:
        return 1.0 / (1.0 + math.exp(-z))
    grown = math.exp(z)
    return grown / (1.0 + grown)


def blend(z: float, candidate: Candidate, weights: Weights, gates: Mapping[str, float]) -> Ranked:
    """One candidate with its final log-odds; ``z`` must be finite.

    :param z: calibrated relevance in log-odds.
    :param gates: how much the query asks for each factor, in [0.2, 1].
    """
    features = candidate.features
    moves = [
        weights[factor] * gates[factor] * (feature - NEUTRAL)
        for factor in PRIORS
        if (feature := features[factor]) is not None
    ]
    z_final = z + math.fsum(moves)
    return Ranked(candidate, z, z_final, sigmoid(z_final), weights, gates)


def in_order(ranked: Sequence[Ranked]) -> tuple[Ranked, ...]:
    """By (-z_final, retrieval_rank): strict, because retrieval ranks differ."""
    return tuple(sorted(ranked, key=lambda each: (-each.z_final, each.candidate.retrieval_rank)))
