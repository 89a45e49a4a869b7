"""Text to words, as Lucene's analyzers ``standard``, ``english`` and ``cjk`` do it.

Words keep their positions: a removed stop word leaves a ``HOLE``, so that phrases do not match across it.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Protocol

from rerank_plugin.engines.embedded.tokens import (
    EMOJI,
    HAN,
    HANGUL,
    HIRAGANA,
    KATAKANA,
    cut_long,
    tokens,
    without_numerals,
    word_pattern,
)
from rerank_plugin.errors import MissingExtraError

#: Stands for a removed word in a list of words; never part of a word.
HOLE = "\x01"
#: Positions between two values of one field, so that no phrase spans them (the engines' position_increment_gap).
VALUE_GAP = 100

#: Lucene's English stop words (EnglishAnalyzer.ENGLISH_STOP_WORDS_SET).
STOP_WORDS = frozenset({
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no", "not", "of",
    "on", "or", "such", "that", "the", "their", "then", "there", "these", "they", "this", "to", "was", "will", "with",
})  # fmt: skip

#: Those of CJKAnalyzer.
CJK_STOP_WORDS = (STOP_WORDS - {"an"}) | {"s", "t", "www"}

_WIDE = re.compile("[\uff01-\uff5e\uff65-\uff9f]+")
_POSSESSIVE = re.compile("['’＇][sS]$")


def words(analyzer: str, text: str) -> list[str]:
    """The words of ``text`` in order, ``HOLE`` where one was removed.

    :raises KeyError: an analyzer that is none of ``ANALYZERS``.
    """
    return ANALYZERS[analyzer](text)


def positioned(analyzer: str, text: str) -> list[tuple[int, str]]:
    """(position, word) of what is left of ``text``."""
    return [(place, word) for place, word in enumerate(words(analyzer, text)) if word != HOLE]


def index_text(analyzer: str, values: Iterable[str]) -> str:
    """All values of a field as words joined by spaces, holes included, a gap between values."""
    gap = " ".join([HOLE] * VALUE_GAP)
    return f" {gap} ".join(" ".join(words(analyzer, value)) for value in values)


def _lower(text: str) -> str:
    """Lower case letter by letter, as Lucene does it: without regard to the end of a word."""
    return text.replace("İ", "i").replace("Σ", "σ").lower()


def _standard(text: str) -> list[str]:
    return [_lower(token) for token in tokens(text)]


def _english(text: str) -> list[str]:
    return [_ENGLISH_WORDS[token] for token in tokens(text)]


def _cjk(text: str) -> list[str]:
    folded = _WIDE.sub(lambda match: unicodedata.normalize("NFKC", match.group()), without_numerals(text))
    found: list[str] = []
    for match in _cjk_pattern().finditer(_lower(folded)):
        piece = match.group()
        if match.lastgroup == "run":
            found += [piece] if len(piece) == 1 else [piece[at : at + 2] for at in range(len(piece) - 1)]
        else:
            found += [HOLE if word in CJK_STOP_WORDS else word for word in cut_long([piece])]
    return found


@lru_cache(maxsize=1)
def _cjk_pattern() -> re.Pattern[str]:
    run = HAN + HIRAGANA + KATAKANA + HANGUL
    return re.compile(f"(?P<run>[{run}]+)|{word_pattern(run)}|{EMOJI}")


#: Name -> text to words.
ANALYZERS: dict[str, Callable[[str], list[str]]] = {"standard": _standard, "english": _english, "cjk": _cjk}


class _EnglishWords(dict[str, str]):
    """Token -> its stem, or ``HOLE`` for a stop word; remembered, since a vocabulary is small beside its texts."""

    #: Forget everything beyond this many tokens.
    LIMIT = 500_000

    def __missing__(self, token: str) -> str:
        if len(self) >= self.LIMIT:
            self.clear()
        word = _lower(_POSSESSIVE.sub("", token))
        stem = HOLE if word in STOP_WORDS else _porter(word)
        self[sys.intern(token)] = stem
        return stem


_ENGLISH_WORDS = _EnglishWords()

# Lucene stems with Porter's own later code, which departs from his paper in two endings (bli -> ble, logi -> log) and
# leaves words of two letters alone; PyStemmer's "porter" is the paper.
_DEPARTURES = re.compile("(.*)(?:b(l)|(log))(?:y|ies|i)", re.DOTALL)


def _porter(word: str) -> str:
    if len(word) <= 2:
        return word
    departure = _DEPARTURES.fullmatch(word)
    if departure is not None and _is_measured(departure[1]):
        word = departure[1] + ("ble" if departure[2] else "log")
    return _stemmer().stemWord(word)


def _is_measured(stem: str) -> bool:
    """Whether a consonant follows a vowel somewhere (m > 0 in the paper); y is a vowel after a consonant."""
    seen_vowel = last_was_vowel = False
    for place, letter in enumerate(stem):
        is_vowel = letter in "aeiou" or (letter == "y" and place > 0 and not last_was_vowel)
        if seen_vowel and not is_vowel:
            return True
        seen_vowel, last_was_vowel = seen_vowel or is_vowel, is_vowel
    return False


class _Stemmer(Protocol):
    def stemWord(self, word: str) -> str: ...


@lru_cache(maxsize=1)
def _stemmer() -> _Stemmer:
    try:
        import Stemmer
    except ImportError as error:
        raise MissingExtraError("the embedded engine", "embedded") from error
    stemmer: _Stemmer = Stemmer.Stemmer("porter", 0)
    return stemmer
