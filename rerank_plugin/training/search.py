"""Settings found by trying: trials of whole trainings, judged on the validation queries and never on the test split.

The draws are optuna's (TPE, Bergstra et al. 2011), and so is the ending of trials that fall behind (the median of the
others at the same step). What was tried is kept in an SQLite file. The sampler's seed is a function of how many trials
have ended, so that a search that was killed goes on to the trials that an unbroken one would have made; the trial that
was under way goes on from its last checkpoint.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from rerank_plugin.errors import ConfigError
from rerank_plugin.training.loop import METRIC
from rerank_plugin.training.tuning import EFFICIENT

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from rerank_plugin.training.settings import Settings

#: What is tried, (least, most, whether in logarithms), where the setting counts.
RANGES = {
    "learning_rate": (5e-6, 2e-4, True),
    "layer_decay": (0.7, 1.0, False),
    "peft_rate": (1e-4, 1e-2, True),
    "head_rate": (2e-4, 2e-2, True),
    "opened": (-6.0, -0.5, False),
    "dropout": (0.0, 0.3, False),
}
#: Trials that are drawn at random, and that come to their end, before others are measured against them.
RANDOM_TRIALS, WHOLE_TRIALS = 5, 3
STUDY_FILE, STUDY = "study.db", "rerank train"


class Watch(TrainerCallback):
    """Hands every validation on; those that a resumed run had made already, first."""

    def __init__(self, report: Callable[[int, float], None]) -> None:
        self._report = report

    def on_train_begin(self, *given: Any, **_: Any) -> None:
        """Reports what the checkpoint remembers."""
        _, state, _ = given
        for each in state.log_history:
            if METRIC in each:
                self._report(each["step"], each[METRIC])

    def on_evaluate(self, *given: Any, **more: Any) -> None:
        """Reports a validation."""
        _, state, _ = given
        self._report(state.global_step, more["metrics"][METRIC])


#: Trains with settings, checkpoints in a folder, goes on where there are some, and says what it came to.
Attempt = Callable[["Settings", Path, Watch], float]


@dataclass(frozen=True, slots=True)
class Searched:
    """The best of the trials."""

    settings: Settings
    #: Where its checkpoints lie.
    checkpoints: Path
    #: How the trials went, for the model's metrics.
    account: dict[str, Any]


def search(settings: Settings, folder: Path, attempt: Attempt, tell: Callable[[str], None]) -> Searched:
    """Tries ``settings.search`` settings, the told ones first.

    :param folder: of the study and of the checkpoints; a search that stands in it goes on.
    :raises ConfigError: the study in the folder cannot be read.
    """
    from optuna import TrialPruned
    from optuna.samplers import TPESampler
    from optuna.trial import TrialState

    study = _study(folder, settings)
    while len(ended := _ended(study)) < settings.search:
        _tidy(folder, {_name(len(ended)), *(_name(place) for place in _best(ended))})
        study.sampler = TPESampler(n_startup_trials=RANDOM_TRIALS, seed=settings.seed + len(ended))
        if not ended and not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            study.enqueue_trial({name: getattr(settings, name) for name in space(settings)})
        trial = study.ask()
        chosen = replace(settings, **_drawn(trial, settings))
        where = f"trial {len(ended) + 1} of {settings.search}"
        tell(f"{where}: {', '.join(f'{name}={value:.3g}' for name, value in trial.params.items())}")
        try:
            value = attempt(chosen, folder / _name(len(ended)), Watch(lambda *said, to=trial: _reported(to, *said)))
        except TrialPruned:
            study.tell(trial, state=TrialState.PRUNED)
            tell(f"{where}: fell behind the others")
        else:
            study.tell(trial, value)
            tell(f"{where}: nDCG@10 {value:.4f}, the best so far {study.best_value:.4f}")
    [best] = _best(ended)
    _tidy(folder, {_name(best)})
    account = {
        "trials": len(ended),
        "pruned": sum(each.state == TrialState.PRUNED for each in ended),
        "best": best + 1,
        "params": ended[best].params,
        "dev": [each.value and round(each.value, 4) for each in ended],
    }
    return Searched(replace(settings, **ended[best].params), folder / _name(best), account)


def space(settings: Settings) -> dict[str, tuple[float, float, bool]]:
    """What is tried under a tuning; a range holds what was told, too."""
    unused = {"learning_rate", "layer_decay"} if settings.tuning != "full" else set()
    unused |= {"peft_rate"} if settings.tuning not in EFFICIENT else set()
    unused |= {"opened"} if settings.backbone else set()
    found = {}
    for name, (low, high, logarithms) in RANGES.items():
        if name not in unused:
            told = getattr(settings, name)
            found[name] = (min(low, told) or low, max(high, told), logarithms)
    return found


def _study(folder: Path, settings: Settings) -> optuna.Study:
    """The study of the folder, the trial that was under way given up."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / STUDY_FILE
    try:
        study = optuna.create_study(
            study_name=STUDY,
            storage=f"sqlite:///{file}",
            direction="maximize",
            pruner=optuna.pruners.MedianPruner(WHOLE_TRIALS, n_warmup_steps=settings.validate_every),
            load_if_exists=True,
        )
        for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    except (SQLAlchemyError, RuntimeError, optuna.exceptions.OptunaError) as error:
        raise ConfigError(f"{file} is no study of rerank train; remove it to search anew") from error
    return study


def _ended(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that came to a value or fell behind, in order; those that a crash cut off are none."""
    from optuna.trial import TrialState

    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


def _best(ended: list[FrozenTrial]) -> list[int]:
    """The place of the best of those that came to their end; the first of equals, none where there is none."""
    whole = [place for place, each in enumerate(ended) if each.state.name == "COMPLETE" and each.value is not None]
    return sorted(whole, key=lambda place: -(ended[place].value or 0.0))[:1]


def _drawn(trial: optuna.Trial, settings: Settings) -> dict[str, Any]:
    return {name: trial.suggest_float(name, low, high, log=log) for name, (low, high, log) in space(settings).items()}


def _reported(trial: optuna.Trial, step: int, value: float) -> None:
    from optuna import TrialPruned

    trial.report(value, step)
    if trial.should_prune():
        raise TrialPruned


def _name(place: int) -> str:
    return f"trial-{place + 1}"


def _tidy(folder: Path, kept: set[str]) -> None:
    """Removes the checkpoints of trials that are neither kept nor under way: each is as large as several models."""
    for each in folder.glob("trial-*"):
        if each.name not in kept:
            shutil.rmtree(each)
