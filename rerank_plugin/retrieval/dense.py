"""The vector index: cosine search over a folder that ``rerank-index load --vectors`` writes (FAISS inside).

Cosines are rounded to six digits, so that equal vectors tie whatever road their sums took; ties keep insertion order.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rerank_plugin.domain.index_meta import VectorsMeta
from rerank_plugin.errors import VectorIndexError
from rerank_plugin.retrieval.vector_folder import LOAD_AGAIN, Stored, load_faiss, read_folder, write_folder
from rerank_plugin.retrieval.vector_kinds import all_but, build, grown, only

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DIGITS = 6
#: Vectors that are rebuilt at once for an exact comparison; 12 MB at 384 dimensions.
ROWS_AT_ONCE = 8192


class VectorIndex:
    """Document vectors with inner-product search, exact or nearly so by their number; never changed; threads may share
    it.
    """

    def __init__(self, stored: Stored) -> None:
        """Wraps an index of normalised vectors; use :meth:`open`."""
        self._index = stored.index
        self._doc_ids = tuple(stored.doc_ids)
        self._positions = {doc_id: place for place, doc_id in enumerate(self._doc_ids) if doc_id is not None}
        self.meta = stored.meta
        self._living: Any = None
        if len(self._positions) < len(self._doc_ids):
            self._living = all_but([place for place, each in enumerate(self._doc_ids) if each is None])

    @property
    def model(self) -> str:
        """Name of the model that made the vectors; a query must be encoded by the same."""
        return self.meta.model

    @property
    def kind(self) -> str:
        """``flat``, which is exact, ``hnsw`` or ``ivf``."""
        return self.meta.kind

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        return self.meta.dimensions

    def __len__(self) -> int:
        """How many documents have a vector."""
        return len(self._positions)

    @classmethod
    def write(
        cls,
        folder: Path,
        doc_ids: Sequence[str],
        vectors: NDArray[np.float32],
        *,
        name: str,
        model: str,
        kind: str | None = None,
    ) -> VectorsMeta:
        """What the folder now holds. The folder is complete or, on any error, as it was.

        :param vectors: (documents, dimensions), finite; normalised here, a zero vector stays zero.
        :param kind: ``flat``, ``hnsw`` or ``ivf``; ``None`` chooses by the number of documents.
        :raises VectorIndexError: shapes that do not fit, doubled ids, a folder that holds something else or cannot
            be written.
        :raises MissingExtraError: faiss is not installed.
        """
        load_faiss()
        built = build(_checked(vectors, doc_ids), kind)
        return write_folder(folder, built.index, doc_ids, name=name, model=model, kind=built.kind, recall=built.recall)

    @classmethod
    def open(cls, folder: Path, expected: VectorsMeta | None = None) -> VectorIndex:
        """The index in ``folder``, checked against its manifest and against what an index's ``_meta`` says of it.

        :raises VectorIndexError: a file is missing or broken, or the folder belongs to another index or load.
        :raises MissingExtraError: faiss is not installed.
        """
        return cls(read_folder(folder, expected))

    @classmethod
    def update(
        cls,
        folder: Path,
        doc_ids: Sequence[str],
        vectors: NDArray[np.float32],
        *,
        delete: Collection[str] = (),
        expected: VectorsMeta | None = None,
    ) -> VectorsMeta:
        """What the folder now holds: these documents in place of their older vectors, and without the deleted ones.

        A larger index is not built anew: vectors are added, deleted ones are passed over by searches until they are a
        fifth. Readers keep what they opened; the checksum in ``_meta`` must follow.

        :param vectors: as for :meth:`write`; of the model that made the others.
        :param delete: ids without a vector are passed over.
        :raises VectorIndexError: as :meth:`open` and :meth:`write`.
        """
        stored = read_folder(folder, expected)
        matrix = _checked(vectors, doc_ids)
        if len(matrix) and matrix.shape[1] != stored.meta.dimensions:
            raise VectorIndexError(
                f"{folder} holds vectors of {stored.meta.dimensions} dimensions, got {matrix.shape[1]}; {LOAD_AGAIN}"
            )
        gone = {*delete, *doc_ids}
        ids = [None if each in gone else each for each in stored.doc_ids]
        built, ids = grown(stored.index, stored.meta.kind, ids, matrix, doc_ids)
        meta = stored.meta
        return write_folder(
            folder, built.index, ids, name=meta.name, model=meta.model, kind=built.kind, recall=built.recall
        )

    def search(
        self, vector: NDArray[np.float32], k: int, among: Collection[str] | None = None
    ) -> list[tuple[str, float]]:
        """The ``k`` nearest documents with their cosine in [-1, 1], best first, ties in insertion order.

        :param vector: (dimensions,), any length.
        :param k: may exceed the corpus; 0 or less finds nothing.
        :param among: only these documents; ids without a vector are passed over.
        :raises VectorIndexError: the vector has other dimensions or is not finite.
        """
        import numpy as np

        query = self._query(vector)
        available = len(self)
        chosen = None
        if among is not None:
            chosen = np.array(
                [self._positions[each] for each in dict.fromkeys(among) if each in self._positions], dtype=np.int64
            )
            available = len(chosen)
        if k <= 0 or available == 0:
            return []
        if self.kind != "flat":
            found = self._near(query, k, chosen)
            return [(str(self._doc_ids[position]), cosine) for position, cosine in found]
        selector = self._living if chosen is None else load_faiss().IDSelectorBatch(chosen)
        parameters = None if selector is None else load_faiss().SearchParameters(sel=selector)
        # One more than asked for shows whether a tie crosses the cut; then all of that tie are fetched.
        scores, positions = self._index.search(query, min(k + 1, available), params=parameters)
        found = _rounded(scores[0], positions[0])
        if len(found) > k and found[k - 1][1] == found[k][1]:
            _, scores, positions = self._index.range_search(query, found[k][1] - 10.0**-DIGITS, params=parameters)
            found = _rounded(scores, positions)
        found.sort(key=lambda each: (-each[1], each[0]))
        return [(str(self._doc_ids[position]), cosine) for position, cosine in found[:k]]

    def _near(self, query: NDArray[np.float32], k: int, chosen: NDArray[np.int64] | None) -> list[tuple[int, float]]:
        """Positions and cosines from an index that does not look everywhere; among chosen ones every one is looked at:
        a graph leads past most of them, a list holds few.
        """
        import numpy as np

        if chosen is not None:
            parts = [chosen[start : start + ROWS_AT_ONCE] for start in range(0, len(chosen), ROWS_AT_ONCE)]
            scores = np.concatenate([self._index.reconstruct_batch(part) @ query[0] for part in parts])
            found = _rounded(scores, chosen)
        else:
            parameters = None if self._living is None else only(self._index, self.kind, self._living)
            values, positions = self._index.search(query, min(k, len(self)), params=parameters)
            found = _rounded(values[0], positions[0])
        found.sort(key=lambda each: (-each[1], each[0]))
        return found[:k]

    def similarities(self, vector: NDArray[np.float32], doc_ids: Sequence[str]) -> list[float | None]:
        """The cosine of each document in the order given; ``None`` for a document without a vector.

        :raises VectorIndexError: the vector has other dimensions or is not finite.
        """
        import numpy as np

        query = self._query(vector)
        known = [self._positions[doc_id] for doc_id in doc_ids if doc_id in self._positions]
        if not known:
            return [None] * len(doc_ids)
        rows = self._index.reconstruct_batch(np.array(known, dtype=np.int64))
        cosines = iter([_cosine(value) for value in rows @ query[0]])
        return [next(cosines) if doc_id in self._positions else None for doc_id in doc_ids]

    def rows(self, doc_ids: Sequence[str]) -> NDArray[np.float32]:
        """The vector of each document in the order given, (documents, dimensions); zeros for one that has none."""
        import numpy as np

        found = np.zeros((len(doc_ids), self.dimensions), dtype=np.float32)
        known = [place for place, doc_id in enumerate(doc_ids) if doc_id in self._positions]
        if known:
            positions = np.array([self._positions[doc_ids[place]] for place in known], dtype=np.int64)
            found[known] = self._index.reconstruct_batch(positions)
        return found

    def among(self, doc_ids: Sequence[str]) -> NDArray[np.float32]:
        """The cosine of each pair of those documents that have a vector, in the order given, (known, known)."""
        rows = self.rows([doc_id for doc_id in doc_ids if doc_id in self._positions])
        cosines: NDArray[np.float32] = rows @ rows.T
        return cosines

    def _query(self, vector: NDArray[np.float32]) -> NDArray[np.float32]:
        import numpy as np

        query = np.asarray(vector, dtype=np.float32).reshape(1, -1)
        if query.shape[1] != self.dimensions:
            raise VectorIndexError(
                f"the vector index {self.meta.name} has {self.dimensions} dimensions (model {self.model}), the query's "
                f"vector has {query.shape[1]}; encode it with the same model, or {LOAD_AGAIN}"
            )
        if not np.isfinite(query).all():
            raise VectorIndexError("a query's vector must be finite, got NaN or infinity; encode the query again")
        return _normalised(query)


def _checked(vectors: NDArray[np.float32], doc_ids: Sequence[str]) -> NDArray[np.float32]:
    import numpy as np

    matrix = np.asarray(vectors, dtype=np.float32)
    if matrix.ndim != 2 or len(matrix) != len(doc_ids) or matrix.shape[1] < 1:
        raise VectorIndexError(f"a vector index needs one row per document, got {matrix.shape} for {len(doc_ids)} ids")
    if len(set(doc_ids)) != len(doc_ids):
        raise VectorIndexError("a vector index needs distinct document ids, some were given twice; drop the duplicates")
    if not np.isfinite(matrix).all():
        raise VectorIndexError("a vector index needs finite vectors, some hold NaN or infinity; check the model")
    return _normalised(matrix)


def _normalised(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    import numpy as np

    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    scaled: NDArray[np.float32] = np.ascontiguousarray(matrix / np.where(lengths > 0, lengths, 1.0), dtype=np.float32)
    return scaled


def _cosine(value: float) -> float:
    return min(max(round(float(value), DIGITS), -1.0), 1.0)


def _rounded(scores: Any, positions: Any) -> list[tuple[int, float]]:
    """Position and cosine of what faiss found; it pads with position -1."""
    return [
        (int(place), _cosine(score))
        for place, score in zip(positions.tolist(), scores.tolist(), strict=True)
        if place >= 0
    ]
