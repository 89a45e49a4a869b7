"""Runs arms over a collection: every query asked once per arm, timed, and judged."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from rerank_plugin.domain.factors import PRIORS
from rerank_plugin.domain.features import stored_features
from rerank_plugin.evaluation.arms import Answer, Arm
from rerank_plugin.evaluation.collection import Collection
from rerank_plugin.evaluation.metrics import Judged, judge
from rerank_plugin.evaluation.runs import Run, ScoredDocument

#: What ``factors@10`` averages: the stored factors, and the age of a document in days.
MEANS: tuple[str, ...] = (*PRIORS, "age_days")
FACTOR_CUT = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmResult:
    """One arm over one collection."""

    label: str
    run: Run
    judged: Judged
    #: Wall-clock of each query's search call, in milliseconds, in the order of the queries.
    latencies_ms: tuple[float, ...]
    #: Mean over queries of the mean of what is known in the top 10; ``None`` where nothing is known.
    factors: Mapping[str, float | None]
    #: How many searches ended with each status of the reranking client; empty for arms that do not rerank.
    statuses: Mapping[str, int]
    #: How often each reason was given for a search that was not reranked in full.
    reasons: Mapping[str, int]
    #: Documents of which the model could not read everything, over all queries.
    truncated: int

    @property
    def fallbacks(self) -> int:
        """Searches that were answered in the engine's own order because reranking failed."""
        return self.statuses.get("fallback", 0)


def run_arm(
    label: str,
    arm: Arm,
    collection: Collection,
    *,
    now: datetime,
    half_life_days: float,
    on_query: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> ArmResult:
    """Every query of the collection asked once, after one unmeasured call that opens models and caches.

    :param now: the clock of freshness and age.
    :param half_life_days: of freshness, where a document has no own.
    :param on_query: called after each query, for a progress bar.
    :raises RerankError: judging is not possible; errors of the engine's client pass through.
    """
    answers, latencies = _asked(arm, collection, on_query, clock)
    run = Run(
        label,
        {
            query_id: tuple(ScoredDocument(each.doc_id, each.score) for each in answer.found)
            for query_id, answer in answers.items()
        },
    )
    return ArmResult(
        label=label,
        run=run,
        judged=judge(run, collection.qrels),
        latencies_ms=tuple(latencies),
        factors=mean_factors(list(answers.values()), now=now, half_life_days=half_life_days),
        statuses=dict(Counter(each.status for each in answers.values() if each.status)),
        reasons=dict(Counter(each.reason for each in answers.values() if each.reason)),
        truncated=sum(each.truncated for each in answers.values()),
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


def mean_factors(answers: Sequence[Answer], *, now: datetime, half_life_days: float) -> dict[str, float | None]:
    """Per factor and for the age in days: the mean over queries of the mean over the known values of their top 10."""
    sums: dict[str, list[float]] = {name: [] for name in MEANS}
    for answer in answers:
        top = [
            stored_features(each.enriched, now=now, half_life_days=half_life_days) for each in answer.found[:FACTOR_CUT]
        ]
        for name in MEANS:
            values = [features.age_days if name == "age_days" else features[name] for features in top]
            known = [value for value in values if value is not None]
            if known:
                sums[name].append(math.fsum(known) / len(known))
    return {name: math.fsum(values) / len(values) if values else None for name, values in sums.items()}


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of the values lie, interpolated between neighbours; 0 for none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
