"""What every kind of model folder shares when it runs: tokenizer, session and threads of this process.

Threads take a batch each: measured, that is faster than sharing every operator among threads, and it needs no pool of
onnxruntime's own, whose threads a forked process would miss.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from rerank_plugin.errors import ConfigError, ModelFolderError
from rerank_plugin.models.batches import Batch
from rerank_plugin.models.folder import ModelFolder
from rerank_plugin.models.tokens import TextTokenizer

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


@dataclass(frozen=True, slots=True)
class Parts:
    """What one process runs."""

    tokenizer: TextTokenizer
    session: onnxruntime.InferenceSession
    #: Names of the graph's inputs: a batch may offer more than the graph takes.
    inputs: frozenset[str]
    #: ``None`` where one thread, the caller's, is all.
    pool: ThreadPoolExecutor | None

    def outputs(self, name: str, batches: Iterable[Batch]) -> Iterator[tuple[Batch, NDArray[np.float32]]]:
        """Each batch with one output of the graph."""

        def run(batch: Batch) -> tuple[Batch, NDArray[np.float32]]:
            taken = {key: values for key, values in batch.inputs.items() if key in self.inputs}
            return batch, self.session.run([name], cast(Any, taken))[0]

        return map(run, batches) if self.pool is None else self.pool.map(run, batches)


class OnnxModel:
    """An ONNX graph of a model folder, opened at the first text.

    Safe to share between threads; a forked process opens its own session.
    """

    def __init__(self, folder: ModelFolder, *, threads: int | None = None) -> None:
        if threads is not None and threads < 1:
            raise ConfigError(f"threads must be at least 1, got {threads}")
        self._folder = folder
        self._threads = threads or _cores()
        self._lock = threading.Lock()
        self._owner = os.getpid()
        self._parts: Parts | None = None

    @property
    def name(self) -> str:
        """``NAME@first twelve digits of the weights' sha256``."""
        return self._folder.name

    @property
    def max_tokens(self) -> int:
        """Tokens that are read at a time, special tokens included: of a text, or of a pair in a cross-encoder."""
        return self._folder.manifest.max_tokens

    def unknown_share(self, text: str) -> float:
        """Share of the beginning of a text that the model has no words for, in [0, 1]; see ``tokens.unknown_ids``.

        :raises ModelFolderError: the folder's files changed since it was opened, or are no such model.
        """
        return self._open().tokenizer.unknown_share(text)

    def passages(self, text: str, most: int, *, query: str = "", before: str = "") -> list[str]:
        """The text in at most ``most`` consecutive pieces of whole words; all but the last are read to their end.

        :param query: what a cross-encoder reads beside each piece.
        :param before: what will be put in front of each piece.
        :raises ModelFolderError: the folder's files changed since it was opened, or are no such model.
        """
        manifest = self._folder.manifest
        beside = query if manifest.kind == "cross-encoder" else manifest.layout.text_prefix
        return self._open().tokenizer.passages(text, most, beside=f"{beside} {before}" if before else beside)

    def _check(self, inputs: Collection[str], outputs: Sequence[str]) -> str:
        """What is wrong with a graph of these inputs and outputs; empty when nothing is."""
        wanted = {"input_ids", "attention_mask"}
        if wanted <= set(inputs) <= {*wanted, "token_type_ids"} and outputs:
            return ""
        return f"is no plain text model: it takes {', '.join(sorted(inputs))}, gives {', '.join(outputs)}"

    def _open(self) -> Parts:
        """Tokenizer, session and threads of this process, created at the first call."""
        if self._owner != os.getpid():  # after a fork: the parent's threads, and who holds its lock, are gone
            self._owner, self._lock, self._parts = os.getpid(), threading.Lock(), None
        with self._lock:
            if self._parts is None:
                definition = self._folder.read("tokenizer").decode("utf-8", "replace")
                tokenizer = TextTokenizer(
                    definition, self.max_tokens, pairs=self._folder.manifest.kind == "cross-encoder"
                )
                session, inputs = _session(self._folder, self._check)
                pool = ThreadPoolExecutor(self._threads, "rerank-trunk") if self._threads > 1 else None
                self._parts = Parts(tokenizer, session, inputs, pool)
            return self._parts


def _cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def slices(texts: Sequence[str], size: int) -> Iterator[tuple[int, Sequence[str]]]:
    """Start and texts of each slice of at most ``size``."""
    for start in range(0, len(texts), size):
        yield start, texts[start : start + size]


def _session(
    folder: ModelFolder, check: Callable[[Collection[str], Sequence[str]], str]
) -> tuple[onnxruntime.InferenceSession, frozenset[str]]:
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
        inputs = frozenset(each.name for each in session.get_inputs())
        outputs = [each.name for each in session.get_outputs()]
    except ModelFolderError:
        raise
    except Exception as error:  # onnxruntime's own classes share no base but Exception
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelFolderError(f"{folder.file('model')} cannot be run ({reason}); export the model again") from error
    wrong = check(inputs, outputs)
    if wrong:
        raise ModelFolderError(f"{folder.file('model')} {wrong}; export the model with `rerank model export`")
    return session, inputs
