"""Whether a model knows the language of what it is to read (DESIGN 6.8).

A text counts as unknown when more than ``UNKNOWN_LIMIT`` of the tokens at its beginning are none of the model's words
(``models/tokens.unknown_ids``). Measured with the shipped vocabulary: of 29,000 English documents and 13,000 queries
none has more than .21, of 12,878 Chinese sentences and 4,221 questions all but a few have more than .28; Russian,
Greek, Arabic, Hebrew, Hindi, Thai, Japanese and Korean have .53 to 1. Latin-script languages cannot be told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

#: Share of tokens above which a query or a text counts as being in an unknown language.
UNKNOWN_LIMIT = 0.25
#: Bytes per character up to which a text is mostly ASCII: not worth a second tokenizing.
MOSTLY_ASCII = 1.2
CHARACTERS = 512


@dataclass(frozen=True, slots=True)
class Language:
    """What a model can read.

    A model that is not asked (``unknown_share`` is None) reads everything.
    """

    model: str
    #: Share of a text's tokens that are none of the model's words, in [0, 1].
    unknown_share: Callable[[str], float] | None

    def refusal(self, query: str) -> str:
        """Why a query cannot be read, in one line; empty when it can."""
        share = 0.0 if self.unknown_share is None else self.unknown_share(query)
        if share <= UNKNOWN_LIMIT:
            return ""
        return (
            f"the query's language is unknown to {self.model}: {share:.0%} of its tokens are none of its words, "
            f"at most {UNKNOWN_LIMIT:.0%} may be; configure a model of that language"
        )

    def reads(self, text: str) -> bool:
        """Whether a document's text can be read. Text in ASCII letters is believed to be: it costs nothing to tell."""
        beginning = text[:CHARACTERS]
        if self.unknown_share is None or beginning.isascii():
            return True
        if len(beginning.encode("utf-8", "replace")) <= MOSTLY_ASCII * len(beginning):
            return True
        return self.unknown_share(text) <= UNKNOWN_LIMIT
