"""The two-mode trunk on onnxruntime and tokenizers: no torch.

One graph does both: a row with one segment is a text to encode, a row with two is a pair. Texts are sorted by length
and run in batches of a bounded number of tokens, so that neither padding nor memory grows with the input. Threads take
a batch each: measured, that is faster than sharing every operator among threads, and it needs no pool of onnxruntime's
own, whose threads a forked process would miss.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from rerank_plugin.errors import ConfigError, ModelFolderError
from rerank_plugin.models.batches import Batch, Row, in_batches
from rerank_plugin.models.folder import ModelFolder
from rerank_plugin.models.tokens import TextTokenizer, Tokens
from rerank_plugin.models.types import Encoded, Interaction

if TYPE_CHECKING:
    import onnxruntime
    from numpy.typing import NDArray

#: Tokens per batch, padding included. Small batches keep the activations in the processor's cache (measured: 512 takes
#: 30 % less time than 4,096).
TOKEN_BUDGET = 512
#: Texts tokenized at a time: bounds what tokenizing a long list holds in memory.
TEXTS_AT_A_TIME = 2048
#: onnxruntime's fused kernels for these are slower than the plain operators they replace (measured: 8.3 ms against
#: 2.4 ms for 4,032 rows of 384, and 9.6 ms against 6.8 ms for rows of 1,536, one thread, 1.32).
SLOW_FUSIONS = ["SkipLayerNormFusion", "BiasGeluFusion"]


def open_trunk(folder: ModelFolder, *, threads: int | None = None) -> OnnxTrunk:
    """The trunk of a folder. Nothing is loaded before the first text.

    :param threads: batches that run at the same time; ``None`` is one per core this process may use.
    :raises ConfigError: fewer than one thread.
    """
    return OnnxTrunk(folder, threads=threads)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What one process runs."""

    tokenizer: TextTokenizer
    session: onnxruntime.InferenceSession
    #: ``None`` where one thread, the caller's, is all.
    pool: ThreadPoolExecutor | None

    def outputs(self, name: str, batches: Iterable[Batch]) -> Iterator[tuple[Batch, NDArray[np.float32]]]:
        """Each batch with one output of the graph."""

        def run(batch: Batch) -> tuple[Batch, NDArray[np.float32]]:
            return batch, self.session.run([name], cast(Any, batch.inputs))[0]

        return map(run, batches) if self.pool is None else self.pool.map(run, batches)


class OnnxTrunk:
    """``TwoModeTrunk`` over an ONNX file. Safe to share between threads; a forked process opens its own session."""

    def __init__(self, folder: ModelFolder, *, threads: int | None = None) -> None:
        if threads is not None and threads < 1:
            raise ConfigError(f"threads must be at least 1, got {threads}")
        self._folder = folder
        self._threads = threads or _cores()
        self._lock = threading.Lock()
        self._owner = os.getpid()
        self._parts: _Parts | None = None

    @property
    def name(self) -> str:
        """``NAME@first twelve digits of the weights' sha256``."""
        return self._folder.name

    @property
    def dimensions(self) -> int:
        """Length of every vector."""
        return self._folder.manifest.dimensions

    @property
    def max_tokens(self) -> int:
        """Tokens of a text that are read, special tokens included."""
        return self._folder.manifest.max_tokens

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
        for start, some in _slices(texts, TEXTS_AT_A_TIME):
            read = parts.tokenizer(some)
            truncated[start : start + len(some)] = [tokens.truncated for tokens in read]
            batches = in_batches([row(tokens) for tokens in read], budget=TOKEN_BUDGET)
            for batch, values in parts.outputs(output, batches):
                into[start + np.asarray(batch.indices)] = values
        return truncated

    def _open(self) -> _Parts:
        """Tokenizer, session and threads of this process, created at the first call."""
        if self._owner != os.getpid():  # after a fork: the parent's threads, and who holds its lock, are gone
            self._owner, self._lock, self._parts = os.getpid(), threading.Lock(), None
        with self._lock:
            if self._parts is None:
                definition = self._folder.read("tokenizer").decode("utf-8", "replace")
                pool = ThreadPoolExecutor(self._threads, "rerank-trunk") if self._threads > 1 else None
                self._parts = _Parts(TextTokenizer(definition, self.max_tokens), _session(self._folder), pool)
            return self._parts


def _cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _slices(texts: Sequence[str], size: int) -> Iterator[tuple[int, Sequence[str]]]:
    for start in range(0, len(texts), size):
        yield start, texts[start : start + size]


def _session(folder: ModelFolder) -> onnxruntime.InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Batches differ in shape: the arena would keep the largest of every kind for good.
    options.enable_cpu_mem_arena = False
    try:
        session = onnxruntime.InferenceSession(
            folder.read("model"),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=SLOW_FUSIONS,
        )
        inputs = sorted(each.name for each in session.get_inputs())
        outputs = sorted(each.name for each in session.get_outputs())
    except ModelFolderError:
        raise
    except Exception as error:  # onnxruntime's own classes share no base but Exception
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelFolderError(f"{folder.file('model')} cannot be run ({reason}); export the model again") from error
    if inputs != ["input_ids", "position_ids", "segment_ids"] or outputs != ["first", "interaction", "second"]:
        raise ModelFolderError(
            f"{folder.file('model')} is no two-mode trunk: it takes {', '.join(inputs)}, gives {', '.join(outputs)}; "
            "export the model with `rerank model export`"
        )
    return session
