"""Vectors of texts seen before, so that a popular window is not encoded again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Remembered(NamedTuple):
    """What encoding a text gave."""

    #: (passages, dimensions), L2-normalised.
    vectors: NDArray[np.float32]
    truncated: bool


class VectorCache:
    """A bounded, thread-safe least-recently-used map from texts to their vectors; keeps digests, never the texts."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._vectors: OrderedDict[bytes, Remembered] = OrderedDict()
        self._lock = threading.Lock()

    @staticmethod
    def _key(text: str) -> bytes:
        return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()

    def get(self, text: str) -> Remembered | None:
        """What encoding ``text`` gave, or ``None`` where it was never put or has been dropped."""
        key = self._key(text)
        with self._lock:
            found = self._vectors.get(key)
            if found is not None:
                self._vectors.move_to_end(key)
            return found

    def put(self, text: str, found: Remembered) -> None:
        """Keep ``found``; the least recently used one is dropped when the cache is full."""
        key = self._key(text)
        with self._lock:
            self._vectors[key] = found
            self._vectors.move_to_end(key)
            while len(self._vectors) > self._size:
                self._vectors.popitem(last=False)

    def __len__(self) -> int:
        return len(self._vectors)
