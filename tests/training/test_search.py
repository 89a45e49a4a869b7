"""The search: told settings first, trials that fall behind end, a killed one goes on to the same trials."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rerank_plugin.errors import ConfigError
from rerank_plugin.training.search import RANGES, Searched, Watch, search, space
from rerank_plugin.training.settings import Settings
from training.test_loop import SETTINGS, run

pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore")]

TOLD = Settings(search=8, validate_every=1, max_steps=3)


class State:
    """What a trainer tells its callbacks."""

    def __init__(self, step: int) -> None:
        self.global_step = step
        self.log_history: list[dict[str, float]] = []


def made_up(settings: Settings, folder: Path, watch: Watch) -> float:
    """A training of three validations that is best at a head rate of 1e-3; its checkpoint is a file."""
    folder.mkdir(exist_ok=True)
    (folder / "checkpoint").write_text(repr(settings.head_rate))
    found = 1.0 / (1.0 + abs(settings.head_rate - 1e-3) * 1e3)
    for step in (1, 2, 3):
        watch.on_evaluate(None, State(step), None, metrics={"eval_ndcg": found * step / 3})
    return found


def searched(
    folder: Path, settings: Settings = TOLD, attempt: Callable[[Settings, Path, Watch], float] = made_up
) -> tuple[Searched, list[str]]:
    told: list[str] = []
    return search(settings, folder, attempt, told.append), told


def test_the_best_trial_is_kept_and_the_told_settings_are_tried_first(tmp_path: Path) -> None:
    tried: list[Settings] = []

    def attempt(settings: Settings, folder: Path, watch: Watch) -> float:
        tried.append(settings)
        return made_up(settings, folder, watch)

    found, told = searched(tmp_path, attempt=attempt)
    assert tried[0] == TOLD
    assert len(tried) == len({each.head_rate for each in tried}) == found.account["trials"] == 8
    best = min(tried, key=lambda each: abs(each.head_rate - 1e-3))
    assert found.settings == best == replace(TOLD, **found.account["params"])
    assert found.account["best"] == tried.index(best) + 1
    assert (found.checkpoints / "checkpoint").read_text() == repr(best.head_rate)
    assert [each.name for each in tmp_path.glob("trial-*")] == [found.checkpoints.name]
    assert any("fell behind" in line for line in told)
    assert found.account["pruned"] == sum("fell behind" in line for line in told)
    for each in tried:
        assert all(low <= getattr(each, name) <= high for name, (low, high, _) in RANGES.items() if name != "peft_rate")


def test_what_is_tried_is_what_counts() -> None:
    assert set(space(Settings())) == set(RANGES) - {"peft_rate"}
    assert set(space(Settings(tuning="lora"))) == set(RANGES) - {"learning_rate", "layer_decay"}
    assert set(space(Settings(tuning="head"))) == {"head_rate", "opened", "dropout"}
    told = space(Settings(head_rate=0.5, opened=-9, learning_rate=0))
    assert told["head_rate"] == (2e-4, 0.5, True)
    assert told["opened"] == (-9, -0.5, False)
    assert told["learning_rate"] == (5e-6, 2e-4, True)  # a logarithm has no 0


def test_a_killed_search_goes_on_to_the_same_trials(tmp_path: Path) -> None:
    """Killed by SIGKILL in the fourth trial; that one is made again, and no other."""
    whole, lines = searched(tmp_path / "whole")
    code = (
        "import os, signal, sys; from pathlib import Path; from training.test_search import made_up, searched\n"
        "def attempt(settings, folder, watch):\n"
        "    if folder.name == 'trial-4': folder.mkdir(); os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return made_up(settings, folder, watch)\n"
        "searched(Path(sys.argv[1]), attempt=attempt)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    arguments = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "cut")]
    assert subprocess.run(arguments, check=False, env=environment).returncode == -signal.SIGKILL
    found, again = searched(tmp_path / "cut")
    assert (found.account, found.settings) == (whole.account, whole.settings)
    assert again == [line for line in lines if int(line.split()[1].strip(":")) >= 4]
    same, nothing = searched(tmp_path / "cut")
    assert (same, nothing) == (found, [])


def test_a_trial_that_was_cut_off_goes_on_where_it_was(tmp_path: Path) -> None:
    """A real training: what its checkpoint remembers is reported first, then what comes."""
    settings = replace(SETTINGS, max_steps=9)

    def cut(line: str) -> None:
        if line.startswith("step 9 "):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, settings, tell=cut)
    reported: list[tuple[int, float]] = []
    done, _, told = run(tmp_path, settings, resume=True, callbacks=[Watch(lambda *said: reported.append(said))])
    assert [step for step, _ in reported] == [3, 6, 9]
    assert len(told) == 1
    assert max(value for _, value in reported) == pytest.approx(done.after)


def test_a_file_that_is_no_study_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_bytes(b"no database" * 100)
    with pytest.raises(ConfigError, match="is no study of rerank train; remove it to search anew"):
        searched(tmp_path)
