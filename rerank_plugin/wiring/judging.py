"""Arms over one index and one set of judged queries: opened, asked, judged, compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rerank_plugin import wiring
from rerank_plugin.errors import ConfigError
from rerank_plugin.wiring.bench import Bench, Rivals, open_arms

if TYPE_CHECKING:
    from rerank_plugin.evaluation.collection import Collection
    from rerank_plugin.evaluation.compare import PerQuery
    from rerank_plugin.evaluation.experiment import ArmResult
    from rerank_plugin.evaluation.metrics import Gain
    from rerank_plugin.evaluation.result import Evaluation
    from rerank_plugin.evaluation.rivals import Teaching
    from rerank_plugin.evaluation.shown import SideBySide
    from rerank_plugin.evaluation.specs import ArmSpec
    from rerank_plugin.evaluation.sweeps import Sweep
    from rerank_plugin.wiring import Progress, Setup


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What is to be compared, on which queries."""

    setup: Setup
    collection: Collection
    specs: Sequence[ArmSpec]
    measures: Sequence[str]
    gain: Gain = "linear"
    seed: int = 0
    #: What the arms ``sum`` and ``lightgbm`` learn from; ``None`` cuts the collection's own queries into folds.
    teaching: Teaching | None = None
    #: A TREC run whose candidates the reranking arms rerank.
    first_stage: Path | None = None
    #: Settings of reranking to try values of.
    sweeps: Sequence[Sweep] = ()
    #: Files that were read, name -> SHA-256.
    checksums: Mapping[str, str] = field(default_factory=dict)


def evaluate(study: Study, progress: Progress) -> Evaluation:
    """Every arm over the collection, judged and compared.

    :raises RerankError: an arm cannot be opened or judged; errors of the engine's client pass through.
    """
    from rerank_plugin.evaluation.compare import compare, per_query
    from rerank_plugin.evaluation.result import Evaluation, package_versions
    from rerank_plugin.evaluation.specs import compared_pairs, lead_pair
    from rerank_plugin.wiring.sweeping import swept

    bench = Bench(study.setup)
    results = asked(bench, study, progress)
    kinds = {spec.label: spec.kind for spec in study.specs}
    values, lead = per_query(results), lead_pair(kinds)
    return Evaluation(
        collection=study.collection,
        index=study.setup.index,
        engine=study.setup.engine,
        arms=results,
        comparisons=compare(values, compared_pairs(kinds), seed=study.seed),
        lead=lead,
        shown=shown(bench, study, results, values, lead),
        gain=study.gain,
        sweeps=swept(bench, study, study.sweeps, progress),
        seed=study.seed,
        now=study.setup.now,
        versions={
            **package_versions(),
            "engine": wiring.engine_version(bench.client),
            **({"model": bench.folder.name} if uses_model(study) else {}),
        },
        checksums=checksums_of(study, bench),
    )


def uses_model(study: Study) -> bool:
    """Whether any arm reads with a model."""
    return bool(study.sweeps) or any(spec.kind not in {"bm25", "run"} for spec in study.specs)


def checksums_of(study: Study, bench: Bench) -> dict[str, str]:
    """Of everything that was read: files, the model, the vectors."""
    found = dict(study.checksums)
    if uses_model(study):
        found["model"] = bench.folder.manifest.checksums[bench.folder.manifest.files["model"]]
    if bench.vectors is not None:
        found["vectors"] = bench.vectors.meta.checksum
    return found


def shown(
    bench: Bench, study: Study, results: Sequence[ArmResult], values: PerQuery, lead: tuple[str, str] | None
) -> list[SideBySide]:
    """The most helped and the most hurt queries of the lead comparison."""
    from rerank_plugin.evaluation.compare import differences
    from rerank_plugin.evaluation.shown import ends, side_by_side

    if lead is None:
        return []
    measure = study.measures[0]
    queries = {query.query_id: query for query in study.collection.queries}
    deltas = dict(zip(values[measure][lead[0]], differences(values, *lead, measure), strict=True))
    chosen = [
        (queries[query_id], f"{measure} {delta:+.3f}")
        for query_id, delta in ends({key: delta for key, delta in deltas.items() if key in queries})
    ]
    answers = {result.label: result.answers for result in results}
    qrels = study.collection.qrels
    return side_by_side(
        chosen,
        answers[lead[0]],
        answers[lead[1]],
        lambda query_id, document: qrels[query_id].get(document),
        bench.titles,
    )


def asked(bench: Bench, study: Study, progress: Progress) -> list[ArmResult]:
    """Every arm with the answers to all queries.

    :raises RerankError: an arm cannot be opened or judged.
    """
    from rerank_plugin.evaluation.experiment import run_arm
    from rerank_plugin.evaluation.runs import read_trec

    collection = study.collection
    rivals = Rivals(bench, collection, study.teaching, study.seed, progress)
    first_stage = None if study.first_stage is None else read_trec(study.first_stage)
    if first_stage is not None and not set(first_stage.found) & {query.query_id for query in collection.queries}:
        raise ConfigError(f"--first-stage-run {study.first_stage} has none of the queries; give a run of the same ones")
    openers = open_arms(bench, study.specs, rivals, first_stage)
    vectors = bench.vectors
    results: list[ArmResult] = []
    for spec, opener in zip(study.specs, openers, strict=True):
        arm = opener()
        with progress(spec.label, len(collection.queries)) as step:
            results.append(
                run_arm(
                    spec,
                    arm,
                    collection,
                    measures=study.measures,
                    gain=study.gain,
                    similarities=None if vectors is None else vectors.among,
                    on_query=step,
                )
            )
    return results
