"""Losses: values worked by hand, derivatives, batches with nothing to learn, and what padding and order must not do."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rerank_plugin.errors import ConfigError, DataError
from rerank_plugin.training.calibrate import listwise_slopes
from rerank_plugin.training.losses import (
    ClickModel,
    GradientReversal,
    binary_cross_entropy,
    cross_entropy,
    lambda_loss,
    listwise_softmax,
    margin_mse,
    pairwise_logistic,
    reversed_gradient,
    soft_cross_entropy,
    squared_error,
)

pytestmark = pytest.mark.train

LN2, LN3 = math.log(2), math.log(3)

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def all_margins(scores: Tensor, grades: Tensor, mask: Tensor) -> Tensor:
    """Margin-MSE with the grades as the teacher's scores."""
    return margin_mse(scores, grades, mask)


def judged_margins(scores: Tensor, grades: Tensor, mask: Tensor) -> Tensor:
    """The same over pairs of better and worse candidates."""
    return margin_mse(scores, grades, mask, grades)


def clicks(logit: Tensor, clicked: Tensor, mask: Tensor) -> Tensor:
    """The click model with planted biases; one position below its places."""
    model = ClickModel(places=3, dropout=0.0)
    with torch.no_grad():
        model.lower.copy_(torch.tensor([-0.5, -1.5]))
    positions = torch.arange(1, logit.shape[-1] + 1).expand(logit.shape)
    return model(logit, (clicked > 0.5).float(), torch.where(mask, positions, 0), mask)


#: Those that compare candidates of one query, and so have nothing to learn from equal labels or a single candidate.
ORDERS: dict[str, Loss] = {
    "listwise_softmax": listwise_softmax,
    "pairwise_logistic": pairwise_logistic,
    "lambda_loss": lambda_loss,
    "lambda_loss at 2": lambda scores, grades, mask: lambda_loss(scores, grades, mask, k=2),
    "margin_mse": judged_margins,
}
#: Those that look at every label by itself; labels and predictions here are from 0 to 1.
SINGLES: dict[str, Loss] = {
    "binary_cross_entropy": binary_cross_entropy,
    "weighted binary_cross_entropy": lambda *batch: binary_cross_entropy(*batch, positive_weight=3.0),
    "squared_error": squared_error,
    "soft_cross_entropy": soft_cross_entropy,
    "clicks": clicks,
}
LOSSES: dict[str, Loss] = {**ORDERS, **SINGLES, "margin_mse of all": all_margins}

every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
every_order = pytest.mark.parametrize("loss", ORDERS.values(), ids=ORDERS)


def batch(scores: Any, grades: Any, mask: Any = None) -> tuple[Tensor, Tensor, Tensor]:
    """float64 tensors; everything real where no mask is given."""
    values = torch.tensor(scores, dtype=torch.float64, requires_grad=True)
    known = torch.ones(values.shape, dtype=torch.bool) if mask is None else torch.tensor(mask)
    return values, torch.tensor(grades, dtype=torch.float64), known


def padded(lists: Sequence[Sequence[tuple[float, float]]], extra: int, junk: float) -> tuple[Tensor, Tensor, Tensor]:
    """Lists of (score, grade) as one batch, ``extra`` places wider than the longest, junk under the mask."""
    width = max(map(len, lists)) + extra
    rows = [[*each, *[(junk, junk)] * (width - len(each))] for each in lists]
    return batch(
        [[score for score, _ in row] for row in rows],
        [[grade for _, grade in row] for row in rows],
        [[place < len(each) for place in range(width)] for each in lists],
    )


def differentiated(loss: Loss, given: tuple[Tensor, Tensor, Tensor]) -> tuple[float, Tensor]:
    """Value and gradient of the scores."""
    value = loss(*given)
    assert value.shape == ()
    (gradient,) = torch.autograd.grad(value, given[0])
    return value.item(), gradient


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


