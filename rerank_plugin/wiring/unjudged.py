"""Arms over one index without judgments: what they change, and what is worth judging."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rerank_plugin import wiring
from rerank_plugin.errors import ConfigError
from rerank_plugin.wiring.bench import Bench
from rerank_plugin.wiring.judging import Study, asked, checksums_of

if TYPE_CHECKING:
    from rerank_plugin.evaluation.changes import Change, Summary
    from rerank_plugin.evaluation.experiment import ArmResult
    from rerank_plugin.evaluation.shown import SideBySide
    from rerank_plugin.wiring import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What a report of changes shows."""

    #: (baseline, candidate) of the comparison that is shown side by side.
    lead: tuple[str, str]
    summaries: Sequence[Summary]
    #: Of the lead pair, by query.
    changes: Mapping[str, Change]
    #: The queries whose top changes most.
    shown: Sequence[SideBySide]


def compare(study: Study, out: Path, progress: Progress, *, judge: int) -> tuple[Compared, dict[str, Any]]:
    """Every arm asked, the first ten compared; runs and judging lists are written under ``out``.

    :param judge: queries of the judging list: those whose top changes most.
    :raises RerankError: fewer than two arms, or one cannot be opened; errors of the engine's client pass through.
    """
    from rerank_plugin.evaluation.changes import changes, most_changed, summary
    from rerank_plugin.evaluation.judging_list import pool, write_judging_lists
    from rerank_plugin.evaluation.result import run_path
    from rerank_plugin.evaluation.runs import write_trec
    from rerank_plugin.evaluation.shown import EACH_END, side_by_side
    from rerank_plugin.evaluation.specs import compared_pairs, lead_pair

    kinds = {spec.label: spec.kind for spec in study.specs}
    lead = lead_pair(kinds)
    if lead is None:
        raise ConfigError("without judgments there is nothing to say of one arm alone; give two, or --qrels")
    if learning := [label for label, kind in kinds.items() if kind in {"sum", "lightgbm"} and study.teaching is None]:
        raise ConfigError(f"the arm {learning[0]} learns from judgments; give --teach")
    bench = Bench(study.setup)
    results = asked(bench, study, progress)
    runs = {result.label: result.run for result in results}
    answers = {result.label: result.answers for result in results}
    queries = {query.query_id: query for query in study.collection.queries}
    by_pair = {pair: changes(runs[pair[0]], runs[pair[1]], list(queries)) for pair in compared_pairs(kinds)}
    order = most_changed(by_pair[lead])
    chosen = [(queries[each], f"overlap {by_pair[lead][each].overlap:.0%}") for each in order[: 2 * EACH_END]]
    compared = Compared(
        lead=lead,
        summaries=[summary(*pair, found) for pair, found in by_pair.items()],
        changes=by_pair[lead],
        shown=side_by_side(chosen, answers[lead[0]], answers[lead[1]], lambda *_: None, bench.titles),
    )
    for result in results:
        write_trec(result.run, run_path(out, result.label))
    pooled = pool([queries[each] for each in order[:judge]], [runs[label] for label in lead], seed=study.seed)
    paths = write_judging_lists(pooled, bench.titles, out)
    judging = {
        "queries": len(pooled),
        "rows": sum(len(each) for _, each in pooled),
        **{name: str(path) for name, path in paths.items()},
    }
    return compared, _json(study, bench, results, compared, judging, out)


def _json(
    study: Study,
    bench: Bench,
    results: Sequence[ArmResult],
    compared: Compared,
    judging: Mapping[str, Any],
    out: Path,
) -> dict[str, Any]:
    from rerank_plugin.evaluation.result import arm_json, moment, package_versions, run_path, without_password

    return {
        "dataset": study.collection.name,
        "index": study.setup.index,
        "engine": without_password(study.setup.engine),
        "queries": len(study.collection.queries),
        "arms": {each.label: arm_json(each, run_path(out, each.label)) for each in results},
        "changes": [
            {
                "baseline": each.baseline,
                "candidate": each.candidate,
                "overlap@10": each.overlap,
                "rbo": each.rbo,
                "shift": each.shift,
                "first_changed": each.first_changed,
                "unchanged": each.unchanged,
            }
            for each in compared.summaries
        ],
        "judging": dict(judging),
        "seed": study.seed,
        "now": moment(study.setup.now),
        "versions": {**package_versions(), "engine": wiring.engine_version(bench.client)},
        "checksums": checksums_of(study, bench),
    }
