"""Texts as token ids: cut to what the model reads, with a note of what was cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rerank_plugin.errors import ModelFolderError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

#: Characters kept per token of the limit before a text is tokenized, so that the cost of a text is bounded whatever its
#: length. Words have some five characters: only a text of very long "words" loses what would be read.
CHARACTERS_PER_TOKEN = 32


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
    :param max_tokens: limit per text, special tokens included.
    :raises ModelFolderError: the definition is no tokenizer, or it does not end its texts with one special token.
    """

    def __init__(self, definition: str, max_tokens: int) -> None:
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
        if len(empty) != 2:
            raise ModelFolderError(f"the tokenizer must add 2 special tokens to a text, it adds {len(empty)}")
        self._end = empty[-1]

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


def _encodable(text: str) -> str:
    """The text without lone surrogates, which UTF-8 and therefore tokenizers refuse; they become question marks."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode("utf-8")
    return text
