from __future__ import annotations

import json

import pytest

from rerank_plugin.errors import DataError
from rerank_plugin.evaluation.compare import compare, differences, pooled, read_per_query
from rerank_plugin.evaluation.metrics import MEASURES


def values(bm25: list[float], rerank: list[float]):
    return {
        measure: {
            arm: {f"q{number}": value for number, value in enumerate(scores)}
            for arm, scores in (("bm25", bm25), ("rerank", rerank))
        }
        for measure in MEASURES
    }


def test_a_comparison_is_candidate_minus_baseline_for_each_measure():
    found = compare(values([0.1, 0.5, 0.5], [0.3, 0.5, 0.4]), [("bm25", "rerank")], seed=0)
    assert [each.measure for each in found] == list(MEASURES)
    first = found[0]
    assert (first.baseline, first.candidate) == ("bm25", "rerank")
    assert first.paired.delta == pytest.approx(0.1 / 3)
    assert (first.paired.wins, first.paired.ties, first.paired.losses) == (1, 1, 1)


def test_several_pairs_are_corrected_for_each_measure_on_its_own():
    numbers = {**values([0.1, 0.5, 0.5, 0.2], [0.3, 0.6, 0.7, 0.3])}
    for by_arm in numbers.values():
        by_arm["dense"] = {query: value + 0.01 * (query == "q1") for query, value in by_arm["bm25"].items()}
    numbers["Judged@10"] = numbers["AP"]
    found = compare(numbers, [("bm25", "rerank"), ("bm25", "dense")], seed=0)
    assert "Judged@10" not in {each.measure for each in found}
    rerank, dense = (next(each for each in found if each.candidate == name) for name in ("rerank", "dense"))
    assert rerank.p_ttest_holm == pytest.approx(2 * rerank.paired.p_ttest)  # the smaller of the two
    assert dense.p_ttest_holm == pytest.approx(dense.paired.p_ttest)


def test_pooling_takes_the_queries_of_all_collections_as_one_sample():
    result = pooled([values([0.0, 0.0], [0.1, 0.2]), values([0.5], [0.8])], "bm25", "rerank")
    assert result.delta == pytest.approx(0.2)
    assert result.ci95 == pytest.approx((0.2 - 0.24841377, 0.2 + 0.24841377))  # as worked in test_significance
    assert (result.wins, result.losses) == (3, 0)
    assert pooled([], "bm25", "rerank").ci95 is None


def test_arms_judged_on_different_queries_are_refused():
    bad = {"AP": {"bm25": {"q1": 0.1}, "rerank": {"q2": 0.1}}}
    with pytest.raises(DataError, match="different queries"):
        differences(bad, "bm25", "rerank", "AP")
    with pytest.raises(DataError, match="no values of 'fused'"):
        differences(bad, "bm25", "fused", "AP")


def test_values_are_read_back(tmp_path):
    path = tmp_path / "per_query.json"
    path.write_text(json.dumps(values([0.1], [0.2])))
    assert read_per_query(path) == values([0.1], [0.2])
    path.write_text('{"AP": 3}')
    with pytest.raises(DataError, match="does not hold values per query"):
        read_per_query(path)
    with pytest.raises(DataError, match="does not exist"):
        read_per_query(tmp_path / "none.json")
