"""The words of a ``query_string`` or ``simple_query_string``, without their operators."""

from __future__ import annotations

import re

#: Endings by which fields that hold exact values are commonly named.
_KEYWORD_ENDINGS = (".keyword", ".raw")

_LUCENE = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<quoted>"(?:\\.|[^"\\])*"?)
  | (?P<range>[\[{][^\]}]*[\]}]?)
  | (?P<regex>/(?:\\.|[^/\\])*/)
  | (?P<open>\()
  | (?P<close>\))
  | (?P<operator>&&|\|\|)
  | (?P<field>(?:\\.|[\w.*@])(?:\\.|[\w.*@-])*:)
  | (?P<sign>[+\-!])
  | (?P<suffix>[~^][\d.]*)
  | (?P<word>(?:\\.|[^\s"()\[\]{}~^:\\])+)
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_SIMPLE = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<quoted>"(?:\\.|[^"\\])*"?)
  | (?P<open>\()
  | (?P<close>\))
  | (?P<operator>\|)
  | (?P<sign>[+-])
  | (?P<suffix>~\d*)
  | (?P<word>(?:\\.|[^\s"()|~\\])+)
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def is_keyword_like(field: str) -> bool:
    """Whether a field, by its name, holds exact values and no prose: ``*.keyword``, ``*.raw``, ``_id`` and its kind."""
    return field.startswith("_") or field.endswith(_KEYWORD_ENDINGS)


def words_of_query_string(text: str) -> str:
    """What a Lucene ``query_string`` asks for: no operators, field prefixes, wildcards, ranges or negated parts.

    Parts under a keyword-like field are left out too.

    >>> words_of_query_string('title:"graph search" AND (index* OR rank^2) -spam year:[2000 TO 2010]')
    'graph search index rank'
    """
    return _words(_LUCENE, text, lucene=True)


def words_of_simple_query_string(text: str) -> str:
    """What a ``simple_query_string`` asks for; it knows no field prefixes and no operators in capitals.

    >>> words_of_simple_query_string('"graph search" + (index* | rank~2) -spam')
    'graph search index rank'
    """
    return _words(_SIMPLE, text, lucene=False)


def _words(tokens: re.Pattern[str], text: str, *, lucene: bool) -> str:
    words: list[str] = []
    dropped_groups = [False]  # whether the group we are in is negated; a list, so that depth costs no recursion
    negated, signed, field = False, False, ""
    for token in tokens.finditer(text):
        kind, piece = token.lastgroup, token.group()
        if kind in {"operator", "suffix", "other"} or (lucene and kind == "word" and piece in {"AND", "OR"}):
            continue
        if kind == "space":
            negated, signed = negated and not signed, False  # a sign counts only where it touches its clause
        elif lucene and piece == "NOT":
            negated = True
        elif kind == "sign":
            negated, signed = negated or piece != "+", True
        elif kind == "field":
            field = piece[:-1]
        elif kind == "close":
            if len(dropped_groups) > 1:
                dropped_groups.pop()
        else:
            drop = dropped_groups[-1] or negated or (bool(field) and is_keyword_like(field))
            if kind == "open":
                dropped_groups.append(drop)
            elif not drop:
                words.extend(_clause_words(kind, piece, lucene=lucene, fielded=bool(field)))
            negated, signed, field = False, False, ""
    return " ".join(words)


def _clause_words(kind: str | None, piece: str, *, lucene: bool, fielded: bool) -> list[str]:
    if kind in {"range", "regex"} or (fielded and piece.startswith(("<", ">"))):
        return []
    if kind == "quoted":
        piece = piece[1:].removesuffix('"')
    else:
        piece = re.sub(r"(?<!\\)[*?]" if lucene else r"(?<!\\)\*$", "", piece)
    return _ESCAPED.sub(r"\1", piece).split()
