"""What a load left out: counted by kind, and listed in a JSONL file that a person can work through."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from rerank_plugin.errors import DataError

#: Kinds that lose the whole record. The others lose one signal of it, or one line of a side file.
LOST = ("not_json", "no_id", "no_text", "duplicate_id", "refused")
#: Characters of a record that stand in the rejects file.
BEGINNING = 200


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a rejects file had come."""

    #: Bytes of the file.
    size: int
    counts: dict[str, int]


class Rejects:
    """The rejects file of one run, as a context manager; a file without entries is removed at the end.

    ``append`` goes on with the file of a run that was cut off; ``mark`` does so where :meth:`mark` said, and lists
    nothing until :meth:`listen`: what comes first was listed before.

    :raises DataError: the file cannot be created.
    """

    def __init__(self, file: Path, *, append: bool = False, mark: Mark | None = None) -> None:
        self.file = file
        self.counts: Counter[str] = Counter({} if mark is None else mark.counts)
        self._listens = mark is None
        self._lock = threading.Lock()
        append = append or mark is not None
        try:
            self._opened = file.open("a" if append else "w", encoding="utf-8", errors="backslashreplace")
            if mark is not None:
                self._opened.truncate(min(mark.size, file.stat().st_size))
        except OSError as error:
            raise DataError(
                f"cannot write the rejects file {file} ({error.strerror}); name another with --rejects"
            ) from error

    def add(self, kind: str, *, source: str, line: int | None, reason: str, record: str) -> None:
        """Counts and lists one problem; threads may do so at once.

        :param line: 1-based line of ``source``; ``None`` where the engine refused the document.
        :param record: the record, of which the beginning is kept.
        """
        if not self._listens:
            return
        entry = {"file": source, "line": line, "kind": kind, "reason": reason, "record": record[:BEGINNING]}
        text = json.dumps(entry, ensure_ascii=False) + "\n"
        with self._lock:
            self.counts[kind] += 1
            self._opened.write(text)

    def listen(self) -> None:
        """Lists what comes from now on."""
        self._listens = True

    def mark(self) -> Mark:
        """The place up to which the file is whole."""
        with self._lock:
            self._opened.flush()
            return Mark(os.fstat(self._opened.fileno()).st_size, dict(self.counts))

    @property
    def lost(self) -> int:
        """Records that are not in the index because of what is listed here."""
        return sum(self.counts[kind] for kind in LOST)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._opened.close()
        if not self.counts and not self.file.stat().st_size:
            self.file.unlink(missing_ok=True)
