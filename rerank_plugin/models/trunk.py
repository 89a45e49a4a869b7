"""The two-mode trunk on onnxruntime and tokenizers: no torch.

One graph does both: a row with one segment is a text to encode, a row with two is a pair. Texts are sorted by length
and run in batches of a bounded number of tokens, so that neither padding nor memory grows with the input.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from rerank_plugin.models.batches import Row, in_batches, padded
from rerank_plugin.models.folder import ModelFolder
from rerank_plugin.models.runner import TEXTS_AT_A_TIME, TOKEN_BUDGET, OnnxModel, slices
from rerank_plugin.models.types import Encoded, Interaction

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rerank_plugin.models.tokens import Tokens


def open_trunk(folder: ModelFolder, *, threads: int | None = None) -> OnnxTrunk:
    """The trunk of a folder. Nothing is loaded before the first text.

    :param threads: batches that run at the same time; ``None`` is one per core this process may use.
    :raises ConfigError: fewer than one thread.
    """
    return OnnxTrunk(folder, threads=threads)


class OnnxTrunk(OnnxModel):
    """``TwoModeTrunk`` over an ONNX file. Safe to share between threads; a forked process opens its own session."""

    @property
    def dimensions(self) -> int:
        """Length of every vector."""
        return self._folder.manifest.dimensions

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Each text apart from all others: (texts, dimensions), float32, unit vectors, in the order given.

        :raises ModelFolderError: the folder's files changed since it was opened, or are no such model.
        """
        vectors = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        truncated = self._run(texts, "first", lambda tokens: Row(tokens.ids, []), vectors)
        return Encoded(vectors, truncated)

    def interact(self, query: str, texts: Sequence[str]) -> Interaction:
        """The query with each text: (pairs,), float32 logits, in the order given.

        Query and text have a limit each, so neither is cut for the other's sake.

        :raises ModelFolderError: the folder's files changed since it was opened, or are no such model.
        """
        logits = np.zeros(len(texts), dtype=np.float32)
        if not texts:
            return Interaction(logits, np.zeros(0, dtype=np.bool_))
        asked = self._open().tokenizer([query])[0].ids
        truncated = self._run(texts, "interaction", lambda tokens: Row(asked, tokens.ids), logits)
        return Interaction(logits, truncated)

    def _run(
        self, texts: Sequence[str], output: str, row: Callable[[Tokens], Row], into: NDArray[np.float32]
    ) -> NDArray[np.bool_]:
        """Fills ``into`` with one output per text; which texts were cut comes back."""
        truncated = np.zeros(len(texts), dtype=np.bool_)
        if not texts:
            return truncated
        parts = self._open()
        for start, some in slices(texts, TEXTS_AT_A_TIME):
            read = parts.tokenizer(some)
            truncated[start : start + len(some)] = [tokens.truncated for tokens in read]
            batches = in_batches([row(tokens) for tokens in read], padded, budget=TOKEN_BUDGET)
            for batch, values in parts.outputs(output, batches):
                into[start + np.asarray(batch.indices)] = values
        return truncated

    def _check(self, inputs: Collection[str], outputs: Sequence[str]) -> str:
        if sorted(inputs) == ["input_ids", "position_ids", "segment_ids"] and sorted(outputs) == [
            "first",
            "interaction",
            "second",
        ]:
            return ""
        return f"is no two-mode trunk: it takes {', '.join(sorted(inputs))}, gives {', '.join(sorted(outputs))}"
