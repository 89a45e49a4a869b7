"""The honest rivals of reranking: a tuned weighted sum, and LambdaMART, over what reranking itself looks at.

Both learn from queries that are not judged here where there are some (``qrels/dev.tsv``, ``qrels/train.tsv``), else
by cross-validation: the queries are cut into folds, and each is answered by what the other folds taught.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rerank_plugin.domain.factors import PRIORS
from rerank_plugin.domain.features import Features
from rerank_plugin.errors import DataError, MissingExtraError
from rerank_plugin.evaluation.arms import FUSION_DEPTH, Answer, DenseSearch, Found, Lists, Target, both_lists
from rerank_plugin.evaluation.collection import Collection, Qrels, Query
from rerank_plugin.evaluation.formats import read_collection
from rerank_plugin.retrieval.fusion import min_max

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]

#: Inputs of a candidate. The last four are NaN where nothing is known.
COLUMNS: tuple[str, ...] = ("words", "meaning", "log_score", "relative_score", "cosine", *PRIORS)
#: What the weighted sum adds up: the words at weight 1, then these.
SUMMED: tuple[str, ...] = ("meaning", *PRIORS)
FOLDS = 5
#: Queries that the rivals learn from, at most: retrieval for more takes longer than they gain.
MOST_LESSONS = 1000
#: Weights that are tried for each term of the sum.
_GRID = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0)
_PASSES = 3
_CUT = 10


@dataclass(frozen=True, slots=True)
class Lesson:
    """The candidates of one query as numbers, with their grades."""

    #: (candidates, len(COLUMNS))
    rows: Matrix
    #: (candidates,), at least 0; an unjudged document has 0.
    grades: Matrix
    #: DCG@10 of the best order of everything judged, linear gain; 0 where nothing is relevant.
    ideal: float


class Scorer(Protocol):
    """Scores candidates: (candidates, columns) -> (candidates,), higher is better."""

    def __call__(self, rows: Matrix) -> Matrix: ...


@dataclass(frozen=True, slots=True)
class Learned:
    """What a learner made of its lessons."""

    score: Scorer
    #: It in words, for the report.
    told: str


Learner = Callable[[Sequence[Lesson]], Learned]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Finds the candidates of a query, with their inputs: the fused list, or the words' where there are no vectors."""

    target: Target
    dense: DenseSearch | None

    def of(self, query: Query) -> tuple[tuple[Found, ...], Matrix]:
        """The documents, and their inputs (candidates, columns)."""
        lists = both_lists(self.target, self.dense, query, FUSION_DEPTH)
        found = self.target.fetched(lists.fused())
        return found, inputs(lists, [(each.doc_id, each.features) for each in found])

    def lesson(self, query: Query, judgments: Mapping[str, int]) -> Lesson:
        """The same with the grades."""
        import numpy as np

        found, rows = self.of(query)
        kept = {document: max(grade, 0) for document, grade in judgments.items() if document not in query.drop}
        grades = np.array([kept.get(each.doc_id, 0) for each in found], dtype=np.float64)
        best = sorted(kept.values(), reverse=True)[:_CUT]
        return Lesson(rows, grades, math.fsum(grade / math.log2(rank + 1) for rank, grade in enumerate(best, start=1)))


def inputs(lists: Lists, documents: Sequence[tuple[str, Features]]) -> Matrix:
    """One row of ``COLUMNS`` for each document."""
    import numpy as np

    words, meaning = min_max(lists.words), min_max(lists.cosines)
    top = max(lists.words.values(), default=0.0) or 1.0
    rows: list[list[float]] = []
    for document, features in documents:
        score = max(lists.words.get(document, 0.0), 0.0)
        known = [features[factor] for factor in PRIORS]
        rows.append(
            [
                words.get(document, 0.0),
                meaning.get(document, 0.0),
                math.log1p(score),
                score / top,
                lists.cosines.get(document, math.nan),
                *(math.nan if value is None else value for value in known),
            ]
        )
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(COLUMNS))


