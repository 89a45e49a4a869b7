from __future__ import annotations

import numpy as np
import pytest

from rerank_plugin.domain.features import Features
from rerank_plugin.evaluation.arms import Answer, Found
from rerank_plugin.evaluation.collection import Collection, Query
from rerank_plugin.evaluation.experiment import factor_auc, mean_diversity, mean_factors, percentile, run_arm
from rerank_plugin.evaluation.runs import Run, ScoredDocument
from rerank_plugin.evaluation.specs import ArmSpec

COLLECTION = Collection(
    name="small",
    queries=(Query("q1", "one"), Query("q2", "two"), Query("q3", "three")),
    qrels={"q1": {"a": 1}, "q2": {"b": 1}, "q3": {"c": 1}},
    unjudged=0,
    without_relevant=0,
)


class Scripted:
    """Answers each query with the script's next answer; remembers what it was asked."""

    def __init__(self, **answers: Answer) -> None:
        self.answers, self.asked = answers, []

    def answer(self, query: Query) -> Answer:
        self.asked.append(query.text)
        return self.answers[query.query_id]


def found(*ids: str) -> tuple[Found, ...]:
    return tuple(Found(each, 1.0) for each in ids)


def test_every_query_is_asked_once_after_one_call_that_is_not_measured():
    ticks = iter([0.0, 0.010, 1.0, 1.030, 2.0, 2.020])
    arm = Scripted(
        q1=Answer(found("a"), status="applied", truncated=2),
        q2=Answer(found("x", "b"), status="fallback", reason="deadline"),
        q3=Answer(()),
    )
    steps: list[int] = []
    result = run_arm(
        ArmSpec.parse("rerank"),
        arm,
        COLLECTION,
        on_query=lambda: steps.append(1),
        clock=lambda: next(ticks),
    )
    assert arm.asked == ["one one", "one", "two", "three"]
    assert len(steps) == 3
    assert result.latencies_ms == pytest.approx((10, 30, 20))
    assert result.judged.per_query["RR@10"] == {"q1": 1.0, "q2": 0.5, "q3": 0.0}
    assert result.judged.missing == 1
    assert (result.statuses, result.reasons) == ({"applied": 1, "fallback": 1}, {"deadline": 1})
    assert (result.fallbacks, result.truncated) == (1, 2)


def test_mean_factors_by_hand():
    old, new = Features(freshness=0.5, age_days=10, authority=0.2), Features(freshness=1, age_days=0, authority=0.6)
    answers = [
        Answer((Found("a", 1, old), Found("b", 1, new), Found("c", 1))),  # unknown does not count as 0
        Answer(
            (
                Found("b", 1, new),
                *(Found(str(each), 1, Features(authority=0.0)) for each in range(9)),
                Found("a", 1, old),
            )
        ),
        Answer(()),
    ]
    means = mean_factors(answers)
    assert means["authority"] == pytest.approx((0.4 + 0.06) / 2)  # the eleventh is not looked at
    assert means["age_days"] == pytest.approx((5 + 0) / 2)
    assert means["freshness"] == pytest.approx(((0.5 + 1) / 2 + 1) / 2)
    assert means["popularity"] is None


def test_percentiles_by_hand():
    assert percentile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.5
    assert percentile([1.0, 2.0, 3.0], 1.0) == 3.0
    assert percentile([7.0], 0.99) == 7.0
    assert percentile([], 0.5) == 0.0


def test_diversity_by_hand():
    vectors = {"a": [1.0, 0.0], "b": [1.0, 0.0], "c": [0.0, 1.0]}

    def among(ids):
        rows = np.array([vectors[each] for each in ids if each in vectors], dtype=np.float32).reshape(-1, 2)
        return rows @ rows.T

    def run(**lists):
        return Run("r", {query: tuple(ScoredDocument(each, 1.0) for each in ids) for query, ids in lists.items()})

    # cosines of the pairs: ab 1, ac 0, bc 0: mean 1/3; the second query's pair is the same document twice over
    assert mean_diversity(run(q1=["a", "b", "c", "unknown"], q2=["a", "b"]), among) == pytest.approx((2 / 3 + 0) / 2)
    assert mean_diversity(run(q1=["a"], q2=[]), among) is None


def test_a_saved_run_has_no_latency():
    arm = Scripted(**{query.query_id: Answer(()) for query in COLLECTION.queries})
    assert run_arm(ArmSpec.parse("run:file=x"), arm, COLLECTION).latencies_ms == ()


def test_what_a_factor_alone_says_by_hand():
    def with_trust(**values: float | None) -> Answer:
        return Answer(tuple(Found(name, 1.0, features=Features(authority=value)) for name, value in values.items()))

    answers = {
        "q1": with_trust(a=0.9, x=0.4, y=0.9, z=None),
        "q2": with_trust(b=0.2, x=0.1),
        "unjudged": with_trust(c=1.0, d=0.0),
    }
    # relevant .9 .2, others .4 .9 .1: of the six pairs .9 wins two and ties one, .2 wins one
    found = factor_auc(answers, COLLECTION.qrels)
    assert found["authority"] == pytest.approx((2 + 0.5 + 1) / 6)
    assert found["novelty"] is None
    assert factor_auc({"q1": with_trust(x=0.1)}, COLLECTION.qrels)["authority"] is None
