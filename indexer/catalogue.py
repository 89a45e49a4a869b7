"""What the signals need to know of every document, texts left out: one row per accepted record, in load order."""

from __future__ import annotations

from array import array
from datetime import datetime
from pathlib import Path
from typing import Any

from indexer.evidence import counts_of, date_of, half_life_of, links_of, owner_of, trust_of
from indexer.lines import shown
from indexer.rejects import Rejects
from indexer.side_files import event_counts, read_links
from indexer.signal_config import SignalConfig
from indexer.sources import Record, source_name
from indexer.values import is_id
from rerank_plugin.errors import DataError


class Catalogue:
    """Ids, dates, trust, counts and links of the documents of one load; problems go to its rejects."""

    def __init__(self, config: SignalConfig, rejects: Rejects, file: Path | None) -> None:
        """An empty one.

        :param file: where the records come from, for the rejects file.
        """
        self._config = config
        self._rejects = rejects
        self._source = source_name(file)
        self._positions: dict[str, int] = {}
        # Ten million links must fit: numbers in arrays, and of each linked id one string.
        self._linking = array("q")
        self._linked = array("q")
        #: Links in records, whose targets may come later: line, position of the linking document, linked id.
        self._pending = (array("q"), array("q"), list[str]())
        self._names: dict[str, str] = {}
        self._owners: dict[str, int] = {}
        self.doc_ids: list[str] = []
        self.dates: list[datetime | None] = []
        self.half_lives: list[float | None] = []
        self.trust: list[float | None] = []
        self.counts: list[dict[str, float]] = []
        #: What became of the events of a log; empty without one.
        self.events: dict[str, Any] = {}
        #: Number of each document's owner; -1 where it has none.
        self.owners = array("q")

    def __len__(self) -> int:
        return len(self.doc_ids)

    def add(self, line_number: int, line: bytes, record: Record) -> None:
        """Takes up one accepted record; a bad date or bad links lose that signal and are listed."""
        position = len(self.doc_ids)
        self._positions[record.doc_id] = position
        self.doc_ids.append(record.doc_id)
        self.half_lives.append(half_life_of(self._config, record.fields))
        self.trust.append(trust_of(self._config, record.fields))
        self.counts.append(counts_of(self._config, record.fields))
        owner = owner_of(self._config, record.fields)
        self.owners.append(-1 if owner is None else self._owners.setdefault(owner, len(self._owners)))
        try:
            self.dates.append(date_of(self._config, record.fields))
        except (DataError, OverflowError) as error:
            self.dates.append(None)
            self._reject("bad_date", line_number, str(error), shown(line))
        for name, target in links_of(self._config, record.fields):
            if is_id(target):
                lines, linking, linked = self._pending
                lines.append(line_number)
                linking.append(position)
                linked.append(self._names.setdefault(str(target), str(target)))
            else:
                self._reject("bad_link", line_number, f"{name} must hold ids, got {str(target)[:40]!r}", shown(line))

    def add_links(self, file: Path) -> None:
        """Takes up a file of links; those of unknown documents are listed as dangling.

        :raises DataError: the file cannot be read.
        """
        for number, source, target in read_links(file, self._rejects):
            if source in self._positions:
                self._resolve(source_name(file), number, self._positions[source], target)
            else:
                self._dangling(source_name(file), number, source, target, missing=source)

    def add_events(self, file: Path, *, now: datetime) -> None:
        """Adds the counts of an events file, as of ``now``, to those of the records.

        :raises DataError: the file cannot be read.
        :raises MissingExtraError: a library that a log needs is not installed.
        """
        found, self.events = event_counts(file, self._rejects, now=now)
        for number, doc_id, counts in found:
            position = self._positions.get(doc_id)
            if position is None:
                reason = f"no document has the id {doc_id[:80]!r}"
                self._rejects.add(
                    "unknown_document", source=source_name(file), line=number, reason=reason, record=doc_id
                )
                continue
            known = self.counts[position]
            for kind, count in counts.items():
                if kind in self._config.counts:
                    known[kind] = known.get(kind, 0.0) + count

    def edges(self) -> tuple[array[int], array[int]]:
        """Positions of linking and of linked documents, one pair per link; links to unknown ids are listed once."""
        for number, source, linked in zip(*self._pending, strict=True):
            self._resolve(self._source, number, source, linked)
        self._pending, self._names = (array("q"), array("q"), []), {}
        return self._linking, self._linked

    def _resolve(self, file: str, number: int, source: int, linked: str) -> None:
        target = self._positions.get(linked)
        if target is None:
            self._dangling(file, number, self.doc_ids[source], linked, missing=linked)
        else:
            self._linking.append(source)
            self._linked.append(target)

    def _dangling(self, file: str, number: int, source: str, target: str, *, missing: str) -> None:
        reason = f"no document has the id {missing[:80]!r}"
        self._rejects.add("dangling_link", source=file, line=number, reason=reason, record=f"{source} -> {target}")

    def _reject(self, kind: str, number: int, reason: str, record: str) -> None:
        self._rejects.add(kind, source=self._source, line=number, reason=reason, record=record)
