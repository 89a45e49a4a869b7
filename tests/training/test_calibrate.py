"""The calibration recovers planted numbers, and per-query offsets do not bend it."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_plugin.domain.candidate import Candidate
from rerank_plugin.domain.factors import PRIORS, Weights
from rerank_plugin.domain.features import Features
from rerank_plugin.errors import DataError
from rerank_plugin.ranking.gate import OPEN_GATES
from rerank_plugin.ranking.relevance import Fit, RelevanceHead
from rerank_plugin.ranking.types import RankRequest
from rerank_plugin.training.calibrate import (
    Blended,
    Window,
    equal_weights,
    fit_head,
    in_final_order,
    listwise_slopes,
    ndcg_at_10,
    platt,
    raised_weights,
)


def window(
    cosines: Sequence[float], grades: Sequence[int], scores: Sequence[float] | None = None, popular: int | None = None
) -> Window:
    """Documents d1, d2, ...; ``popular`` is the one with popularity 1 among zeros."""
    candidates = tuple(
        Candidate(
            doc_id=f"d{rank}",
            retrieval_rank=rank,
            retrieval_score=1.0 if scores is None else scores[rank - 1],
            cosine=cosine,
            features=Features() if popular is None else Features(popularity=float(rank == popular)),
        )
        for rank, cosine in enumerate(cosines, start=1)
    )
    judged = {f"d{rank}": grade for rank, grade in enumerate(grades, start=1)}
    return Window(RankRequest(query="q", candidates=candidates), None, judged)


def test_slopes_are_recovered_whatever_each_querys_offset_is() -> None:
    rng = np.random.default_rng(0)
    groups, grades = [], []
    for _ in range(1500):
        inputs = rng.normal(size=(12, 2))
        logits = inputs @ np.array([1.0, 3.0])
        chosen = rng.choice(12, p=np.exp(logits) / np.exp(logits).sum())
        groups.append(inputs + rng.normal(scale=5.0, size=(1, 2)))  # an offset of the whole query
        grades.append(np.eye(12)[chosen])
    assert listwise_slopes(groups, grades, [1.0] * 1500) == pytest.approx([1.0, 3.0], abs=0.25)


def test_a_harmful_input_gets_slope_zero_not_a_negative_one() -> None:
    groups = [np.array([[1.0, 0.0], [0.0, 1.0]])] * 4
    slopes = listwise_slopes(groups, [np.array([0.0, 1.0])] * 4, [1.0] * 4)
    assert slopes[0] == 0.0
    assert slopes[1] > 1.0


def test_platt_recovers_a_planted_line() -> None:
    rng = np.random.default_rng(0)
    sums = rng.normal(size=40_000)
    relevant = rng.random(40_000) < 1 / (1 + np.exp(-(2.0 * sums - 1.5)))
    scale, intercept = platt(sums, relevant, np.ones(40_000))
    assert (scale, intercept) == (pytest.approx(2.0, abs=0.1), pytest.approx(-1.5, abs=0.1))


def test_the_head_has_a_fit_per_case_and_closed_attention_no_say() -> None:
    rng = np.random.default_rng(1)
    windows = []
    for _ in range(200):
        cosines = rng.random(10)
        windows.append(
            window(cosines.tolist(), (2 * (cosines == cosines.max())).tolist(), (rng.random(10) * 9).tolist())
        )
    head = fit_head([windows])
    fit = head.fits["score+text"]
    assert set(head.fits) == {"score+text", "text", "score"}
    assert fit.cosine > 5 * (fit.log_score + fit.relative_score)
    assert head.fits["text"].log_score == head.fits["score"].cosine == 0.0
    assert not head.needs_interaction


def test_a_small_collection_counts_as_much_as_a_large_one() -> None:
    by_cosine = [window([0.9, 0.1], [1, 0], [1.0, 9.0])]
    by_score = [window([0.9, 0.1], [0, 1], [1.0, 9.0])]
    balanced, again = fit_head([by_cosine, by_score]), fit_head([by_cosine * 50, by_score])
    assert balanced.fits["score+text"].cosine == pytest.approx(again.fits["score+text"].cosine, abs=1e-3)


def test_nothing_to_fit_is_said() -> None:
    with pytest.raises(DataError, match="none of 2 windows holds a relevant and an irrelevant candidate"):
        fit_head([[window([0.1, 0.2], [0, 0]), window([0.1, 0.2], [1, 1])]])


BY_COSINE = RelevanceHead(
    {case: Fit(intercept=0.0, cosine=0.0 if case == "score" else 1.0) for case in ("score+text", "text", "score")}
)


def test_ndcg_by_hand_counts_what_retrieval_missed() -> None:
    found = window([0.1, 0.9], [1, 0])  # the relevant one comes second
    assert ndcg_at_10([found], BY_COSINE, Weights()) == pytest.approx(1 / np.log2(3))
    missed = Window(found.request, None, {"d1": 1, "elsewhere": 1})
    assert ndcg_at_10([missed], BY_COSINE, Weights()) == pytest.approx((1 / np.log2(3)) / (1 + 1 / np.log2(3)))


def test_weights_rise_until_a_collection_would_lose_a_hundredth() -> None:
    # The gate is .2: a weight s moves the popular document by at most .2 * s, against a lead of .11 in log-odds.
    harmed = [window([0.5, 0.39], [1, 0], popular=2)]
    helped = [window([0.39, 0.5], [1, 0], popular=1)]
    assert equal_weights([harmed], BY_COSINE).popularity == 0.5
    assert equal_weights([helped], BY_COSINE).popularity == 1.0
    assert equal_weights([helped, harmed], BY_COSINE) == Weights(
        authority=0.5, freshness=0.5, novelty=0.5, popularity=0.5
    )


def test_equal_weights_are_those_of_the_factors_that_take_part() -> None:
    helped = [window([0.39, 0.5], [1, 0], popular=1)]
    assert equal_weights([helped], BY_COSINE, ("freshness", "popularity")) == Weights(freshness=1.0, popularity=1.0)
    assert equal_weights([helped], BY_COSINE, ()) == Weights()


def told(rows: Sequence[tuple[float, float | None, float | None]], relevant: int) -> Window:
    """Documents of (cosine, authority, freshness), each factor asked for in full; one is relevant."""
    found = window([cosine for cosine, _, _ in rows], [int(place == relevant) for place in range(len(rows))])
    candidates = tuple(
        replace(each, features=Features(authority=authority, freshness=freshness))
        for each, (_, authority, freshness) in zip(found.request.candidates, rows, strict=True)
    )
    return replace(found, request=replace(found.request, candidates=candidates), gates=OPEN_GATES)


def test_a_window_says_how_much_a_factor_is_asked_for() -> None:
    """The fresh one is .5 behind: a weight of 1 lifts it where freshness is asked for in full, not at a gate of .2."""
    found = told([(0.9, None, 0.0), (0.4, None, 1.0)], 1)
    weights = Weights(freshness=1.0)
    assert [each.candidate.doc_id for each in in_final_order(found, BY_COSINE, weights)] == ["d2", "d1"]
    assert [each.candidate.doc_id for each in in_final_order(replace(found, gates=None), BY_COSINE, weights)] == [
        "d1",
        "d2",
    ]


def ten_and(behind: Sequence[tuple[float, float, float]]) -> Window:
    """Ten plain documents, the best of them relevant, and others behind them."""
    return told([(1.0, 0.0, 0.0), *[(0.5, 0.0, 0.0)] * 9, *behind], 0)


def test_the_factor_that_gained_least_is_raised_and_relevance_is_kept() -> None:
    """Nine may be passed and one may not.

    A document of authority 1 comes among the first ten from a weight of .4 on, and passes the relevant one, whose
    authority is 0, from .9 on; one of freshness 1 from .2 and from .7 on.
    """
    found = ten_and([(0.15, 1.0, 0.0), (0.35, 0.0, 1.0)])
    weights = raised_weights([[found]], BY_COSINE, ("authority", "freshness"))
    first = in_final_order(found, BY_COSINE, weights)
    assert first[0].candidate.doc_id == "d1"
    assert {"d11", "d12"} <= {each.candidate.doc_id for each in first[:10]}
    # One step more of either, and the relevant document is passed.
    for factor in ("authority", "freshness"):
        more = Weights.of({**weights.as_dict(), factor: weights[factor] + 0.1})
        assert ndcg_at_10([found], BY_COSINE, more) < 0.99
    assert (weights.novelty, weights.popularity) == (0.0, 0.0)


def test_a_factor_that_gained_less_gets_more() -> None:
    """Authority needs .2 to gain, freshness 3.1: raised where gains are least, and what is left goes to authority."""
    found = told([(9.0, 0.5, 0.5), *[(0.5, 0.5, 0.5)] * 9, (0.45, 1.0, 0.5), (-1.01, 0.5, 1.0)], 0)
    assert raised_weights([[found]], BY_COSINE) == Weights(authority=0.9, freshness=3.1)
    alike = told([(9.0, 0.5, 0.5), *[(0.5, 0.5, 0.5)] * 9, (0.45, 1.0, 0.5), (0.45, 0.5, 1.0)], 0)
    assert raised_weights([[alike]], BY_COSINE) == Weights(authority=2.0, freshness=2.0)


def test_no_collection_loses_for_another() -> None:
    helped = told([(0.3, 1.0, None), (0.6, 0.0, None)], 0)
    harmed = told([(0.6, 0.0, None), (0.35, 1.0, None)], 0)
    assert raised_weights([[helped]], BY_COSINE).authority == 4.0
    assert raised_weights([[helped], [harmed]], BY_COSINE) == Weights(authority=0.2)


def test_what_nobody_knows_is_not_raised() -> None:
    assert raised_weights([[told([(0.3, None, None), (0.6, None, None)], 0)]], BY_COSINE) == Weights()
    assert raised_weights([[told([], 0)]], BY_COSINE) == Weights()
    known = told([(0.6, 0.5, 0.5), (0.3, 0.5, 0.5)], 0)
    assert raised_weights([[known]], BY_COSINE, ("freshness",)) == Weights(freshness=4.0)


utilities = st.one_of(st.none(), st.floats(0, 1))


@given(
    st.lists(st.tuples(st.floats(-1, 1), utilities, utilities), max_size=14),
    st.lists(st.integers(0, 10), min_size=4, max_size=4),
    st.booleans(),
)
def test_columns_give_the_order_of_the_blend(
    rows: list[tuple[float, float | None, float | None]], steps: list[int], opened: bool
) -> None:
    found = replace(told(rows, 0), gates=OPEN_GATES if opened else None)
    weights = Weights.of({factor: step / 10 for factor, step in zip(PRIORS, steps, strict=True)})
    ranked = in_final_order(found, BY_COSINE, weights)
    columns = Blended.of(found, BY_COSINE)
    order = columns.order(np.array(steps) / 10)
    sums = columns.zs + columns.pulls @ (np.array(steps) / 10)
    assert sums[order] == pytest.approx([each.z_final for each in ranked], abs=1e-12)
    if len({round(float(each), 9) for each in sums}) == len(sums):  # else the last digit decides
        assert [f"d{place + 1}" for place in order] == [each.candidate.doc_id for each in ranked]
