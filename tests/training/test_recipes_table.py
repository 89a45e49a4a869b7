"""The table of ``benchmarks/bench_recipes.py``: what its arms and differences are."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from tables import difference

from harness.data import CHECKOUT
from rerank_plugin.training.two_mode import CLOSED
from training.training_samples import reader, small_trunk, window

pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_recipes", CHECKOUT / "benchmarks" / "bench_recipes.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_means_and_differences_by_hand(bench: ModuleType) -> None:
    """The start's fusion is everybody's; the trained collection is not among the zero-shot ones."""
    arms = {"alone": [0.0, 0.0], "shuffled": [0.1, 0.1]}
    start = {"trained": {}, "own": {"fused": [0.5, 0.7]}, "far": {"fused": [0.2, 0.4]}, "near": {"fused": [0.6]}}
    row = {
        "trained": {"best_step": 3},
        "own": {**arms, "fused": [9.0, 9.0], "mixed": [0.6, 0.8], "shut": [0.6, 0.4]},
        "far": {**arms, "fused": [9.0, 9.0], "mixed": [0.3, 0.3], "shut": [0.3, 0.3]},
        "near": {"alone": [0.0], "shuffled": [0.1], "fused": [9.0], "mixed": [0.3], "shut": [0.0]},
    }
    found = bench.summary(row, start, "own", 0)["collections"]
    assert found["own"]["mixed - fused"]["delta"] == pytest.approx(0.1)
    assert found["own"]["mixed - shut"]["delta"] == pytest.approx(0.2)
    assert found["far"]["mixed - fused"]["delta"] == pytest.approx(0.0)
    assert found["near"]["mixed - fused"] == {"delta": pytest.approx(-0.3), "ci95": None}
    assert (found["zero-shot"]["queries"], found["zero-shot"]["fused"]) == (3, pytest.approx(0.4))
    assert found["zero-shot"]["mixed - fused"]["delta"] == pytest.approx(-0.1)


def test_a_recipe_says_what_it_came_to_on_the_validating_queries(bench: ModuleType) -> None:
    cell = {arm: [0.5, 0.7] for arm in ("fused", "alone", "mixed", "shuffled", "shut")}
    start = {"trained": {}, "own": cell}
    row = {"trained": {"best_step": 30, "before": 0.68842, "after": 0.7252}, "own": cell}
    settings = {"max_steps": 90, "groups": 8, "group_size": 4, "tokens": 64, "validate_window": 20}
    told = {"settings": settings, "start": "s", "teachers": [], "gain": "linear", "seed": 0, "versions": {"torch": "2"}}
    lines = bench.printed(
        {**told, "recipes": {"start": bench.summary(start, start, "own", 0), "a": bench.summary(row, start, "own", 0)}}
    ).splitlines()
    assert lines[2].startswith("| start | own | 2 | .600 |")
    assert lines[3].startswith("| a (step 30, dev .688 -> .725) | own | 2 | .600 | .600 | .600 | +.000")


def test_differences_are_short() -> None:
    assert difference({"delta": 0.1, "ci95": [-0.01, 1.0]}) == "+.100, -.010..+1.000"
    assert difference({"delta": -0.3, "ci95": None}) == "-.300"


def test_shuffling_moves_logits_within_a_query_only(bench: ModuleType) -> None:
    texts = [f"text {place}" for place in range(9)]
    found = [bench.replace(window(f"q{row}", texts, [0]), interactions=np.arange(9.0) + 10 * row) for row in range(2)]
    moved = bench.shuffled(found, 0)
    for before, after in zip(found, moved, strict=True):
        assert after.request is before.request
        assert sorted(after.interactions) == before.interactions.tolist()
        assert after.interactions.tolist() != before.interactions.tolist()
    assert [each.interactions.tolist() for each in bench.shuffled(found, 0)] == [
        each.interactions.tolist() for each in moved
    ]


def test_shut_is_what_the_trunk_says_with_its_attention_shut(bench: ModuleType) -> None:
    table = bench.Table.__new__(bench.Table)
    table._reader = reader()
    trunk, one = small_trunk(), window("red birds", ["a red bird", "", "stones of iron and more"], [0])
    with torch.no_grad():
        trunk.segment_bias.fill_(-0.5)
        trunk.interaction_weight.add_(torch.linspace(-1, 1, len(trunk.interaction_weight)))
        opened, shut = table._scored(trunk, one)
        trunk.segment_bias.fill_(CLOSED)
        again, same = table._scored(trunk, one)
    assert np.abs(opened.interactions - shut.interactions).max() > 1e-4
    assert again.interactions == pytest.approx(shut.interactions, abs=1e-5)
    assert same.interactions == pytest.approx(shut.interactions, abs=1e-6)
    assert [each.cosine is None for each in opened.request.candidates] == [False, True, False]


def test_a_cell_is_measured_once_and_the_table_goes_on(bench: ModuleType, tmp_path: Path) -> None:
    table = bench.Table.__new__(bench.Table)
    table._out = tmp_path
    table._untrained = lambda: "the start"
    asked: list[str] = []

    def measured(mix: object, windows: str) -> dict[str, list[float]]:
        if windows == "killed here":
            raise KeyboardInterrupt
        asked.append(windows)
        return {"fused": [0.5]}

    table._measured = measured
    table._options = SimpleNamespace(train="one", tested=["two"])
    table.found = {"one": {"test": "first"}, "two": {"test": "killed here"}}
    with pytest.raises(KeyboardInterrupt):
        table._row("start", None)
    table.found["two"]["test"] = "second"
    found = table._row("start", None)
    assert asked == ["first", "second"]
    assert found == {"trained": {}, "one": {"fused": [0.5]}, "two": {"fused": [0.5]}}
    del table.found  # it would have to be searched for
    assert table._row("start", None) == found
