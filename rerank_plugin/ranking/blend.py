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
from rerank_plugin.domain.features import priors_of


def sigmoid(z: float) -> float:
    """1 / (1 + exp(-z)), without overflow at either end."""
    if z >= 0:
        return 1.0 / (1.0 + math.exp(-z))
    grown = math.exp(z)
    return grown / (1.0 + grown)


def blend(
    zs: Sequence[float], candidates: Sequence[Candidate], weights: Weights, gates: Mapping[str, float]
) -> list[Ranked]:
    """The candidates with their final log-odds, in the order given.

    :param zs: calibrated relevance of each in log-odds; finite.
    :param gates: how much the query asks for each factor, in [0.2, 1].
    """
    pulls = [weights[factor] * gates[factor] for factor in PRIORS]
    blended: list[Ranked] = []
    for z, candidate in zip(zs, candidates, strict=True):
        utilities = priors_of(candidate.features)
        moves = [pull * (each - NEUTRAL) for pull, each in zip(pulls, utilities, strict=True) if each is not None]
        z_final = z + math.fsum(moves)
        blended.append(Ranked(candidate, z, z_final, sigmoid(z_final), weights, gates))
    return blended


def in_order(ranked: Sequence[Ranked]) -> tuple[Ranked, ...]:
    """By (-z_final, retrieval_rank): strict, because retrieval ranks differ."""
    return tuple(sorted(ranked, key=lambda each: (-each.z_final, each.candidate.retrieval_rank)))
