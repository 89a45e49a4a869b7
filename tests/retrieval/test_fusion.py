"""Fusion, worked by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_plugin.retrieval.fusion import min_max, min_max_sum, reciprocal_rank

SCORES = st.dictionaries(st.text(min_size=1, max_size=3), st.floats(-1e6, 1e6), max_size=8)


def test_min_max_by_hand():
    assert min_max({"a": 10.0, "b": 4.0, "c": 6.0}) == {"a": 1.0, "b": 0.0, "c": pytest.approx(1 / 3)}


def test_equal_scores_are_all_found_alike_and_nothing_stays_nothing():
    assert min_max({"a": 3.0, "b": 3.0}) == {"a": 1.0, "b": 1.0}
    assert min_max({"a": -7.0}) == {"a": 1.0}
    assert min_max({}) == {}


def test_min_max_sum_by_hand():
    bm25 = {"a": 8.0, "b": 4.0, "c": 6.0}
    cosine = {"c": 0.9, "d": 0.5, "b": 0.4}
    assert min_max_sum(bm25, cosine) == {"a": 1.0, "b": 0.0, "c": 1.5, "d": pytest.approx(0.2)}
    assert min_max_sum(bm25, cosine, weight=2.0)["c"] == 2.5
    assert min_max_sum(bm25, cosine, weight=0.0) == {"a": 1.0, "b": 0.0, "c": 0.5, "d": 0.0}
    assert list(min_max_sum(bm25, cosine)) == ["a", "b", "c", "d"]


def test_min_max_sum_with_an_empty_side():
    assert min_max_sum({}, {"a": 2.0, "b": 1.0}) == {"a": 1.0, "b": 0.0}
    assert min_max_sum({}, {}) == {}


def test_reciprocal_rank_by_hand():
    fused = reciprocal_rank(["a", "b", "c"], ["c", "a"])
    assert fused == {
        "a": pytest.approx(1 / 61 + 1 / 62),
        "b": pytest.approx(1 / 62),
        "c": pytest.approx(1 / 63 + 1 / 61),
    }
    assert sorted(fused, key=lambda doc_id: -fused[doc_id]) == ["a", "c", "b"]


def test_reciprocal_rank_of_one_repeated_and_none():
    assert reciprocal_rank(["a", "b", "a"], constant=0) == {"a": 1.0, "b": 0.5}
    assert reciprocal_rank([], []) == {}
    assert reciprocal_rank() == {}


@given(SCORES)
def test_min_max_keeps_order_and_range(scores):
    scaled = min_max(scores)
    assert all(0.0 <= value <= 1.0 for value in scaled.values())
    assert all(scaled[a] <= scaled[b] for a in scores for b in scores if scores[a] < scores[b])


@given(SCORES, SCORES)
def test_min_max_sum_is_symmetric_and_leaves_its_arguments(a, b):
    before = (dict(a), dict(b))
    assert min_max_sum(a, b) == pytest.approx(min_max_sum(b, a))
    assert (a, b) == before
