"""The calibration recovers planted numbers, and per-query offsets do not bend it."""

from collections.abc import Sequence

import numpy as np
import pytest

from rerank_plugin.domain.candidate import Candidate
from rerank_plugin.domain.factors import Weights
from rerank_plugin.domain.features import Features
from rerank_plugin.errors import DataError
from rerank_plugin.ranking.relevance import Fit, RelevanceHead
from rerank_plugin.ranking.types import RankRequest
from rerank_plugin.training.calibrate import Window, equal_weights, fit_head, listwise_slopes, ndcg_at_10, platt


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
