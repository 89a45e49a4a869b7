"""What runs a trunk, as the other rooms see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

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


class TwoModeTrunk(Protocol):
    """One transformer as encoder and as cross-encoder (DESIGN 3)."""

    @property
    def name(self) -> str:
        """``NAME@first twelve digits of the weights' sha256``: stands in reports and in vector indexes."""
        ...

    @property
    def dimensions(self) -> int: ...

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Each text apart from all others."""
        ...

    def interact(self, query: str, texts: Sequence[str]) -> Interaction:
        """The query with each text, attention between them opened by the learned biases."""
        ...
