"""All that knows tantivy: the schema of an index, its documents, and a fixed view to search.

A tantivy schema cannot change, so each set of columns is a *generation* of its own folder. Text arrives here as words
(analysis.py) and is split at spaces only. The stored source is the truth; columns can always be built again from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rerank_plugin.engines.embedded.analysis import HOLE, index_text
from rerank_plugin.engines.embedded.documents import Columns
from rerank_plugin.engines.embedded.mapping import FLOATS, Field, Mapping
from rerank_plugin.engines.embedded.values import clean
from rerank_plugin.errors import MissingExtraError

if TYPE_CHECKING:
    import tantivy

#: Fields that every index has. ``_order`` is the sequence number: unique, and the order of indexing.
ID, SOURCE, VERSION, ORDER, PRESENT = "_id", "_source", "_version", "_order", "_present"
_WORDS = "words"
#: Bytes tantivy may hold before it writes a segment; one thread keeps documents in the order they came.
_HEAP_BYTES = 60_000_000


@dataclass(frozen=True, slots=True)
class Column:
    """A field of the mapping as tantivy holds it."""

    path: str
    #: tantivy's field name; paths may hold characters it does not take.
    name: str
    #: ``words``, ``raw`` (one term per value), ``int`` or ``float``.
    kind: str

    @property
    def largest(self) -> str:
        """The field with the largest of several values, for descending sorts; absent for single values."""
        return f"{self.name}_largest"


@dataclass(frozen=True, slots=True)
class Stored:
    """A document as the index keeps it."""

    doc_id: str
    #: The JSON text as it was sent.
    source: bytes
    version: int
    order: int


@dataclass(frozen=True, slots=True)
class View:
    """One committed state of an index; it does not change while it is held."""

    searcher: tantivy.Searcher
    schema: tantivy.Schema
    columns: dict[str, Column]

    def find(self, doc_id: str) -> Stored | None:
        """The document with this id."""
        import tantivy

        if clean(doc_id) != doc_id:
            return None  # no id holds what is no character
        found = self.searcher.search(tantivy.Query.term_query(self.schema, ID, doc_id), limit=1, count=False).hits
        return self.stored(found[0][1]) if found else None

    def stored(self, address: tantivy.DocAddress) -> Stored:
        """The document at an address of this view."""
        document = self.searcher.doc(address)
        return Stored(
            doc_id=document.get_first(ID),
            source=bytes(document.get_first(SOURCE)),
            version=document.get_first(VERSION),
            order=document.get_first(ORDER),
        )

    def everything(self) -> Iterator[Stored]:
        """All documents in the order of indexing."""
        import tantivy

        if self.searcher.num_docs:
            hits = self.searcher.search(
                tantivy.Query.all_query(),
                limit=self.searcher.num_docs,
                count=False,
                order_by_field=ORDER,
                order=tantivy.Order.Asc,
            ).hits
            for _, address in hits:
                yield self.stored(address)

    def last_order(self) -> int:
        """The highest sequence number in the index; -1 when it is empty."""
        import tantivy

        hits = self.searcher.search(tantivy.Query.all_query(), limit=1, count=False, order_by_field=ORDER).hits
        return int(hits[0][0]) if hits else -1


def columns_for(mapping: Mapping, existing: Sequence[Column] = ()) -> list[Column]:
    """The columns a mapping needs, ``existing`` ones first and under their names."""
    columns = list(existing)
    known = {column.path for column in columns}
    for path, field in mapping.fields.items():
        if path not in known and (field.indexed or field.type != "text"):
            columns.append(Column(path, f"f{len(columns)}", _kind(field)))
    return columns


def _kind(field: Field) -> str:
    if field.type in {"text", "keyword"}:
        return "words" if field.type == "text" else "raw"
    return "float" if field.type in FLOATS else "int"


class Generation:
    """A folder with one tantivy index, readable by many processes and writable by one."""

    def __init__(self, folder: Path, columns: Sequence[Column], *, create: bool = False) -> None:
        """Opens the folder, or makes it.

        :raises ValueError: tantivy cannot; store.py turns that into the engine's error.
        """
        try:
            import tantivy
        except ImportError as error:
            raise MissingExtraError("the embedded engine", "embedded") from error
        if create:
            folder.mkdir(parents=True)
            self._index = tantivy.Index(_schema(columns), str(folder))
        else:
            self._index = tantivy.Index.open(str(folder))
        splitter = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace())
        self._index.register_tokenizer(_WORDS, splitter.filter(tantivy.Filter.custom_stopword([HOLE])).build())
        # "manual": no thread that watches the folder; readers reload when they search.
        self._index.config_reader("manual")
        self.folder = folder
        self.columns = {column.path: column for column in columns}

    def view(self) -> View:
        """The last committed state."""
        self._index.reload()
        return View(self._index.searcher(), self._index.schema, self.columns)

    def writer(self) -> tantivy.IndexWriter:
        """The only writer; holds the folder's lock until it is dropped.

        :raises ValueError: another writer holds the lock, or the folder cannot be written.
        """
        return self._index.writer(_HEAP_BYTES, 1)


def _schema(columns: Iterable[Column]) -> tantivy.Schema:
    import tantivy

    builder = tantivy.SchemaBuilder()
    builder.add_text_field(ID, stored=True, tokenizer_name="raw", index_option="basic")
    builder.add_bytes_field(SOURCE, stored=True)
    builder.add_integer_field(VERSION, stored=True)
    builder.add_integer_field(ORDER, stored=True, indexed=True, fast=True)
    builder.add_text_field(PRESENT, tokenizer_name="raw", index_option="basic")
    for column in columns:
        if column.kind == "words":
            builder.add_text_field(column.name, tokenizer_name=_WORDS, index_option="position")
        elif column.kind == "raw":
            builder.add_text_field(column.name, tokenizer_name="raw", index_option="basic", fast=True)
            builder.add_text_field(column.largest, tokenizer_name="raw", index_option="basic", fast=True)
        elif column.kind == "int":
            builder.add_integer_field(column.name, indexed=True, fast=True)
            builder.add_integer_field(column.largest, fast=True)
        else:
            builder.add_float_field(column.name, indexed=True, fast=True)
            builder.add_float_field(column.largest, fast=True)
    return builder.build()


def tantivy_document(
    stored: Stored, document: Columns, mapping: Mapping, columns: dict[str, Column]
) -> tantivy.Document:
    """The document to add to a writer."""
    import tantivy

    made = tantivy.Document()
    made.add_text(ID, stored.doc_id)
    made.add_bytes(SOURCE, stored.source)
    made.add_integer(VERSION, stored.version)
    made.add_integer(ORDER, stored.order)
    for path in document.present:
        made.add_text(PRESENT, path)
    for path, values in document.values.items():
        column = columns.get(path)
        if column is not None:
            _add(made, column, values, mapping.fields[path])
    return made


def _add(made: tantivy.Document, column: Column, values: list[Any], field: Field) -> None:
    if column.kind == "words":
        made.add_text(column.name, index_text(field.analyzer, values))
        return
    add = {"raw": made.add_text, "int": made.add_integer, "float": made.add_float}[column.kind]
    # Ascending, so that the first one, which sorts read, is the smallest.
    for value in sorted(set(values)):
        add(column.name, value)
    if len(values) > 1:
        add(column.largest, max(values))