def test_click_model_by_hand() -> None:
    model = ClickModel(places=2, dropout=0.0).double()
    with torch.no_grad():
        model.lower.fill_(-LN3)
    logit, clicked, mask = batch([[LN3, LN3, 0, 99]], [[1, 0, 0, 0]], [[True, True, True, False]])
    # Clicked at 3/4; not clicked at 1/2; the ninth place has the bias of the last, the second: not clicked at 1/4.
    value = model(logit, clicked, torch.tensor([[1, 2, 9, 0]]), mask)
    assert value.item() == pytest.approx(-(math.log(3 / 4) + math.log(1 / 2) + math.log(3 / 4)) / 3)
    value.backward()
    assert model.lower.grad is not None
    assert model.lower.grad.tolist() == pytest.approx([(1 / 2 + 1 / 4) / 3])  # what was expected less what came
    assert model.bias.tolist() == pytest.approx([0, -LN3])


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
@pytest.mark.parametrize("scores", [[[1.0, -2.0, 3.0]], [[1e300, -1e300, 1e300]], [[5.0]]])
def test_equal_labels_and_single_candidates_give_zero(loss: Loss, grade: float, scores: list[list[float]]) -> None:
    value, gradient = differentiated(loss, batch(scores, [[grade] * len(scores[0])]))
    assert value == 0.0
    assert not gradient.any()


def test_one_candidate_has_no_margin_and_one_class_no_choice() -> None:
    value, gradient = differentiated(all_margins, batch([[5.0]], [[1.0]]))
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


@pytest.mark.parametrize("loss", [*ORDERS.values(), all_margins], ids=[*ORDERS, "all margins"])
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
    assert value > 0
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


# The reversed gradient and the click model


def test_the_gradient_is_turned_round() -> None:
    x = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
    same = reversed_gradient(x, 0.5)
    assert torch.equal(same, x)
    (same * torch.tensor([3.0, 4.0])).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [-1.5, -2.0]
    assert torch.autograd.grad(GradientReversal.apply(x, 0.0).sum(), x)[0].tolist() == [0.0, 0.0]


def test_a_trunk_behind_the_reversed_gradient_unlearns() -> None:
    trunk, head = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    with torch.no_grad():
        trunk.weight.fill_(1.0)
        head.weight.fill_(1.0)
    x = torch.tensor([[1.0]])
    loss = soft_cross_entropy(head(reversed_gradient(trunk(x)))[:, 0], torch.ones(1), torch.tensor([True]))
    loss.backward()
    assert head.weight.grad is not None
    assert trunk.weight.grad is not None
    # The head is to raise its logit, the trunk to lower it.
    assert trunk.weight.grad.item() > 0


