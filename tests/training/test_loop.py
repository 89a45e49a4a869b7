"""The loop: it learns what is planted, resumes exactly, ends early, and never leaves less than it started with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import TrainerCallback

from rerank_plugin.config import together
from rerank_plugin.domain.candidate import Candidate
from rerank_plugin.domain.factors import Weights
from rerank_plugin.ranking.relevance import Fit, RelevanceHead
from rerank_plugin.ranking.types import RankRequest
from rerank_plugin.training.calibrate import Window, ndcg_at_10
from rerank_plugin.training.groups import Groups
from rerank_plugin.training.loop import Trained, Validation, last_checkpoint, seeded, train
from rerank_plugin.training.mix import Mix
from rerank_plugin.training.objective import balance_of
from rerank_plugin.training.settings import Settings
from training.training_samples import one_thread, reader, small_trunk, window

pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore")]

FIT = Fit(intercept=0.0, log_score=0.1, relative_score=0.1, cosine=0.5)
HEAD = RelevanceHead(dict.fromkeys(("score+text", "text", "score"), FIT))
SETTINGS = Settings(
    max_steps=12, validate_every=3, groups=2, group_size=4, tokens=24, learning_rate=3e-3, head_rate=3e-2, patience=9,
    opened=-1.0,
)  # fmt: skip

#: Rates of nearly nothing: no validation is better than the first.
STILL = {"learning_rate": 1e-12, "head_rate": 1e-12}


def windows(count: int, first: int = 0) -> list[Window]:
    """The relevant document says "green" wherever it stands; scores say nothing of it."""
    return [
        window(
            f"which one is it {number}",
            ["green apples here" if place == number % 6 else f"red stones {place}" for place in range(6)],
            [number % 6],
        )
        for number in range(first, first + count)
    ]


def validating(found: list[Window], *, fresh: bool = True) -> Validation:
    return Validation(found, reader(SETTINGS.tokens), most=6, head=HEAD, weights=Weights(), fresh=fresh)


def run(
    out: Path,
    settings: Settings = SETTINGS,
    *,
    resume: bool = False,
    before: float = -1.0,
    tell: Callable[[str], None] | None = None,
    callbacks: Sequence[TrainerCallback] = (),
) -> tuple[Trained, Mix, list[str]]:
    seeded(settings.seed)
    mix = Mix(small_trunk(), fit=FIT, weights=Weights(), opened=settings.opened, balance=balance_of(settings))
    read = reader(settings.tokens)
    count = settings.groups_of_run(together()[1])
    groups = Groups(windows(12), size=settings.group_size, count=count, margin=settings.margin, seed=settings.seed)
    validation = validating(windows(6, 12), fresh=settings.moves_vectors)
    if before >= 0:
        validation.before = before
    told: list[str] = []
    with one_thread():
        done = train(
            mix, groups, validation, read, settings,
            out=out, resume=resume, tell=tell or told.append, callbacks=callbacks,
        )  # fmt: skip
    return done, mix, told


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trained, Mix, list[str], Path]:
    """A run without a break."""
    out = tmp_path_factory.mktemp("whole")
    return *run(out), out


def test_it_learns_what_is_planted(whole: tuple) -> None:
    done, _, told, _ = whole
    assert done.after > done.before
    assert done.best_step in (3, 6, 9, 12)
    assert [line.split(":")[0] for line in told] == [f"step {step} of 12" for step in (3, 6, 9, 12)]


def test_the_best_step_is_what_is_left(whole: tuple) -> None:
    done, mix, _, _ = whole
    assert validating(windows(6, 12))(mix) == pytest.approx(done.after, abs=1e-6)


def test_a_run_that_was_cut_off_ends_as_the_whole_one(whole: tuple, tmp_path: Path) -> None:
    """Killed by SIGKILL after step 6; dropout, order, rates and the optimizer's memory go on as they were."""
    code = (
        "import os, signal, sys; from pathlib import Path; from training.test_loop import run\n"
        "def tell(line):\n"
        "    if line.startswith('step 9 '): os.kill(os.getpid(), signal.SIGKILL)\n"
        "run(Path(sys.argv[1]), tell=tell)"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, env=_environment())
    assert ended.returncode == -signal.SIGKILL
    found = last_checkpoint(tmp_path)
    assert found is not None
    assert found.name == "checkpoint-6"
    done, mix, _ = run(tmp_path, resume=True)
    assert done == whole[0]
    for name, value in whole[1].state_dict().items():
        assert torch.equal(mix.state_dict()[name], value), name


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def test_a_checkpoint_that_was_cut_off_is_passed_over(tmp_path: Path) -> None:
    for step, state in ((3, '{"global_step": 3}'), (12, '{"glob')):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(state)
    (tmp_path / "checkpoint-15").mkdir()
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-3"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["checkpoint-3"]
    assert last_checkpoint(tmp_path / "nothing") is None


