"""Arms against each other, over one collection and over several."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rerank_plugin.errors import DataError
from rerank_plugin.evaluation.experiment import ArmResult
from rerank_plugin.evaluation.metrics import COVERAGE
from rerank_plugin.evaluation.significance import Paired, holm, paired

#: Measure -> arm -> query -> value in [0, 1]: what ``per_query.json`` beside a result holds.
PerQuery = Mapping[str, Mapping[str, Mapping[str, float]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One measure of a candidate arm against a baseline arm."""

    baseline: str
    candidate: str
    measure: str
    paired: Paired
    #: The two p corrected for the number of pairs.
    p_ttest_holm: float | None = None
    p_permutation_holm: float | None = None


def per_query(arms: Sequence[ArmResult]) -> PerQuery:
    """The arms' values by measure, arm and query."""
    measures = arms[0].judged.per_query if arms else ()
    return {measure: {arm.label: arm.judged.per_query[measure] for arm in arms} for measure in measures}


def compare(values: PerQuery, pairs: Sequence[tuple[str, str]], *, seed: int) -> list[Comparison]:
    """Every pair under every measure but the coverage, over the same queries.

    Each test starts from ``seed``. Holm's correction counts the pairs of one measure: measures of the same runs are
    views of one thing, and the first of them was named as the one that counts.
    """
    by_measure = {
        measure: [paired(differences(values, *pair, measure), seed=seed) for pair in pairs]
        for measure in values
        if measure != COVERAGE
    }
    corrected = {
        measure: (holm([each.p_ttest for each in found]), holm([each.p_permutation for each in found]))
        for measure, found in by_measure.items()
    }
    return [
        Comparison(
            baseline=baseline,
            candidate=candidate,
            measure=measure,
            paired=found[place],
            p_ttest_holm=corrected[measure][0][place],
            p_permutation_holm=corrected[measure][1][place],
        )
        for place, (baseline, candidate) in enumerate(pairs)
        for measure, found in by_measure.items()
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
