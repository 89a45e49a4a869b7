"""What a run must remember to go on after it was killed: a small JSON file, replaced whole after every page."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

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


def read_saved(file: Path) -> dict[str, Any]:
    """The fields of a state as saved.

    :raises OSError: there is no file, or it cannot be read.
    :raises ValueError: it is none of ours.
    """
    stored = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(stored, dict) or stored.pop("format", None) != FORMAT:
        raise ValueError("it has another format")
    return stored
