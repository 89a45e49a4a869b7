from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_plugin.domain.factors import PRIORS, Weights
from rerank_plugin.errors import ConfigError
from rerank_plugin.evaluation.arms import Answer, Found
from rerank_plugin.evaluation.sweeps import (
    Sweep,
    hypervolume,
    pareto_front,
    reblended,
    weight_points,
    weights_json,
)

POINTS = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=12)


def test_a_sweep_is_a_setting_with_or_without_values():
    assert Sweep.parse("window=10,50") == Sweep("window", (10, 50))
    assert Sweep.parse("deadline_ms=2.5") == Sweep("deadline_ms", (2.5,))
    assert Sweep.parse("weights").values == (64,)


@pytest.mark.parametrize(
    "text", ["", "speed", "window=", "window=0", "window=1.5", "deadline_ms=-1", "weights=3,4", "window=nan"]
)
def test_what_cannot_be_swept_is_refused(text):
    with pytest.raises(ConfigError, match="--sweep"):
        Sweep.parse(text)


def test_points_begin_with_nothing_and_single_factors_and_the_seed_decides_the_rest():
    points = weight_points(40, seed=1)
    assert len(points) == 40
    assert points[0] == Weights()
    assert points[1] == Weights(authority=0.25)
    assert points == weight_points(40, seed=1)
    assert points != weight_points(40, seed=2)
    assert len(weight_points(1, seed=0)) == 24


def found(name: str, rank: int, z: float | None, **utilities: float) -> Found:
    factors = {factor: {"utility": utilities.get(factor, 0.5)} for factor in PRIORS}
    said = {} if z is None else {"z": z, "retrieval_rank": rank, "factors": factors}
    return Found(name, 1.0, said=said)


def test_other_weights_by_hand():
    given = Answer((found("a", 1, 1.0, authority=0.0), found("b", 2, 0.4, authority=1.0), found("tail", 3, None)))
    # a: 1 - .5 w, b: .4 + .5 w; equal at .6, where the earlier rank goes first
    for weight, order in ((0.0, "ab"), (0.5, "ab"), (0.7, "ba")):
        ids = [each.doc_id for each in reblended(given, Weights(authority=weight)).found]
        assert ids == [*order, "tail"]
    assert reblended(Answer(()), Weights()).found == ()


def test_front_and_area_by_hand():
    points = [(0.2, 0.9), (0.5, 0.5), (0.4, 0.4), (0.5, 0.3), (0.8, 0.1)]
    assert pareto_front(points) == [0, 1, 4]
    assert hypervolume(points) == pytest.approx(0.2 * 0.9 + 0.3 * 0.5 + 0.3 * 0.1)
    assert (pareto_front([]), hypervolume([])) == ([], 0.0)


@given(POINTS)
def test_the_front_is_what_nothing_beats(points):
    front = pareto_front(points)
    for place, (x, y) in enumerate(points):
        beaten = any((a >= x and b >= y) and (a, b) != (x, y) for a, b in points)
        assert (place in front) <= (not beaten)
        assert any(points[each][0] >= x and points[each][1] >= y for each in front)
    assert [points[each][0] for each in front] == sorted(points[each][0] for each in front)


@given(POINTS, st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_one_more_point_never_lowers_the_area(points, more):
    assert hypervolume([*points, more]) >= hypervolume(points) - 1e-12
    assert hypervolume([*points, more]) <= 1 + 1e-12


def test_a_factor_that_is_not_known_has_no_front():
    points = [{"nDCG@10": 0.5, "factors@10": {**dict.fromkeys(PRIORS), "authority": value}} for value in (0.2, 0.4)]
    made = weights_json(points, "nDCG@10", "factors@10")
    assert made["front"] == {"authority": [1]}
    assert made["hypervolume"] == {"authority": pytest.approx(0.2)}
