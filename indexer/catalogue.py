"""What the signals need to know of every document, texts left out: one row per accepted record, in load order."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from indexer.evidence import counts_of, date_of, links_of, trust_of
from indexer.lines import shown
from indexer.rejects import Rejects
from indexer.side_files import read_events, read_links
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
        #: Source file, line, position of the linking document, linked id.
        self._links: list[tuple[str, int, int, str]] = []
        self.doc_ids: list[str] = []
        self.dates: list[datetime | None] = []
        self.trust: list[float | None] = []
        self.counts: list[dict[str, float]] = []

    def __len__(self) -> int:
        return len(self.doc_ids)

    def add(self, line_number: int, line: bytes, record: Record) -> None:
        """Takes up one accepted record; a bad date or bad links lose that signal and are listed."""
        position = len(self.doc_ids)
        self._positions[record.doc_id] = position
        self.doc_ids.append(record.doc_id)
        self.trust.append(trust_of(self._config, record.fields))
        self.counts.append(counts_of(self._config, record.fields))
        try:
            self.dates.append(date_of(self._config, record.fields))
        except (DataError, OverflowError) as error:
            self.dates.append(None)
            self._reject("bad_date", line_number, str(error), shown(line))
        for name, target in links_of(self._config, record.fields):
            if is_id(target):
                self._links.append((self._source, line_number, position, str(target)))
            else:
                self._reject("bad_link", line_number, f"{name} must hold ids, got {str(target)[:40]!r}", shown(line))

    def add_links(self, file: Path) -> None:
        """Takes up a file of links; those of unknown documents are listed as dangling.

        :raises DataError: the file cannot be read.
        """
        for number, source, target in read_links(file, self._rejects):
            if source in self._positions:
                self._links.append((source_name(file), number, self._positions[source], target))
            else:
                self._dangling(source_name(file), number, source, target, missing=source)

    def add_events(self, file: Path) -> None:
        """Adds the counts of an events file to those of the records.

        :raises DataError: the file cannot be read.
        """
        for number, doc_id, counts in read_events(file, self._rejects):
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

    def edges(self) -> tuple[list[int], list[int]]:
        """Positions of linking and of linked documents, one pair per link; links to unknown ids are listed once."""
        sources: list[int] = []
        targets: list[int] = []
        for file, number, source, linked in self._links:
            target = self._positions.get(linked)
            if target is None:
                self._dangling(file, number, self.doc_ids[source], linked, missing=linked)
            else:
                sources.append(source)
                targets.append(target)
        self._links = []
        return sources, targets

    def _dangling(self, file: str, number: int, source: str, target: str, *, missing: str) -> None:
        reason = f"no document has the id {missing[:80]!r}"
        self._rejects.add("dangling_link", source=file, line=number, reason=reason, record=f"{source} -> {target}")

    def _reject(self, kind: str, number: int, reason: str, record: str) -> None:
        self._rejects.add(kind, source=self._source, line=number, reason=reason, record=record)
