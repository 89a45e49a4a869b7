from __future__ import annotations

import math

import pytest

from rerank_plugin.evaluation.metrics import MEASURES, judge
from rerank_plugin.evaluation.runs import Run, ScoredDocument

QRELS = {"q1": {"a": 2, "b": 0, "c": 1}, "q2": {"x": 1}}


def run_of(**found: list[str]) -> Run:
    """All scores equal: only the order may count."""
    return Run("arm", {key: tuple(ScoredDocument(doc, 1.0) for doc in docs) for key, docs in found.items()})


def test_values_by_hand():
    judged = judge(run_of(q1=["z", "a", "y", "c"], q2=["x"]), QRELS)
    values = {measure: judged.per_query[measure]["q1"] for measure in MEASURES}
    gained = 2 / math.log2(3) + 1 / math.log2(5)
    ideal = 2 / math.log2(2) + 1 / math.log2(3)
    assert values == pytest.approx({"nDCG@10": gained / ideal, "RR@10": 1 / 2, "AP": (1 / 2 + 2 / 4) / 2, "R@100": 1.0})
    assert judged.mean("RR@10") == pytest.approx(3 / 4)
    assert judged.missing == 0


def test_the_order_decides_and_not_the_document_ids():
    first, last = judge(run_of(q2=["x", "y"]), QRELS), judge(run_of(q2=["y", "x"]), QRELS)
    assert first.per_query["RR@10"]["q2"] == 1.0
    assert last.per_query["RR@10"]["q2"] == 0.5
    # trec_eval would put the greater id first on ties: both directions must follow the order
    assert judge(run_of(q2=["w", "x"]), QRELS).per_query["RR@10"]["q2"] == 0.5


def test_rr_and_ndcg_look_at_ten_documents_and_recall_at_a_hundred():
    filler = [f"f{number}" for number in range(200)]
    eleventh = judge(run_of(q2=[*filler[:10], "x"]), QRELS)
    assert [eleventh.per_query[measure]["q2"] for measure in MEASURES] == pytest.approx([0, 0, 1 / 11, 1])
    assert judge(run_of(q2=[*filler[:100], "x"]), QRELS).per_query["R@100"]["q2"] == 0


def test_a_judged_query_that_is_missing_scores_zero_and_is_counted():
    judged = judge(run_of(q1=["a", "c"], q2=[]), QRELS)
    assert judged.missing == 1
    assert judged.per_query["nDCG@10"] == {"q1": 1.0, "q2": 0.0}
    assert judged.mean("nDCG@10") == 0.5


def test_queries_without_judgments_do_not_count():
    assert judge(run_of(q1=["a", "c"], q2=["x"], q9=["a"]), QRELS).per_query["AP"] == {"q1": 1.0, "q2": 1.0}


def test_an_empty_run_and_empty_judgments():
    assert judge(run_of(), QRELS).mean("AP") == 0.0
    assert judge(run_of(), QRELS).missing == 2
    assert judge(run_of(), QRELS).per_query["AP"] == {"q1": 0.0, "q2": 0.0}
    assert judge(run_of(q1=["a"]), {}).mean("AP") == 0.0
