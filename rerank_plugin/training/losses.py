"""What fine-tuning minimises: losses of the relevance head and of the factor heads.

Queries come padded: ``scores`` (queries, candidates), ``grades`` of the same shape, at least 0, and ``mask`` of the
same shape, True where a real candidate (for a factor: a known label) stands. What lies under a False of the mask may be
anything, infinities and NaN included; it reaches neither the value nor a gradient. Every loss is a scalar: a mean over
the queries, or over the single labels, from which something can be learned, so that the amount of padding does not
weigh. Where nothing can be learned the loss is exactly 0 and still has a graph behind it, all of whose gradients are 0:
a training step needs no special case. Half-precision inputs are computed in float32. A NaN among the real scores is
passed on, or a training run that has come apart would look like one that has converged.

:raises DataError: in every loss, for shapes that differ, a mask that is not bool, and labels out of range.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from rerank_plugin.errors import ConfigError, DataError

__all__ = [
    "ClickModel",
    "binary_cross_entropy",
    "cross_entropy",
    "lambda_loss",
    "listwise_distillation",
    "listwise_softmax",
    "margin_mse",
    "pairwise_logistic",
    "soft_cross_entropy",
    "squared_error",
]


def listwise_softmax(scores: Tensor, grades: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy between grades / their sum and the softmax of the scores (Cao et al. 2007, ListNet, top one).

    The loss that ``calibrate.listwise_slopes`` fits with, every query counting the same. Lists whose grades are all
    equal are left out: they name no order.

    :param scores, grades, mask: (queries, candidates); grades at least 0.
    :return: scalar, at least 0; mean over the queries with two different grades.
    """
    scores, grades, mask = _with_an_order(*_groups(scores, grades, mask))
    if not len(scores):
        return _nothing(scores)
    logs = functional.log_softmax(scores.masked_fill(~mask, -torch.inf), dim=1)
    target = grades / grades.sum(dim=1, keepdim=True)
    # The log-probability of padding is -inf, and 0 * -inf is NaN: it is overwritten before it is multiplied.
    return -(target * logs.masked_fill(~mask, 0.0)).sum(dim=1).mean()


def pairwise_logistic(scores: Tensor, grades: Tensor, mask: Tensor) -> Tensor:
    """log(1 + exp(-(better - worse))) over all pairs of different grades (Burges et al. 2005, RankNet).

    :param scores, grades, mask: (queries, candidates); grades at least 0.
    :return: scalar, at least 0; mean over a query's pairs, then over the queries that have one.
    """
    scores, grades, mask = _with_an_order(*_groups(scores, grades, mask))
    if not len(scores):
        return _nothing(scores)
    pairs = _preferences(grades, mask)
    return _pair_mean(functional.softplus(-_margins(scores, pairs)), pairs)


def lambda_loss(scores: Tensor, grades: Tensor, mask: Tensor, k: int | None = 10) -> Tensor:
    """The pairwise loss, each pair weighted by what a swap would change of nDCG@k (Wang et al. 2018; Burges 2010).

    Gain is linear, as in the measures of this project; the logarithm is natural, so that the gradients are those of
    LambdaRank. The weights follow the present scores and are constants to the gradient. Among equal scores the lower
    grade is ranked first: a model that has not told its candidates apart still has pairs to learn from, and the order
    in which a batch lists them plays no part.

    :param scores, grades, mask: (queries, candidates); grades at least 0.
    :param k: ranks that the measure looks at, at least 1; ``None`` for all.
    :return: scalar, at least 0; sum over a query's pairs, mean over the queries with two different grades.
    :raises ConfigError: k is below 1.
    """
    if k is not None and k < 1:
        raise ConfigError(f"k is {k}; nDCG@k looks at 1 rank or more")
    scores, grades, mask = _with_an_order(*_groups(scores, grades, mask))
    if not len(scores):
        return _nothing(scores)
    pairs = _preferences(grades, mask)
    weights = _swap_weights(scores.detach(), grades, mask, k).masked_fill(~pairs, 0.0)
    return (weights * functional.softplus(-_margins(scores, pairs))).sum(dim=(1, 2)).mean()


