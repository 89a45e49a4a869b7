"""A prompt as part of a tokenizer: ``Query: {query} Document: {document} Relevant:`` as the layout of a pair.

The prompt goes into tokenizer.json as the template of its pairs, so that whoever reads the file lays pairs out in the
same way, cuts query and document only, and needs nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from string import Formatter
from typing import TYPE_CHECKING

from rerank_plugin.errors import ConfigError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

#: Where nothing else is told.
PROMPT = "Query: {query} Document: {document} Relevant:"
#: Tokens that query and document must have left, together.
LEAST_ROOM = 8
_MARKS = {"query": "$A:0", "document": "$B:0"}


@dataclass(frozen=True, slots=True)
class Layout:
    """Pairs laid out by a prompt."""

    #: The text of tokenizer.json.
    tokenizer: str
    #: Put before every query, before every text: the space that stands there in the prompt, which many vocabularies
    #: keep in a word's first token.
    query_prefix: str = ""
    text_prefix: str = ""
    #: Whether the word that the prompt asks for begins with a space, as words inside a text do.
    spaced: bool = True


def parts(prompt: str) -> list[tuple[str, str | None]]:
    """Words and what follows each of them: ``query``, ``document``, ``mask``, or ``None`` at the end.

    :raises ConfigError: query or document is not there once, a mask twice, or another name is.
    """
    try:
        found = [(words, name) for words, name, _, _ in Formatter().parse(prompt)]
    except ValueError as error:
        raise ConfigError(f"prompt has a brace without its other one ({error}); double the braces of words") from error
    names = [name for _, name in found if name is not None]
    if sorted(names) not in (["document", "query"], ["document", "mask", "query"]):
        raise ConfigError(
            f"prompt must have {{query}} and {{document}}, once each, and perhaps one {{mask}}, got {prompt!r}"
        )
    return found


def laid_out(tokenizer: Tokenizer, prompt: str, *, decodes: bool, mask_id: int | None = None) -> Layout:
    """A tokenizer's pairs, laid out by a prompt between the special tokens that it puts around a text.

    :param decodes: the text ends where the prompt does, with no special token behind it.
    :param mask_id: the token of ``{mask}``, put at the end where the prompt has none; ``None`` where none is read.
    :raises ConfigError: see ``parts``; a mask that is not read.
    """
    from tokenizers import Tokenizer as Copy
    from tokenizers.processors import TemplateProcessing

    found = parts(prompt)
    if mask_id is None and any(name == "mask" for _, name in found):
        raise ConfigError("{mask} in a prompt is for a verbaliser over an encoder; leave it out")
    if mask_id is not None and all(name != "mask" for _, name in found):
        found.append(("", "mask"))
    pieces: list[str] = []
    tokens: list[dict[str, object]] = []

    def put(ids: list[int]) -> None:
        if ids:
            name = f"part {len(tokens)}"
            pieces.append(f"{name}:0")
            tokens.append({"id": name, "ids": ids, "tokens": [str(tokenizer.id_to_token(each)) for each in ids]})

    lead, tail = around(tokenizer)
    put(lead)
    prefixes = {"query": "", "document": ""}
    for words, name in found:
        kept = words if name is None else words.rstrip(" ")
        put(tokenizer.encode(kept, add_special_tokens=False).ids)
        if name == "mask":
            put([] if mask_id is None else [mask_id])
        elif name is not None:
            prefixes[name] = words[len(kept) :]
            pieces.append(_MARKS[name])
    if not decodes:
        put(tail)
    copy = Copy.from_str(tokenizer.to_str())
    copy.post_processor = TemplateProcessing(single=["$A:0"], pair=pieces, special_tokens=tokens)
    return Layout(copy.to_str(), prefixes["query"], prefixes["document"], not decodes or not prompt[-1].isspace())


def around(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """The special tokens that a tokenizer puts before and behind a text."""
    read = tokenizer.encode("x")
    inside = [place for place, special in enumerate(read.special_tokens_mask) if not special]
    start, end = (inside[0], inside[-1] + 1) if inside else (len(read.ids), len(read.ids))
    return read.ids[:start], read.ids[end:]


def word_id(tokenizer: Tokenizer, word: str, *, spaced: bool, unknown: int | None) -> int:
    """The one token of a word.

    :param spaced: see ``Layout``; vocabularies without such words are asked for the word alone.
    :param unknown: the token of what is no word.
    :raises ConfigError: it is several tokens, or none.
    """
    for spelling in [f" {word}", word] if spaced else [word]:
        ids: list[int] = tokenizer.encode(spelling, add_special_tokens=False).ids
        if len(ids) == 1 and ids[0] != unknown:
            return ids[0]
    raise ConfigError(f"prompt_words: {word!r} is no single token of the backbone's tokenizer; give another word")
