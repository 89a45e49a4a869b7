"""Where a reindexing run stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from indexer.saved import SavedState, read_saved
from rerank_plugin.errors import DataError


@dataclass(slots=True, kw_only=True)
class RunState(SavedState):
    """Where a run stands; ``save`` writes it, threads may call it at once."""

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

    def advance(self, shard: int, upto: int, *, read: int, written: int, rejected: int) -> None:
        """Notes that a page is in the destination, and saves."""
        with self._lock:
            self.cursors[shard] = upto
            self.read += read
            self.written += written
            self.rejected += rejected
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

    @classmethod
    def read_file(cls, file: Path) -> RunState:
        """The state as saved.

        :raises DataError: there is none, or it is none of ours.
        """
        try:
            stored = read_saved(file)
            stored["cursors"] = {int(shard): int(upto) for shard, upto in stored["cursors"].items()}
            return cls(file=file, **stored)
        except FileNotFoundError as error:
            raise DataError(f"there is no run to resume: {file} does not exist; start one without --resume") from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{file} cannot be read as the state of a run ({error}); start anew without it") from error
