"""Long documents in passages: the model reads several pieces of a text, and the best one counts (DESIGN 6.8)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TypeVar

from rerank_plugin.models.types import Splitter

Number = TypeVar("Number", float, bool)


def passages_of(model: object, text: str, most: int, *, query: str = "", before: str = "") -> list[str]:
    """A text in at most ``most`` consecutive pieces; a model that cannot split reads its beginning alone.

    :param query: what a cross-encoder reads beside each piece.
    :param before: what will be put in front of each piece.
    """
    if most <= 1 or not isinstance(model, Splitter):
        return [text]
    return model.passages(text, most, query=query, before=before)


def each_best(values: Sequence[Number], counts: Sequence[int]) -> list[Number]:
    """The highest value of each group; groups of ``counts`` values, none of them empty, follow each other."""
    if len(values) == len(counts):
        return list(values)
    ends = list(accumulate(counts))
    return [max(values[end - count : end]) for count, end in zip(counts, ends, strict=True)]
