"""LoRA, prefix and adapter: each starts at exactly the trunk, learns, resumes, and is all in what is exported."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from rerank_plugin.models.batches import Row, padded
from rerank_plugin.training.export import INPUTS, OUTPUTS, exported
from rerank_plugin.training.loop import rates
from rerank_plugin.training.mix import Mix
from rerank_plugin.training.objective import balance_of
from rerank_plugin.training.quantize import quantized
from rerank_plugin.training.tuning import EFFICIENT, Bottleneck, Prefix, added, fold, prepare
from rerank_plugin.training.two_mode import CLOSED, TwoModeModel
from training.test_loop import FIT, SETTINGS, Weights, run, validating, windows
from training.training_samples import small_trunk

pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore")]

LEARNING = replace(SETTINGS, peft_rate=2e-2, lora_rank=4, lora_alpha=8.0, prefix_tokens=3, adapter_width=4)
ASKED, READ = [101, 2054, 102], [101, 3437, 2182, 102]
each_efficient = pytest.mark.parametrize("tuning", EFFICIENT)


def rows(*pairs: Row) -> dict[str, Tensor]:
    return {name: torch.from_numpy(values) for name, values in padded(list(pairs)).items()}


PAIRS = rows(Row(ASKED, READ), Row(ASKED, [101, 102]), Row(READ, []))


def prepared(tuning: str, *, moved: bool = False, opened: float = -1.0, **more: int) -> TwoModeModel:
    """A small trunk, its added parameters at random places where it has ``moved``."""
    trunk = small_trunk()
    with torch.no_grad():
        trunk.segment_bias.fill_(opened)
        prepare(trunk, replace(LEARNING, tuning=tuning, **more))
        if moved:
            torch.manual_seed(1)
            for parameter in added(trunk):
                parameter.copy_(torch.randn_like(parameter))
    return trunk.eval()


def said(trunk: TwoModeModel, inputs: Mapping[str, Tensor] = PAIRS) -> tuple[Tensor, ...]:
    with torch.no_grad():
        return trunk(**inputs)


@each_efficient
def test_it_starts_at_exactly_what_the_trunk_gives(tuning: str) -> None:
    for start, untouched in zip(said(prepared(tuning)), said(prepared("full")), strict=True):
        assert torch.equal(start, untouched)


@each_efficient
def test_moved_it_gives_something_else_in_both_readings(tuning: str) -> None:
    for after, untouched in zip(said(prepared(tuning, moved=True)), said(prepared("full")), strict=True):
        assert bool((after - untouched).abs().max() > 1e-4)


@each_efficient
def test_closed_a_pair_says_what_its_texts_say_apart(tuning: str) -> None:
    trunk = prepared(tuning, moved=True, opened=CLOSED)
    first, second, _ = said(trunk, rows(Row(ASKED, READ)))
    asked, read = said(trunk, rows(Row(ASKED, []), Row(READ, [])))[0]
    assert torch.allclose(first[0], asked, atol=1e-5)
    assert torch.allclose(second[0], read, atol=1e-5)


@pytest.mark.parametrize(
    ("tuning", "each"),
    [
        ("lora", 4 * (4 * (16 + 16) + 2 * (16 + 32))),  # rank * (inputs + outputs) of the six linear maps
        ("prefix", 2 * 3 * 16 + 2),  # keys and values of three tokens, a gate per head
        ("adapter", 16 * 4 + 4 + 4 * 16 + 16),
    ],
)
def test_only_what_is_added_learns(tuning: str, each: int) -> None:
    for frozen, layers in ((0, 2), (1, 1), (2, 0)):
        settings = replace(LEARNING, tuning=tuning, frozen_layers=frozen)
        mix = Mix(small_trunk(), fit=FIT, weights=Weights(), opened=-1.0, balance=balance_of(settings))
        before = {name for name, _ in mix.named_parameters()}
        prepare(mix.trunk, settings)
        groups = rates(mix, settings)
        assert sum(parameter.numel() for parameter in groups[1]["params"]) == layers * each
        assert groups[1]["lr"] == settings.peft_rate
        learning = {name for name, parameter in mix.named_parameters() if parameter.requires_grad}
        assert {name for name in learning & before if name.startswith("trunk.layers.")} == set()
        assert "trunk.segment_bias" in learning
        assert not any(name.startswith("trunk.embeddings") for name in learning)
        assert all(f"layers.{place}." not in name for name in learning for place in range(frozen))


@each_efficient
def test_every_added_parameter_gets_a_gradient(tuning: str) -> None:
    """At the start those whose factor is not 0 there, and all once they have moved."""
    for moved, share in ((False, {"lora": 1 / 2, "prefix": 1 / 3, "adapter": 1 / 2}[tuning]), (True, 1.0)):
        trunk = prepared(tuning, moved=moved)
        trunk(**PAIRS)[2].sum().backward()
        reached = [bool(parameter.grad.abs().sum() > 0) for parameter in added(trunk)]
        assert sum(reached) == share * len(reached)


def test_a_prefix_by_hand() -> None:
    """One head of size 1: the softmax of q * [0, ln 3] is [1/4, 3/4] at q = 1 and [1/2, 1/2] at q = 0."""
    prefix = Prefix(2, heads=1, size=1)
    with torch.no_grad():
        prefix.keys.copy_(torch.tensor([[[0.0], [np.log(3)]]]))
        prefix.values.copy_(torch.tensor([[[4.0], [8.0]]]))
        prefix.gate.fill_(0.5)
        found = prefix(torch.tensor([[[[1.0], [0.0]]]]))
    assert found.flatten().tolist() == pytest.approx([0.5 * (4 / 4 + 8 * 3 / 4), 0.5 * 6])


def test_a_bottleneck_by_hand() -> None:
    layer = Bottleneck(nn.Linear(2, 2), 1)
    with torch.no_grad():
        layer.layer.weight.copy_(torch.eye(2))
        layer.layer.bias.zero_()
        layer.adapter[0].weight.copy_(torch.tensor([[1.0, 1.0]]))
        layer.adapter[0].bias.fill_(-1.0)
        layer.adapter[2].weight.copy_(torch.tensor([[2.0], [0.0]]))
        layer.adapter[2].bias.copy_(torch.tensor([0.0, 0.5]))
        found = layer(torch.tensor([2.0, 0.0]))  # gelu(2 + 0 - 1) = 0.8413
    assert found.tolist() == pytest.approx([2 + 2 * 0.841345, 0.5], abs=1e-5)


def test_lora_by_hand_and_folded() -> None:
    """W + alpha / rank * B A, and nothing of LoRA is left."""
    trunk = prepared("lora", moved=True)
    one = trunk.layers[1].attention.self.query
    expected = one.base_layer.weight + 8.0 / 4 * one.lora_B["default"].weight @ one.lora_A["default"].weight
    before = said(trunk)
    fold(trunk)
    assert torch.allclose(trunk.layers[1].attention.self.query.weight, expected, atol=1e-6)
    assert trunk.state_dict().keys() == small_trunk().state_dict().keys()
    for unfolded, folded in zip(before, said(trunk), strict=True):
        assert torch.allclose(unfolded, folded, atol=1e-5)


def test_dropout_is_what_was_told() -> None:
    trunk = prepared("lora", dropout=0)
    kinds = {module.p for module in trunk.modules() if isinstance(module, nn.Dropout)}
    assert kinds == {0}
    for still, again in zip(said(trunk.train()), said(trunk.eval()), strict=True):
        assert torch.equal(still, again)
    assert {module.p for module in prepared("lora").modules() if isinstance(module, nn.Dropout)} == {0.1}


@each_efficient
def test_onnx_says_what_torch_says(tuning: str) -> None:
    """In 32 bits the same; in eight bits vectors of nearly the same direction."""
    trunk = prepared(tuning, moved=True)
    fold(trunk)
    expected = [each.numpy() for each in said(trunk)]
    graph = exported(trunk)
    found = _served(graph.SerializeToString())
    for name, torches, served in zip(OUTPUTS, expected, found, strict=True):
        assert served == pytest.approx(torches, abs=1e-5), name
    texts = [rows(Row([101, *range(2000 + place, 2008 + place), 102], [])) for place in range(0, 400, 20)]
    small = quantized(graph, ({name: values.numpy() for name, values in each.items()} for each in texts))
    in_eight_bits = sum(node.op_type == "MatMulIntegerToFloat" for node in small.graph.node)
    assert in_eight_bits == 2 * (8 if tuning == "adapter" else 6)  # per layer; a prefix stays in 32 bits
    eight = _served(small.SerializeToString())
    assert (eight[0] * expected[0]).sum(axis=1).min() > 0.99


def _served(graph: bytes) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return list(session.run(list(OUTPUTS), {name: PAIRS[name].numpy() for name in INPUTS}))


@each_efficient
def test_a_run_that_was_cut_off_ends_as_the_whole_one(tmp_path: Path, tuning: str) -> None:
    """Killed by SIGKILL after step 6, resumed; the best step is what is left, in both."""
    settings = replace(LEARNING, tuning=tuning)
    whole, expected, _ = run(tmp_path / "whole", settings, before=0.0)
    assert whole.best_step > 0
    code = (
        "import os, signal, sys; from pathlib import Path; from training.test_loop import run\n"
        "from dataclasses import replace; from training.test_tuning import LEARNING\n"
        "def tell(line):\n"
        "    if line.startswith('step 9 '): os.kill(os.getpid(), signal.SIGKILL)\n"
        "run(Path(sys.argv[1]), replace(LEARNING, tuning=sys.argv[2]), tell=tell)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    arguments = [sys.executable, "-c", code, str(tmp_path / "cut"), tuning]
    assert subprocess.run(arguments, check=False, env=environment).returncode == -signal.SIGKILL
    done, mix, _ = run(tmp_path / "cut", settings, resume=True, before=0.0)
    assert done == whole
    for name, value in expected.state_dict().items():
        assert torch.equal(mix.state_dict()[name], value), name
    assert validating(windows(6, 12))(mix) == pytest.approx(done.after, abs=1e-6)


@each_efficient
def test_where_no_step_beats_the_start_the_trunk_is_left(tmp_path: Path, tuning: str) -> None:
    settings = replace(LEARNING, tuning=tuning, max_steps=2, validate_every=1)
    done, mix, _ = run(tmp_path, settings, before=1.0)
    assert (done.best_step, done.steps) == (0, 2)
    for left, untouched in zip(said(mix.trunk.eval()), said(prepared("full")), strict=True):
        assert torch.equal(left, untouched)
