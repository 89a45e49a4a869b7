"""What a load left out: counted by kind, and listed in a JSONL file that a person can work through."""

from __future__ import annotations

import json
import threading
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Self

from rerank_plugin.errors import DataError

#: Kinds that lose the whole record. The others lose one signal of it, or one line of a side file.
LOST = ("not_json", "no_id", "no_text", "duplicate_id", "refused")
#: Characters of a record that stand in the rejects file.
BEGINNING = 200


class Rejects:
    """The rejects file of one run, as a context manager; a file without entries is removed at the end.

    ``append`` goes on with the file of a run that was cut off.

    :raises DataError: the file cannot be created.
    """

    def __init__(self, file: Path, *, append: bool = False) -> None:
        self.file = file
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        try:
            self._opened = file.open("a" if append else "w", encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise DataError(
                f"cannot write the rejects file {file} ({error.strerror}); name another with --rejects"
            ) from error

    def add(self, kind: str, *, source: str, line: int | None, reason: str, record: str) -> None:
        """Counts and lists one problem; threads may do so at once.

        :param line: 1-based line of ``source``; ``None`` where the engine refused the document.
        :param record: the record, of which the beginning is kept.
        """
        entry = {"file": source, "line": line, "kind": kind, "reason": reason, "record": record[:BEGINNING]}
        text = json.dumps(entry, ensure_ascii=False) + "\n"
        with self._lock:
            self.counts[kind] += 1
            self._opened.write(text)

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
