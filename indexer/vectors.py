"""Document vectors from the model that will also encode the queries."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from indexer.progress import Progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rerank_plugin.models.types import Encoded

#: Texts handed to the model at once; it sorts them by length and cuts them into batches of its own.
TEXTS_AT_ONCE = 256
#: Characters of a text that can matter to a model of at most 512 tokens, with a wide margin.
MAX_CHARACTERS = 20_000


class Encoder(Protocol):
    """The part of a trunk that the indexer uses; ``rerank_plugin.models.types.TwoModeTrunk`` is one."""

    @property
    def name(self) -> str: ...

    @property
    def dimensions(self) -> int: ...

    def encode(self, texts: list[str]) -> Encoded:
        """L2-normalised vectors of the texts, (texts, dimensions)."""
        ...


def encode(encoder: Encoder, texts: Iterable[str], total: int, progress: Progress) -> tuple[NDArray[np.float32], int]:
    """The vectors of all texts, (total, dimensions), and how many texts the model could not read to their end."""
    import numpy as np

    vectors = np.empty((total, encoder.dimensions), dtype=np.float32)
    truncated = done = 0
    with progress.step("encoding", total) as advance:
        remaining = iter(texts)
        while batch := list(islice(remaining, TEXTS_AT_ONCE)):
            encoded = encoder.encode([text[:MAX_CHARACTERS] for text in batch])
            vectors[done : done + len(batch)] = encoded.vectors
            truncated += int(np.sum(encoded.truncated))
            done += len(batch)
            advance(len(batch))
    return vectors, truncated
