"""The whole final order as one differentiable module: trunk, calibrated head, factors (DESIGN 3).

``Mix.forward`` gives z_final up to a constant per query, which a listwise loss does not see: the same sum that
``ranking/relevance.py`` and ``ranking/blend.py`` make at serving (tests/training/test_mix.py holds them together). So
the interaction is trained for what it adds to the first stage and the cosine, not for ranking alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from rerank_plugin.domain.candidate import NEUTRAL
from rerank_plugin.domain.factors import PRIORS, Weights
from rerank_plugin.domain.statements import texts_of
from rerank_plugin.training.contrast import Alone, moved

if TYPE_CHECKING:
    from rerank_plugin.ranking.relevance import Fit
    from rerank_plugin.training.groups import Group
    from rerank_plugin.training.losses import ClickModel
    from rerank_plugin.training.trunk import Reader, TextReader, Trunk

#: Inputs of the head that are known before the trunk runs, in the order of ``Batch.given``.
GIVEN = ("log_score", "relative_score", "cosine")
INTERACTION = len(GIVEN)
COSINE = GIVEN.index("cosine")


@dataclass(frozen=True, slots=True)
class Batch:
    """Groups as tensors; ``queries`` groups of at most ``candidates`` candidates."""

    #: The trunk's inputs by name, (pairs, tokens), int64; one row per real candidate.
    rows: Mapping[str, Tensor]
    #: (queries, candidates), bool: where there is a candidate; its true places are the rows, in order.
    mask: Tensor
    #: (queries, candidates, len(GIVEN)).
    given: Tensor
    #: (queries, candidates, len(PRIORS)), in [0, 1].
    utilities: Tensor
    #: The same, bool: whether the feature is known.
    known: Tensor
    #: (queries, len(PRIORS)), in [0.2, 1].
    gates: Tensor
    #: (queries, candidates), at least 0.
    grades: Tensor
    #: (queries, candidates), bool: where there is a candidate whose grade is believed.
    labelled: Tensor
    #: (queries, candidates), int64: the place where a candidate was shown, from 1; 0 where it was not.
    places: Tensor
    #: (queries, candidates), 0 or 1: whether it was clicked there.
    clicked: Tensor
    #: (queries, candidates): the teachers' log-odds up to a constant per query; ``None`` without teachers.
    taught: Tensor | None = None
    #: The texts by themselves, where the trunk learns from them; ``None``: cosines stay what retrieval gave.
    alone: Alone | None = None

    def to(self, device: torch.device | str, **more: Any) -> Batch:
        """The batch on a device: accelerate's loaders ask for it by this name."""
        return moved(self, device, **more)


@dataclass(frozen=True, slots=True)
class Said:
    """What the mix says of a batch."""

    #: (queries, candidates): z_final up to a constant per query; 0 where there is no candidate.
    z_final: Tensor
    #: (queries, candidates): z, the same without the factors.
    relevance: Tensor
    #: (queries, candidates): what the trunk alone says.
    interaction: Tensor
    #: (queries, candidates, len(PRIORS)): log-odds of what the heads predict of each factor from query and document.
    heads: Tensor
    #: The same by heads that stand still, so that only the trunk learns from it; ``None`` where nothing is hidden.
    shown: Tensor | None = None
    #: (queries, documents): cosines of the batch's texts alone; ``None`` where they were not read.
    cosines: Tensor | None = None


