"""Runs arms over a collection: every query asked once per arm, timed, and judged."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rerank_plugin.domain.factors import PRIORS
from rerank_plugin.evaluation.arms import Answer, Arm
from rerank_plugin.evaluation.collection import Collection
from rerank_plugin.evaluation.metrics import MEASURES, Gain, Judged, judge
from rerank_plugin.evaluation.runs import Run, ScoredDocument
from rerank_plugin.evaluation.specs import ArmSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: What ``factors@10`` averages: the stored factors, and the age of a document in days.
MEANS: tuple[str, ...] = (*PRIORS, "age_days")
FACTOR_CUT = 10
#: Names of the two in results.
FACTOR_MEANS, DIVERSITY = f"factors@{FACTOR_CUT}", f"diversity@{FACTOR_CUT}"
FACTOR_AUC = "factor_auc"

#: Document ids -> the cosine of each pair of those that have a vector, (documents, documents).
Similarities = Callable[[Sequence[str]], "NDArray[np.float32]"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmResult:
    """One arm over one collection."""

    label: str
    #: What it is (``specs.KINDS``).
    kind: str
    run: Run
    judged: Judged
    #: Wall-clock of each query's search call, in milliseconds, in the order of the queries; empty for a saved run.
    latencies_ms: tuple[float, ...]
    #: Mean over queries of the mean of what is known in the top 10; ``None`` where nothing is known.
    factors: Mapping[str, float | None]
    #: What a factor alone says of relevance among what was found; see :func:`factor_auc`.
    factor_auc: Mapping[str, float | None]
    #: Mean over queries of 1 - the mean cosine between two of the top 10; ``None`` where no vectors are known.
    diversity: float | None
    #: How many searches ended with each status of the reranking client; empty for arms that do not rerank.
    statuses: Mapping[str, int]
    #: How often each reason was given for a search that was not reranked in full.
    reasons: Mapping[str, int]
    #: Documents of which the model could not read everything, over all queries.
    truncated: int
    #: Query -> what the arm found, with features and explanations.
    answers: Mapping[str, Answer]
    #: How the arm came about, where that needs saying.
    note: str = ""

    @property
    def fallbacks(self) -> int:
        """Searches that were answered in the engine's own order because reranking failed."""
        return self.statuses.get("fallback", 0)


def run_arm(
    spec: ArmSpec,
    arm: Arm,
    collection: Collection,
    *,
    measures: Sequence[str] = MEASURES,
    gain: Gain = "linear",
    similarities: Similarities | None = None,
    on_query: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> ArmResult:
    """Every query of the collection asked once, after one unmeasured call that opens models and caches.

    :param similarities: of documents, where vectors are known.
    :param on_query: called after each query, for a progress bar.
    :raises RerankError: judging is not possible; errors of the engine's client pass through.
    """
    answers, latencies = _asked(arm, collection, on_query, clock)
    run = Run(
        spec.label,
        {
            query_id: tuple(ScoredDocument(each.doc_id, each.score) for each in answer.found)
            for query_id, answer in answers.items()
        },
    )
    return ArmResult(
        label=spec.label,
        kind=spec.kind,
        run=run,
        judged=judge(run, collection.qrels, measures=measures, gain=gain),
        latencies_ms=() if spec.kind == "run" else tuple(latencies),
        factors=mean_factors(list(answers.values())),
        factor_auc=factor_auc(answers, collection.qrels),
        diversity=None if similarities is None else mean_diversity(run, similarities),
        statuses=dict(Counter(each.status for each in answers.values() if each.status)),
        reasons=dict(Counter(each.reason for each in answers.values() if each.reason)),
        truncated=sum(each.truncated for each in answers.values()),
        answers=answers,
        note=str(getattr(arm, "note", "")),
    )


def _asked(
    arm: Arm, collection: Collection, on_query: Callable[[], None], clock: Callable[[], float]
) -> tuple[dict[str, Answer], list[float]]:
    """The answer to each query, and the milliseconds it took."""
    if collection.queries:
        first = collection.queries[0]
        # Twice its words: matches the same documents, but no cache may take it for the query itself.
        arm.answer(replace(first, text=f"{first.text} {first.text}"))
    answers: dict[str, Answer] = {}
    latencies: list[float] = []
    for query in collection.queries:
        started = clock()
        answers[query.query_id] = arm.answer(query)
        latencies.append((clock() - started) * 1000)
        on_query()
    return answers, latencies


def mean_factors(answers: Sequence[Answer]) -> dict[str, float | None]:
    """Per factor and for the age in days: the mean over queries of the mean over the known values of their top 10."""
    sums: dict[str, list[float]] = {name: [] for name in MEANS}
    for answer in answers:
        top = [each.features for each in answer.found[:FACTOR_CUT]]
        for name in MEANS:
            known = [value for features in top if (value := features[name]) is not None]
            if known:
                sums[name].append(math.fsum(known) / len(known))
    return {name: math.fsum(values) / len(values) if values else None for name, values in sums.items()}


def factor_auc(answers: Mapping[str, Answer], qrels: Mapping[str, Mapping[str, int]]) -> dict[str, float | None]:
    """Per factor: the chance that a relevant document found has more of it than one found that is not relevant.

    Over all queries with judgments together, ties counting half (the area under the ROC curve; Mann and Whitney 1947);
    1/2 says nothing. Documents without the factor are left out; ``None`` where either side is then empty.
    """
    from scipy.stats import rankdata

    found: dict[str, tuple[list[float], list[bool]]] = {factor: ([], []) for factor in PRIORS}
    for query_id, answer in answers.items():
        judged = qrels.get(query_id)
        for each in answer.found if judged else ():
            for factor, (values, relevant) in found.items():
                value = each.features[factor]
                if value is not None:
                    values.append(value)
                    relevant.append(judged is not None and judged.get(each.doc_id, 0) > 0)
    areas: dict[str, float | None] = {}
    for factor, (values, relevant) in found.items():
        ours, others = sum(relevant), len(relevant) - sum(relevant)
        places = math.fsum(place for place, good in zip(rankdata(values), relevant, strict=True) if good)
        areas[factor] = (places - ours * (ours + 1) / 2) / (ours * others) if ours and others else None
    return areas


def mean_diversity(run: Run, similarities: Similarities) -> float | None:
    """The mean over queries of 1 - the mean cosine between two documents of the top 10; ``None`` where no query has
    two documents with vectors."""
    means: list[float] = []
    for query_id in run.found:
        cosines = similarities(run.ids(query_id)[:FACTOR_CUT])
        count = len(cosines)
        if count > 1:
            off = float(cosines.sum() - cosines.trace())
            means.append(1.0 - off / (count * (count - 1)))
    return math.fsum(means) / len(means) if means else None


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of the values lie, interpolated between neighbours; 0 for none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