def mean_ndcg(lessons: Sequence[Lesson], scores: Sequence[Matrix]) -> float:
    """Mean nDCG@10, linear gain, of the orders by falling score (ties as given); 0 without lessons."""
    import numpy as np

    total = 0.0
    discounts = 1.0 / np.log2(np.arange(2, _CUT + 2))
    for lesson, each in zip(lessons, scores, strict=True):
        if lesson.ideal > 0:
            best = lesson.grades[np.argsort(-each, kind="stable")[:_CUT]]
            total += float(best @ discounts[: len(best)]) / lesson.ideal
    return total / max(len(lessons), 1)


def learn_sum(lessons: Sequence[Lesson]) -> Learned:
    """``words + w . (meaning, factors)``, unknown factors at 1/2, with the weights >= 0 of the highest mean nDCG@10.

    Found by going through the weights one after the other over a grid, from plain fusion on; of equally good ones the
    smallest is taken.
    """
    import numpy as np

    terms = [_summed(lesson.rows) for lesson in lessons]
    weights = np.array([1.0, *(0.0 for _ in PRIORS)])
    best = mean_ndcg(lessons, [words + others @ weights for words, others in terms])
    for _ in range(_PASSES):
        before = weights.copy()
        for place in range(len(weights)):
            for value in _GRID:
                tried = weights.copy()
                tried[place] = value
                reached = mean_ndcg(lessons, [words + others @ tried for words, others in terms])
                if reached > best + 1e-12:
                    best, weights = reached, tried
        if (weights == before).all():
            break
    chosen = weights.copy()

    def score(rows: Matrix) -> Matrix:
        words, others = _summed(rows)
        total: Matrix = words + others @ chosen
        return total

    return Learned(score, ", ".join(f"{name} {value:g}" for name, value in zip(SUMMED, chosen, strict=True)))


def _summed(rows: Matrix) -> tuple[Matrix, Matrix]:
    import numpy as np

    columns = [COLUMNS.index(name) for name in SUMMED]
    return rows[:, 0], np.nan_to_num(rows[:, columns], nan=0.5)


