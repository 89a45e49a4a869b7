"""nDCG@10, RR@10, AP and R@100 per query, by ir-measures (trec_eval); nDCG has linear gain: a grade is its gain."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec

from rerank_plugin.errors import MissingExtraError
from rerank_plugin.evaluation.collection import Qrels
from rerank_plugin.evaluation.runs import Run

MEASURES: tuple[str, ...] = ("nDCG@10", "RR@10", "AP", "R@100")


def require_packages() -> None:
    """Nothing, where all that an evaluation needs is installed: asked before the first query, not after the last.

    :raises MissingExtraError: a package of the extra ``evaluate`` is absent.
    """
    if any(find_spec(package) is None for package in ("ir_measures", "scipy", "jinja2")):
        raise MissingExtraError("comparing arms", "evaluate")


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


def judge(run: Run, qrels: Qrels) -> Judged:
    """The measures of every judged query; queries the run has and the judgments have not are left out.

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
    values: dict[str, dict[str, float]] = {measure: dict.fromkeys(qrels, 0.0) for measure in MEASURES}
    if ordered:
        measures = [ir_measures.parse_measure(measure) for measure in MEASURES]
        for metric in ir_measures.iter_calc(measures, {key: dict(grades) for key, grades in qrels.items()}, ordered):
            values[str(metric.measure)][metric.query_id] = float(metric.value)
    return Judged(values, missing=len(qrels) - len(ordered))
