"""A last step over a finished order: less of the same among the first hits, for some loss of relevance.

Both methods pick one document after the other, and weigh what it adds against how relevant it is by ``trade``, the
share of diversity, in [0, 1]: at 0 the order stays exactly as it was, at 1 relevance only decides between equals.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rerank_plugin.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]
    _Scores = Callable[[], Matrix]
    _Take = Callable[[int], None]

#: Aspects that a window is cut into for xQuAD.
ASPECTS = 5


def mmr(relevance: Matrix, similarities: Matrix, *, trade: float) -> list[int]:
    """Maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998): positions in their new order.

    Next is the document with the highest (1 - trade) * relevance - trade * (its highest similarity to one already
    picked); of equals the earlier one.

    :param relevance: (documents,), falling; brought to [0, 1] here.
    :param similarities: (documents, documents), cosines.
    :raises ConfigError: ``trade`` is outside [0, 1].
    """
    import numpy as np

    _require_share(trade)
    worth = (1.0 - trade) * _unit(relevance)
    nearest = np.zeros(len(relevance))
    return _greedy(len(relevance), lambda: worth - trade * nearest, lambda place: _raise(nearest, similarities[place]))


def xquad(relevance: Matrix, coverage: Matrix, importance: Matrix, *, trade: float) -> list[int]:
    """Explicit query aspect diversification (Santos, Macdonald and Ounis, WWW 2010): positions in their new order.

    Next is the document with the highest (1 - trade) * relevance + trade * sum over aspects of importance * coverage *
    (how likely all that are already picked miss the aspect); of equals the earlier one.

    :param relevance: (documents,), falling; brought to [0, 1] here.
    :param coverage: (documents, aspects), in [0, 1].
    :param importance: (aspects,), sums to 1.
    :raises ConfigError: ``trade`` is outside [0, 1].
    """
    import numpy as np

    _require_share(trade)
    worth = (1.0 - trade) * _unit(relevance)
    missed = np.array(importance, dtype=np.float64)

    def take(place: int) -> None:
        np.multiply(missed, 1.0 - coverage[place], out=missed)

    return _greedy(len(relevance), lambda: worth + trade * (coverage @ missed), take)


def aspects_of(vectors: Matrix, relevance: Matrix, *, count: int = ASPECTS) -> tuple[Matrix, Matrix]:
    """What the documents of one query are about, where nobody names the query's aspects: coverage and importance.

    Aspects are documents: the first, then each time the one least similar to those chosen. A document covers an aspect
    by how far their cosine is above the mean of all; an aspect is as important as what covers it best is relevant.

    :param vectors: (documents, dimensions), normalised; a row of zeros covers nothing.
    :param relevance: (documents,); brought to [0, 1] here.
    """
    import numpy as np

    if not len(vectors):
        return np.zeros((0, 0)), np.zeros(0)
    centres = [0]
    nearest = vectors @ vectors[0]
    while len(centres) < min(count, len(vectors)):
        centres.append(int(np.argmin(nearest)))
        nearest = np.maximum(nearest, vectors @ vectors[centres[-1]])
    cosines = vectors @ vectors[centres].T
    # Hits of one query are all alike to some degree: only what is above that tells which aspect a document is about.
    usual = cosines.mean(axis=0)
    coverage = np.clip((cosines - usual) / np.maximum(1.0 - usual, 1e-9), 0.0, 1.0)
    mass = np.bincount(np.argmax(coverage, axis=1), weights=_unit(relevance) + 1e-9, minlength=len(centres))
    return coverage, mass / mass.sum()


def _greedy(count: int, scores: _Scores, take: _Take) -> list[int]:
    import numpy as np

    left = np.ones(count, dtype=bool)
    order: list[int] = []
    for _ in range(count):
        place = int(np.argmax(np.where(left, scores(), -np.inf)))
        order.append(place)
        left[place] = False
        take(place)
    return order


def _raise(nearest: Matrix, row: Matrix) -> None:
    import numpy as np

    np.maximum(nearest, row, out=nearest)


def _unit(values: Matrix) -> Matrix:
    """From 0 for the lowest to 1 for the highest; all 1 where they are equal."""
    import numpy as np

    if not len(values):
        return np.zeros(0)
    low, high = float(values.min()), float(values.max())
    scaled: Matrix = np.ones(len(values)) if high == low else (values - low) / (high - low)
    return scaled


def _require_share(trade: float) -> None:
    if not 0.0 <= trade <= 1.0:
        raise ConfigError(f"trade, the share of diversity, must be from 0 to 1, got {trade:g}")
