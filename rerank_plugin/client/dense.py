"""Vector similarity for the read path: one small seam before the vector index and the query encoder."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rerank_plugin.client.forking import after_fork
from rerank_plugin.errors import VectorIndexError
from rerank_plugin.ranking.types import Ranker

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rerank_plugin.retrieval.dense import VectorIndex


class DenseRanker(Ranker, Protocol):
    """A ranker that also encodes queries."""

    @property
    def encoder(self) -> str:
        """Name of the model whose vectors queries can be compared with; empty where there is none."""
        ...

    def encode_query(self, query: str) -> NDArray[np.float32]:
        """The query's vector, (dimensions,), L2-normalised."""
        ...


class Dense(Protocol):
    """What a vector index says of queries and documents."""

    def checksum(self) -> str:
        """Checksum of the vectors and their ids, as ``_meta.rerank.vectors`` names it.

        :raises VectorIndexError: there is no usable index, or another model made it.
        """
        ...

    def nearest(self, query: str, k: int, among: Collection[str] | None = None) -> list[tuple[str, float]]:
        """Ids and cosines of the ``k`` nearest documents, best first; only of those ``among``, where given."""
        ...

    def cosines(self, query: str, doc_ids: Sequence[str]) -> list[float | None]:
        """The cosine of each document, in the order given; ``None`` where it has no vector."""
        ...


class FolderDense:
    """A vector index in a folder, opened at first use, with the ranker's own encoder."""

    def __init__(self, folder: Path, ranker: Callable[[], DenseRanker]) -> None:
        self._folder = folder
        self._ranker = ranker
        self._renew()
        after_fork(self._renew)

    def _renew(self) -> None:
        self._opened: VectorIndex | None = None
        self._lock = threading.Lock()

    def checksum(self) -> str:
        """See :class:`Dense`."""
        return self._index().meta.checksum

    def nearest(self, query: str, k: int, among: Collection[str] | None = None) -> list[tuple[str, float]]:
        """See :class:`Dense`."""
        return self._index().search(self._ranker().encode_query(query), k, among)

    def cosines(self, query: str, doc_ids: Sequence[str]) -> list[float | None]:
        """See :class:`Dense`."""
        return self._index().similarities(self._ranker().encode_query(query), doc_ids)

    def _index(self) -> VectorIndex:
        with self._lock:
            if self._opened is None:
                from rerank_plugin.retrieval.dense import VectorIndex

                opened = VectorIndex.open(self._folder)
                model = self._ranker().encoder
                if opened.model != model:
                    raise VectorIndexError(
                        f"the vectors in {self._folder.name} were made by {opened.model}, queries are encoded by "
                        f"{model or 'none'}; "
                        "run rerank-index load --vectors again or configure that model"
                    )
                self._opened = opened
            return self._opened
