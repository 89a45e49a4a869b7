"""What everything that trains, validates and exports uses of a trunk: the shipped one, and those of other folders."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from torch import nn

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from rerank_plugin.models.folder import ModelFolder
    from rerank_plugin.ranking.relevance import Fit


class Trunk(nn.Module, ABC):
    """A query and a document in, a vector that the factors' heads read and the interaction logit out.

    ``forward`` takes what the trunk's ``Reader`` makes of pairs, by name, and gives a tuple that ends with the vectors,
    (n, dimensions), and the logits, (n,).
    """

    #: Length of the vector.
    dimensions: int
    #: Bottom up.
    layers: nn.ModuleList
    #: Whether its vectors are those of the documents; where not, cosines stay what retrieval gave.
    encodes: bool
    #: Whether what is its own (``own``) starts far from its best, and learns at the heads' rate.
    fresh: bool

    def __init__(self) -> None:
        super().__init__()
        #: In training only: what layers compute in, where it is not 32 bits.
        self.autocast: torch.dtype | None = None

    @abstractmethod
    def recompute(self) -> None:
        """From now on, in training, what layers hold is computed again on the way back."""

    @abstractmethod
    def open(self, bias: float) -> None:
        """Lets query and document see each other from the start, where they do not anyway.

        :param bias: attention logits between them get it, at most 0.
        """

    @abstractmethod
    def slopes(self, fit: Fit) -> tuple[float, float]:
        """Slopes of cosine and interaction that training starts from, so that its order is that of ``fit``."""

    @property
    @abstractmethod
    def own(self) -> list[nn.Parameter]:
        """What joins query and document, or reads them off: it learns whatever the tuning."""

    @abstractmethod
    def stages(self) -> list[list[nn.Parameter]]:
        """Everything else, bottom up: what lies below the layers, and each layer; what lies above is with the last."""


class Reader(Protocol):
    """Texts as a trunk's inputs."""

    def pairs(self, query: str, texts: Sequence[str]) -> list[Any]:
        """A row for each text, read together with the query."""
        ...

    def pad(self, rows: Sequence[Any]) -> dict[str, NDArray[np.int64]]:
        """Name -> (rows, longest row)."""
        ...


class TextReader(Reader, Protocol):
    """The reader of a trunk that encodes."""

    def texts(self, texts: Sequence[str]) -> list[Any]:
        """A row for each text alone."""
        ...


class Backbone(Protocol):
    """A loaded trunk with what its folder says of it."""

    @property
    def model(self) -> Trunk: ...

    def reader(self, tokens: int) -> Reader:
        """How pairs are read in training.

        :param tokens: of a query, and of a document, at most.
        """
        ...

    def export(self, out: Path, *, name: str, precision: str, texts: Sequence[str]) -> ModelFolder:
        """The trunk, as it is now, as a model folder at ``out``; its numbers are fitted afterwards.

        :param texts: on which the rounding of weights is fitted; read for ``int8`` only.
        """
        ...