def margin_mse(scores: Tensor, teacher: Tensor, mask: Tensor, grades: Tensor | None = None) -> Tensor:
    """Squared difference between the margins of the student and of the teacher (Hofstätter et al. 2020, Margin-MSE).

    A margin says nothing of the level of a teacher's scores, so student and teacher may differ by a constant per query.

    :param scores, teacher, mask: (queries, candidates); the teacher's scores finite where the mask is True.
    :param grades: (queries, candidates), at least 0: only pairs of a better and a worse candidate count, as in the
        paper. ``None``: all pairs of two candidates, for texts that nobody has judged.
    :return: scalar, at least 0; mean over a query's pairs, then over the queries that have one.
    """
    scores, teacher, mask = _of_teacher(scores, teacher, mask)
    if grades is None:
        pairs = (mask.unsqueeze(2) & mask.unsqueeze(1)).triu(diagonal=1)  # each pair once
    else:
        pairs = _preferences(_groups(scores, grades, mask)[1], mask)
    keep = pairs.flatten(1).any(dim=1)
    if not bool(keep.any()):
        return _nothing(scores)
    pairs = pairs[keep]
    off = _margins(scores[keep], pairs) - _margins(teacher[keep], pairs)
    return _pair_mean(off.square(), pairs)


def listwise_distillation(scores: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Divergence of the softmax of the scores from the teacher's (Hinton et al. 2015; Cao et al. 2007, top one).

    Kullback-Leibler, from the teacher to the student; student and teacher may differ by a constant per query.

    :param scores, teacher, mask: (queries, candidates); the teacher's scores are log-odds, finite where the mask is
        True.
    :return: scalar, at least 0; mean over the queries with two candidates.
    """
    scores, teacher, mask = _of_teacher(scores, teacher, mask)
    keep = mask.sum(dim=1) >= 2
    if not bool(keep.any()):
        return _nothing(scores)
    scores, teacher, mask = scores[keep], teacher[keep], mask[keep]
    said, wanted = (functional.log_softmax(each.masked_fill(~mask, -torch.inf), dim=1) for each in (scores, teacher))
    # Under the mask both are -inf, and their difference is NaN: it is overwritten before it is multiplied.
    return (wanted.exp() * (wanted - said).masked_fill(~mask, 0.0)).sum(dim=1).mean()


def binary_cross_entropy(scores: Tensor, grades: Tensor, mask: Tensor, positive_weight: float = 1.0) -> Tensor:
    """Logistic loss of every candidate by itself: relevant where its grade is above 0.

    A pointwise loss learns from a list of equal grades too, and from a single candidate.

    :param scores, grades, mask: (queries, candidates); scores are log-odds, grades at least 0.
    :param positive_weight: how many irrelevant candidates a relevant one counts for, above 0.
    :return: scalar, at least 0; mean over the candidates.
    :raises ConfigError: the weight is not above 0.
    """
    if not 0.0 < positive_weight < float("inf"):
        raise ConfigError(f"the weight of positives is {positive_weight}; it must be above 0 and finite")
    scores, grades, mask = _groups(scores, grades, mask)
    if not bool(mask.any()):
        return _nothing(scores)
    known = scores[mask]
    weight = torch.as_tensor(positive_weight, dtype=known.dtype, device=known.device)
    relevant = (grades[mask] > 0).to(known.dtype)
    return functional.binary_cross_entropy_with_logits(known, relevant, pos_weight=weight)


def cross_entropy(logits: Tensor, classes: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy of the softmax over classes, for labels that are names and not amounts.

    :param logits: (n, classes).
    :param classes: (n,), integers from 0 to classes - 1 where the mask is True.
    :param mask: (n,), bool, True where the class is known.
    :return: scalar, at least 0; mean over the known classes.
    """
    if logits.dim() != 2 or classes.shape != logits.shape[:1]:
        raise DataError(f"logits {tuple(logits.shape)} and classes {tuple(classes.shape)}; need (n, classes) and (n,)")
    _same_shape(classes, classes, mask)
    if classes.is_floating_point() or classes.dtype == torch.bool:
        raise DataError(f"classes are of type {classes.dtype}; need integers")
    known, labels = _whole(logits[mask]), classes[mask].long()
    if not len(labels):
        return _nothing(known)
    if not bool(((labels >= 0) & (labels < logits.shape[1])).all()):
        raise DataError(f"a class lies outside 0 to {logits.shape[1] - 1}")
    return functional.cross_entropy(known, labels)


def squared_error(predicted: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean squared difference (L2) of a factor head and its label.

    :param predicted, target, mask: of one shape, whichever; predictions and labels from 0 to 1 where the mask is True.
    :return: scalar from 0 to 1; mean over the known labels.
    """
    known, labels = _known(predicted, target, mask)
    if not len(known):
        return _nothing(known)
    if not bool(((known >= 0.0) & (known <= 1.0) | known.isnan()).all()):
        raise DataError("a prediction lies outside 0 to 1; put a sigmoid before the squared error")
    return (known - labels).square().mean()


def soft_cross_entropy(logit: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Binary cross-entropy with labels that are shares, for authority and credibility.

    Its least value is the entropy of the labels, not 0; there the sigmoid of the logit is the label.

    :param logit, target, mask: of one shape, whichever; labels from 0 to 1 where the mask is True.
    :return: scalar, at least 0; mean over the known labels.
    """
    known, labels = _known(logit, target, mask)
    if not len(known):
        return _nothing(known)
    return functional.binary_cross_entropy_with_logits(known, labels)


class ClickModel(nn.Module):
    """Negative log-likelihood of clicks, where the place on the page has its own share in a click.

    The log-odds of a click are the head's logit plus a learned bias of the position. As in PAL (Guo et al. 2019) the
    position is known in training only: when serving, the head is used alone and this tower is left behind. PAL
    multiplies two probabilities; the sum of log-odds is the form of Zhao et al. 2019, and it keeps the head's logit a
    log-odds. The first place has bias 0, or a constant could wander between tower and head; so the head tells how a
    document would fare on the first place. Dropout takes the bias away from single impressions in training, so that the
    head cannot leave to the tower what it could tell itself; the others are not scaled up, which would shrink the
    learned biases.

    :param places: places with a bias of their own, at least 1; whatever lies below shares the last one's.
    :param dropout: share of impressions without a bias in training, from 0 to below 1.
    :param start: (places,) log-odds of a click by place to start from, as a log shows them; empty is all the same.
    :raises ConfigError: one of the first two is out of range.
    """

    def __init__(self, places: int = 20, dropout: float = 0.1, start: Sequence[float] = ()) -> None:
        super().__init__()
        if places < 1:
            raise ConfigError(f"the click model has {places} places; it needs 1 or more")
        if not 0.0 <= dropout < 1.0:
            raise ConfigError(f"the dropout of the position bias is {dropout}; it must be from 0 to below 1")
        self.places, self.dropout = places, dropout
        #: Log-odds of a click on the first place, for the head to start from.
        self.first = start[0] if start else 0.0
        #: (places - 1,): biases of the second place and those below.
        self.lower = nn.Parameter(torch.tensor([each - self.first for each in start[1:]] or [0.0] * (places - 1)))

    @property
    def bias(self) -> Tensor:
        """(places,) log-odds that a place adds to those of a click; 0 at the first."""
        return functional.pad(self.lower, (1, 0))

    def forward(self, logit: Tensor, clicks: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """Scalar, at least 0: mean negative log-likelihood over the impressions.

        :param logit, clicks, positions, mask: of one shape, whichever; clicks are 0 or 1, positions integers from 1,
            both where the mask is True.
        """
        known, clicked = _known(logit, clicks, mask)
        _same_shape(logit, positions, mask)
        place = positions[mask]
        if place.is_floating_point() or bool((place < 1).any()):
            raise DataError("positions are integers and the first one is 1")
        if not bool(((clicked == 0.0) | (clicked == 1.0)).all()):
            raise DataError("a click is 0 or 1")
        if not len(known):
            return _nothing(known) + _nothing(self.lower)  # processes that train together wait for every parameter
        bias = self.bias.to(known.dtype)[place.long().clamp(max=self.places) - 1]
        if self.training and self.dropout:
            bias = bias * (torch.rand_like(bias) >= self.dropout)
        return functional.binary_cross_entropy_with_logits(known + bias, clicked)


def _nothing(scores: Tensor) -> Tensor:
    """0 with a graph behind it: the sum of no elements, where a product with 0 would turn infinities into NaN."""
    return scores.flatten()[:0].sum()


def _whole(values: Tensor) -> Tensor:
    """The values in float32 where they are of half precision: sums over a long list would round there."""
    return values.float() if values.dtype in {torch.float16, torch.bfloat16} else values


def _same_shape(first: Tensor, second: Tensor, mask: Tensor) -> None:
    if not first.shape == second.shape == mask.shape:
        raise DataError(f"shapes differ: {tuple(first.shape)}, {tuple(second.shape)}, mask {tuple(mask.shape)}")
    if mask.dtype != torch.bool:
        raise DataError(f"the mask is of type {mask.dtype}; need bool")


def _groups(scores: Tensor, grades: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Checked scores and grades, both 0 under the mask."""
    _same_shape(scores, grades, mask)
    if scores.dim() != 2:
        raise DataError(f"scores are of shape {tuple(scores.shape)}; need (queries, candidates)")
    scores = _whole(scores).masked_fill(~mask, 0.0)
    grades = grades.detach().to(scores.dtype).masked_fill(~mask, 0.0)
    if not bool(((grades >= 0.0) & grades.isfinite()).all()):
        raise DataError("a grade is below 0, infinite or not a number")
    return scores, grades, mask


def _of_teacher(scores: Tensor, teacher: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Scores and the checked scores of a teacher, both 0 under the mask."""
    _same_shape(scores, teacher, mask)
    if not bool(teacher[mask].isfinite().all()):
        raise DataError("a score of the teacher is infinite or not a number; mask the candidates it has not scored")
    scores, _, mask = _groups(scores, torch.zeros_like(scores), mask)
    return scores, teacher.detach().to(scores.dtype).masked_fill(~mask, 0.0), mask


def _known(values: Tensor, labels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Values and checked labels, flat, where the mask is True."""
    _same_shape(values, labels, mask)
    known = _whole(values[mask])
    chosen = labels[mask].detach().to(known.dtype)
    if not bool(((chosen >= 0.0) & (chosen <= 1.0)).all()):
        raise DataError("a known label lies outside 0 to 1 or is not a number")
    return known, chosen


def _with_an_order(scores: Tensor, grades: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The queries that have two candidates of different grades."""
    if mask.shape[1] == 0:
        return scores[:0], grades[:0], mask[:0]
    highest = grades.masked_fill(~mask, -torch.inf).amax(dim=1)
    keep = highest > grades.masked_fill(~mask, torch.inf).amin(dim=1)
    return scores[keep], grades[keep], mask[keep]


def _preferences(grades: Tensor, mask: Tensor) -> Tensor:
    """(queries, candidates, candidates), True where the first candidate is better than the second."""
    return (grades.unsqueeze(2) > grades.unsqueeze(1)) & mask.unsqueeze(2) & mask.unsqueeze(1)


def _margins(scores: Tensor, pairs: Tensor) -> Tensor:
    """(queries, candidates, candidates): the first's score less the second's, 0 where they are no pair."""
    return (scores.unsqueeze(2) - scores.unsqueeze(1)).masked_fill(~pairs, 0.0)


def _pair_mean(values: Tensor, pairs: Tensor) -> Tensor:
    """Mean over a query's pairs, then over the queries; every query has one."""
    sums = values.masked_fill(~pairs, 0.0).sum(dim=(1, 2))
    return (sums / pairs.sum(dim=(1, 2))).mean()


def _swap_weights(scores: Tensor, grades: Tensor, mask: Tensor, k: int | None) -> Tensor:
    """(queries, candidates, candidates): by how much nDCG@k changes when the two change places."""
    rising = grades.masked_fill(~mask, torch.inf).argsort(dim=1, stable=True)  # padding last
    falling = scores.masked_fill(~mask, -torch.inf).gather(1, rising).argsort(dim=1, descending=True, stable=True)
    ranks = rising.gather(1, falling).argsort(dim=1)  # from 0
    by_rank = 1.0 / torch.log2(torch.arange(scores.shape[1], device=scores.device, dtype=scores.dtype) + 2.0)
    if k is not None:
        by_rank[k:] = 0.0
    best = (grades.sort(dim=1, descending=True).values * by_rank).sum(dim=1, keepdim=True)
    gains, discounts = grades / best, by_rank[ranks]
    return ((gains.unsqueeze(2) - gains.unsqueeze(1)) * (discounts.unsqueeze(2) - discounts.unsqueeze(1))).abs()
