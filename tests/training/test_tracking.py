"""Where a run's figures go: TensorBoard by default, W&B without a network, or nowhere."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rerank_plugin.config import wandb_mode
from rerank_plugin.errors import ConfigError, MissingExtraError
from rerank_plugin.training.settings import Settings
from rerank_plugin.training.tracking import require_trackers
from training.test_loop import SETTINGS, run

pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore")]

SHORT = replace(SETTINGS, max_steps=4, validate_every=2)


def boards(out: Path) -> list[Path]:
    return list(out.rglob("events.out.tfevents.*"))


@pytest.mark.parametrize(("words", "count"), [("tensorboard", 1), ("none", 0)])
def test_figures_go_where_they_are_told_to(tmp_path: Path, words: str, count: int) -> None:
    run(tmp_path, replace(SHORT, track=words))
    assert len(boards(tmp_path)) == count


@pytest.mark.parametrize("words", ["", "mlflow", "tensorboard,none", "all"])
def test_unknown_trackers_are_one_line(words: str) -> None:
    with pytest.raises(ConfigError, match="track must be some of tensorboard, wandb, with commas between, got "):
        Settings(track=words)


def test_a_tracker_that_is_not_installed_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    require_trackers(Settings())
    with pytest.raises(
        MissingExtraError, match=r"track=wandb needs the extra 'track': pip install 'rerank-plugin\[track"
    ):
        require_trackers(Settings(track="tensorboard,wandb"))


def test_nothing_is_sent_unless_the_environment_says_so() -> None:
    assert [wandb_mode({}), wandb_mode({"WANDB_MODE": " "}), wandb_mode({"WANDB_MODE": "online"})] == [
        "offline", "offline", "online"
    ]  # fmt: skip


def test_the_real_thing_writes_a_run_and_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed: pip install 'rerank-plugin[track]'")
    key = "f" * 20 + "0" * 20
    monkeypatch.setenv("WANDB_API_KEY", key)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    run(tmp_path, replace(SHORT, track="wandb,tensorboard"))
    assert len(boards(tmp_path)) == 1
    [kept] = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    records = kept.read_bytes()
    for name in (b"eval/ndcg", b"train/loss", b"learning_rate", b"validate_every"):
        assert name in records, name
    files = [each for each in tmp_path.rglob("*") if each.is_file()]
    assert not [each for each in files if key.encode() in each.read_bytes()]
    said = capfd.readouterr()
    assert "wandb" not in said.out + said.err
