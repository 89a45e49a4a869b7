"""How the losses of several heads become one, and how often they pull the shared trunk in opposite directions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from rerank_plugin.errors import ConfigError, DataError

__all__ = ["Balance", "Method", "conflict_rate", "gradients_of"]

Method = Literal["fixed", "uncertainty", "stochastic"]

#: Bound of a learned log sigma to both sides: weights from exp(-6), 0.0025, to exp(6), 403.
LOG_SIGMA_LIMIT = 3.0


class Balance(nn.Module):
    """One total of several losses, each of them at least 0.

    ``fixed``: the sum of weight * loss. ``uncertainty`` (Kendall et al. 2018): the sum of loss / sigma^2 + log sigma,
    one learned sigma per loss, which starts where 1 / sigma^2 is the weight given, or at the nearer bound.
    ``stochastic`` (Carmel et al. 2020, stochastic label aggregation): one loss of the batch, drawn with a probability
    in proportion to its weight.

    Under ``uncertainty`` a loss that is easy to make small can take nearly all the weight. Relevance is what the
    product is judged by: its weight is raised where it would be a smaller share of all weights than ``floor``. Sigma
    learns as if it were not, so that the floor holds a share up without driving sigma against its bound.

    :param weights: per loss, above 0 and finite. A loss that shall not count is left out.
    :param relevance: the name of the loss that has the floor.
    :param floor: least share of relevance's weight among those of a batch, from 0 to below 1; ``uncertainty`` only.
    :param seed: of the draws; where they stand is part of the module's state, so that a resumed run goes on with them.
    :raises ConfigError: no or unusable weights, an unknown method, a floor out of range or without its loss.
    """

    def __init__(
        self,
        weights: Mapping[str, float],
        method: Method = "fixed",
        *,
        relevance: str = "relevance",
        floor: float = 0.5,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if method not in get_args(Method):
            raise ConfigError(f"no balance is called {method!r}; there are {', '.join(get_args(Method))}")
        if not weights:
            raise ConfigError("a balance needs the weight of one loss or more")
        for name, weight in weights.items():
            if not 0.0 < weight < math.inf:
                raise ConfigError(f"the weight of {name} is {weight}; it must be above 0 and finite")
        if not 0.0 <= floor < 1.0:
            raise ConfigError(f"the floor of {relevance} is {floor}; it must be from 0 to below 1")
        if method == "uncertainty" and floor > 0.0 and relevance not in weights:
            raise ConfigError(f"the floor is for {relevance}, which has no weight; there are {', '.join(weights)}")
        self.weights, self.method, self.relevance, self.floor = dict(weights), method, relevance, floor
        self.generator = torch.Generator().manual_seed(seed)
        self._places = {name: place for place, name in enumerate(self.weights)}
        start = torch.tensor([-0.5 * math.log(weight) for weight in self.weights.values()])
        #: (losses,), in the order of the weights; ``None`` where nothing is learned.
        self.log_sigma = (
            nn.Parameter(start.clamp(-LOG_SIGMA_LIMIT, LOG_SIGMA_LIMIT)) if method == "uncertainty" else None
        )

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """The total, a scalar.

        :param losses: scalars by name. A batch that has no labels for a factor may leave its loss out, and draws and
            shares are then among those it has.
        :raises DataError: no loss, or one without a weight.
        """
        if not losses or not losses.keys() <= self.weights.keys():
            raise DataError(f"losses {sorted(losses)}; need one or more of {sorted(self.weights)}")
        names = list(losses)
        if self.method == "stochastic":
            return losses[self._drawn(names)]
        values = torch.stack([losses[name] for name in names])
        if self.log_sigma is None:
            return (values.new_tensor([self.weights[name] for name in names]) * values).sum()
        log_sigma = self._log_sigma(names).to(values)
        # A loss of exactly 0 had nothing to learn from: without this its sigma would shrink with every such batch.
        spoke = (values.detach() != 0.0).to(values.dtype)
        return (self._floored(names, log_sigma) * values + log_sigma * spoke).sum()

    def shares(self) -> dict[str, float]:
        """Each loss's share of the weights now (of the draws, where they are drawn), the floor included; sum 1."""
        names = list(self.weights)
        with torch.no_grad():
            if self.log_sigma is None:
                each = torch.tensor(list(self.weights.values()), dtype=torch.float64)
            else:
                each = self._floored(names, self._log_sigma(names).double())
            return dict(zip(names, (each / each.sum()).tolist(), strict=True))

    def get_extra_state(self) -> Tensor:
        """Where the draws stand."""
        return self.generator.get_state()

    def set_extra_state(self, state: Tensor) -> None:
        """Goes on with the draws where a saved run stood."""
        self.generator.set_state(state.cpu())

    def _drawn(self, names: list[str]) -> str:
        weights = torch.tensor([self.weights[name] for name in names], dtype=torch.float64)
        return names[int(torch.multinomial(weights, 1, generator=self.generator))]

    def _log_sigma(self, names: list[str]) -> Tensor:
        """(names,) within its bounds.

        The parameter itself is put back: a clamp in the graph has gradient 0 outside, and a step too far would be the
        last. The gather copies, so that the graph of an earlier batch keeps its own values.
        """
        assert self.log_sigma is not None
        with torch.no_grad():
            self.log_sigma.clamp_(-LOG_SIGMA_LIMIT, LOG_SIGMA_LIMIT)
        return self.log_sigma[torch.tensor([self._places[name] for name in names], device=self.log_sigma.device)]

    def _floored(self, names: list[str], log_sigma: Tensor) -> Tensor:
        """(names,) 1 / sigma^2, relevance's raised to its share by a constant."""
        weights = torch.exp(-2.0 * log_sigma)
        if self.relevance not in names or self.floor == 0.0:
            return weights
        own = torch.tensor([name == self.relevance for name in names], device=weights.device)
        fixed = weights.detach()
        least = self.floor / (1.0 - self.floor) * fixed[~own].sum()
        return weights + own * (least - fixed).clamp(min=0.0)


