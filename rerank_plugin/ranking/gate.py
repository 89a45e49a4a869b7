"""How much a query asks for each factor: a word list, readable and predictable (DESIGN 2, "gate")."""

from __future__ import annotations

import re

from rerank_plugin.domain.factors import PRIORS

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
