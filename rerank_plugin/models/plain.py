"""Models of one layout each, as hubs have them: cross-encoders over pairs, encoders over texts. No torch.

Their graphs take ``input_ids``, ``attention_mask`` and perhaps ``token_type_ids``; how a pair is laid out, say
``[CLS] query [SEP] text [SEP]`` or ``<s> query </s></s> text </s>``, is the tokenizer's own affair.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from rerank_plugin.models.batches import PlainRow, in_batches, plainly_padded
from rerank_plugin.models.runner import TEXTS_AT_A_TIME, TOKEN_BUDGET, OnnxModel, slices
from rerank_plugin.models.types import Encoded, Interaction

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rerank_plugin.models.batches import Batch
    from rerank_plugin.models.runner import Parts


class OnnxCrossEncoder(OnnxModel):
    """``PairScorer`` over the ONNX graph of a sequence classifier with one label."""

    def interact(self, query: str, texts: Sequence[str]) -> Interaction:
        """The query with each text: (pairs,), float32, the classifier's own logits, in the order given.

        A pair that is too long loses tokens of its longer side, as everywhere: a query of less than half the limit is
        never cut.

        :raises ModelFolderError: the folder's files changed since it was opened, or are no such model.
        """
        logits = np.zeros(len(texts), dtype=np.float32)
        truncated = np.zeros(len(texts), dtype=np.bool_)
        if not texts:
            return Interaction(logits, truncated)
        parts = self._open()
        layout = self._folder.manifest.layout
        pad = partial(plainly_padded, pad_id=layout.pad_id)
        for start, some in slices(texts, TEXTS_AT_A_TIME):
            read = parts.tokenizer.pairs(layout.query_prefix + query, [layout.text_prefix + text for text in some])
            truncated[start : start + len(some)] = [pair.truncated for pair in read]
            rows = [PlainRow(pair.ids, pair.types) for pair in read]
            for batch, values in parts.outputs("logits", in_batches(rows, pad, budget=TOKEN_BUDGET)):
                logits[start + np.asarray(batch.indices)] = values.reshape(-1)
        return Interaction(logits, truncated)


class OnnxEncoder(OnnxModel):
    """``TextEncoder`` over an ONNX graph that gives a vector per token, pooled here as the manifest says."""

    @property
    def dimensions(self) -> int:
        """Length of every vector."""
        return self._folder.manifest.dimensions

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Each text apart from all others: (texts, dimensions), float32, unit vectors, in the order given.

        :raises ModelFolderError: the folder's files changed since it was opened, or are no such model.
        """
        return self._encoded(texts, self._folder.manifest.layout.text_prefix)

    def encode_queries(self, texts: Sequence[str]) -> Encoded:
        """The same for questions, for models that were taught to tell them from texts by a prefix."""
        return self._encoded(texts, self._folder.manifest.layout.query_prefix)

    def _encoded(self, texts: Sequence[str], prefix: str) -> Encoded:
        layout = self._folder.manifest.layout
        vectors = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        truncated = np.zeros(len(texts), dtype=np.bool_)
        if not texts:
            return Encoded(vectors, truncated)
        parts = self._open()
        pad = partial(plainly_padded, pad_id=layout.pad_id)
        budget = 1 if layout.alone else TOKEN_BUDGET
        for start, some in slices(texts, TEXTS_AT_A_TIME):
            read = parts.tokenizer([prefix + text for text in some])
            truncated[start : start + len(some)] = [tokens.truncated for tokens in read]
            rows = [PlainRow(tokens.ids, [0] * len(tokens.ids)) for tokens in read]
            for batch, hidden in self._hidden(parts, in_batches(rows, pad, budget=budget)):
                vectors[start + np.asarray(batch.indices)] = pooled(
                    hidden, batch.inputs["attention_mask"], layout.pooling
                )
        return Encoded(vectors, truncated)

    def _hidden(self, parts: Parts, batches: Iterator[Batch]) -> Iterator[tuple[Batch, NDArray[np.float32]]]:
        return parts.outputs(parts.session.get_outputs()[0].name, batches)


def pooled(hidden: NDArray[np.float32], mask: NDArray[np.int64], pooling: str) -> NDArray[np.float32]:
    """(texts, dimensions): unit vectors, of the first token (``cls``) or of the mean over tokens (``mean``).

    :param hidden: (texts, tokens, dimensions).
    :param mask: (texts, tokens), 1 for a token and 0 for padding.
    """
    if pooling == "cls":
        total = hidden[:, 0, :]
    else:
        total = np.einsum("ntd,nt->nd", hidden, mask.astype(np.float32))
    lengths = np.linalg.norm(total, axis=1, keepdims=True)
    return np.asarray(total / np.where(lengths > 0, lengths, 1.0), dtype=np.float32)
