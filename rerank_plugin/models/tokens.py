"""Texts as token ids: cut to what the model reads, with a note of what was cut."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rerank_plugin.errors import ModelFolderError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

#: Characters kept per token of the limit before a text is tokenized, so that the cost of a text is bounded whatever its
#: length. Words have some five characters: only a text of very long "words" loses what would be read.
CHARACTERS_PER_TOKEN = 32


#: Special tokens around a text or a pair that room is left for, ``<s> query </s></s> text </s>``; prompts have more.
SPECIAL_TOKENS = 4
#: Characters of a text that are looked at to tell whether its language is known.
LANGUAGE_CHARACTERS = 512
#: Arrows, dingbats and emoji, which belong to no language.
_SYMBOLS = re.compile("[\u200d\u2190-\u2bff\ufe0f\U0001f000-\U0001faff]+")


@dataclass(frozen=True, slots=True)
class Pair:
    """A query and a text in the tokenizer's own layout."""

    ids: list[int]
    #: Token types, one per token.
    types: list[int]
    #: The model does not see all of the text.
    truncated: bool


@dataclass(frozen=True, slots=True)
class Tokens:
    """One text for the model."""

    #: Special tokens included.
    ids: list[int]
    #: The model does not see all of the text.
    truncated: bool


class TextTokenizer:
    """A Hugging Face ``tokenizer.json`` with our own cutting.

    :param definition: content of tokenizer.json.
    :param max_tokens: limit per text, or with ``pairs`` per pair; special tokens included.
    :param pairs: for a cross-encoder, whose tokenizer lays out pairs.
    :raises ModelFolderError: the definition is no tokenizer, or it does not end single texts with one special token.
    """

    def __init__(self, definition: str, max_tokens: int, *, pairs: bool = False) -> None:
        from tokenizers import Tokenizer

        try:
            self._tokenizer: Tokenizer = Tokenizer.from_str(definition)
        except Exception as error:  # tokenizers raises plain Exception
            raise ModelFolderError(f"the tokenizer cannot be read ({error}); export the model again") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        # A text that contains "[SEP]" means these five characters, not the token that ends a segment.
        self._tokenizer.encode_special_tokens = True
        self._max_tokens = max_tokens
        empty: list[int] = self._tokenizer.encode("").ids
        if not pairs and len(empty) != 2:  # pairs are cut by the tokenizer itself, single texts by us
            raise ModelFolderError(f"the tokenizer must add 2 special tokens to a text, it adds {len(empty)}")
        self._end = empty[-1] if empty else 0
        #: Tokens that are around a text, or a pair, at most.
        self.around = max(SPECIAL_TOKENS, self._tokenizer.num_special_tokens_to_add(pairs))
        self._unknown = unknown_ids(self._tokenizer, json.loads(definition))
        if pairs:
            self._tokenizer.enable_truncation(max_tokens, strategy="longest_first")

    def pairs(self, query: str, texts: Sequence[str]) -> list[Pair]:
        """The query with each text; what is too long loses tokens of its longer side."""
        limit = self._max_tokens * CHARACTERS_PER_TOKEN
        asked, pairs = _encodable(query[:limit]), []
        for text in texts:
            found = self._tokenizer.encode(asked, _encodable(text[:limit]))
            longer = len(text) > limit and not text[limit:].isspace()
            pairs.append(Pair(found.ids, found.type_ids, longer or bool(found.overflowing)))
        return pairs

    def unknown_share(self, text: str) -> float:
        """Share of tokens at the beginning of a text that are none of the model's words, in [0, 1]; 0 for no text."""
        words = _SYMBOLS.sub(" ", _encodable(text[:LANGUAGE_CHARACTERS]))
        ids = self._tokenizer.encode(words, add_special_tokens=False).ids
        return sum(each in self._unknown for each in ids) / max(len(ids), 1)

    def passages(self, text: str, most: int, *, beside: str = "") -> list[str]:
        """The text in at most ``most`` consecutive pieces of whole words; all but the last fit the limit.

        :param beside: what else is read with each piece; it leaves a piece at least half of the limit.
        """
        room = max(self._max_tokens // 2, self._max_tokens - self.around - self._count(beside))
        if len(text) <= room and text.isascii():
            return [text]
        read = self._tokenizer.encode(
            _encodable(text[: most * self._max_tokens * CHARACTERS_PER_TOKEN]), add_special_tokens=False
        )
        parts = [read, *read.overflowing]
        starts = [start for part in parts for start, _ in part.offsets]
        words = [word for part in parts for word in part.word_ids]
        pieces: list[str] = []
        token = character = 0
        while len(pieces) < most - 1 and token + room < len(starts):
            cut = token + room
            while cut > token + room // 2 and words[cut] == words[cut - 1]:
                cut -= 1
            pieces.append(text[character : starts[cut]])
            token, character = cut, starts[cut]
        return [*pieces, text[character:]]

    def _count(self, text: str) -> int:
        read = self._tokenizer.encode(_encodable(text), add_special_tokens=False) if text else None
        return 0 if read is None else len(read.ids)

    def __call__(self, texts: Sequence[str]) -> list[Tokens]:
        """Tokens of each text; an empty text has its two special tokens."""
        limit = self._max_tokens * CHARACTERS_PER_TOKEN
        # One by one: encode_batch runs threads of its own, on every core, which a forked process would miss.
        return [
            self._cut(
                self._tokenizer.encode(_encodable(text[:limit])).ids,
                longer=len(text) > limit and not text[limit:].isspace(),
            )
            for text in texts
        ]

    def _cut(self, ids: list[int], *, longer: bool) -> Tokens:
        if len(ids) <= self._max_tokens:
            return Tokens(ids, longer)
        return Tokens([*ids[: self._max_tokens - 1], self._end], True)


def unknown_ids(tokenizer: Tokenizer, definition: Mapping[str, Any]) -> frozenset[int]:
    """The tokens that stand for words a model does not know.

    They are the unknown token, and single letters other than a to z inside a word: a vocabulary that has no words of a
    script has its letters often, and words fall apart into them. Tokenizers over bytes have neither, so of them nothing
    can be told.
    """
    model = definition.get("model", {})
    prefix = model.get("continuing_subword_prefix")
    words = tokenizer.get_vocab(with_added_tokens=True)
    found = {words[each] for each in (model.get("unk_token"),) if each in words}
    if isinstance(model.get("unk_id"), int):
        found.add(model["unk_id"])
    if prefix:
        letters = ((word.removeprefix(prefix), number) for word, number in words.items() if word.startswith(prefix))
        found |= {number for part, number in letters if len(part) == 1 and part.isalpha() and not part.isascii()}
    return frozenset(found)


def _encodable(text: str) -> str:
    """The text without lone surrogates, which UTF-8 and therefore tokenizers refuse; they become question marks."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode("utf-8")
    return text
