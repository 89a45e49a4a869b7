"""Sweeps over the settings of the reranking arm, on an opened bench."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rerank_plugin import wiring

if TYPE_CHECKING:
    from rerank_plugin.evaluation.experiment import ArmResult
    from rerank_plugin.evaluation.sweeps import Sweep
    from rerank_plugin.wiring import Progress
    from rerank_plugin.wiring.bench import Bench
    from rerank_plugin.wiring.judging import Study


def swept(bench: Bench, study: Study, sweeps: Sequence[Sweep], progress: Progress) -> dict[str, Any]:
    """What ``result.json`` holds under ``sweeps``: kind -> what each value gave.

    :raises RerankError: a value is not allowed, or the arm cannot be opened.
    """
    return {
        sweep.kind: _weights(bench, study, int(sweep.values[0]), progress)
        if sweep.kind == "weights"
        else [_one(bench, study, sweep.kind, value, progress) for value in sweep.values]
        for sweep in sweeps
    }


def _one(bench: Bench, study: Study, kind: str, value: float, progress: Progress) -> dict[str, Any]:
    """The arm with one setting changed, asked all queries."""
    from rerank_plugin.evaluation.experiment import percentile
    from rerank_plugin.evaluation.specs import ArmSpec

    spec = ArmSpec.parse(f"rerank:{kind}={value:g}")
    result = _run(study, spec, bench.arm(spec, None), progress)
    return {
        "value": value,
        **{measure: result.judged.mean(measure) for measure in result.judged.per_query},
        "latency_ms": {f"p{share}": round(percentile(result.latencies_ms, share / 100), 3) for share in (50, 95, 99)},
        "statuses": dict(result.statuses),
    }


def _weights(bench: Bench, study: Study, count: int, progress: Progress) -> dict[str, Any]:
    """Every query asked once with all that is scored; each point of weights is blended from that."""
    from rerank_plugin.evaluation.arms import SearchArm
    from rerank_plugin.evaluation.experiment import FACTOR_MEANS, mean_factors
    from rerank_plugin.evaluation.metrics import judge
    from rerank_plugin.evaluation.runs import Run, ScoredDocument
    from rerank_plugin.evaluation.specs import ArmSpec
    from rerank_plugin.evaluation.sweeps import reblended, weight_points, weights_json

    settings = bench.setup.settings()
    depth = settings.window + (settings.dense_size if settings.dense == "extend" else 0)
    target = bench.target_of(wiring.open_reranking(bench.setup.engine, settings))
    asked = _run(study, ArmSpec.parse("rerank"), SearchArm(target=target, depth=depth), progress)
    points: list[dict[str, Any]] = []
    weights = weight_points(count, seed=study.seed)
    with progress("weights", len(weights)) as step:
        for each in weights:
            answers = {query: reblended(answer, each) for query, answer in asked.answers.items()}
            run = Run(
                "w",
                {key: tuple(ScoredDocument(one.doc_id, one.score) for one in a.found) for key, a in answers.items()},
            )
            judged = judge(run, study.collection.qrels, measures=study.measures[:1], gain=study.gain)
            points.append(
                {
                    "weights": each.as_dict(),
                    study.measures[0]: judged.mean(study.measures[0]),
                    FACTOR_MEANS: mean_factors(list(answers.values())),
                }
            )
            step()
    return weights_json(points, study.measures[0], FACTOR_MEANS)


def _run(study: Study, spec: Any, arm: Any, progress: Progress) -> ArmResult:
    from rerank_plugin.evaluation.experiment import run_arm

    with progress(f"sweep {spec.label}", len(study.collection.queries)) as step:
        return run_arm(spec, arm, study.collection, measures=study.measures, gain=study.gain, on_query=step)
