from __future__ import annotations

from typing import Any

import pytest

from rerank_plugin.errors import ConfigError, DataError
from rerank_plugin.evaluation.fail_if import Condition, Known

ARMS = ["bm25", "rerank:weights=authority=0.5"]
PAIRS = [("bm25", "rerank:weights=authority=0.5"), ("bm25", "rerank")]
RESULT: dict[str, Any] = {
    "queries": 3,
    "arms": {
        "bm25": {"nDCG@10": 0.5, "latency_ms": {"p95": 20.0}, "fallbacks": 0, "factors@10": {"authority": None}},
        "rerank:weights=authority=0.5": {
            "nDCG@10": 0.6,
            "latency_ms": {"p95": 90.0},
            "fallbacks": 2,
            "diversity@10": 0.7,
        },
    },
    "comparisons": [
        {
            "baseline": "bm25",
            "candidate": "rerank",
            "measure": "AP",
            "delta": 0.02,
            "ci95": [-0.01, 0.05],
            "p_ttest": 0.2,
            "p_permutation": 0.19,
            "wins": 2,
            "ties": 0,
            "losses": 1,
        }
    ],
}


def parse(text: str) -> Condition:
    return Condition.parse(text, Known(arms=ARMS, pairs=PAIRS))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rerank:weights=authority=0.5.nDCG@10 < bm25.nDCG@10", False),
        ("bm25.nDCG@10<rerank:weights=authority=0.5.nDCG@10", True),
        ("bm25.nDCG@10 >= 0.5", True),
        ("bm25.nDCG@10 > 5e-1", False),
        ("rerank:weights=authority=0.5.p95 > 80", True),
        ("rerank:weights=authority=0.5.fallbacks > 0", True),
        ("rerank:weights=authority=0.5.diversity@10 < 0.8", True),
        ("delta(rerank, bm25, AP) <= 0.02", True),
        ("ci_low(rerank,bm25,AP) < 0", True),
        ("ci_high(rerank, bm25, AP) < 0", False),
        ("p_permutation(rerank, bm25, AP) > 0.05", True),
        ("losses(rerank, bm25, AP) > wins(rerank, bm25, AP)", False),
        ("-1 < 0", True),
    ],
)
def test_a_condition_holds_or_not(text, expected):
    assert parse(text).holds(RESULT) is expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "write LEFT < RIGHT"),
        ("bm25.nDCG@10", "write LEFT < RIGHT"),
        ("0 < bm25.nDCG@10 < 1", "write LEFT < RIGHT"),
        ("bm25.nDCG@5 < 1", "'bm25.nDCG@5' is none of ARM.MEASURE"),
        ("nDCG@10 < 1", "'nDCG@10' is none of"),
        ("fused.nDCG@10 < 1", "there is no arm 'fused'"),
        ("delta(rerank, fused, AP) < 0", "'rerank' is not compared with 'fused'"),
        ("delta(rerank, bm25) < 0", "is none of"),
        ("median(rerank, bm25, AP) < 0", "is none of"),
        ("__import__('os').system('x') < 1", "is none of"),
        ("nan < 1", "'nan' is none of"),
        ("bm25.AP == 1", "write LEFT < RIGHT"),
    ],
)
def test_what_is_no_condition_is_refused_before_any_work(text, told):
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert told in str(caught.value)


def test_a_condition_on_an_interval_that_does_not_exist_is_an_error_and_not_a_pass():
    single = {**RESULT, "queries": 1, "comparisons": [{**RESULT["comparisons"][0], "ci95": None}]}
    with pytest.raises(DataError, match="cannot be checked: the result has no such value over 1"):
        parse("ci_low(rerank, bm25, AP) < 0").holds(single)
    with pytest.raises(DataError, match="a factor needs features"):
        parse("bm25.authority > 0.1").holds(RESULT)


def test_a_measure_that_was_asked_for_can_be_a_condition():
    known = Known(arms=ARMS, pairs=PAIRS, measures=["nDCG@10", "P@5"])
    assert Condition.parse("bm25.P@5 < 1", known).text == "bm25.P@5 < 1"
    with pytest.raises(ConfigError):
        Condition.parse("bm25.AP < 1", known)