def learn_lightgbm(lessons: Sequence[Lesson], *, seed: int) -> Learned:
    """LambdaMART over all columns, linear gain; more of a relevance input never lowers a score.

    :raises DataError: no lesson has a relevant candidate.
    :raises MissingExtraError: lightgbm is not installed.
    """
    try:
        import lightgbm
    except ImportError as error:
        raise MissingExtraError("the arm lightgbm", "ltr") from error
    import numpy as np

    useful = [lesson for lesson in lessons if lesson.grades.any()]
    if not useful:
        raise DataError("the arm lightgbm has nothing to learn from: no query has a relevant document among its first")
    grades = np.concatenate([lesson.grades for lesson in useful]).astype(np.int32)
    data = lightgbm.Dataset(
        np.concatenate([lesson.rows for lesson in useful]), grades, group=[len(lesson.rows) for lesson in useful]
    )
    parameters: dict[str, Any] = {
        "objective": "lambdarank",
        "label_gain": list(range(int(grades.max()) + 1)),
        "lambdarank_truncation_level": 2 * _CUT,
        "learning_rate": 0.05,
        "num_leaves": 15,
        "min_data_in_leaf": 50,
        "monotone_constraints": [int(name not in PRIORS) for name in COLUMNS],
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }
    model = lightgbm.train(parameters, data, num_boost_round=150)

    def score(rows: Matrix) -> Matrix:
        if not len(rows):
            return np.zeros(0)
        predicted: Matrix = np.asarray(model.predict(rows, num_threads=1), dtype=np.float64)
        return predicted

    gains = model.feature_importance("gain")
    shares = sorted(zip(COLUMNS, gains / max(gains.sum(), 1e-12), strict=True), key=lambda each: -each[1])
    told = ", ".join(f"{name} {share:.0%}" for name, share in shares if share >= 0.005)
    return Learned(score, f"share of gain: {told}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedArm:
    """Answers with the candidates in the order of what was learned without the query."""

    candidates: Candidates
    #: Query -> what answers it; a query that is not named (the unmeasured first call) gets ``other``.
    scorers: Mapping[str, Scorer]
    other: Scorer
    #: How it was learned, for the report.
    note: str

    def answer(self, query: Query) -> Answer:
        """Candidates by falling score; ties in the order they were found."""
        found, rows = self.candidates.of(query)
        scores = self.scorers.get(query.query_id, self.other)(rows).tolist()
        order = sorted(range(len(found)), key=lambda place: -scores[place])
        return Answer(tuple(Found(found[each].doc_id, scores[each], found[each].features) for each in order))


@dataclass(frozen=True, slots=True, kw_only=True)
class Teaching:
    """Queries to learn from that are not judged here."""

    #: Where they come from, for the report: ``dev``, ``train`` or a file's name.
    name: str
    collection: Collection


def read_teaching(name: str, queries: Path, qrels: Path, judged: Collection, *, seed: int) -> Teaching | None:
    """A sample of ``MOST_LESSONS`` judged queries at most, none of those that are judged here.

    ``None`` where none is left.

    :raises DataError: a file cannot be read, or its queries have no relevant document.
    """
    asked = {query.query_id for query in judged.queries}
    read = read_collection(name, queries, qrels)
    kept = tuple(query for query in read.queries if query.query_id not in asked)
    if not kept:
        return None
    if len(kept) > MOST_LESSONS:  # not the first: files are often sorted by source or time
        kept = tuple(random.Random(seed).sample(kept, MOST_LESSONS))
    return Teaching(name=name, collection=replace(read, queries=kept))


def require_learning(kind: str, collection: Collection, teaching: Teaching | None) -> None:
    """Nothing, where an arm has what it learns from: asked before the first query.

    :raises DataError: too few queries for cross-validation.
    :raises MissingExtraError: lightgbm is wanted and not installed.
    """
    if teaching is None and len(collection.queries) < 2:
        raise DataError(f"the arm {kind} learns by cross-validation: give at least 2 queries, or --teach")
    if kind == "lightgbm" and find_spec("lightgbm") is None:
        raise MissingExtraError("the arm lightgbm", "ltr")


def lessons_of(
    candidates: Candidates, queries: Sequence[Query], qrels: Qrels, on_query: Callable[[], None]
) -> list[Lesson]:
    """The lesson of each query, in order."""
    made: list[Lesson] = []
    for query in queries:
        made.append(candidates.lesson(query, qrels[query.query_id]))
        on_query()
    return made


def learned_arm(
    candidates: Candidates,
    lessons: Sequence[Lesson],
    learner: Learner,
    collection: Collection,
    teaching: str,
    seed: int,
) -> LearnedArm:
    """The arm, learned from the lessons.

    :param lessons: of the teaching's queries; of the collection's own where there is no teaching, in its order.
    :param teaching: where the lessons come from; empty for the collection itself, which is then cut into folds (it
        has at least two queries).
    """
    import numpy as np

    if teaching:
        learned = learner(lessons)
        note = f"learned from {len(lessons)} queries of {teaching}: {learned.told}"
        return LearnedArm(candidates=candidates, scorers={}, other=learned.score, note=note)
    folds = min(FOLDS, len(lessons))
    places = np.random.default_rng(seed).permutation(len(lessons)) % folds
    scorers: dict[str, Scorer] = {}
    told: list[str] = []
    for fold in range(folds):
        learned = learner([lesson for lesson, place in zip(lessons, places, strict=True) if place != fold])
        told.append(learned.told)
        scorers |= {
            query.query_id: learned.score
            for query, place in zip(collection.queries, places, strict=True)
            if place == fold
        }
    note = f"learned in {folds} folds over the queries; the first fold's: {told[0]}"
    return LearnedArm(candidates=candidates, scorers=scorers, other=next(iter(scorers.values())), note=note)
