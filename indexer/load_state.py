"""Where a load stands, and whether one that was cut off may go on: by its arguments, its files and its index."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from indexer.rejects import Mark
from indexer.saved import SavedState, read_saved
from indexer.sources import input_files
from rerank_plugin.errors import DataError, EngineError

if TYPE_CHECKING:
    from indexer.load import LoadJob


@dataclass(slots=True, kw_only=True)
class LoadState(SavedState):
    """Where a load stands."""

    index: str
    #: What was asked for: other arguments make other documents.
    arguments: dict[str, Any]
    #: Path -> size and time of its last change, of everything that is read.
    files: dict[str, list[int]]
    #: The clock of freshness.
    now: str
    #: Accepted records; 0 until they have been read.
    total: int = 0
    #: Texts that have their vector, and how many of them were cut.
    encoded: int = 0
    truncated: int = 0
    #: What the vector folder holds; ``None`` until it is written.
    vectors: dict[str, Any] | None = None
    #: So many accepted records, the first ones, need not be written again.
    position: int = 0
    #: Settings of the index to put back once all is written.
    aside: dict[str, Any] = field(default_factory=dict)
    written: int = 0
    refused: int = 0
    #: The rejects file at that position; ``None`` until writing begins.
    rejects: dict[str, Any] | None = None

    def advance(self, records: int, *, written: int, refused: int, mark: Mark) -> None:
        """Notes that these records are done, and saves."""
        with self._lock:
            self.position += records
            self.written += written
            self.refused += refused
            self._mark(mark)
            self._write()

    def begin_writing(self, mark: Mark, aside: dict[str, Any]) -> None:
        """Notes that the index is made and empty, and which settings it is to have again, and saves."""
        with self._lock:
            self.aside = aside
            self._mark(mark)
            self._write()

    def _mark(self, mark: Mark) -> None:
        self.rejects = {"size": mark.size, "counts": mark.counts}

    @property
    def mark(self) -> Mark | None:
        """Where the rejects file goes on."""
        return None if self.rejects is None else Mark(self.rejects["size"], self.rejects["counts"])

    @property
    def vectors_file(self) -> Path:
        """Where the vectors wait until the load is over."""
        return self.file.with_suffix(".vectors")

    @property
    def novelty_file(self) -> Path:
        """Where novelty waits until the load is over."""
        return self.file.with_suffix(".novelty.npy")

    def remove(self) -> None:
        """Takes the files away: the load is over."""
        for file in (self.file, self.vectors_file, self.novelty_file):
            file.unlink(missing_ok=True)

    @classmethod
    def read_file(cls, file: Path) -> Self | None:
        """The state as saved; ``None`` where there is none.

        :raises DataError: it is none of ours.
        """
        try:
            return cls(file=file, **read_saved(file))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise DataError(
                f"{file} cannot be read as the state of a load ({error}); remove it, or name another with --state"
            ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """How a load begins."""

    state: LoadState
    #: The index is there and may be taken away.
    replace: bool
    #: The documents up to the state's position are in the index.
    goes_on: bool
    notes: list[str] = field(default_factory=list)


def begin(job: LoadJob, file: Path | None, standing: str | None, model: str | None) -> Beginning:
    """The state to go on from: that of a load which was cut off, or a new one.

    :param standing: as :meth:`indexer.new_index.NewIndex.standing` tells it.
    :param model: what makes the vectors.
    :raises DataError: the state is that of another index, or none.
    :raises EngineError: the index exists and may not be replaced.
    """
    new = LoadState(
        file=job.state,
        run_id=job.run_id,
        index=job.index,
        arguments=_arguments(job, model),
        files=_files(job, file),
        now=job.now.isoformat(),
    )
    stored = LoadState.read_file(job.state)
    if stored is not None and stored.index != job.index:
        raise DataError(f"{job.state} is of a load of {stored.index}, not of {job.index}; name another with --state")
    if stored is None or not (standing == stored.run_id or standing is None or (job.recreate and not stored.rejects)):
        return Beginning(state=new, replace=_replaceable(job, standing), goes_on=False)
    ours = standing == stored.run_id
    if stored.arguments != new.arguments:
        if ours and not job.recreate:
            raise EngineError(
                f"the index {job.index} is unfinished, and {job.state} is of a load with other arguments "
                f"({_differing(stored.arguments, new.arguments)}); give those again, or --recreate to begin anew"
            )
        return Beginning(state=new, replace=standing is not None, goes_on=False)
    reason = _not_the_same(job, stored, new)
    if reason is not None:
        note = f"an earlier load was cut off; this one began from the beginning, because {reason}"
        return Beginning(state=new, replace=standing is not None, goes_on=False, notes=[note])
    if not ours:  # cut off before the index was made, or it is gone since
        stored.position = stored.written = stored.refused = 0
        stored.rejects = None
    return Beginning(state=stored, replace=standing is not None, goes_on=stored.rejects is not None)


def _replaceable(job: LoadJob, standing: str | None) -> bool:
    if standing is not None and not job.recreate:
        raise EngineError(f"the index {job.index} exists; replace it with --recreate or name another")
    return standing is not None


def _arguments(job: LoadJob, model: str | None) -> dict[str, Any]:
    """What was asked for, as JSON."""
    return {
        "docs": job.docs if job.docs == "-" else str(Path(job.docs).resolve()),
        "format": job.form,
        "links": None if job.links is None else str(job.links.resolve()),
        "events": None if job.events is None else str(job.events.resolve()) if job.repeatable else "the engine's",
        "vectors": None if job.vectors is None else str(job.vectors.resolve()),
        "model": model,
        "now": job.now.isoformat() if job.fixed_now else None,
        "half-life-days": job.half_life_days,
        "analyzer": job.analyzer,
        "signals": job.signals.digest,
    }


def _files(job: LoadJob, file: Path | None) -> dict[str, list[int]]:
    """Every regular file that is read, with its size and the time of its last change."""
    read = [*([] if file is None else input_files(file)), *(each for each in (job.links, job.events) if each)]
    states = {str(each.resolve()): each.stat() for each in read if each.is_file()}
    return {path: [state.st_size, state.st_mtime_ns] for path, state in states.items()}


def _not_the_same(job: LoadJob, stored: LoadState, new: LoadState) -> str | None:
    """Why what is read now may differ from what the load that was cut off had read."""
    if job.docs == "-":
        return "standard input cannot be read twice"
    if not job.repeatable:
        return "the engine's events go on"
    pipes = [each for each in (Path(job.docs), job.links, job.events) if each and not (each.is_file() or each.is_dir())]
    if pipes:
        return f"{pipes[0]} is no regular file and cannot be read twice"
    changed = sorted(each for each in {*stored.files, *new.files} if stored.files.get(each) != new.files.get(each))
    return f"{changed[0]} has changed since" if changed else None


def _differing(stored: dict[str, Any], now: dict[str, Any]) -> str:
    return ", ".join(f"--{name}" for name in now if stored.get(name) != now[name])


def clock(state: LoadState) -> datetime:
    """The clock of freshness that the load began with."""
    return datetime.fromisoformat(state.now)
