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
class RunState:
    """Where a run stands; ``save`` writes it, threads may call it at once."""

    file: Path
    run_id: str
    source: str
    source_uuid: str
    dest: str
    dest_uuid: str = ""
    #: ``copying``, then ``loaded`` (settings restored), then ``switched``.
    phase: str = "copying"
    #: Shard of the source -> everything up to this position is in the destination.
    cursors: dict[int, int] = field(default_factory=dict)
    #: Documents read from the source to be copied, all attempts together.
    read: int = 0
    written: int = 0
    rejected: int = 0
    #: ``index.*`` settings to put back once the documents are in.
    set_aside: dict[str, Any] = field(default_factory=dict)
    #: The source was closed for writing by us.
    blocked: bool = False
    #: The scaling knots of the signals.
    knots: dict[str, Any] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def advance(self, shard: int, upto: int, *, read: int, written: int, rejected: int) -> None:
        """Notes that a page is in the destination, and saves."""
        with self._lock:
            self.cursors[shard] = upto
            self.read += read
            self.written += written
            self.rejected += rejected
            self._write()

    def save(self) -> None:
        """Writes the file, whole or not at all.

        :raises DataError: it cannot be written.
        """
        with self._lock:
            self._write()

    @property
    def ranks_file(self) -> Path:
        """Where PageRank of the documents is kept."""
        return self.file.with_suffix(".ranks.npz")

    @property
    def novelty_file(self) -> Path:
        """Where novelty of the documents is kept."""
        return self.file.with_suffix(".novelty.npz")

    def remove(self) -> None:
        """Takes the files away: the run is over."""
        for file in (self.file, self.ranks_file, self.novelty_file):
            file.unlink(missing_ok=True)

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

    @classmethod
    def read_file(cls, file: Path) -> RunState:
        """The state as saved.

        :raises DataError: there is none, or it is none of ours.
        """
        try:
            stored = json.loads(file.read_text(encoding="utf-8"))
            if stored.pop("format") != FORMAT:
                raise ValueError("it has another format")
            stored["cursors"] = {int(shard): int(upto) for shard, upto in stored["cursors"].items()}
            return cls(file=file, **stored)
        except FileNotFoundError as error:
            raise DataError(f"there is no run to resume: {file} does not exist; start one without --resume") from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{file} cannot be read as the state of a run ({error}); start anew without it") from error
