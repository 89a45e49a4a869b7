"""Measures per query, by ir-measures (trec_eval)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from rerank_plugin.errors import ConfigError, MissingExtraError
from rerank_plugin.evaluation.collection import Qrels
from rerank_plugin.evaluation.runs import Run

#: Measures of every evaluation; the first one leads. ``--measure`` adds others.
MEASURES: tuple[str, ...] = ("nDCG@10", "RR@10", "AP", "R@100", "P@10")
#: How much of a run's top is judged at all: it qualifies the others and is compared with nothing.
COVERAGE = "Judged@10"
#: What a grade is worth in nDCG: itself (trec_eval), or 2^grade - 1 (Quepid, LightGBM's default).
Gain = Literal["linear", "exponential"]


def require_packages() -> None:
    """Nothing, where all that an evaluation needs is installed: asked before the first query, not after the last.

    :raises MissingExtraError: a package of the extra ``evaluate`` is absent.
    """
    if any(find_spec(package) is None for package in ("ir_measures", "scipy", "jinja2")):
        raise MissingExtraError("comparing arms", "evaluate")


def parse_measures(texts: Sequence[str]) -> tuple[str, ...]:
    """The measures of every evaluation and the given ones, in ir-measures' own spelling.

    :raises ConfigError: one is none of trec_eval's.
    :raises MissingExtraError: ir-measures is not installed.
    """
    require_packages()
    import ir_measures

    names = dict.fromkeys(MEASURES)
    for text in texts:
        try:
            measure = ir_measures.parse_measure(text.strip())
            next(iter(ir_measures.iter_calc([measure], {"q": {"d": 1}}, {"q": {"d": 1.0}})), None)
        except (ValueError, NameError, KeyError, TypeError, SyntaxError, RuntimeError, AssertionError) as error:
            raise ConfigError(f"{text!r} is no measure; write nDCG@20, P@5, Success@1, Bpref and so on") from error
        names[str(measure)] = None
    names.pop(COVERAGE, None)
    return tuple(names)


@dataclass(frozen=True, slots=True)
class Judged:
    """A run's values, in [0, 1]."""

    #: Measure -> query -> value; every query of the judgments is there.
    per_query: Mapping[str, Mapping[str, float]]
    #: Judged queries for which the run has nothing: they score 0.
    missing: int

    def mean(self, measure: str) -> float:
        """Mean over the judged queries; 0 when there are none."""
        values = self.per_query[measure].values()
        return math.fsum(values) / max(len(values), 1)


def judge(run: Run, qrels: Qrels, *, measures: Sequence[str] = MEASURES, gain: Gain = "linear") -> Judged:
    """The measures of every judged query, and the share of its first ten that is judged; queries the run has and the
    judgments have not are left out.

    :raises MissingExtraError: ir-measures is not installed.
    """
    try:
        import ir_measures
    except ImportError as error:
        raise MissingExtraError("judging a run", "evaluate") from error
    # Minus the rank instead of the score: the order is strict, so ties cannot be broken by document id.
    ordered = {
        query_id: {document: -float(rank) for rank, document in enumerate(run.ids(query_id), start=1)}
        for query_id in qrels
        if run.ids(query_id)
    }
    names = (*measures, COVERAGE)
    values: dict[str, dict[str, float]] = {measure: dict.fromkeys(qrels, 0.0) for measure in names}
    if ordered:
        parsed = [ir_measures.parse_measure(measure) for measure in names]
        for metric in ir_measures.iter_calc(parsed, gains(qrels, gain), ordered):
            values[str(metric.measure)][metric.query_id] = float(metric.value)
    return Judged(values, missing=len(qrels) - len(ordered))


def gains(qrels: Qrels, gain: Gain) -> dict[str, dict[str, int]]:
    """The grades as what they are worth: themselves, or 2^grade - 1. Which documents are relevant stays the same."""
    exponential = gain == "exponential"
    return {
        query_id: {document: 2**grade - 1 if exponential and grade > 0 else grade for document, grade in grades.items()}
        for query_id, grades in qrels.items()
    }
