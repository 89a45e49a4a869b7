"""Document vectors from the model that will also encode the queries."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
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


def encode(
    encoder: Encoder,
    texts: Iterable[str],
    total: int,
    file: Path,
    progress: Progress,
    *,
    done: int = 0,
    saved: Callable[[int, int], None],
) -> NDArray[np.float32]:
    """The vectors of all texts, (total, dimensions), which wait in ``file`` and not in memory.

    :param texts: those that have no vector yet.
    :param done: the file has this many vectors, of the texts before.
    :param saved: told how many vectors more are in the file, and how many of the texts were not read to their end.
    :raises OSError: the file cannot be written.
    """
    import numpy as np

    with file.open("r+b" if done else "wb") as stored, progress.step("encoding", total) as advance:
        stored.truncate(done * encoder.dimensions * np.dtype(np.float32).itemsize)
        stored.seek(0, 2)
        advance(done)
        remaining = iter(texts)
        while batch := list(islice(remaining, TEXTS_AT_ONCE)):
            encoded = encoder.encode([text[:MAX_CHARACTERS] for text in batch])
            stored.write(np.ascontiguousarray(encoded.vectors, dtype=np.float32).tobytes())
            stored.flush()
            saved(len(batch), int(np.sum(encoded.truncated)))
            advance(len(batch))
    return np.memmap(file, np.float32, "r", shape=(total, encoder.dimensions))
