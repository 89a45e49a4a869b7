"""What a run must remember to go on after it was killed: a small JSON file, replaced whole after every page."""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, BinaryIO

from rerank_plugin.errors import DataError

FORMAT = 1


@dataclass(slots=True, kw_only=True)
class SavedState:
    """Where a run stands; ``save`` writes it, threads may call it at once."""

    file: Path
    run_id: str
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def save(self) -> None:
        """Writes the file, whole or not at all.

        :raises DataError: it cannot be written.
        """
        with self._lock:
            self._write()

    def _write(self) -> None:
        stored = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in ("file", "_lock")}
        scratch = self.file.with_name(f".{self.file.name}.{os.getpid()}")
        try:
            scratch.write_text(json.dumps({"format": FORMAT, **stored}), encoding="utf-8")
            os.replace(scratch, self.file)
        except OSError as error:
            raise DataError(
                f"cannot write the state of the run to {self.file} ({error.strerror}); name another with --state"
            ) from error


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """Holds a state for one run: two that wrote to it in turns would each believe the other's position.

    The system takes the lock back however the run ends; an empty ``FILE.lock`` that ``kill -9`` left says nothing.

    :param file: of the state.
    :raises DataError: another run holds it, or the lock cannot be made.
    """
    lock = file.with_name(f"{file.name}.lock")
    held = _locked(lock)
    while held is not None and not _is(held, lock):  # it was taken away by a run that ended just then
        held.close()
        held = _locked(lock)
    if held is None:
        raise DataError(f"another run goes on with {file}; wait for its end, or name another with --state")
    with held:
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _locked(lock: Path) -> BinaryIO | None:
    """The lock's file, open and held; ``None`` where somebody else holds it."""
    try:
        held = lock.open("ab")
    except OSError as error:
        raise DataError(f"cannot write {lock} ({error.strerror}); name another state with --state") from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        held.close()
        return None
    return held


def _is(held: BinaryIO, lock: Path) -> bool:
    """Whether the open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(held.fileno()), lock.stat())
    except FileNotFoundError:
        return False


def read_saved(file: Path) -> dict[str, Any]:
    """The fields of a state as saved.

    :raises OSError: there is no file, or it cannot be read.
    :raises ValueError: it is none of ours.
    """
    stored = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(stored, dict) or stored.pop("format", None) != FORMAT:
        raise ValueError("it has another format")
    return stored
