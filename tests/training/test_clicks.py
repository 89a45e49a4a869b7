"""The click model's position tower, and the gradient turned round."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from harness.losses import batch
from rerank_plugin.training.losses import ClickModel

pytestmark = pytest.mark.train

LN2, LN3 = math.log(2), math.log(3)


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


def test_the_tower_recovers_planted_biases_and_the_head_is_freed_of_them() -> None:
    generator = torch.Generator().manual_seed(0)
    planted = torch.tensor([0.0, -0.6, -1.2, -1.6, -2.0])
    x = torch.randn(8000, 5, generator=generator)
    order = x + 0.7 * torch.randn(8000, 5, generator=generator)  # better texts tend to stand higher
    x = x.gather(1, order.argsort(dim=1, descending=True))
    positions = torch.arange(1, 6).expand(x.shape)
    chance = torch.sigmoid(x - 0.3 + planted)
    clicked = (torch.rand(x.shape, generator=generator) < chance).float()
    everything = torch.ones(x.shape, dtype=torch.bool)

    def fitted(model: ClickModel, where: Tensor) -> tuple[list[float], float]:
        head = torch.zeros(2, requires_grad=True)
        optimizer = torch.optim.LBFGS([head, model.lower], max_iter=20, line_search_fn="strong_wolfe")

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
