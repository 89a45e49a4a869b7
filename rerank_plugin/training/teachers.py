"""What other models say of the windows that a model is trained on: scores kept on disk, mixed with the first stage's.

A teacher is any model folder: an encoder's cosines, or a cross-encoder's logits. Their scales have nothing in common,
so each is standardised per query, as the first-stage score is, and the sum of them is fitted: slopes of at least 0 by
the listwise loss on the training labels (``calibrate.listwise_slopes``). So a weak teacher gets a small share, and what
comes out is on the scale of log-odds: its softmax is as sharp as the labels are, which is a temperature fitted instead
of chosen (Guo et al. 2017), and its margins are those that the student's z shall have.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from rerank_plugin.errors import DataError
from rerank_plugin.models.load import open_model
from rerank_plugin.models.types import PairScorer, TextEncoder, encoded_query
from rerank_plugin.training.calibrate import listwise_slopes, ndcg_of_orders

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rerank_plugin.models.folder import ModelFolder
    from rerank_plugin.training.calibrate import Window

#: Name of the first stage among the teachers.
FIRST_STAGE = "first stage"
#: Bytes of a line of the file that are read; a window of 1,000 has fewer.
LINE_BYTES = 1 << 16

#: Scores of one query's texts: (query, texts) -> (texts,).
Scorer = Callable[[str, Sequence[str]], "NDArray[np.float64]"]
#: Makes a progress bar: (label, steps) -> a context with a function to call after each step.
Progress = Callable[[str, int], AbstractContextManager[Callable[[], None]]]


@dataclass(frozen=True, slots=True)
class Taught:
    """Windows with what the teachers say of them, and what came of fitting it."""

    windows: list[Window]
    #: By teacher, and ``FIRST_STAGE``: log-odds per standard deviation of the query's scores.
    slopes: Mapping[str, float]
    #: nDCG@10 of the training windows in the order of the mixed teachers, the unscored behind.
    ndcg: float


class ScoreFile:
    """Scores by key, one JSON object a line, every digit of them; what a kill cut off is not read, and made again.

    :param path: created with the first score.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found = dict(self._read()) if path.exists() else {}

    def get(self, key: str, count: int) -> NDArray[np.float64] | None:
        """The scores under a key; ``None`` where there are none, or not so many."""
        found = self._found.get(key)
        return None if found is None or len(found) != count else np.array(found)

    def put(self, key: str, scores: NDArray[np.float64]) -> None:
        """Keeps scores, on disk when this returns (the system may still hold them when power is cut)."""
        self._found[key] = scores.tolist()
        line = json.dumps({"key": key, "scores": self._found[key]}).encode("ascii")
        with self._path.open("ab") as file:
            file.write(b"\n" + line)  # in front: the line before may have been cut off

    def _read(self) -> Iterator[tuple[str, list[float]]]:
        with self._path.open("rb") as file:
            while line := file.readline(LINE_BYTES):
                try:
                    record = json.loads(line)
                    key, scores = str(record["key"]), [float(each) for each in record["scores"]]
                except (ValueError, KeyError, TypeError):
                    continue
                if all(map(math.isfinite, scores)):
                    yield key, scores


def taught(
    windows: Sequence[Window], teachers: Sequence[ModelFolder], *, most: int, cache: Path, progress: Progress
) -> Taught:
    """The windows with the log-odds of the mixed teachers.

    :param most: candidates of a window that are scored, in the order of retrieval; relevant ones are scored wherever
        they stand.
    :param cache: file of scores; what stands in it is not scored again.
    :raises DataError: a teacher says something that is no number, or no window has a relevant and another candidate.
    :raises ModelFolderError: a teacher cannot be run.
    """
    places = [scored_places(window, most) for window in windows]
    kept = ScoreFile(cache)
    columns: dict[str, list[NDArray[np.float64]]] = {
        FIRST_STAGE: [window.scores[chosen] for window, chosen in zip(windows, places, strict=True)]
    }
    for folder in teachers:
        with progress(f"teacher {folder.name}", len(windows)) as step:
            columns[folder.name] = _scores(folder, windows, places, kept, step)
    inputs = [np.stack([standardised(columns[name][row]) for name in columns], axis=1) for row in range(len(windows))]
    slopes = _fitted(windows, places, inputs)
    found, orders = [], []
    for window, chosen, each in zip(windows, places, inputs, strict=True):
        said = np.full(len(window.request.candidates), math.nan)
        said[chosen] = each @ slopes
        found.append(replace(window, taught=said))
        orders.append(np.argsort(-said, kind="stable").tolist())  # numbers first, then NaN
    named = {name: round(float(slope), 4) for name, slope in zip(columns, slopes, strict=True)}
    judged = [row for row, window in enumerate(found) if window.judgments]
    ndcg = ndcg_of_orders([found[row] for row in judged], [orders[row] for row in judged])
    return Taught(found, named, float(np.mean(ndcg)))


