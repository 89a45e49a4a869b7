"""How far a long step has come: a bar with the time left on a terminal, nothing elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int], None]


class Progress(Protocol):
    """Shows the steps of a load, one after the other."""

    def step(self, label: str, total: int | None) -> AbstractContextManager[Advance]:
        """Opens a step; what it gives is told how many more items are done.

        :param total: items in all; ``None`` where nobody knows yet.
        """
        ...


class Silent:
    """Shows nothing."""

    @contextmanager
    def step(self, label: str, total: int | None) -> Iterator[Advance]:  # noqa: ARG002 (the protocol's)
        """A step that nobody sees."""
        yield lambda _: None


class Bars:
    """One bar per step on standard error."""

    @contextmanager
    def step(self, label: str, total: int | None) -> Iterator[Advance]:
        """A bar with items done and, where the total is known, the time left."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True)) as shown:
            task = shown.add_task(label, total=total)
            yield lambda done: shown.advance(task, done)
