"""Losses: values worked by hand, derivatives, batches with nothing to learn, and what padding and order must not do."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.losses import LOSSES, ORDERS, TAUGHT, Loss, batch, differentiated, padded
from rerank_plugin.training.calibrate import listwise_slopes
from rerank_plugin.training.losses import (
    binary_cross_entropy,
    cross_entropy,
    lambda_loss,
    listwise_distillation,
    listwise_softmax,
    margin_mse,
    pairwise_logistic,
    soft_cross_entropy,
    squared_error,
)

pytestmark = pytest.mark.train

LN2, LN3 = math.log(2), math.log(3)

every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
every_order = pytest.mark.parametrize("loss", ORDERS.values(), ids=ORDERS)

# Values by hand


def test_listwise_softmax_by_hand() -> None:
    # Softmax 2/8, 1/8, 5/8; targets 1/4, 0, 3/4. Second query: softmax 3/4, 1/4, target 0, 1.
    lists = [[(math.log(2), 1), (0, 0), (math.log(5), 3)], [(LN3, 0), (0, 2)]]
    first = -(math.log(2 / 8) / 4 + 3 * math.log(5 / 8) / 4)
    assert listwise_softmax(*padded(lists, 0, 0)).item() == pytest.approx((first + math.log(4)) / 2)


def test_listwise_softmax_is_the_loss_of_the_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    sizes = [5, 2, 9]
    groups = [rng.normal(size=(size, 3)) for size in sizes]
    grades = [rng.permutation(np.arange(size) % 3).astype(float) for size in sizes]
    caught: list[Any] = []

    def minimize(loss: Any, start: Any, **_: Any) -> Any:
        caught.append(loss)
        return SimpleNamespace(x=start)

    monkeypatch.setattr("scipy.optimize.minimize", minimize)
    listwise_slopes(groups, grades, [1.0] * 3)
    slopes = torch.tensor([0.7, 0.2, 1.9], dtype=torch.float64, requires_grad=True)
    expected, gradient = caught[0](slopes.detach().numpy())
    scores, mask = torch.zeros(3, 9, dtype=torch.float64), torch.zeros(3, 9, dtype=torch.bool)
    labels = torch.zeros(3, 9, dtype=torch.float64)
    for row, (inputs, grade) in enumerate(zip(groups, grades, strict=True)):
        scores[row, : len(grade)] = torch.as_tensor(inputs) @ slopes
        labels[row, : len(grade)] = torch.as_tensor(grade)
        mask[row, : len(grade)] = True
    value = listwise_softmax(scores, labels, mask)
    assert value.item() == pytest.approx(expected, rel=1e-12)
    assert torch.autograd.grad(value, slopes)[0].tolist() == pytest.approx(gradient.tolist(), rel=1e-9)


def test_pairwise_logistic_by_hand() -> None:
    # Margins of better less worse: -ln 3, 0 and -ln 3, so ln 4, ln 2 and ln 4. Second query: ln 3, so ln(4/3).
    lists = [[(0, 2), (LN3, 0), (0, 1)], [(LN3, 1), (0, 0)]]
    expected = ((2 * LN2 + LN2 + 2 * LN2) / 3 + math.log(4 / 3)) / 2
    assert pairwise_logistic(*padded(lists, 0, 0)).item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("k", "expected"),
    [
        # Ranked second, first, third; discounts 1, 1/log2(3), 1/2, best DCG 2 + 1/log2(3).
        # Swaps: 2 * (1 - 1/log2(3)), margin -ln 3; 1 * (1/log2(3) - 1/2), margin ln 3; 1 * (1 - 1/2), margin -2 ln 3.
        (
            None,
            (2 * (1 - 1 / math.log2(3)) * math.log(4) + (1 / math.log2(3) - 0.5) * math.log(4 / 3) + 0.5 * math.log(10))
            / (2 + 1 / math.log2(3)),
        ),
        # Only the first rank counts, the best DCG is 2: swaps of 2/2, of nothing, and of 1/2.
        (1, math.log(4) + math.log(10) / 2),
    ],
)
def test_lambda_loss_by_hand(k: int | None, expected: float) -> None:
    assert lambda_loss(*batch([[0, LN3, -LN3]], [[2, 0, 1]]), k=k).item() == pytest.approx(expected)


def test_margin_mse_by_hand() -> None:
    scores, teacher, mask = batch([[1, 0, 2]], [[3, 1, 0]])
    # The first is relevant: margins 1 and -1 against 2 and 3, so 1 and 16. The third pair: -2 against 1, so 9.
    assert margin_mse(scores, teacher, mask, torch.tensor([[1, 0, 0]])).item() == pytest.approx(17 / 2)
    assert margin_mse(scores, teacher, mask).item() == pytest.approx(26 / 3)
    assert margin_mse(teacher + 7, teacher, mask).item() == pytest.approx(0, abs=1e-12)


def test_listwise_distillation_by_hand() -> None:
    # The teacher says 1/4 and 3/4, the student 1/2 and 1/2; the third is padding, the second query a single candidate.
    scores, teacher, mask = batch(
        [[5, 5, 9], [1, 0, 0]], [[0, LN3, 7], [2, 0, 0]], [[True, True, False], [True, False, False]]
    )
    expected = math.log(0.25 / 0.5) / 4 + 3 * math.log(0.75 / 0.5) / 4
    value, gradient = differentiated(listwise_distillation, (scores, teacher, mask))
    assert value == pytest.approx(expected)
    assert gradient.tolist() == [pytest.approx([0.5 - 0.25, 0.5 - 0.75, 0]), [0, 0, 0]]
    assert listwise_distillation(teacher + 7, teacher, mask).item() == pytest.approx(0, abs=1e-12)


def test_binary_cross_entropy_by_hand() -> None:
    given = batch([[0, LN3]], [[2, 0]])  # ln 2 for the relevant one, ln(1 + 3) for the other
    assert binary_cross_entropy(*given).item() == pytest.approx((LN2 + 2 * LN2) / 2)
    assert binary_cross_entropy(*given, positive_weight=3).item() == pytest.approx((3 * LN2 + 2 * LN2) / 2)


def test_cross_entropy_by_hand() -> None:
    logits = torch.tensor([[LN2, 0, 0], [0, 0, LN2], [math.nan] * 3], requires_grad=True)
    # Shares 2/4 and 1/4 of the right classes.
    value = cross_entropy(logits, torch.tensor([0, 1, -100]), torch.tensor([True, True, False]))
    assert value.item() == pytest.approx((LN2 + 2 * LN2) / 2)
    value.backward()
    assert logits.grad is not None
    assert logits.grad[0].tolist() == pytest.approx([(0.5 - 1) / 2, 0.25 / 2, 0.25 / 2])
    assert not logits.grad[2].any()


def test_squared_error_by_hand() -> None:
    # (1/2)^2 and 0, the third is not known.
    assert squared_error(*batch([0.5, 0.2, 5], [1, 0.2, 9], [True, True, False])).item() == pytest.approx(0.125)


def test_soft_cross_entropy_by_hand() -> None:
    # Sigmoid of ln 3 is 3/4, the label 1/4.
    expected = -(math.log(0.75) / 4 + 3 * math.log(0.25) / 4)
    assert soft_cross_entropy(*batch([LN3], [0.25])).item() == pytest.approx(expected)
    assert differentiated(soft_cross_entropy, batch([LN3], [0.75]))[1].tolist() == pytest.approx([0], abs=1e-12)


# Derivatives


@every_loss
def test_derivatives(loss: Loss) -> None:
    scores, grades, mask = batch(
        [[0.3, 0.7, 0.55, 0.1], [0.9, 0.2, 0.4, 0.6]],
        [[1, 0, 0.5, 0], [0, 0.25, 1, 1]],
        [[True, True, True, True], [True, True, True, False]],
    )
    assert torch.autograd.gradcheck(lambda each: loss(each, grades, mask), scores)


def test_derivative_of_cross_entropy() -> None:
    logits = torch.tensor([[0.3, -1, 2], [0.1, 0, 0]], dtype=torch.float64, requires_grad=True)
    labels, mask = torch.tensor([2, 0]), torch.tensor([True, True])
    assert torch.autograd.gradcheck(lambda each: cross_entropy(each, labels, mask), logits)


# Nothing to learn


@every_loss
@pytest.mark.parametrize("junk", [0.0, 1e300, math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("shape", [(2, 3), (2, 0), (0, 3)])
def test_empty_masks_give_zero(loss: Loss, junk: float, shape: tuple[int, int]) -> None:
    scores = torch.full(shape, junk, dtype=torch.float64, requires_grad=True)
    value, gradient = differentiated(loss, (scores, scores.detach(), torch.zeros(shape, dtype=torch.bool)))
    assert value == 0.0
    assert torch.equal(gradient, torch.zeros(shape, dtype=torch.float64))


@every_order
@pytest.mark.parametrize("grade", [0.0, 2.0])
@pytest.mark.parametrize("scores", [[[1.0, -2.0, 3.0]], [[1e308, 1e308, 1e308]], [[5.0]]])
def test_equal_labels_and_single_candidates_give_zero(loss: Loss, grade: float, scores: list[list[float]]) -> None:
    value, gradient = differentiated(loss, batch(scores, [[grade] * len(scores[0])]))
    assert value == 0.0
    assert not gradient.any()


def test_one_candidate_has_no_margin_and_one_class_no_choice() -> None:
    for loss in TAUGHT.values():
        value, gradient = differentiated(loss, batch([[5.0]], [[1.0]]))
        assert (value, gradient.tolist()) == (0.0, [[0.0]])
    logits = torch.ones((2, 1), requires_grad=True)
    for mask in (torch.tensor([True, True]), torch.tensor([False, False])):
        value = cross_entropy(logits, torch.tensor([0, 0]), mask)
        value.backward()
        assert value.item() == 0.0
    assert logits.grad is not None
    assert not logits.grad.any()


@every_order
def test_a_query_with_nothing_to_learn_does_not_thin_the_others(loss: Loss) -> None:
    lists = [[(0.3, 1.0), (0.9, 0.0)], [(0.2, 1.0), (0.1, 1.0)], [(0.5, 0.0)]]
    alone, first = differentiated(loss, padded(lists[:1], 0, 0))
    together, gradient = differentiated(loss, padded(lists, 0, 0))
    assert together == pytest.approx(alone)
    assert alone > 0
    assert gradient[0].tolist() == pytest.approx(first[0].tolist())
    assert not gradient[1:].any()


# Padding, order, size

label = st.sampled_from([0.0, 0.25, 0.5, 1.0])
score = st.floats(0, 1, width=32)
queries = st.lists(st.lists(st.tuples(score, label), min_size=1, max_size=6), min_size=1, max_size=4)


@every_loss
@given(lists=queries, extra=st.integers(0, 3), junk=st.sampled_from([0.0, -7.0, 1e300, math.inf, math.nan]))
def test_padding_changes_nothing(loss: Loss, lists: list[list[tuple[float, float]]], extra: int, junk: float) -> None:
    value, gradient = differentiated(loss, padded(lists, 0, 0.0))
    given_more = padded(lists, extra, junk)
    same, wider = differentiated(loss, given_more)
    assert same == pytest.approx(value, rel=1e-9, abs=1e-12)
    assert torch.allclose(wider[:, : gradient.shape[1]], gradient, rtol=1e-9, atol=1e-12)
    assert not wider[~given_more[2]].any()


@pytest.mark.parametrize("loss", [*ORDERS.values(), *TAUGHT.values()], ids=[*ORDERS, *TAUGHT])
@given(lists=queries, seed=st.integers(0, 99))
def test_order_of_candidates_and_queries_changes_nothing(
    loss: Loss, lists: list[list[tuple[float, float]]], seed: int
) -> None:
    scores, grades, mask = padded(lists, 1, 0.0)
    order = torch.randperm(scores.shape[1], generator=torch.Generator().manual_seed(seed))
    rows = torch.randperm(len(lists), generator=torch.Generator().manual_seed(seed))
    moved = [each[rows][:, order] for each in (scores, grades, mask)]
    assert loss(*moved).item() == pytest.approx(loss(scores, grades, mask).item(), rel=1e-9, abs=1e-12)


@given(
    candidates=st.lists(
        st.tuples(st.integers(-9, 9), st.integers(0, 3)), min_size=2, max_size=6, unique_by=lambda c: c[0]
    ),
    k=st.integers(1, 7),
)
def test_weights_of_lambda_loss_are_changes_of_ndcg(candidates: list[tuple[int, int]], k: int) -> None:
    def dcg(grades: list[int]) -> float:
        return sum(grade / math.log2(rank + 1) for rank, grade in enumerate(grades[:k], start=1))

    ranked = sorted(candidates, reverse=True)
    grades = [grade for _, grade in ranked]
    expected = 0.0
    for one, (high, better) in enumerate(ranked):
        for other, (low, worse) in enumerate(ranked):
            if better > worse:
                swapped = grades.copy()
                swapped[one], swapped[other] = worse, better
                change = abs(dcg(swapped) - dcg(grades)) / dcg(sorted(grades, reverse=True))
                expected += change * math.log1p(math.exp(low - high))
    given_batch = batch([[each for each, _ in candidates]], [[grade for _, grade in candidates]])
    assert lambda_loss(*given_batch, k=k).item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_lambda_loss_learns_from_a_model_that_tells_nothing_apart() -> None:
    value, gradient = differentiated(lambda_loss, batch([[0.0, 0.0, 0.0]], [[1.0, 0.0, 0.0]]))
    # The relevant one counts as last: swaps of 1 - 1/2 and of 1/log2(3) - 1/2, margins 0.
    assert value == pytest.approx((1 - 0.5 + 1 / math.log2(3) - 0.5) * LN2)
    assert gradient[0, 0] < 0
    assert bool((gradient[0, 1:] > 0).all())


@every_loss
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(loss: Loss, dtype: torch.dtype) -> None:
    scores, grades, mask = batch([[0.5, 0.75, 0.25]], [[1, 0, 0.5]])
    value = loss(scores.to(dtype), grades.to(dtype), mask)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(loss(scores, grades, mask).item(), rel=1e-6)


@every_order
def test_scores_far_apart_stay_finite(loss: Loss) -> None:
    scores, grades, mask = batch([[1e4, -1e4, 0.0]], [[0.0, 1.0, 0.5]])
    value, gradient = differentiated(loss, (scores, grades, mask))
    assert math.isfinite(value)
    assert bool(gradient.isfinite().all())
