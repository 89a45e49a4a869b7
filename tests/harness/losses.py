"""Every loss under one signature, and batches for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from rerank_plugin.training.losses import (
    ClickModel,
    binary_cross_entropy,
    lambda_loss,
    listwise_distillation,
    listwise_softmax,
    margin_mse,
    pairwise_logistic,
    soft_cross_entropy,
    squared_error,
)

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
    return model(logit, (clicked > 0.5).float(), positions.masked_fill(~mask.bool(), 0), mask)


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
#: Those whose labels are a teacher's scores.
TAUGHT: dict[str, Loss] = {"margin_mse of all": all_margins, "listwise_distillation": listwise_distillation}
LOSSES: dict[str, Loss] = {**ORDERS, **SINGLES, **TAUGHT}


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
