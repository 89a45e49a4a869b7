"""What is on disk of one index, followed as other processes change it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rerank_plugin.engines.embedded.disk import disk_errors
from rerank_plugin.engines.embedded.metadata import FILE_NAME, Metadata, read_metadata
from rerank_plugin.engines.embedded.refusal import Refusal, index_not_found
from rerank_plugin.engines.embedded.segments import Generation, View

#: Readings of an index that is being replaced at this very moment, before the failure is believed.
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class State:
    """One committed state: the metadata, and the generation that belongs to it."""

    metadata: Metadata
    generation: Generation


class Committed:
    """Reads the index in ``directory`` again whenever its metadata file was replaced."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._name = name
        self._signature: tuple[int, int] | None = None
        self._state: State | None = None

    def state(self) -> State:
        """The state on disk now.

        :raises Refusal: 404 when the index is gone, 500 when it cannot be read.
        """
        for attempt in range(_ATTEMPTS):
            try:
                return self._read()
            except Refusal as refusal:
                # A writer removes the old generation after it has put the new metadata in place: then read that.
                if refusal.status == 404 or attempt == _ATTEMPTS - 1:
                    raise
                self._state = None
        raise index_not_found(self._name)

    def view(self) -> tuple[State, View]:
        """The state on disk now, and what it lets search."""
        for _ in range(_ATTEMPTS):
            state = self.state()
            try:
                with disk_errors(self._directory, "read"):
                    return state, state.generation.view()
            except Refusal:
                self._state = None
        state = self.state()
        with disk_errors(self._directory, "read"):
            return state, state.generation.view()

    def forget(self) -> None:
        """Reads everything again next time."""
        self._state = None

    def _read(self) -> State:
        path = self._directory / FILE_NAME
        try:
            status = path.stat()
        except OSError as error:
            raise index_not_found(self._name) from error
        signature = (status.st_mtime_ns, status.st_ino)
        if self._state is None or signature != self._signature:
            with disk_errors(self._directory, "read"):
                metadata = read_metadata(self._directory)
                generation = Generation(self._directory / metadata.folder, metadata.columns)
            self._state, self._signature = State(metadata, generation), signature
        return self._state
