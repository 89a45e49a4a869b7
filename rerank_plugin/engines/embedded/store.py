"""One index: writes wait in memory until a refresh makes them durable and visible in one commit.

One process at a time may write (tantivy's lock on the generation's folder, taken at the first write and held until
``close``); any number may read. What a refresh acknowledged is on disk; what came after it may be lost in a crash.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rerank_plugin.engines.embedded.committed import Committed, State
from rerank_plugin.engines.embedded.disk import disk_errors
from rerank_plugin.engines.embedded.documents import Columns, read_document
from rerank_plugin.engines.embedded.json_text import parse_json
from rerank_plugin.engines.embedded.mapping import Mapping
from rerank_plugin.engines.embedded.metadata import Metadata, write_metadata
from rerank_plugin.engines.embedded.refusal import illegal
from rerank_plugin.engines.embedded.segments import ID, Generation, Stored, View, columns_for, tantivy_document

if TYPE_CHECKING:
    import tantivy

#: Bytes of waiting documents after which an index refreshes by itself, as the engines do once a second.
WAITING_BYTES = 64_000_000
FIELD_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class Waiting:
    """A write that no refresh has seen: a document, or ``None`` for a deletion (which keeps the version)."""

    stored: Stored | None
    columns: Columns | None
    version: int
    #: Whether the committed index holds an older document of this id.
    replaces: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a search reads: one committed state and the mapping it was asked under."""

    view: View
    mapping: Mapping


@dataclass(slots=True)
class Writing:
    """What the writing process holds beside the waiting writes; nothing on disk changes but by it."""

    #: ``None`` after a failed commit, until the next refresh takes a new one.
    writer: tantivy.IndexWriter | None
    generation: Generation
    view: View
    #: As on disk, plus the fields that waiting documents added.
    metadata: Metadata
    next_order: int
    #: Whether ``metadata`` is newer than the file.
    unsaved: bool = False


