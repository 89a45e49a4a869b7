"""Text to tokens as Lucene's standard tokenizer cuts it: UAX 29 words, ideographs and kana one by one, emoji."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache

#: Longer tokens are cut into pieces of this many characters.
MAX_TOKEN = 255

HAN = "\u2e80-\u2fdf\u3007\u3021-\u3029\u3038-\u303b\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
HIRAGANA = "\u3041-\u3096\u309d-\u309f"
KATAKANA = "\u3031-\u3035\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u32d0-\u32fe\u3300-\u3357\uff66-\uff9f"
HANGUL = "\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff"

_PICTURE = (
    "[©®™\u203c\u2049\u2194-\u2199\u21a9\u21aa\u231a\u231b\u2328\u23cf\u23e9-\u23f3\u23f8-\u23fa\u25aa\u25ab\u25b6"
    "\u25c0\u25fb-\u25fe\u2600-\u2605\u2607-\u2612\u2614-\u2685\u2690-\u2705\u2708-\u2712\u2714\u2716\u271d\u2721"
    "\u2728\u2733\u2734\u2744\u2747\u274c\u274e\u2753-\u2755\u2757\u2763-\u2767\u2795-\u2797\u27a1\u27b0\u27bf\u2934"
    "\u2935\u2b05-\u2b07\u2b1b\u2b1c\u2b50\u2b55\u3030\u303d\u3297\u3299\U0001f000-\U0001f0ff\U0001f170\U0001f171"
    "\U0001f17e\U0001f17f\U0001f18e\U0001f191-\U0001f19a\U0001f201-\U0001f251\U0001f300-\U0001f3fa"
    "\U0001f400-\U0001faff]\ufe0f?[\U0001f3fb-\U0001f3ff]?"
)
#: Flags, and pictures joined by zero-width joiners.
EMOJI = f"[\U0001f1e6-\U0001f1ff]{{2}}|{_PICTURE}(?:\u200d{_PICTURE})*"

_BY_SCRIPT = re.compile(f"[{HAN}{HIRAGANA}{KATAKANA}]")


def tokens(text: str) -> list[str]:
    """The tokens of ``text`` in order; case is left as it is."""
    if text.isascii():
        found = _ASCII.findall(text)
    else:
        pattern = _by_script_pattern() if _BY_SCRIPT.search(text) else _word_pattern()
        found = pattern.findall(without_numerals(text))
    return cut_long(found)


def without_numerals(text: str) -> str:
    """Superscripts, fractions, circled numbers and the like as spaces: to UAX 29 they are no part of words."""
    return _numerals().sub(" ", text)


def cut_long(found: list[str]) -> list[str]:
    """Tokens with those of more than ``MAX_TOKEN`` characters in pieces."""
    if all(len(token) <= MAX_TOKEN for token in found):
        return found
    return [token[at : at + MAX_TOKEN] for token in found for at in range(0, len(token), MAX_TOKEN)]


def word_pattern(excluded: str = "") -> str:
    """A regular expression for one word without characters of ``excluded``, the inside of a character class.

    Apostrophe, colon and point join letters; comma and point join digits.
    """
    guard = f"(?![{excluded}])" if excluded else ""
    inside = rf"(?:{guard}[\w{_marks()}])"
    middle = rf"(?:(?<=[^\W\d_]|[{_marks()}])[:.·'’‘․﹒．＇](?={guard}[^\W\d_])|(?<=\d)[.,;'’‘․﹒．](?=\d))"
    return _joined(f"{guard}", inside, middle)


def _joined(guard: str, inside: str, middle: str) -> str:
    # The look-behind keeps a long run of underscores from being tried from each of its places.
    return rf"(?<!_)_*{guard}[^\W_]{inside}*(?:{middle}{inside}+)*"


_ASCII = re.compile(_joined("", r"\w", r"(?:(?<=[A-Za-z])[:.'](?=[A-Za-z])|(?<=\d)[.,;'](?=\d))"), re.ASCII)


@lru_cache(maxsize=1)
def _word_pattern() -> re.Pattern[str]:
    return re.compile(f"{word_pattern()}|{EMOJI}")


@lru_cache(maxsize=1)
def _by_script_pattern() -> re.Pattern[str]:
    """For text with ideographs or kana: each its own token, katakana in runs, the rest as elsewhere."""
    return re.compile(f"[{HAN}{HIRAGANA}]|[{KATAKANA}]+|{word_pattern(HAN + HIRAGANA + KATAKANA)}|{EMOJI}")


@lru_cache(maxsize=1)
def _marks() -> str:
    """Combining marks and format characters: they never end a word."""
    marks = (code for code in range(0x300, 0x20000) if unicodedata.category(chr(code)) in {"Mn", "Mc", "Me"})
    return _character_class(marks) + "\u00ad\u200c-\u200f\u2060-\u2064\ufeff"


@lru_cache(maxsize=1)
def _numerals() -> re.Pattern[str]:
    numerals = [code for code in range(0x20000) if unicodedata.category(chr(code)) == "No"]
    return re.compile(f"[{_character_class(numerals)}\u3006]")  # U+3006 counts as a letter in Python, not in UAX 29


def _character_class(codes: Iterable[int]) -> str:
    """Code points as the inside of a character class."""
    return "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in _ranges(codes))


def _ranges(codes: Iterable[int]) -> Iterator[tuple[int, int]]:
    low = high = -1
    for code in codes:
        if code != high + 1 and low >= 0:
            yield low, high
            low = -1
        low, high = (code if low < 0 else low), code
    if low >= 0:
        yield low, high
