from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_plugin.evaluation.significance import holm, paired


def test_values_by_hand():
    # mean .2, sample deviation sqrt(.02 / 2) = .1, standard error .1 / sqrt(3); t(.975, 2) = 4.302653
    found = paired([0.1, 0.2, 0.3], seed=0)
    half = 4.302652729911275 * 0.1 / math.sqrt(3)
    assert found.delta == pytest.approx(0.2)
    assert found.ci95 == pytest.approx((0.2 - half, 0.2 + half))
    assert found.p_ttest == pytest.approx(0.0741799, abs=1e-6)  # t = 3.4641 with 2 degrees of freedom
    # of the 8 sign patterns two (all plus, all minus) are as extreme
    assert found.p_permutation == pytest.approx(2 / 8)
    assert (found.wins, found.ties, found.losses) == (3, 0, 0)


def test_many_queries_use_random_signs_with_the_one_added():
    found = paired([0.5] * 40 + [0.4] * 40, seed=1, resamples=999)
    assert found.p_permutation == pytest.approx(2 * 1 / 1000)  # no sample as extreme on either side: doubled 1 / 1000


def test_the_seed_decides_the_permutation_test():
    values = [0.3, -0.2, 0.1, 0.05, -0.15, 0.2, 0.02, -0.01, 0.3, 0.11, -0.3, 0.08, 0.4, -0.1, 0.06]
    same = [paired(values, seed=3, resamples=99).p_permutation for _ in range(2)]
    assert same[0] == same[1]
    assert same[0] != paired(values, seed=4, resamples=99).p_permutation


def test_no_query_and_one_query_have_no_interval():
    empty = paired([], seed=0)
    assert (empty.delta, empty.ci95, empty.p_ttest, empty.p_permutation) == (0.0, None, None, None)
    one = paired([0.3], seed=0)
    assert (one.delta, one.ci95, one.wins) == (0.3, None, 1)


def test_constant_differences_have_a_point_for_an_interval_and_no_warning():
    same = paired([0.0] * 5, seed=0)
    assert (same.ci95, same.p_ttest, same.p_permutation, same.ties) == ((0.0, 0.0), 1.0, 1.0, 5)
    shifted = paired([0.25] * 5, seed=0)
    assert (shifted.ci95, shifted.p_ttest) == ((0.25, 0.25), 0.0)
    assert shifted.p_permutation == pytest.approx(2 / 32)


def test_rounding_is_a_tie():
    found = paired([1e-12, -1e-12, 0.1], seed=0)
    assert (found.wins, found.ties, found.losses) == (1, 2, 0)
    assert found.p_permutation == 1.0


@given(st.lists(st.floats(min_value=-1, max_value=1), min_size=2, max_size=12))
def test_turning_all_signs_mirrors_the_result(values):
    there, back = paired(values, seed=0, resamples=99), paired([-value for value in values], seed=0, resamples=99)
    assert there.delta == pytest.approx(-back.delta)
    assert there.ci95 is not None
    assert back.ci95 is not None
    assert there.ci95[0] == pytest.approx(-back.ci95[1], abs=1e-9)
    assert there.p_ttest == pytest.approx(back.p_ttest)
    assert (there.wins, there.losses) == (back.losses, back.wins)
    assert there.ci95[0] - 1e-9 <= there.delta <= there.ci95[1] + 1e-9


def test_holm_by_hand():
    # sorted .01 .02 .03 .04: times 4, 3, 2, 1, never falling
    assert holm([0.02, 0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.06, 0.04, 0.06])
    assert holm([0.5, None, 0.9]) == [1.0, None, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_lowers_a_p_and_keeps_their_order(values):
    corrected = holm(values)
    assert all(after >= before for before, after in zip(values, corrected, strict=True) if after is not None)
    assert all(each is not None and each <= 1 for each in corrected)
    order = sorted(range(len(values)), key=lambda place: values[place])
    assert [corrected[place] for place in order] == sorted(each for each in corrected if each is not None)


def test_the_bootstrap_interval_leans_to_the_long_tail():
    values = [0.0] * 15 + [0.1, 0.2, 0.9, 0.05, 0.3]
    found = paired(values, seed=0, resamples=2000)
    assert found.ci95_bootstrap is not None
    assert found.ci95 is not None
    low, high = found.ci95_bootstrap
    assert low < found.delta < high
    assert high - found.delta > found.delta - low  # the t interval has equal arms
    assert low > found.ci95[0]
    assert paired(values, seed=0, resamples=2000) == found
    assert paired([0.25] * 5, seed=0).ci95_bootstrap == (0.25, 0.25)
    assert paired([0.3], seed=0).ci95_bootstrap is None