def gradients_of(losses: Mapping[str, Tensor], shared: Sequence[Tensor]) -> dict[str, list[Tensor]]:
    """Per loss its gradient with respect to each of the parameters, zeros where it has none; the graph is kept.

    :param losses: scalars by name. One that is a constant is left out.
    """
    return {
        name: list(torch.autograd.grad(loss, shared, retain_graph=True, materialize_grads=True))
        for name, loss in losses.items()
        if loss.requires_grad
    }


def conflict_rate(gradients: Mapping[str, Sequence[Tensor]]) -> float:
    """Share of the pairs of losses whose gradients have a negative cosine (Yu et al. 2020, PCGrad).

    :param gradients: per loss, one tensor for each parameter that the losses share, of the same shape for every loss. A
        gradient of zeros has no direction and is in no pair.
    :return: from 0 to 1; 0 where there is no pair.
    :raises DataError: the numbers of elements differ, or one is infinite or not a number.
    """
    sizes = {name: [part.numel() for part in parts] for name, parts in gradients.items()}
    if any(each != next(iter(sizes.values())) for each in sizes.values()):
        raise DataError(f"gradients have {[sum(each) for each in sizes.values()]} elements; need the same")
    # Dot products, whose signs are the cosines'; of one parameter after another, so that no second copy of all is made.
    products = torch.zeros((len(gradients), len(gradients)), dtype=torch.float64)
    for parts in zip(*gradients.values(), strict=True):
        rows = torch.stack([part.detach().flatten().double() for part in parts])
        products += (rows @ rows.T).cpu()
    own = products.diagonal()
    for name, length in zip(gradients, own.tolist(), strict=True):
        if not math.isfinite(length):
            raise DataError(f"the gradient of {name} is infinite or not a number")
    moving = products[own > 0][:, own > 0]
    if len(moving) < 2:
        return 0.0
    first, second = torch.triu_indices(len(moving), len(moving), offset=1)
    return float((moving[first, second] < 0.0).double().mean())