def scored_places(window: Window, most: int) -> list[int]:
    """Places of the candidates with a text that teachers look at, in order."""
    grades = window.grades
    return [
        place
        for place, each in enumerate(window.request.candidates)
        if each.text.strip() and (place < most or grades[place] > 0)
    ]


def standardised(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """(candidates,) of mean 0 and standard deviation 1; zeros where all are the same."""
    if not len(scores):
        return scores
    spread = float(scores.std())
    # What rounding leaves of equal scores is no difference.
    return (scores - scores.mean()) / spread if spread > 1e-9 * max(1.0, float(np.abs(scores).max())) else scores * 0.0


def scorer_of(folder: ModelFolder) -> Scorer:
    """How a model folder scores texts: a cross-encoder's or an opened trunk's logits, else cosines."""
    model = open_model(folder)
    closed = bool(folder.manifest.interaction.get("closed"))
    if isinstance(model, TextEncoder) and (closed or not isinstance(model, PairScorer)):
        return _Cosines(model)
    pairs = cast(PairScorer, model)
    return lambda query, texts: pairs.interact(query, texts).logits.astype(np.float64)


class _Cosines:
    """Cosines of queries and texts; a text that several queries found is encoded once."""

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder
        self._known: dict[str, NDArray[np.float32]] = {}

    def __call__(self, query: str, texts: Sequence[str]) -> NDArray[np.float64]:
        unknown = [text for text in dict.fromkeys(texts) if text not in self._known]
        if unknown:
            self._known |= dict(zip(unknown, self._encoder.encode(unknown).vectors, strict=True))
        vectors = np.stack([self._known[text] for text in texts])
        found: NDArray[np.float64] = (vectors @ encoded_query(self._encoder, query)).astype(np.float64)
        return found


def _scores(
    folder: ModelFolder,
    windows: Sequence[Window],
    places: Sequence[Sequence[int]],
    kept: ScoreFile,
    step: Callable[[], None],
) -> list[NDArray[np.float64]]:
    """Per window (places,); from the file, or made and written to it."""
    teacher = [folder.name, folder.manifest.max_tokens, asdict(folder.manifest.layout)]
    scorer: Scorer | None = None
    found = []
    for window, chosen in zip(windows, places, strict=True):
        query, texts = window.request.query, [window.request.candidates[place].text for place in chosen]
        key = _key([teacher, query, texts])
        scores = kept.get(key, len(texts)) if texts else np.zeros(0)
        if scores is None:
            scorer = scorer or scorer_of(folder)
            scores = scorer(query, texts)
            if not np.isfinite(scores).all():
                raise DataError(f"the teacher {folder.name} gives a score that is no number to {query!r:.60}")
            kept.put(key, scores)
        found.append(scores)
        step()
    return found


def _key(of: Any) -> str:
    return hashlib.sha256(json.dumps(of).encode("ascii")).hexdigest()


def _fitted(
    windows: Sequence[Window], places: Sequence[Sequence[int]], inputs: Sequence[NDArray[np.float64]]
) -> NDArray[np.float64]:
    """(columns,): slopes of least listwise loss over the windows with an order."""
    grades = [window.grades[chosen] for window, chosen in zip(windows, places, strict=True)]
    usable = [row for row, grade in enumerate(grades) if len(grade) and grade.max() > 0 and grade.min() <= 0]
    if not usable:
        raise DataError(
            f"none of {len(windows)} training queries found a relevant and an irrelevant document; nothing to teach"
        )
    return listwise_slopes([inputs[row] for row in usable], [grades[row] for row in usable], [1.0] * len(usable))
