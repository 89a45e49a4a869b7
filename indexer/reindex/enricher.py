"""From a document as it was read to the document as it is written: only what the signals need is decoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from indexer.knots import Evidence, Knots, rerank_object
from indexer.reindex.bulk import Operation, copy_of, spliced
from indexer.reindex.ranks import LinkTable
from indexer.reindex.vectors import VECTOR_FIELD, FieldVectors
from indexer.reindex.wire import load_msgspec
from indexer.rejects import Rejects
from indexer.side_files import event_counts, read_links
from indexer.signal_config import EVENTS_FIELD, SignalConfig
from rerank_plugin.errors import EngineError


class FieldReader:
    """Decodes the fields of a document in which signals may be, and passes over the others, long texts first of all."""

    def __init__(self, config: SignalConfig, also: tuple[str, ...] = ()) -> None:
        """For these settings; fields of ``also`` come too."""
        names = [*config.date, *config.type, *config.links, *config.trust, *config.trust_table, *config.owner]
        names += [*config.counts, EVENTS_FIELD]
        #: Top-level keys of a document.
        self.keys: list[str] = sorted({"metadata", *also, *(name.split(".")[0] for name in names)})
        msgspec = load_msgspec()
        shape = msgspec.defstruct(
            "Fields",
            [(f"f{place}", Any, msgspec.field(name=key, default=None)) for place, key in enumerate(self.keys)],
        )
        self._decode: Callable[[Any], Any] = msgspec.json.Decoder(shape).decode
        self._values: Callable[[Any], tuple[Any, ...]] = msgspec.structs.astuple
        self._broken = msgspec.DecodeError

    def __call__(self, source: Any) -> dict[str, Any]:
        """The fields by name that are there; none of a document that this decoder cannot read."""
        try:
            values = self._values(self._decode(source))
            return {key: value for key, value in zip(self.keys, values, strict=True) if value is not None}
        except self._broken:
            return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Enricher:
    """Makes the operation that copies a document with its ``rerank`` object; threads may share it."""

    index: str
    config: SignalConfig
    knots: Knots
    read: FieldReader
    rejects: Rejects
    #: Id -> PageRank times documents.
    rank: Callable[[str], float | None]
    events: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    #: Id -> novelty.
    novelty: Callable[[str], float | None] = field(default=lambda _: None)
    #: Makes the field of the engine's own vectors, where it is asked for.
    vectors: FieldVectors | None = None

    def page(self, hits: Sequence[Any]) -> list[Operation]:
        """What to write for the documents of a page.

        :raises EngineError: one came without its source.
        """
        if self.vectors is None:
            return [self(hit, hit.source) for hit in hits]
        fields = self.vectors([hit.source for hit in hits])
        return [self(hit, spliced(hit.source, vector, VECTOR_FIELD)) for hit, vector in zip(hits, fields, strict=True)]

    def __call__(self, hit: Any, source: Any) -> Operation:
        """What to write for one document.

        :param source: the document, maybe with a vector in it.

        :raises EngineError: the document came without its source.
        """
        evidence = Evidence.of(self.config, self.read(hit.source), self.events.get(hit.id))
        if evidence.bad_date is not None:
            self.rejects.add("bad_date", source=self.index, line=None, reason=evidence.bad_date, record=hit.id)
        rank, novelty = self.rank(hit.id), self.novelty(hit.id)
        enriched = rerank_object(evidence, self.knots, self.config, rank=rank, novelty=novelty)
        try:
            document = spliced(source, load_msgspec().json.encode(enriched))
        except ValueError as error:
            raise EngineError(
                f"{self.index} does not keep the source of its documents (seen at _id {hit.id!r}); it cannot be copied"
            ) from error
        return copy_of(hit, document)


def events_by_id(file: Path | None, rejects: Rejects, *, now: datetime) -> dict[str, dict[str, float]]:
    """The counts of an events file by document id, added up; none without a file.

    :raises DataError: the file cannot be read.
    """
    found: dict[str, dict[str, float]] = {}
    if file is not None:
        for _, doc_id, counts in event_counts(file, rejects, now=now)[0]:
            known = found.setdefault(doc_id, {})
            for kind, number in counts.items():
                known[kind] = known.get(kind, 0.0) + number
    return found


def add_links_file(table: LinkTable, file: Path | None, rejects: Rejects) -> None:
    """Takes up the links of a file.

    :raises DataError: the file cannot be read.
    """
    if file is not None:
        for _, source, target in read_links(file, rejects):
            table.add_link(source, target)
