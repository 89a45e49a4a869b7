"""What is made small: a listwise loss on the final order and one loss per factor's head, in a balance."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from rerank_plugin.domain.factors import PRIORS
from rerank_plugin.training.balance import Balance, Method
from rerank_plugin.training.losses import (
    binary_cross_entropy,
    lambda_loss,
    listwise_distillation,
    listwise_softmax,
    margin_mse,
    pairwise_logistic,
    soft_cross_entropy,
    squared_error,
)

if TYPE_CHECKING:
    from rerank_plugin.training.losses import ClickModel
    from rerank_plugin.training.mix import Batch, Said
    from rerank_plugin.training.settings import Settings

#: Losses on the final order, by the setting ``loss``.
ORDER_LOSSES = {
    "listwise": listwise_softmax,
    "ranknet": pairwise_logistic,
    "lambda": lambda_loss,
    "pointwise": binary_cross_entropy,
}
#: Losses on what teachers say, by the setting ``distill_loss``.
TEACHER_LOSSES = {"listwise": listwise_distillation, "margin_mse": margin_mse}
#: Factors that say how likely something is (credible, wanted); the others are amounts, and get a squared error.
LIKELIHOODS = ("authority", "popularity")


def balance_of(settings: Settings) -> Balance:
    """The balance of the settings' losses; a factor whose loss counts 0 is in none."""
    contrast = {"contrast": settings.contrast} if settings.contrast else {}
    weights = {"relevance": 1.0, **contrast, **settings.factor_losses()}
    return Balance(weights, cast(Method, settings.balance), floor=settings.relevance_floor, seed=settings.seed)


def losses_of(
    said: Said, batch: Batch, settings: Settings, clicks: ClickModel | None = None, *, hiding: float = 0.0
) -> dict[str, Tensor]:
    """Each loss by name; a factor that no candidate of the batch has a feature for is exactly 0.

    :param clicks: popularity is then learned from the batch's impressions, in place of the stored feature.
    :param hiding: how much it counts that the trunk hides what it shall; see :func:`_shown`.
    """
    found = {"relevance": _relevance(said, batch, settings)}
    if batch.alone is not None and said.cosines is not None:
        found["contrast"] = batch.alone.loss(said.cosines)
    for factor in settings.factor_losses():
        place = PRIORS.index(factor)
        logit, target = said.heads[..., place], batch.utilities[..., place]
        known = batch.known[..., place] & batch.mask
        if factor == "popularity" and clicks is not None:
            found[factor] = clicks(logit, batch.clicked, batch.places, batch.places > 0)
        elif factor in LIKELIHOODS:
            found[factor] = soft_cross_entropy(logit, target, known)
        else:
            found[factor] = squared_error(torch.sigmoid(logit), target, known)
            if said.shown is not None and factor in settings.adversarial:
                found[factor] = found[factor] + hiding * _shown(said.shown[..., place], target, known)
    return found


def _shown(logit: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """How far what a head reads is from saying the same of all, the mean of the labels (Tzeng et al. 2015).

    In place of the head's own gradient turned round: that one is zero once the head is right, and where it is not the
    trunk overshoots (docs/training.md has what was measured).
    """
    mean = (target * known).sum() / known.sum().clamp(min=1)
    return squared_error(torch.sigmoid(logit), mean.expand_as(logit), known)


def _relevance(said: Said, batch: Batch, settings: Settings) -> Tensor:
    """The loss on the final order, and beside it, where there are teachers, that on relevance, of which they speak."""
    labels = ORDER_LOSSES[settings.loss](said.z_final, batch.grades, batch.labelled)
    if batch.taught is None:
        return labels
    taught = TEACHER_LOSSES[settings.distill_loss](said.relevance, batch.taught, batch.mask)
    return (1.0 - settings.distill) * labels + settings.distill * taught
