"""What losses refuse: shapes, masks and labels that cannot be meant, and settings out of range."""

from __future__ import annotations

import math

import pytest
import torch

from harness.losses import LOSSES, ORDERS, TAUGHT, Loss, batch
from rerank_plugin.errors import ConfigError, DataError
from rerank_plugin.training.losses import (
    ClickModel,
    binary_cross_entropy,
    cross_entropy,
    lambda_loss,
    listwise_softmax,
    soft_cross_entropy,
    squared_error,
)

pytestmark = pytest.mark.train


@pytest.mark.parametrize("loss", [*ORDERS.values(), binary_cross_entropy], ids=[*ORDERS, "binary_cross_entropy"])
@pytest.mark.parametrize("grade", [-1.0, math.nan, math.inf])
def test_unusable_grades_are_refused(loss: Loss, grade: float) -> None:
    with pytest.raises(DataError):
        loss(*batch([[1.0, 2.0]], [[grade, 1.0]]))


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
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
    for loss in TAUGHT.values():
        with pytest.raises(DataError, match="teacher"):
            loss(scores, grades * math.nan, mask)
    with pytest.raises(DataError, match="sigmoid"):
        squared_error(scores + 1, grades, mask)
    with pytest.raises(DataError, match="candidates"):
        listwise_softmax(scores[0], grades[0], mask[0])


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
