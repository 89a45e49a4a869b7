"""A small finished evaluation, with a text that would do harm if it were not escaped."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

from rerank_plugin.domain.factors import PRIORS
from rerank_plugin.domain.features import Features
from rerank_plugin.evaluation.arms import Answer, Found
from rerank_plugin.evaluation.changed_report import render_changes
from rerank_plugin.evaluation.changes import changes, summary
from rerank_plugin.evaluation.collection import Collection, Query
from rerank_plugin.evaluation.compare import compare, differences, per_query
from rerank_plugin.evaluation.experiment import run_arm
from rerank_plugin.evaluation.result import Evaluation
from rerank_plugin.evaluation.shown import ends, side_by_side
from rerank_plugin.evaluation.specs import ArmSpec, compared_pairs, lead_pair
from rerank_plugin.evaluation.sweeps import weights_json

NOW = datetime(2020, 1, 11, tzinfo=UTC)
HOSTILE = "<script>alert('x')</script> \u202eright to left"


LATENCY = {"p50": 1.0, "p95": 2.0, "p99": 3.0}
ROW = {"value": 10.0, "nDCG@10": 0.5, "RR@10": 0.5, "R@100": 1.0, "latency_ms": LATENCY, "statuses": {"partial": 2}}
POINTS = [
    {"weights": dict.fromkeys(PRIORS, value), "nDCG@10": 0.6 - value / 10, "factors@10": dict.fromkeys(PRIORS, value)}
    for value in (0.2, 0.5, 0.9)
]
SWEEPS = {"window": [ROW, ROW], "weights": weights_json(POINTS, "nDCG@10", "factors@10")}


class Fixed:
    """Every query gets the same documents."""

    def __init__(self, *ids: str, status: str = "", reason: str = "", z: float | None = None) -> None:
        features = Features(authority=0.5, freshness=0.5, age_days=10)
        found = tuple(Found(each, 1.0, features, {} if z is None else {"z": z}) for each in ids)
        self.given = Answer(found, status=status, reason=reason)

    def answer(self, query: Query) -> Answer:
        return self.given


def evaluation(queries: int = 3) -> Evaluation:
    """bm25 against rerank: the first query is hurt, all others are helped."""
    asked = tuple(Query(f"q{number}", HOSTILE if number == 0 else f"query {number}") for number in range(queries))
    collection = Collection(
        name="small & <odd>",
        queries=asked,
        qrels={query.query_id: {"a" if number == 0 else "b": 1} for number, query in enumerate(asked)},
        unjudged=2,
        without_relevant=1,
    )
    arms = {"bm25": Fixed("a", "b"), "rerank": Fixed("b", "a", status="fallback", reason="no <model>", z=0.5)}
    results = [run_arm(ArmSpec.parse(label), arm, collection) for label, arm in arms.items()]
    kinds = {label: label for label in arms}
    values = per_query(results)
    deltas = dict(zip(values["nDCG@10"]["bm25"], differences(values, "bm25", "rerank", "nDCG@10"), strict=True))
    texts = {query.query_id: query for query in asked}
    return Evaluation(
        collection=collection,
        index="i",
        engine="https://user:secret@host:9200/x",
        arms=results,
        comparisons=compare(values, compared_pairs(kinds), seed=5),
        lead=lead_pair(kinds),
        shown=side_by_side(
            [(texts[query_id], f"{delta:+.3f}") for query_id, delta in ends(deltas)],
            results[0].answers,
            results[1].answers,
            lambda query_id, document: collection.qrels[query_id].get(document),
            lambda ids: {each: f"title <of> {each}" for each in ids if each == "a"},
        ),
        sweeps=SWEEPS,
        seed=5,
        now=NOW,
        versions={"python": "3.11"},
        checksums={"queries": "abc"},
    )


def changed_report() -> str:
    """The report of the same two arms where nothing is judged."""
    found = evaluation(queries=12)
    baseline, candidate = found.arms
    by_query = changes(baseline.run, candidate.run, list(baseline.answers))
    told = summary("bm25", "rerank", by_query)
    row = {"baseline": "bm25", "candidate": "rerank", "overlap@10": told.overlap, "rbo": told.rbo, "shift": told.shift}
    result = {
        **found.to_json(Path("out")),
        "queries": 12,
        "changes": [{**row, "first_changed": told.first_changed, "unchanged": told.unchanged}],
        "judging": {"rows": 24, "queries": 12},
    }
    compared = SimpleNamespace(lead=("bm25", "rerank"), changes=by_query, shown=found.shown)
    return render_changes(compared, result, command="rerank evaluate")
