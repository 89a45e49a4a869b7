"""Settings of training: a file, then pairs, every mistake one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from rerank_plugin.domain.factors import PRIORS
from rerank_plugin.errors import ConfigError
from rerank_plugin.training.settings import WORDS, Settings, read_settings


def test_pairs_go_before_the_file_and_options_before_both(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('max_steps = 7\ntuning = "head"\nlearning_rate = 1\n')
    found = read_settings(file, ["learning_rate=1e-5", "max_steps=8"], max_steps=9, seed=None)
    assert (found.max_steps, found.tuning, found.learning_rate, found.seed) == (9, "head", 1e-5, 0)
    file = tmp_path / "settings.json"
    file.write_text('{"max_steps": 3}')
    assert read_settings(file, []) == Settings(max_steps=3)
    assert read_settings(None, (), **Settings(seed=4).to_json()) == Settings(seed=4)


def test_only_the_head_leaves_vectors_as_they_are() -> None:
    moving = {tuning: Settings(tuning=tuning).moves_vectors for tuning in WORDS["tuning"]}
    assert moving == {"full": True, "head": False, "lora": True, "prefix": True, "adapter": True}


def test_a_step_takes_the_groups_of_all_processes() -> None:
    assert Settings(max_steps=3, groups=2, accumulation=5).groups_of_run(1) == 30
    assert Settings(max_steps=3, groups=2, accumulation=5).groups_of_run(4) == 120


def test_a_factor_that_takes_no_part_has_no_loss() -> None:
    assert Settings().taking_part() == PRIORS
    assert Settings(factors="none").factor_losses() == {}
    some = Settings(factors="popularity, authority", authority_loss=0.3, popularity_loss=0.0)
    assert some.taking_part() == ("authority", "popularity")
    assert some.factor_losses() == {"authority": 0.3}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("max_steps=2.5", "max_steps must be a whole number, got '2.5'"),
        ("max_steps=0", "max_steps must be between 1 and 1e"),
        ("learning_rate=nan", "learning_rate must be a number, got 'nan'"),
        ("tuning=lor", "tuning must be one of full, head, lora, prefix, adapter, got 'lor'"),
        ("lora_rank=0", "lora_rank must be between 1 and 4096, got 0"),
        ("lora_alpha=0", "lora_alpha must be between 0.001 and 10000, got 0.0"),
        ("prefix_tokens=0", "prefix_tokens must be between 1 and 1024, got 0"),
        ("adapter_width=0", "adapter_width must be between 1 and 4096, got 0"),
        ("dropout=1", "dropout must be between 0 and 0.9, got 1.0"),
        ("steps=1", "unknown setting 'steps'; the settings are seed, "),
        ("steps", "settings are written key=value, got 'steps'"),
        ("opened=1", "opened must be between -10000 and 0, got 1.0"),
        ("factors=age", "factors must be some of authority, freshness, novelty, popularity, with commas between"),
        ("factors=", "factors must be some of authority, freshness, novelty, popularity, with commas between"),
        ("weights=same", "weights must be one of equal, raised, got 'same'"),
    ],
)
def test_mistakes_are_one_line(text: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_settings(None, [text])
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("a.toml", "max_steps", "is neither JSON nor TOML"),
        ("a.json", "[1]", "must hold settings by name"),
        ("a.json", '{"max_steps": true}', "max_steps must be a whole number, got True"),
    ],
)
def test_files_that_are_no_settings(tmp_path: Path, name: str, content: str, line: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError, match=line):
        read_settings(tmp_path / name, [])
    with pytest.raises(ConfigError, match="missing"):
        read_settings(tmp_path / "missing", [])