def test_where_no_step_beats_the_start_the_start_is_left(tmp_path: Path) -> None:
    done, mix, _ = run(tmp_path, before=1.0)
    assert (done.best_step, done.after, done.before) == (0, 1.0, 1.0)
    fresh = small_trunk()
    assert torch.equal(mix.trunk.layers[0].output.dense.weight, fresh.layers[0].output.dense.weight)


def test_a_query_that_finds_nothing_validates_as_zero() -> None:
    mix = Mix(small_trunk(), fit=FIT, weights=Weights(), opened=-1.0, balance=balance_of(SETTINGS))
    found = windows(2)
    nothing = Window(RankRequest(query="nothing", candidates=()), None, {"d9": 1})
    both, one = (validating(some)(mix) for some in ([*found, nothing], found))
    assert both == pytest.approx(one * 2 / 3)


def test_the_start_is_measured_on_what_training_reads() -> None:
    """Before: the cosines that were recorded, of the whole text by what serves. Then: those of the tokens read here."""
    found = [replace(each, request=replace(each.request, candidates=cosines_of_a_judge(each))) for each in windows(6)]
    mix = Mix(small_trunk(), fit=FIT, weights=Weights(), opened=-1.0, balance=balance_of(SETTINGS))
    recorded, again = validating(found, fresh=False), validating(found)
    assert again.before == recorded.before == 1.0
    recorded.begin(mix)
    again.begin(mix)
    assert recorded.before == 1.0
    assert again.before == ndcg_at_10(again.scored_by(mix), HEAD, Weights()) < 1.0


def cosines_of_a_judge(found: Window) -> tuple[Candidate, ...]:
    """The candidates with cosines that put the relevant one first."""
    return tuple(
        replace(each, cosine=9.0 if each.doc_id in found.judgments else 0.0) for each in found.request.candidates
    )


def test_it_ends_early(tmp_path: Path) -> None:
    still = replace(SETTINGS, patience=1, **STILL)
    done, _, told = run(tmp_path, still)
    assert (done.steps, len(told)) == (6, 2)


@pytest.mark.parametrize("patience", [1, 9])
def test_a_run_that_had_ended_is_only_read_again(tmp_path: Path, patience: int) -> None:
    """Cut off after its last step, which early stopping or ``max_steps`` made the last."""
    settings = replace(SETTINGS, max_steps=9, patience=patience, **({} if patience > 1 else STILL))
    done, mix, told = run(tmp_path, settings)
    again, same, nothing = run(tmp_path, settings, resume=True)
    assert told
    assert nothing == []
    assert again == done
    for name, value in mix.state_dict().items():
        assert torch.equal(same.state_dict()[name], value), name


def test_patience_goes_on_where_it_was(tmp_path: Path) -> None:
    """Cut off after one validation that was no better: one more ends a run whose patience is two."""
    still = replace(SETTINGS, patience=2, max_steps=30, **STILL)

    def cut(line: str) -> None:
        if line.startswith("step 9 "):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, still, tell=cut)
    done, _, told = run(tmp_path, still, resume=True)
    assert (done.steps, len(told)) == (9, 1)


WAYS = [
    {"optimizer": "sgd"},
    {"optimizer": "adafactor"},
    {"accumulation": 2},
    {"schedule": "cosine"},
    {"schedule": "constant_with_warmup"},
    {"tuning": "head"},
    {"tuning": "lora", "frozen_layers": 1},
    {"contrast": 1.0, "balance": "uncertainty"},
    {"contrast": 1.0, "balance": "stochastic", "tuning": "prefix"},
]


@pytest.mark.parametrize("change", WAYS)
def test_every_way_of_stepping_runs(tmp_path: Path, change: dict[str, object]) -> None:
    done, mix, _ = run(tmp_path, replace(SETTINGS, max_steps=2, validate_every=1, **change))  # type: ignore[arg-type]
    assert done.steps == 2
    assert all(torch.isfinite(value).all() for value in mix.state_dict().values() if value.is_floating_point())