def test_the_tower_recovers_planted_biases_and_the_head_is_freed_of_them() -> None:
    generator = torch.Generator().manual_seed(0)
    planted = torch.tensor([0.0, -0.6, -1.2, -1.6, -2.0])
    x = torch.randn(8000, 5, generator=generator).sort(dim=1, descending=True).values  # better texts stand higher
    positions = torch.arange(1, 6).expand(x.shape)
    chance = torch.sigmoid(x - 0.3 + planted)
    clicked = (torch.rand(x.shape, generator=generator) < chance).float()
    everything = torch.ones(x.shape, dtype=torch.bool)

    def fitted(model: ClickModel, where: Tensor) -> tuple[list[float], float]:
        head = torch.zeros(2, requires_grad=True)
        optimizer = torch.optim.LBFGS([head, model.lower], max_iter=60, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimizer.zero_grad()
            value = model(x * head[0] + head[1], clicked, where, everything)
            value.backward()
            return value

        optimizer.step(closure)
        return model.bias.tolist(), head[0].item()

    biases, slope = fitted(ClickModel(places=5, dropout=0.0), positions)
    assert biases == pytest.approx(planted.tolist(), abs=0.15)
    assert slope == pytest.approx(1.0, abs=0.1)
    _, blind = fitted(ClickModel(places=5, dropout=0.0), torch.ones_like(positions))
    assert blind > slope + 0.3  # without the tower the head takes the page's order for relevance


def test_dropout_of_the_bias_is_for_training_only() -> None:
    model = ClickModel(places=2, dropout=0.25)
    with torch.no_grad():
        model.lower.fill_(-40.0)
    logit, clicked = torch.zeros(1, 20_000), torch.ones(1, 20_000)
    positions, mask = torch.full((1, 20_000), 2), torch.ones(1, 20_000, dtype=torch.bool)
    torch.manual_seed(0)
    # A click costs 40 with the bias, ln 2 without it.
    assert model(logit, clicked, positions, mask).item() == pytest.approx(0.75 * 40 + 0.25 * LN2, rel=0.02)
    assert model.eval()(logit, clicked, positions, mask).item() == pytest.approx(40)


# Refusals


@pytest.mark.parametrize("loss", [*ORDERS.values(), binary_cross_entropy], ids=[*ORDERS, "binary_cross_entropy"])
@pytest.mark.parametrize("grade", [-1.0, math.nan, math.inf])
def test_unusable_grades_are_refused(loss: Loss, grade: float) -> None:
    with pytest.raises(DataError):
        loss(*batch([[1.0, 2.0]], [[grade, 1.0]]))


@every_loss
def test_shapes_and_masks_are_checked(loss: Loss) -> None:
    scores, grades, mask = batch([[0.1, 0.2]], [[0.0, 1.0]])
    with pytest.raises(DataError, match="shapes"):
        loss(scores, grades[:, :1], mask)
    with pytest.raises(DataError, match="need bool"):
        loss(scores, grades, mask.long())


@pytest.mark.parametrize("loss", [squared_error, soft_cross_entropy])
@pytest.mark.parametrize("target", [-0.1, 1.1, math.nan])
def test_labels_of_factors_lie_between_zero_and_one(loss: Loss, target: float) -> None:
    with pytest.raises(DataError, match="0 to 1"):
        loss(*batch([0.5], [target]))


def test_other_refusals() -> None:
    scores, grades, mask = batch([[0.1, 0.2]], [[0.0, 1.0]])
    with pytest.raises(ConfigError, match="k is 0"):
        lambda_loss(scores, grades, mask, k=0)
    with pytest.raises(ConfigError, match="positives"):
        binary_cross_entropy(scores, grades, mask, positive_weight=0.0)
    with pytest.raises(DataError, match="teacher"):
        margin_mse(scores, grades * math.nan, mask)
    with pytest.raises(DataError, match="sigmoid"):
        squared_error(scores + 1, grades, mask)
    with pytest.raises(DataError, match="candidates"):
        listwise_softmax(scores[0], grades[0], mask[0])
    for strength in (-1.0, math.nan, math.inf):
        with pytest.raises(ConfigError, match="strength"):
            reversed_gradient(scores, strength)


def test_refusals_of_classes_and_clicks() -> None:
    known = torch.tensor([True])
    for classes in (torch.tensor([2]), torch.tensor([-1])):
        with pytest.raises(DataError, match="outside 0 to 1"):
            cross_entropy(torch.zeros(1, 2), classes, known)
    with pytest.raises(DataError, match="integers"):
        cross_entropy(torch.zeros(1, 2), torch.tensor([1.0]), known)
    with pytest.raises(DataError, match="need"):
        cross_entropy(torch.zeros(2), torch.tensor([1, 1]), known)
    model, logit = ClickModel(places=3), torch.zeros(1)
    with pytest.raises(DataError, match="the first one is 1"):
        model(logit, torch.ones(1), torch.tensor([0]), known)
    with pytest.raises(DataError, match="click is 0 or 1"):
        model(logit, torch.full((1,), 0.5), torch.tensor([1]), known)
    for places, dropout in ((0, 0.1), (3, 1.0), (3, -0.1)):
        with pytest.raises(ConfigError):
            ClickModel(places=places, dropout=dropout)
