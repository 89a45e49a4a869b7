"""Rows of tokens as padded batches: sorted by length, bounded by a budget of tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Segment numbers of the graph's input ``segment_ids``.
FIRST, SECOND, PADDING = 0, 1, -1


@dataclass(frozen=True, slots=True)
class Row:
    """One text (``second`` is empty) or one pair; each side with its own special tokens and its own positions."""

    first: list[int]
    second: list[int]

    def __len__(self) -> int:
        return len(self.first) + len(self.second)


@dataclass(frozen=True, slots=True)
class PlainRow:
    """One text or one pair in the layout of its own tokenizer."""

    ids: list[int]
    #: Token types, one per token.
    types: list[int]

    def __len__(self) -> int:
        return len(self.ids)


AnyRow = TypeVar("AnyRow", bound=Sized)


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of similar length as the graph takes them."""

    #: (rows,): where the rows stood among those given.
    indices: list[int]
    #: Input name -> (rows, tokens), int64.
    inputs: dict[str, NDArray[np.int64]]


def in_batches(
    rows: Sequence[AnyRow], pad: Callable[[Sequence[AnyRow]], dict[str, NDArray[np.int64]]], *, budget: int
) -> Iterator[Batch]:
    """Every row once, longest first; rows times longest row is at most ``budget`` unless a single row exceeds it.

    :param pad: makes the graph's inputs of rows.
    :param budget: tokens per batch, padding included.
    """
    order = sorted(range(len(rows)), key=lambda index: -len(rows[index]))
    start = 0
    while start < len(order):
        width = max(1, len(rows[order[start]]))
        chosen = order[start : start + max(1, budget // width)]
        yield Batch(chosen, pad([rows[index] for index in chosen]))
        start += len(chosen)


def padded(rows: Sequence[Row]) -> dict[str, NDArray[np.int64]]:
    """``input_ids``, ``segment_ids`` and ``position_ids``, each (rows, longest row), int64."""
    shape = (len(rows), max((len(row) for row in rows), default=0))
    tokens = np.zeros(shape, dtype=np.int64)
    segments = np.full(shape, PADDING, dtype=np.int64)
    positions = np.zeros(shape, dtype=np.int64)
    for index, row in enumerate(rows):
        middle, end = len(row.first), len(row)
        tokens[index, :middle] = row.first
        tokens[index, middle:end] = row.second
        segments[index, :middle] = FIRST
        segments[index, middle:end] = SECOND
        positions[index, :middle] = np.arange(middle)
        positions[index, middle:end] = np.arange(end - middle)
    return {"input_ids": tokens, "segment_ids": segments, "position_ids": positions}


def plainly_padded(rows: Sequence[PlainRow], pad_id: int) -> dict[str, NDArray[np.int64]]:
    """``input_ids``, ``attention_mask`` and ``token_type_ids``, each (rows, longest row), int64.

    :param pad_id: the token that pads; models of the RoBERTa type count positions by it.
    """
    shape = (len(rows), max((len(row) for row in rows), default=0))
    tokens = np.full(shape, pad_id, dtype=np.int64)
    mask, types = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    for index, row in enumerate(rows):
        end = len(row)
        tokens[index, :end], types[index, :end], mask[index, :end] = row.ids, row.types, 1
    return {"input_ids": tokens, "attention_mask": mask, "token_type_ids": types}
