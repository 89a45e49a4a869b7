"""The statistics on simulated queries: they find nothing where there is nothing, and what is planted.

A smaller run of ``benchmarks/bench_significance.py``, with its seed: the same figures every time.
"""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest

from harness.data import CHECKOUT


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    path = CHECKOUT / "benchmarks" / "bench_significance.py"
    spec = importlib.util.spec_from_file_location("bench_significance", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("count", [20, 50, 200])
def test_a_true_null_is_rejected_as_often_as_the_level_says(bench, count):
    found = bench.null(count, 1000, 199, seed=0)
    assert 0.03 <= found["p_ttest"] <= 0.07
    assert 0.03 <= found["p_permutation"] <= 0.07
    assert 0.93 <= found["coverage_t"] <= 0.97
    assert 0.88 <= found["coverage_bootstrap"] <= 0.97  # of few queries a bootstrap knows too little
    assert found["family"] > 0.15  # five comparisons without correction
    assert found["family_holm"] <= 0.08


def test_planted_gains_are_found_the_more_the_larger_they_are(bench):
    curve = list(bench.power(50, 100, 199, seed=0).values())
    assert curve == sorted(curve)
    assert curve[0] < 0.3
    assert curve[-1] > 0.95
