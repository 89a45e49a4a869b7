"""The laws of the blend (DESIGN 3), as properties."""

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rerank_plugin.domain.candidate import Candidate, Ranked
from rerank_plugin.domain.factors import PRIORS, Weights
from rerank_plugin.domain.features import NO_FEATURES, Features
from rerank_plugin.ranking.blend import blend, in_order, sigmoid
from rerank_plugin.ranking.gate import GATE_FLOOR, OPEN_GATES

unit = st.floats(0, 1)
log_odds = st.floats(-30, 30)
gates = st.fixed_dictionaries({factor: st.floats(GATE_FLOOR, 1) for factor in PRIORS})
features = st.builds(Features, **{factor: st.none() | unit for factor in PRIORS})


@st.composite
def weights(draw: st.DrawFn) -> Weights:
    shares = [draw(unit) for _ in PRIORS]
    budget = draw(st.floats(0, 4)) / max(sum(shares), 1e-9)
    values = [share * min(budget, 4.0) for share in shares]
    scale = min(1.0, 4.0 / max(sum(values), 1e-9))
    return Weights(**{factor: value * scale for factor, value in zip(PRIORS, values, strict=True)})


def candidate(features: Features = NO_FEATURES, rank: int = 1) -> Candidate:
    return Candidate(doc_id=f"d{rank}", retrieval_rank=rank, retrieval_score=1.0, features=features)


def blended(z: float, one: Candidate, given_weights: Weights, given_gates: Mapping[str, float]) -> Ranked:
    [said] = blend([z], [one], given_weights, given_gates)
    return said


def test_a_hand_worked_blend() -> None:
    known = Features(authority=1.0, freshness=0.25, popularity=0.5)
    said = blended(
        0.7, candidate(known), Weights(authority=1.0, freshness=2.0, novelty=0.5), {**OPEN_GATES, "freshness": 0.2}
    )
    assert said.factors["authority"].contribution == pytest.approx(0.5)  # 1 * 1 * (1 - 1/2)
    assert said.factors["freshness"].contribution == pytest.approx(-0.1)  # 2 * .2 * (1/4 - 1/2)
    assert said.factors["novelty"].contribution == 0.0  # unknown
    assert said.factors["novelty"].origin == "missing"
    assert said.factors["popularity"].contribution == 0.0  # no weight
    assert said.z_final == pytest.approx(1.1)
    assert said.final_score == pytest.approx(1 / (1 + math.exp(-1.1)))


@given(log_odds, features, weights(), gates, st.sampled_from(PRIORS), unit, unit)
def test_monotone_in_every_utility(
    z: float,
    known: Features,
    given_weights: Weights,
    given_gates: dict[str, float],
    factor: str,
    low: float,
    high: float,
) -> None:
    low, high = sorted((low, high))
    lower = blended(z, candidate(replace(known, **{factor: low})), given_weights, given_gates)
    higher = blended(z, candidate(replace(known, **{factor: high})), given_weights, given_gates)
    assert lower.z_final <= higher.z_final


@given(log_odds, features, gates)
def test_zero_weights_change_nothing(z: float, known: Features, given_gates: dict[str, float]) -> None:
    assert blended(z, candidate(known), Weights(), given_gates).z_final == z


@given(log_odds, weights(), gates)
def test_utility_one_half_and_missing_change_nothing(
    z: float, given_weights: Weights, given_gates: dict[str, float]
) -> None:
    half = Features(**dict.fromkeys(PRIORS, 0.5))
    assert blended(z, candidate(half), given_weights, given_gates).z_final == z
    assert blended(z, candidate(Features()), given_weights, given_gates).z_final == z


@given(log_odds, features, weights(), gates)
def test_the_explanation_sums_to_the_final_log_odds(
    z: float, known: Features, given_weights: Weights, given_gates: dict[str, float]
) -> None:
    said = blended(z, candidate(known), given_weights, given_gates)
    assert abs(said.z + sum(term.contribution for term in said.factors.values()) - said.z_final) <= 1e-9
    for term in said.factors.values():
        assert term.contribution == term.weight * term.gate * (term.utility - 0.5)


@given(log_odds, log_odds, features, features, weights(), gates)
def test_a_document_passes_another_only_within_the_bound(
    z_i: float, z_j: float, i: Features, j: Features, given_weights: Weights, given_gates: dict[str, float]
) -> None:
    """The pairwise bound: j, behind i by relevance, comes before it only if z_i - z_j < sum_f s_f g_f."""
    assume(z_i > z_j)
    first = blended(z_i, candidate(i, rank=1), given_weights, given_gates)
    second = blended(z_j, candidate(j, rank=2), given_weights, given_gates)
    bound = sum(given_weights[factor] * given_gates[factor] for factor in PRIORS)
    if in_order([first, second])[0] is second:
        assert z_i - z_j < bound + 1e-9


@given(st.lists(st.tuples(log_odds, features), min_size=1, max_size=8), st.floats(-5, 5), weights(), gates)
def test_a_common_offset_of_relevance_leaves_the_order(
    items: list[tuple[float, Features]], offset: float, given_weights: Weights, given_gates: dict[str, float]
) -> None:
    def final(shift: float) -> dict[int, float]:
        return {
            rank: blended(z + shift, candidate(known, rank=rank), given_weights, given_gates).z_final
            for rank, (z, known) in enumerate(items, start=1)
        }

    plain, shifted = final(0.0), final(offset)
    for i in plain:
        for j in plain:
            if plain[i] - plain[j] > 1e-9:  # nearer than that is rounding
                assert shifted[i] > shifted[j]


@given(st.lists(st.sampled_from([-1.0, 0.0, 2.0]), max_size=12))
def test_the_order_is_strict_and_stable(zs: list[float]) -> None:
    ranked = blend(zs, [candidate(rank=rank) for rank in range(1, len(zs) + 1)], Weights(), OPEN_GATES)
    ordered = in_order(list(reversed(ranked)))
    keys = [(-each.z_final, each.candidate.retrieval_rank) for each in ordered]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)


@given(st.floats(-800, 800))
def test_sigmoid_is_symmetric_and_never_overflows(z: float) -> None:
    assert sigmoid(z) + sigmoid(-z) == pytest.approx(1.0)
    assert 0.0 <= sigmoid(z) <= 1.0
