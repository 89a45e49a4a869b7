"""The balance of losses: weights by hand, the floor of relevance, draws that can be repeated; conflicts counted."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rerank_plugin.errors import ConfigError, DataError
from rerank_plugin.training.balance import LOG_SIGMA_LIMIT, Balance, conflict_rate, gradients_of

pytestmark = pytest.mark.train


def losses(**values: float) -> dict[str, Tensor]:
    """One scalar per name, each with a gradient of its own."""
    return {name: torch.tensor(float(value), requires_grad=True) for name, value in values.items()}


def weights_of(balance: Balance, given_losses: dict[str, Tensor]) -> dict[str, float]:
    """What each loss is multiplied by: the derivative of the total."""
    found = torch.autograd.grad(balance(given_losses), list(given_losses.values()))
    return dict(zip(given_losses, (each.item() for each in found), strict=True))


def test_fixed_is_the_weighted_sum() -> None:
    balance = Balance({"relevance": 1.0, "authority": 0.25, "freshness": 2.0})
    # 1 * 3 + 0.25 * 8 + 2 * 0.5; without authority 1 * 3 + 2 * 0.5.
    assert balance(losses(relevance=3, authority=8, freshness=0.5)).item() == pytest.approx(6)
    assert balance(losses(freshness=0.5, relevance=3)).item() == pytest.approx(4)
    assert list(balance.parameters()) == []
    assert balance.shares() == pytest.approx({"relevance": 1 / 3.25, "authority": 0.25 / 3.25, "freshness": 2 / 3.25})


def test_uncertainty_by_hand() -> None:
    balance = Balance({"relevance": 4.0, "authority": 1.0}, "uncertainty")
    # 1 / sigma^2 starts at 4 and 1: 4 * 3 - ln 2, for log sigma is -ln(4) / 2, and 1 * 5 + 0.
    assert balance(losses(relevance=3, authority=5)).item() == pytest.approx(12 - math.log(2) + 5)
    assert balance.shares() == pytest.approx({"relevance": 0.8, "authority": 0.2})


def test_uncertainty_finds_its_optimum() -> None:
    balance = Balance({"relevance": 1.0, "authority": 1.0}, "uncertainty", floor=0.1)
    optimizer = torch.optim.Adam(balance.parameters(), lr=0.05)
    for _ in range(600):
        optimizer.zero_grad()
        balance(losses(relevance=0.5, authority=0.2)).backward()
        optimizer.step()
    # loss / sigma^2 + log sigma is least at sigma^2 = 2 * loss: weights 1 and 2.5.
    assert weights_of(balance, losses(relevance=0.5, authority=0.2)) == pytest.approx(
        {"relevance": 1.0, "authority": 2.5}, rel=0.02
    )


sigma = st.floats(-9, 9)


@given(first=sigma, second=sigma, third=sigma, floor=st.floats(0, 0.95))
def test_relevance_keeps_its_floor(first: float, second: float, third: float, floor: float) -> None:
    balance = Balance(dict.fromkeys(("authority", "relevance", "spam"), 1.0), "uncertainty", floor=floor)
    assert balance.log_sigma is not None
    with torch.no_grad():
        balance.log_sigma.copy_(torch.tensor([first, second, third]))
    weights = weights_of(balance, losses(spam=0.1, relevance=2.0, authority=0.5))
    share = weights["relevance"] / sum(weights.values())
    assert share >= floor - 1e-5
    assert balance.shares()["relevance"] == pytest.approx(share, rel=1e-4)
    # The bounds hold, and relevance is raised no further than the floor asks.
    least, most = math.exp(-2 * LOG_SIGMA_LIMIT), math.exp(2 * LOG_SIGMA_LIMIT)
    assert all(least * 0.999 <= weights[name] <= most * 1.001 for name in ("authority", "spam"))
    own = math.exp(-2 * min(max(second, -LOG_SIGMA_LIMIT), LOG_SIGMA_LIMIT))
    assert share == pytest.approx(floor, rel=1e-4) or weights["relevance"] == pytest.approx(own, rel=1e-4)


def test_the_floor_holds_through_a_training_that_works_against_it() -> None:
    balance = Balance({"relevance": 1.0, "authority": 1.0}, "uncertainty", floor=0.6)
    optimizer = torch.optim.SGD(balance.parameters(), lr=0.2)
    for _ in range(200):
        given_losses = losses(relevance=9.0, authority=0.001)  # the small loss asks for all the weight
        weights = weights_of(balance, given_losses)
        assert weights["relevance"] >= 0.6 * sum(weights.values()) - 1e-4
        optimizer.zero_grad()
        balance(given_losses).backward()
        optimizer.step()
    assert balance.shares()["relevance"] == pytest.approx(0.6)
    assert balance.log_sigma is not None
    # Relevance's own sigma went where the loss of 9 sends it: sigma^2 = 18.
    assert math.exp(2 * balance.log_sigma[0].item()) == pytest.approx(18, rel=0.05)


def test_a_sigma_beyond_its_bound_comes_back() -> None:
    balance = Balance({"relevance": 1.0}, "uncertainty")
    assert balance.log_sigma is not None
    with torch.no_grad():
        balance.log_sigma.fill_(50.0)
    balance(losses(relevance=0.5)).backward()
    assert balance.log_sigma.item() == LOG_SIGMA_LIMIT
    assert balance.log_sigma.grad is not None
    assert balance.log_sigma.grad.item() == pytest.approx(1.0, abs=0.01)  # a smaller sigma is asked for


def test_a_loss_that_said_nothing_does_not_move_its_sigma() -> None:
    balance = Balance({"relevance": 1.0, "authority": 1.0}, "uncertainty")
    total = balance(losses(relevance=2.0, authority=0.0))
    total.backward()
    assert balance.log_sigma is not None
    assert balance.log_sigma.grad is not None
    assert balance.log_sigma.grad.tolist() == [pytest.approx(1 - 2 * 2.0), 0.0]
    assert balance(losses(relevance=0.0, authority=0.0)).item() == 0.0


def test_two_totals_before_one_step_back() -> None:
    balance = Balance({"relevance": 1.0}, "uncertainty")
    first, second = balance(losses(relevance=1.0)), balance(losses(relevance=2.0))
    (first + second).backward()
    assert balance.log_sigma is not None
    assert balance.log_sigma.grad is not None
    assert balance.log_sigma.grad.item() == pytest.approx(2 - 2 * 3.0)


def drawn(balance: Balance, times: int) -> list[str]:
    """The names of the losses drawn: their values are told apart."""
    names = {1.0: "relevance", 2.0: "authority", 3.0: "spam"}
    return [names[balance(losses(relevance=1, authority=2, spam=3)).item()] for _ in range(times)]


def test_draws_come_as_often_as_their_weights_say() -> None:
    weights = {"relevance": 6.0, "authority": 3.0, "spam": 1.0}
    seen = drawn(Balance(weights, "stochastic", seed=1), 4000)
    for name, weight in weights.items():
        share = weight / 10
        four_deviations = 4 * math.sqrt(share * (1 - share) / 4000)
        assert seen.count(name) / 4000 == pytest.approx(share, abs=four_deviations)
    assert Balance(weights, "stochastic").shares() == pytest.approx({"relevance": 0.6, "authority": 0.3, "spam": 0.1})


def test_draws_can_be_repeated_and_resumed() -> None:
    weights = {"relevance": 1.0, "authority": 1.0, "spam": 1.0}
    torch.manual_seed(3)  # the draws are their own generator's
    first = drawn(Balance(weights, "stochastic", seed=7), 50)
    torch.manual_seed(4)
    again = Balance(weights, "stochastic", seed=7)
    assert drawn(again, 20) == first[:20]
    resumed = Balance(weights, "stochastic", seed=0)
    resumed.load_state_dict(again.state_dict())
    assert drawn(resumed, 30) == first[20:]
    assert drawn(Balance(weights, "stochastic", seed=8), 50) != first


def test_a_draw_is_among_the_losses_that_are_there() -> None:
    balance = Balance({"relevance": 1000.0, "spam": 0.001}, "stochastic")
    one = losses(spam=3.0)
    assert balance(one) is one["spam"]


@pytest.mark.parametrize(
    "settings",
    [
        {"weights": {}},
        {"weights": {"relevance": 0.0}},
        {"weights": {"relevance": math.nan}},
        {"weights": {"relevance": math.inf}},
        {"weights": {"relevance": 1.0}, "method": "equal"},
        {"weights": {"relevance": 1.0}, "floor": 1.0},
        {"weights": {"relevance": 1.0}, "floor": -0.1},
        {"weights": {"spam": 1.0}, "method": "uncertainty"},
    ],
)
def test_unusable_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Balance(**settings)


@pytest.mark.parametrize("method", ["fixed", "uncertainty", "stochastic"])
@pytest.mark.parametrize("given_losses", [{}, {"spam": 1.0}, {"relevance": 1.0, "spam": 1.0}])
def test_unknown_and_missing_losses_are_refused(method: Any, given_losses: dict[str, float]) -> None:
    with pytest.raises(DataError, match="need one or more of"):
        Balance({"relevance": 1.0}, method)(losses(**given_losses))


def test_conflict_rate_by_hand() -> None:
    gradients = {
        "relevance": [torch.tensor([[1.0]]), torch.tensor([0.0])],
        "authority": [torch.tensor([[-1.0]]), torch.tensor([1.0])],  # against relevance
        "freshness": [torch.tensor([[0.0]]), torch.tensor([1.0])],  # square to relevance, along with authority
        "spam": [torch.tensor([[1e-30]]), torch.tensor([-1e-30])],  # against authority and freshness, however small
        "nothing": [torch.zeros(1, 1), torch.zeros(1)],
    }
    assert conflict_rate(gradients) == pytest.approx(3 / 6)
    assert conflict_rate({"relevance": [torch.ones(2)], "nothing": [torch.zeros(2)]}) == 0.0
    assert conflict_rate({}) == 0.0


def test_gradients_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(DataError, match="elements"):
        conflict_rate({"one": [torch.ones(2)], "two": [torch.ones(3)]})
    with pytest.raises(DataError, match="two"):
        conflict_rate({"one": [torch.ones(2)], "two": [torch.tensor([1.0, math.nan])]})


def test_gradients_by_hand() -> None:
    """Of x y and of 3 x at x = 2, y = 5; a constant has none, and the graph is kept for the step itself."""
    x, y = torch.tensor(2.0, requires_grad=True), torch.tensor(5.0, requires_grad=True)
    both = {"product": x * y, "triple": 3 * x, "nothing": torch.tensor(0.0)}
    found = {name: [each.item() for each in parts] for name, parts in gradients_of(both, [x, y]).items()}
    assert found == {"product": [5.0, 2.0], "triple": [3.0, 0.0]}
    both["product"].backward()
    assert (x.grad, y.grad) == (torch.tensor(5.0), torch.tensor(2.0))
