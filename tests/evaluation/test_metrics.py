from __future__ import annotations

import math

import ir_measures
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_plugin.errors import ConfigError
from rerank_plugin.evaluation.metrics import COVERAGE, MEASURES, judge, parse_measures
from rerank_plugin.evaluation.runs import Run, ScoredDocument, read_trec, write_trec

QRELS = {"q1": {"a": 2, "b": 0, "c": 1}, "q2": {"x": 1}}


def run_of(**found: list[str]) -> Run:
    """All scores equal: only the order may count."""
    return Run("arm", {key: tuple(ScoredDocument(doc, 1.0) for doc in docs) for key, docs in found.items()})


def test_values_by_hand():
    judged = judge(run_of(q1=["z", "a", "y", "c"], q2=["x"]), QRELS)
    values = {measure: judged.per_query[measure]["q1"] for measure in MEASURES}
    gained = 2 / math.log2(3) + 1 / math.log2(5)
    ideal = 2 / math.log2(2) + 1 / math.log2(3)
    assert values == pytest.approx({"nDCG@10": gained / ideal, "RR@10": 1 / 2, "AP": 1 / 2, "R@100": 1.0, "P@10": 0.2})
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
    assert [eleventh.per_query[measure]["q2"] for measure in MEASURES] == pytest.approx([0, 0, 1 / 11, 1, 0])
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


def test_the_share_of_the_top_that_is_judged_by_hand():
    judged = judge(run_of(q1=["z", "a", "y", "b"], q2=["x"]), QRELS)
    assert judged.per_query[COVERAGE] == {"q1": 0.5, "q2": 1.0}  # of what was found


def test_the_gain_of_a_grade_is_itself_or_two_to_its_power_less_one():
    def ndcg(gain):
        return judge(run_of(q1=["c", "a"]), QRELS, gain=gain).per_query

    linear, exponential = ndcg("linear"), ndcg("exponential")
    second = 1 / math.log2(3)
    assert linear["nDCG@10"]["q1"] == pytest.approx((1 + 2 * second) / (2 + second))
    assert exponential["nDCG@10"]["q1"] == pytest.approx((1 + 3 * second) / (3 + second))
    assert [linear[name]["q1"] for name in ("AP", "RR@10")] == [exponential[name]["q1"] for name in ("AP", "RR@10")]


def test_measures_can_be_added_and_what_is_none_is_refused():
    assert parse_measures(["P@5", "nDCG@20", "AP"]) == (*MEASURES, "P@5", "nDCG@20")
    judged = judge(run_of(q1=["a"]), QRELS, measures=parse_measures(["P@5"]))
    assert judged.per_query["P@5"] == {"q1": 0.2, "q2": 0.0}
    for text in ("nDCGG@10", "", "P@", "os.system", "AP@@3"):
        with pytest.raises(ConfigError, match="is no measure"):
            parse_measures([text])


@given(
    st.lists(st.floats(-3, 3, width=16), min_size=1, max_size=25),
    st.dictionaries(st.integers(0, 29), st.integers(-1, 3), min_size=1, max_size=20),
)
def test_a_written_run_is_judged_by_trec_eval_as_we_judged_it(tmp_path_factory, scores, grades):
    """Ties included: our order is made strict before it is written, so trec_eval's own order of ties does not count."""
    ordered = sorted(scores, reverse=True)
    run = Run("r", {"q": tuple(ScoredDocument(f"d{place}", score) for place, score in enumerate(ordered))})
    qrels = {"q": {f"d{place}": grade for place, grade in grades.items()}}
    path = tmp_path_factory.mktemp("trec") / "r.run"
    write_trec(run, path)
    judged = judge(run, qrels)
    assert judge(read_trec(path), qrels) == judged
    names = [ir_measures.parse_measure(name) for name in MEASURES]
    for metric in ir_measures.iter_calc(names, qrels, ir_measures.read_trec_run(str(path))):
        assert metric.value == pytest.approx(judged.per_query[str(metric.measure)]["q"]), metric.measure
