"""Where a reindexing run stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from indexer.reindex.pages import BEFORE_ALL
from indexer.saved import SavedState, read_saved
from rerank_plugin.errors import DataError

#: A shard with fewer positions to copy is copied in one piece.
WORTH_PARTS = 2_000


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
    #: Shard, position that is done and last position of the stretches of history being copied side by side.
    stretches: list[list[int]] = field(default_factory=list)
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

    def plan(self, upto: dict[int, int], parts: int) -> list[list[int]]:
        """The stretches to copy: those that were cut off, else what lacks up to these positions, cut in parts."""
        with self._lock:
            for shard, last in () if self.stretches else upto.items():
                done = self.cursors.get(shard, BEFORE_ALL)
                pieces = parts if last - done >= WORTH_PARTS else 1
                cuts = [done + (last - done) * number // pieces for number in range(pieces + 1)]
                self.stretches += [[shard, after, end] for after, end in pairwise(cuts) if after < end]
            return list(self.stretches)

    def advance(self, stretch: list[int], upto: int, *, read: int, written: int, rejected: int) -> None:
        """Notes that a page of a stretch is in the destination, and saves."""
        with self._lock:
            stretch[1] = upto
            shard = stretch[0]
            of_shard = [each for each in self.stretches if each[0] == shard]
            if all(done == end for _, done, end in of_shard):
                self.cursors[shard] = max(end for _, _, end in of_shard)
                self.stretches = [each for each in self.stretches if each[0] != shard]
            self.read += read
            self.written += written
            self.rejected += rejected
            self._write()

    def behind(self, upto: dict[int, int]) -> int:
        """Positions that are still to be copied."""
        ahead = dict(self.cursors)
        for shard, _, end in self.stretches:
            ahead[shard] = max(end, ahead.get(shard, BEFORE_ALL))
        after = sum(max(0, last - ahead.get(shard, BEFORE_ALL)) for shard, last in upto.items())
        return after + sum(end - done for _, done, end in self.stretches)

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