class Mix(nn.Module):
    """A trunk, the slopes of its relevance head, a weight and a head per factor, and the losses' balance.

    :param fit: slopes to start from; the trunk says how they are shared, so that training starts at the fit's order.
    :param weights: of the factors; training leaves them as they are, calibration fits them afterwards.
    :param adversarial: factors whose heads read the trunk without teaching it: it learns to hide them.
    :param clicks: what clicks say of popularity in training; its head then starts at the clicks of the first place.
    :param opened: attention logits between query and document get this instead of being shut out, at most 0.
    """

    def __init__(
        self, trunk: Trunk, *, fit: Fit, weights: Weights, opened: float, balance: nn.Module,
        clicks: ClickModel | None = None, adversarial: Sequence[str] = (),
    ) -> None:  # fmt: skip
        super().__init__()
        self.trunk, self.balance, self.clicks = trunk, balance, clicks
        trunk.open(opened)
        start = [fit.log_score, fit.relative_score, *trunk.slopes(fit)]
        #: (len(GIVEN) + 1,): logarithms, so that no slope turns negative.
        self.log_slopes = nn.Parameter(torch.tensor([max(each, 1e-3) for each in start]).log())
        self.weights = weights
        self.adversarial = bool(adversarial)
        self.register_buffer("hidden", torch.tensor([each in adversarial for each in PRIORS]), persistent=False)
        self.register_buffer("weight", torch.tensor([weights[factor] for factor in PRIORS]), persistent=False)
        self.heads = nn.Linear(trunk.dimensions, len(PRIORS))
        nn.init.zeros_(self.heads.weight)  # they start by saying 1/2 of everything
        nn.init.zeros_(self.heads.bias)
        if clicks is not None:
            with torch.no_grad():
                self.heads.bias[PRIORS.index("popularity")] = clicks.first

    @property
    def slopes(self) -> Tensor:
        """(len(GIVEN) + 1,), above 0: of the given inputs, then of the interaction."""
        return self.log_slopes.exp()

    def forward(self, batch: Batch) -> Said:
        """What the trunk, the head and the factors say of every candidate; in 32 bits but for the trunk's layers."""
        with torch.autocast(batch.given.device.type, enabled=False):  # Trainer's own is around all of it
            return self._said(batch)

    def _said(self, batch: Batch) -> Said:
        *_, vectors, logits = self.trunk(**batch.rows)
        interaction = _placed(logits, batch.mask)
        given, cosines = batch.given, None
        if batch.alone is not None:
            cosines = batch.alone.cosines(self.trunk)
            given = torch.cat([given[..., :COSINE], batch.alone.of_candidates(cosines).unsqueeze(-1)], dim=-1)
        z = given @ self.slopes[:INTERACTION] + self.slopes[INTERACTION] * interaction
        z = z.masked_fill(~batch.mask, 0.0)
        asked = (batch.gates * self.get_buffer("weight")).unsqueeze(1)  # (queries, 1, factors)
        z_final = z + (asked * (batch.utilities - NEUTRAL)).sum(dim=-1)
        heads, shown = self.heads(vectors), None
        if self.adversarial:
            heads = torch.where(self.get_buffer("hidden"), self.heads(vectors.detach()), heads)
            read = functional.linear(vectors, self.heads.weight.detach(), self.heads.bias.detach())
            shown = _placed(read, batch.mask)
        return Said(z_final.masked_fill(~batch.mask, 0.0), z, interaction, _placed(heads, batch.mask), shown, cosines)


def _placed(values: Tensor, mask: Tensor) -> Tensor:
    """(pairs, ...) values at the true places of ``mask``, zeros elsewhere."""
    empty = values.new_zeros((*mask.shape, *values.shape[1:]))
    return empty.masked_scatter(mask.reshape(*mask.shape, *[1] * (values.dim() - 1)).expand_as(empty), values)


class Collator:
    """Groups -> ``Batch``.

    :param reader: the trunk's.
    :param statements: whether what is known of a document stands in front of its text.
    :param alone: whether the texts are read by themselves too; the reader is then one of a trunk that encodes.
    """

    def __init__(self, reader: Reader, *, statements: bool = False, alone: bool = False) -> None:
        self._reader, self._statements, self._alone = reader, statements, alone

    def __call__(self, groups: Sequence[Group]) -> dict[str, Batch]:
        """The batch under the name of the model's parameter."""
        widest = max(len(group.candidates) for group in groups)
        rows: list[Any] = []
        for group in groups:
            rows += self._reader.pairs(group.query, texts_of(group.candidates, statements=self._statements))
        shown = [group.shown or [(0, False)] * len(group.candidates) for group in groups]
        batch = Batch(
            rows={name: torch.from_numpy(values) for name, values in self._reader.pad(rows).items()},
            mask=torch.tensor([[place < len(group.candidates) for place in range(widest)] for group in groups]),
            given=_stacked([_given(group) for group in groups], widest),
            utilities=_stacked([group.utilities for group in groups], widest),
            known=_stacked([group.known for group in groups], widest).bool(),
            gates=torch.tensor([group.gates for group in groups]),
            grades=_row_each([group.grades for group in groups], widest),
            labelled=_row_each([group.labelled or [True] * len(group.grades) for group in groups], widest).bool(),
            places=_row_each([[place for place, _ in row] for row in shown], widest).long(),
            clicked=_row_each([[clicked for _, clicked in row] for row in shown], widest),
            taught=_row_each([group.taught for group in groups], widest) if groups[0].taught else None,
            alone=Alone.of(groups, cast("TextReader", self._reader)) if self._alone else None,
        )
        return {"batch": batch}


def _given(group: Group) -> list[list[float]]:
    """(candidates, len(GIVEN)): as ``Fit.z`` reads them."""
    found = []
    for each in group.candidates:
        own = max(each.retrieval_score or 0.0, 0.0)
        found.append([math.log1p(own), own / group.top if group.top > 0 else 0.0, each.cosine or 0.0])
    return found


def _row_each(rows: Sequence[Sequence[float]], length: int) -> Tensor:
    """(rows, length): every row filled up with zeros."""
    return _stacked([[[value] for value in row] for row in rows], length).squeeze(-1)


def _stacked(tables: Sequence[Sequence[Sequence[float]]], rows: int) -> Tensor:
    """(tables, rows, columns): every table filled up with rows of zeros."""
    filled = torch.zeros((len(tables), rows, len(tables[0][0])))
    for place, table in enumerate(tables):
        filled[place, : len(table)] = torch.tensor(table, dtype=torch.float32)
    return filled
