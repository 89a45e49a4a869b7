"""Queries that a corpus asks itself: a title, a sentence or a span of a document, cut out of it.

The cut is the query and the document without it is the answer, as in the inverse cloze task (Lee et al. 2019, ORQA) and
Contriever's crops (Izacard et al. 2022). What was cut out is gone from the text, always: left in, finding it again is
copying, for the words of the first stage even more than for the model. Lee et al. leave it in a tenth of the time, so
that an encoder alone learns to match words; here the first stage does, and its score is part of what is trained.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from rerank_plugin.config import several

#: What a query can be made of.
KINDS = ("title", "sentence", "span")
#: Words of a query: shorter ones ask for nothing in particular, longer ones no person types.
LEAST_WORDS, MOST_WORDS = 3, 32
#: Words of a span, drawn evenly.
SPAN_WORDS = (3, 12)
#: Words that a document must have left.
LEFT_WORDS = 8
#: Characters of a text that queries are cut from: what models read of it, and more.
READ_CHARACTERS = 1 << 14

_CJK = "\u3040-\u9fff\uac00-\ud7af"
#: Runs of letters and digits; of Chinese, Japanese and Korean, which has no spaces, each character.
_WORD = re.compile(rf"[{_CJK}]|[^\W{_CJK}]+")
#: Between two sentences. An abbreviation may be taken for an end; both halves are still text.
_BREAK = re.compile(r"(?<=[.!?])\s+(?=[^\sa-z])|(?<=[。！？])|\s*\n\s*")


@dataclass(frozen=True, slots=True)
class Cut:
    """A query and the document that it was cut out of."""

    #: One of ``KINDS``.
    kind: str
    query: str
    #: What is left of the document.
    title: str
    text: str


def kinds_of(words: str) -> tuple[str, ...]:
    """The kinds that a setting names, ``title,sentence``, in the order of ``KINDS``.

    :raises ConfigError: none, or one that there is not.
    """
    return several("corpus_kinds", words, KINDS)


def place_of(seed: int, doc_id: str) -> bytes:
    """Where a document stands in the order that documents are drawn in: the same whatever else the corpus holds."""
    return hashlib.sha256(f"{seed} {doc_id}".encode("utf-8", "replace")).digest()


def cut(doc_id: str, title: str, text: str, kinds: Sequence[str], seed: int) -> Cut | None:
    """A query of one of the kinds, drawn by the document's id, and what is left; ``None`` where none can be made."""
    rng = random.Random(f"{seed} {doc_id} cut")
    for kind in rng.sample(list(kinds), len(kinds)):
        query = _query(kind, title, text[:READ_CHARACTERS], rng)
        if query is None:
            continue
        found = Cut(kind, query, without(title, query), without(text, query))
        if len(words(found.text)) >= LEFT_WORDS:
            return found
    return None


def words(text: str) -> list[str]:
    """The words of a text, in order."""
    return _WORD.findall(text)


def without(text: str, query: str) -> str:
    """The text with every place gone where the query stands as whole words, in whatever case and spacing."""
    pattern = r"\s+".join(map(re.escape, query.split()))
    if query[:1].isascii() and query[:1].isalnum():
        pattern = rf"(?<![A-Za-z0-9]){pattern}"
    if query[-1:].isascii() and query[-1:].isalnum():
        pattern = rf"{pattern}(?![A-Za-z0-9])"
    return re.sub(pattern, " ", text, flags=re.IGNORECASE).strip()


def _query(kind: str, title: str, text: str, rng: random.Random) -> str | None:
    if kind == "title":
        return _usable(title)
    if kind == "sentence":
        sentences = [query for each in _BREAK.split(text) if (query := _usable(each)) is not None]
        return rng.choice(sentences) if sentences else None
    places = list(_WORD.finditer(text))
    count = rng.randint(*SPAN_WORDS)
    if len(places) < count:
        return None
    first = rng.randrange(len(places) - count + 1)
    return " ".join(text[places[first].start() : places[first + count - 1].end()].split())


def _usable(text: str) -> str | None:
    query = " ".join(text.split())
    return query if LEAST_WORDS <= len(words(query)) <= MOST_WORDS else None
