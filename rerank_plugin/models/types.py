"""What runs a trunk, as the other rooms see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Encoded:
    """Vectors of texts, L2-normalised."""

    #: (texts, dimensions), float32.
    vectors: NDArray[np.float32]
    #: (texts,): of which of them the model could not read everything.
    truncated: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Interaction:
    """What attention between a query and each document says."""

    #: (pairs,), float32; uncalibrated.
    logits: NDArray[np.float32]
    #: (pairs,): documents of which the model could not read everything; the query is never cut for a document's sake.
    truncated: NDArray[np.bool_]


@runtime_checkable
class TextEncoder(Protocol):
    """Makes vectors of texts."""

    @property
    def name(self) -> str:
        """``NAME@first twelve digits of the weights' sha256``: stands in reports and in vector indexes."""
        ...

    @property
    def dimensions(self) -> int: ...

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Each text apart from all others."""
        ...


@runtime_checkable
class QueryEncoder(Protocol):
    """An encoder that was taught to tell questions from texts."""

    def encode_queries(self, texts: Sequence[str]) -> Encoded:
        """Each question apart from all others."""
        ...


@runtime_checkable
class PairScorer(Protocol):
    """Reads a query and a document together."""

    @property
    def name(self) -> str:
        """``NAME@first twelve digits of the weights' sha256``."""
        ...

    def interact(self, query: str, texts: Sequence[str]) -> Interaction:
        """The query with each text."""
        ...


@runtime_checkable
class Splitter(Protocol):
    """A model that can say how much of a text it reads at a time."""

    def passages(self, text: str, most: int, *, query: str = "", before: str = "") -> list[str]:
        """The text in at most ``most`` consecutive pieces of whole words; all but the last are read to their end.

        :param query: what is read beside each piece, where that takes room from it.
        :param before: what will be put in front of each piece.
        """
        ...


class TwoModeTrunk(TextEncoder, PairScorer, Protocol):
    """One transformer as encoder and as cross-encoder, attention opened by the learned biases (DESIGN 3)."""


def encoded_query(encoder: TextEncoder, query: str) -> NDArray[np.float32]:
    """The vector of a question, (dimensions,), L2-normalised."""
    encode = encoder.encode_queries if isinstance(encoder, QueryEncoder) else encoder.encode
    vector: NDArray[np.float32] = encode([query]).vectors[0]
    return vector
