"""Arms against each other, over one collection and over several."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rerank_plugin.errors import DataError
from rerank_plugin.evaluation.experiment import ArmResult
from rerank_plugin.evaluation.metrics import MEASURES
from rerank_plugin.evaluation.significance import Paired, paired

#: Measure -> arm -> query -> value in [0, 1]: what ``per_query.json`` beside a result holds.
PerQuery = Mapping[str, Mapping[str, Mapping[str, float]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One measure of a candidate arm against a baseline arm."""

    baseline: str
    candidate: str
    measure: str
    paired: Paired


def per_query(arms: Sequence[ArmResult]) -> PerQuery:
    """The arms' values by measure, arm and query."""
    return {measure: {arm.label: arm.judged.per_query[measure] for arm in arms} for measure in MEASURES}


def compared_pairs(kinds: Mapping[str, str]) -> list[tuple[str, str]]:
    """Which arms are compared, as (baseline, candidate): all arms with the first bm25, rerank with the first fused.

    :param kinds: label -> kind, in the order of the report.
    """
    first: dict[str, str] = {}
    for label, kind in kinds.items():
        first.setdefault(kind, label)
    pairs: list[tuple[str, str]] = []
    if "bm25" in first:
        pairs += [(first["bm25"], label) for label in kinds if label != first["bm25"]]
    if "fused" in first:
        pairs += [(first["fused"], label) for label, kind in kinds.items() if kind == "rerank"]
    return pairs


def compare(values: PerQuery, pairs: Sequence[tuple[str, str]], *, seed: int) -> list[Comparison]:
    """Every pair under every measure, over the same queries; each permutation test starts from ``seed``."""
    return [
        Comparison(
            baseline=baseline,
            candidate=candidate,
            measure=measure,
            paired=paired(differences(values, baseline, candidate, measure), seed=seed),
        )
        for baseline, candidate in pairs
        for measure in MEASURES
    ]


def differences(values: PerQuery, baseline: str, candidate: str, measure: str) -> list[float]:
    """Candidate minus baseline for each query.

    :raises DataError: a measure or arm is not there, or the arms were judged on different queries.
    """
    try:
        below, above = values[measure][baseline], values[measure][candidate]
    except KeyError as error:
        raise DataError(f"there are no values of {error.args[0]!r} to compare; found {', '.join(values)}") from error
    if below.keys() != above.keys():
        raise DataError(f"{candidate} and {baseline} were judged on different queries; evaluate them together")
    return [above[query_id] - below[query_id] for query_id in below]


def pooled(
    collections: Sequence[PerQuery], baseline: str, candidate: str, measure: str = "nDCG@10", *, seed: int = 0
) -> Paired:
    """The candidate against the baseline over several collections at once: their per-query differences as one sample.

    Every query counts the same, so large collections weigh more.

    :raises DataError: a measure or arm is missing somewhere.
    """
    return paired(
        [each for values in collections for each in differences(values, baseline, candidate, measure)], seed=seed
    )


def read_per_query(path: Path) -> PerQuery:
    """The values that ``rerank evaluate`` and ``rerank demo`` leave in ``OUT/per_query.json``.

    :raises DataError: the file is missing or is not of that form.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return {
            str(measure): {
                str(arm): {str(query_id): float(value) for query_id, value in by_query.items()}
                for arm, by_query in by_arm.items()
            }
            for measure, by_arm in stored.items()
        }
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; rerank evaluate --out writes it") from error
    except (ValueError, TypeError, AttributeError, OSError) as error:
        raise DataError(f"{path} does not hold values per query ({error}); run rerank evaluate again") from error
