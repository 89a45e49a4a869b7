"""Where the figures of a run are written while it trains: TensorBoard, Weights & Biases, both or nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rerank_plugin.config import several, together, wandb_mode
from rerank_plugin.errors import MissingExtraError

if TYPE_CHECKING:
    from rerank_plugin.training.settings import Settings

#: As transformers calls them.
TRACKERS = ("tensorboard", "wandb")


def trackers_of(words: str) -> tuple[str, ...]:
    """The trackers that a setting names; ``none`` for nowhere.

    :raises ConfigError: one is unknown.
    """
    return () if words == "none" else several("track", words, TRACKERS)


def require_trackers(settings: Settings) -> None:
    """Nothing, where what the settings name is installed.

    :raises MissingExtraError: it is not.
    """
    from importlib.util import find_spec

    if "wandb" in trackers_of(settings.track) and find_spec("wandb") is None:
        raise MissingExtraError("track=wandb", "track")


@contextmanager
def tracked(settings: Settings, out: Path) -> Iterator[None]:
    """A run of Weights & Biases around a training, where it is wanted: its files lie in ``out``, and nothing is sent
    unless the user's ``WANDB_MODE`` says so. Only the first of several processes has one.
    """
    if "wandb" not in trackers_of(settings.track) or together()[0] > 0:
        yield
        return
    import wandb

    out.mkdir(parents=True, exist_ok=True)
    # Neither what is printed, nor code, nor the repository that the command happens to run in is kept.
    quiet = wandb.Settings(silent=True, console="off", save_code=False, disable_git=True)
    run = cast(Any, wandb).init(mode=wandb_mode(), dir=str(out), config=settings.to_json(), settings=quiet)
    with run:
        yield