class IndexStore:
    """The index in ``directory``; all methods may be called from any thread."""

    def __init__(self, directory: Path, name: str) -> None:
        self.directory = directory
        self.name = name
        self._lock = threading.RLock()
        self._committed = Committed(directory, name)
        self._own: Writing | None = None
        self._waiting: dict[str, Waiting] = {}
        self._waiting_bytes = 0

    @property
    def metadata(self) -> Metadata:
        """The metadata now, fields that waiting documents added included.

        :raises Refusal: 404 when the index is gone, 500 when it cannot be read.
        """
        with self._lock:
            return self._committed.state().metadata if self._own is None else self._own.metadata

    def snapshot(self) -> Snapshot:
        """The last refreshed state, also when another process refreshed it."""
        with self._lock:
            if self._own is not None:
                return Snapshot(self._own.view, self._own.metadata.mapping)
            state, view = self._committed.view()
            return Snapshot(view, state.metadata.mapping)

    def get(self, doc_id: str, *, realtime: bool = True) -> Stored | None:
        """The document with this id, waiting writes included unless ``realtime`` is false."""
        with self._lock:
            waiting = self._waiting.get(doc_id) if realtime else None
            return self.snapshot().view.find(doc_id) if waiting is None else waiting.stored

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Holds the index for a write.

        :raises Refusal: 500 when another process writes it or the disk does not let us.
        """
        with self._lock:
            if self._own is None:
                self._own = self._take_over()
            yield

    def _owned(self) -> Writing:
        if self._own is None:
            raise RuntimeError("a write outside `with store.writing()`")
        return self._own

    def _take_over(self) -> Writing:
        while True:
            state = self._committed.state()
            with disk_errors(self.directory, "write"):
                writer = state.generation.writer()
            # Between our reading and our locking another process may have moved on to a new generation.
            self._committed.forget()
            now: State
            now, view = self._committed.view()
            if now.metadata.generation == state.metadata.generation:
                break
            del writer
        for folder in self.directory.glob("generation-*"):
            if folder.name != now.metadata.folder:  # left behind by a crash
                shutil.rmtree(folder, ignore_errors=True)
        return Writing(writer, now.generation, view, now.metadata, view.last_order() + 1)

    def put(self, doc_id: str, raw: bytes, source: Any) -> tuple[Stored, bool]:
        """Takes a document, ``raw`` being the text of ``source``; what is stored, and whether the id is new.

        :raises Refusal: 400 when it does not fit the mapping; nothing is then changed.
        """
        own = self._owned()
        mapping, columns = read_document(own.metadata.mapping, doc_id, source)
        if mapping is not own.metadata.mapping:
            self._check_limit(mapping)
            own.metadata, own.unsaved = replace(own.metadata, mapping=mapping), True
        version, exists, replaces = self._state_of(doc_id)
        stored = Stored(doc_id, raw, version + 1, self._take_order())
        self._wait(doc_id, Waiting(stored, columns, stored.version, replaces))
        return stored, not exists

    def delete(self, doc_id: str) -> tuple[int, int]:
        """Takes a deletion; the version and the sequence number it gets."""
        version, _, replaces = self._state_of(doc_id)
        order = self._take_order()
        self._wait(doc_id, Waiting(None, None, version + 1, replaces))
        return version + 1, order

    def _state_of(self, doc_id: str) -> tuple[int, bool, bool]:
        """Version, whether the document exists, whether the committed index holds one of this id."""
        waiting = self._waiting.get(doc_id)
        if waiting is not None:
            return waiting.version, waiting.stored is not None, waiting.replaces
        committed = self._owned().view.find(doc_id)
        return (0, False, False) if committed is None else (committed.version, True, True)

    def _take_order(self) -> int:
        own = self._owned()
        own.next_order += 1
        return own.next_order - 1

    def _wait(self, doc_id: str, write: Waiting) -> None:
        self._waiting.pop(doc_id, None)  # so that the order of the dictionary is the order of writing
        self._waiting[doc_id] = write
        self._waiting_bytes += len(write.stored.source) if write.stored is not None else 0

    def _check_limit(self, mapping: Mapping) -> None:
        limit = int(self._owned().metadata.settings.get("mapping.total_fields.limit", FIELD_LIMIT))
        if len(mapping.fields) + len(mapping.objects) > limit:
            raise illegal(f"Limit of total fields [{limit}] has been exceeded")

    def settle(self) -> None:
        """Refreshes when more is waiting than memory should hold."""
        if self._waiting_bytes > WAITING_BYTES:
            self.refresh()

    def change_mapping(self, body: dict[str, Any]) -> None:
        """Merges ``body`` into the mapping and stores it.

        :raises Refusal: 400 when it conflicts, 500 when it cannot be written.
        """
        with self.writing():
            metadata = self._owned().metadata
            mapping = metadata.mapping.merge(body)
            self._check_limit(mapping)
            self._save(replace(metadata, mapping=mapping))

    def change_settings(self, settings: dict[str, str]) -> None:
        """Replaces settings by name and stores them."""
        with self.writing():
            metadata = self._owned().metadata
            self._save(replace(metadata, settings={**metadata.settings, **settings}))

    def _save(self, metadata: Metadata) -> None:
        own = self._owned()
        with disk_errors(self.directory, "write"):
            write_metadata(self.directory, metadata)
        own.metadata, own.unsaved = metadata, False

    def refresh(self) -> None:
        """Makes all waiting writes durable and visible, or none of them.

        :raises Refusal: 500 when the disk does not take them; they go on waiting and the index stays as it was.
        """
        with self._lock:
            if not self._waiting:
                return
            own = self._owned()
            columns = columns_for(own.metadata.mapping, own.metadata.columns)
            try:
                with disk_errors(self.directory, "write"):
                    if len(columns) > len(own.metadata.columns):
                        self._rebuild(own, replace(own.metadata, columns=tuple(columns)))
                    else:
                        self._append(own)
                    own.view = own.generation.view()
            except Exception:
                own.writer = None  # it holds half of the writes; a new one starts from what is committed
                raise
            self._waiting.clear()
            self._waiting_bytes = 0

    def _append(self, own: Writing) -> None:
        if own.writer is None:
            own.writer = own.generation.writer()
        for doc_id, write in self._waiting.items():
            if write.replaces:
                own.writer.delete_documents_by_term(ID, doc_id)
        self._add_waiting(own.writer, own.generation, own.metadata)
        own.writer.commit()
        if own.unsaved:
            self._save(own.metadata)

    def _rebuild(self, own: Writing, metadata: Metadata) -> None:
        """Writes everything into a new generation that has the columns which the mapping gained."""
        metadata = replace(metadata, generation=metadata.generation + 1)
        folder = self.directory / metadata.folder
        shutil.rmtree(folder, ignore_errors=True)
        try:
            generation = Generation(folder, metadata.columns, create=True)
            writer = generation.writer()
            for stored in own.view.everything():
                if stored.doc_id not in self._waiting:
                    source = parse_json(stored.source)
                    _, columns = read_document(metadata.mapping, stored.doc_id, source, lenient=True)
                    writer.add_document(tantivy_document(stored, columns, metadata.mapping, generation.columns))
            self._add_waiting(writer, generation, metadata)
            writer.commit()
            self._save(metadata)
        except Exception:
            writer = None
            shutil.rmtree(folder, ignore_errors=True)
            raise
        old = own.generation.folder
        own.generation, own.writer = generation, writer
        shutil.rmtree(old, ignore_errors=True)

    def _add_waiting(self, writer: tantivy.IndexWriter, generation: Generation, metadata: Metadata) -> None:
        for write in self._waiting.values():
            if write.stored is not None and write.columns is not None:
                writer.add_document(tantivy_document(write.stored, write.columns, metadata.mapping, generation.columns))

    def close(self) -> None:
        """Refreshes and gives the lock back."""
        with self._lock:
            try:
                self.refresh()
            finally:
                self._own = None
                self._committed.forget()

    def forget(self) -> None:
        """Drops everything held, waiting writes included: the index was deleted."""
        with self._lock:
            self._waiting.clear()
            self._waiting_bytes = 0
            self._own = None
            self._committed.forget()
