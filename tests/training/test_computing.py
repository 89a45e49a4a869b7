"""How a step computes: in 16 bits, with layers computed again, and how often the losses are in each other's way."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rerank_plugin.errors import ConfigError
from rerank_plugin.training.balance import conflict_rate, gradients_of
from rerank_plugin.training.loop import rates, shared
from rerank_plugin.training.mix import Batch, Collator, Mix
from rerank_plugin.training.objective import balance_of, losses_of
from rerank_plugin.training.settings import Settings
from rerank_plugin.training.tuning import prepare, require_accelerator
from training.test_loop import FIT, SETTINGS, Weights, run
from training.test_mix import group
from training.training_samples import reader, small_trunk

pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore")]


def training(settings: Settings) -> tuple[Mix, Batch]:
    mix = Mix(small_trunk(), fit=FIT, weights=Weights(), opened=-1.0, balance=balance_of(settings))
    prepare(mix.trunk, settings)
    rates(mix, settings)
    return mix.train(), Collator(reader())([group(4), group(3, "sorting")])["batch"]


def gradients(settings: Settings) -> tuple[dict[str, Tensor], int]:
    """Of the relevance loss, under the same draws of dropout; and the bytes that the way forward kept for it."""
    mix, batch = training(settings)
    kept: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor.nbytes)
        return tensor

    torch.manual_seed(3)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = losses_of(mix(batch), batch, settings)["relevance"]
    loss.backward()
    return {name: each.grad for name, each in mix.named_parameters() if each.grad is not None}, sum(kept)


@pytest.mark.parametrize("tuning", ["full", "lora", "prefix", "adapter"])
def test_computing_again_changes_no_gradient_and_keeps_less(tuning: str) -> None:
    settings = replace(SETTINGS, tuning=tuning)
    expected, most = gradients(settings)
    found, least = gradients(replace(settings, gradient_checkpointing="on"))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.allclose(found[name], value, atol=1e-7), name
    assert least < most / 3


@pytest.mark.parametrize(
    ("autocast", "tuning"),
    [("bf16", "full"), ("bf16", "lora"), ("bf16", "prefix"), ("bf16", "adapter"), ("fp16", "full")],
)
def test_in_16_bits_only_layers_in_training_are(autocast: str, tuning: str) -> None:
    plain, batch = training(replace(SETTINGS, tuning=tuning, dropout=0.0))
    short, _ = training(replace(SETTINGS, tuning=tuning, dropout=0.0, autocast=autocast))
    expected = plain(batch)
    with torch.autocast("cpu", torch.bfloat16):  # Trainer puts one around where it scales losses
        found = short(batch)
    assert found.z_final.dtype == found.interaction.dtype == torch.float32
    apart = (found.interaction - expected.interaction).abs().max()
    # bfloat16 has 8 bits: 1 + 2^-7 is the number after 1; float16 has 11.
    assert 0 < float(apart) < (2e-2 if autocast == "bf16" else 2.5e-3)
    losses_of(found, batch, SETTINGS)["relevance"].backward()
    learning = [each.grad for each in short.trunk.layers.parameters() if each.requires_grad]
    assert {each.dtype for each in learning if each is not None} == {torch.float32}
    assert all(torch.isfinite(each).all() for each in learning if each is not None)
    assert torch.equal(short.eval()(batch).z_final, plain.eval()(batch).z_final)


@pytest.mark.parametrize("change", [{}, {"gradient_checkpointing": "on"}, {"tuning": "head"}, {"tuning": "lora"}])
def test_opposite_losses_are_in_conflict(change: dict[str, str]) -> None:
    settings = replace(SETTINGS, **change)  # type: ignore[arg-type]
    mix, batch = training(settings)
    loss = losses_of(mix(batch), batch, settings)["relevance"]
    three = {"one": loss, "along": 2 * loss, "against": -loss, "constant": torch.zeros(())}
    assert conflict_rate(gradients_of(three, shared(mix))) == pytest.approx(2 / 3)
    loss.backward()  # the graph is still there
    assert mix.trunk.segment_bias.grad is not None


def test_conflicts_are_logged_and_change_nothing(tmp_path: Path) -> None:
    looking = replace(SETTINGS, conflict_every=5, accumulation=2)
    done, mix, _ = run(tmp_path / "looking", looking)
    state = json.loads((tmp_path / "looking" / "checkpoint-12" / "trainer_state.json").read_text())
    logged = [each for each in state["log_history"] if "gradient_conflict" in each]
    assert [each["step"] for each in logged] == [0, 5, 10]  # once a step, not once a batch
    assert done.conflict == pytest.approx(sum(each["gradient_conflict"] for each in logged) / 3)
    blind, same, _ = run(tmp_path / "blind", replace(looking, conflict_every=0))
    assert blind == replace(done, conflict=None)
    for name, value in mix.state_dict().items():
        assert torch.equal(same.state_dict()[name], value), name


def test_half_precision_is_refused_without_an_accelerator() -> None:
    require_accelerator(replace(SETTINGS, autocast="bf16"))
    if torch.cuda.is_available():
        require_accelerator(replace(SETTINGS, autocast="fp16"))
    else:
        with pytest.raises(ConfigError, match="autocast=fp16 needs an accelerator, and torch finds none; use bf16"):
            require_accelerator(replace(SETTINGS, autocast="fp16"))


@pytest.mark.parametrize("autocast", ["bf16", "fp16"])
def test_every_way_of_computing_runs(tmp_path: Path, autocast: str) -> None:
    if autocast == "fp16" and not torch.cuda.is_available():
        pytest.skip("half precision needs an accelerator")
    settings = replace(SETTINGS, max_steps=2, validate_every=1, autocast=autocast, gradient_checkpointing="on")
    done, mix, _ = run(tmp_path, settings)
    assert done.steps == 2
    assert all(torch.isfinite(value).all() for value in mix.state_dict().values() if value.is_floating_point())
