"""How much a query asks for each factor: a word list, readable and predictable (DESIGN 2, "gate").

Where a model folder learned it from queries that say what they ask for, the query's vector has a say too: it knows
questions that no list has, and that *new* in *New York* asks for nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rerank_plugin.domain.factors import PRIORS
from rerank_plugin.domain.numbers import is_finite_number
from rerank_plugin.errors import ModelFolderError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: A factor that the query does not ask for still counts this much of its weight.
GATE_FLOOR = 0.2

_WORDS: dict[str, tuple[str, ...]] = {
    "authority": (
        "official", "authoritative", "trusted", "trustworthy", "reliable", "credible", "seminal", "landmark",
        "influential", "canonical", "definitive", "classic", "peer-reviewed", "官方", "权威", "經典", "经典",
    ),
    "freshness": (
        "latest", "newest", "recent", "recently", "new", "today", "yesterday", "current", "currently", "now",
        "nowadays", "modern", "upcoming", "this week", "this month", "this year", "up to date", "up-to-date", "news",
        "最新", "最近", "今年", "今天", "近期", "新闻",
    ),
    "novelty": ("novel", "original", "innovative", "unconventional", "first", "new", "原创", "新颖", "首次"),
    "popularity": (
        "popular", "trending", "famous", "best", "top", "hot", "favourite", "favorite", "bestselling", "most read",
        "most viewed", "most cited", "well known", "well-known", "热门", "流行", "最受欢迎",
    ),
}  # fmt: skip


def _alternatives(words: tuple[str, ...]) -> re.Pattern[str]:
    latin = [re.escape(word) for word in words if word.isascii()]
    other = [re.escape(word) for word in words if not word.isascii()]  # Chinese has no word boundaries to look for
    return re.compile("|".join([rf"(?<![\w-])(?:{'|'.join(latin)})(?![\w-])", *other]), re.IGNORECASE)


_PATTERNS = {factor: _alternatives(_WORDS[factor]) for factor in PRIORS}

#: Gates of a request whose weights the caller gave.
OPEN_GATES: dict[str, float] = dict.fromkeys(PRIORS, 1.0)


def query_gates(query: str) -> dict[str, float]:
    """A gate per factor beside relevance: 1 where the query asks for it, else ``GATE_FLOOR``.

    >>> query_gates("latest work on compilers")["freshness"], query_gates("compilers")["freshness"]
    (1.0, 0.2)
    """
    return {factor: 1.0 if pattern.search(query) else GATE_FLOOR for factor, pattern in _PATTERNS.items()}


@dataclass(frozen=True, slots=True)
class LearnedGates:
    """Per factor the log-odds that a query asks for it: a constant, the list's word, and the query's vector."""

    #: Factor -> intercept, what a word of the list adds, and slopes (dimensions,). Others have the list alone.
    fits: Mapping[str, tuple[float, float, NDArray[np.float64]]]

    @classmethod
    def from_manifest(cls, section: Mapping[str, Any], *, dimensions: int, where: str) -> LearnedGates | None:
        """What a manifest's ``gate`` holds; ``None`` where nothing was learned.

        :param dimensions: of the vectors of the model that reads queries.
        :raises ModelFolderError: an unknown factor, or numbers that are missing or of the wrong count.
        """
        import numpy as np

        fits = {}
        for factor, said in section.items():
            said = said if isinstance(said, dict) else {}
            slopes = said.get("slopes")
            numbers = [said.get("intercept"), said.get("word"), *(slopes if isinstance(slopes, list) else ())]
            if factor not in PRIORS or len(numbers) != dimensions + 2 or not all(map(is_finite_number, numbers)):
                raise ModelFolderError(
                    f"{where}: the gate of {factor!r} needs an intercept, a word and {dimensions} slopes; "
                    "calibrate the folder again"
                )
            fits[factor] = float(numbers[0]), float(numbers[1]), np.array(numbers[2:], dtype=np.float64)
        return cls(fits) if fits else None

    def __call__(self, query: str, vector: NDArray[np.float32]) -> dict[str, float]:
        """A gate per factor, from ``GATE_FLOOR`` to 1.

        :param vector: the query's, (dimensions,), L2-normalised.
        """
        gates = query_gates(query)
        for factor, (intercept, word, slopes) in self.fits.items():
            odds = intercept + word * (gates[factor] == 1.0) + float(slopes @ vector)
            share = 1.0 / (1.0 + math.exp(-min(max(odds, -500.0), 500.0)))
            gates[factor] = GATE_FLOOR + (1.0 - GATE_FLOOR) * share
        return gates
