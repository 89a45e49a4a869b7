"""``--fail-if``: conditions on a result that make the command exit with 3, so that a pipeline can stop a bad change."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rerank_plugin.errors import ConfigError, DataError
from rerank_plugin.evaluation.experiment import DIVERSITY, FACTOR_MEANS, MEANS
from rerank_plugin.evaluation.metrics import COVERAGE, MEASURES

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
#: Beside the measures, what an arm may be asked for: name -> where it stands in the arm's part of the result.
_ARM_VALUES: dict[str, tuple[str, ...]] = {
    **{name: ("latency_ms", name) for name in ("p50", "p95", "p99")},
    **{name: (name,) for name in (COVERAGE, DIVERSITY, "fallbacks", "truncated", "missing")},
    **{name: (FACTOR_MEANS, name) for name in MEANS},
}
#: What a comparison may be asked for.
_COMPARISON_VALUES = (
    *("delta", "ci_low", "ci_high", "p_ttest", "p_ttest_holm", "p_permutation", "p_permutation_holm"),
    *("wins", "ties", "losses"),
)
_CALL = re.compile(r"(\w+)\(([^()]*)\)")


@dataclass(frozen=True, slots=True)
class _Number:
    value: float


@dataclass(frozen=True, slots=True)
class _ArmValue:
    arm: str
    name: str


@dataclass(frozen=True, slots=True)
class _ComparisonValue:
    name: str
    candidate: str
    baseline: str
    measure: str


_Operand = _Number | _ArmValue | _ComparisonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a result will hold, so that a condition can be refused before any work."""

    #: Labels of the arms.
    arms: Sequence[str]
    #: (baseline, candidate) of the comparisons.
    pairs: Sequence[tuple[str, str]]
    measures: Sequence[str] = MEASURES

    @property
    def forms(self) -> str:
        """What a side of a condition may be."""
        return (
            f"ARM.MEASURE (measures: {', '.join((*self.measures, *_ARM_VALUES))}), "
            f"VALUE(CANDIDATE, BASELINE, MEASURE) (values: {', '.join(_COMPARISON_VALUES)}) or a number"
        )


@dataclass(frozen=True, slots=True)
class Condition:
    """``LEFT OPERATOR RIGHT``, as in ``rerank.nDCG@10 < bm25.nDCG@10`` or ``delta(rerank, bm25, AP) < -0.005``."""

    text: str
    left: _Operand
    comparison: str
    right: _Operand

    @classmethod
    def parse(cls, text: str, known: Known) -> Condition:
        """The condition of a text, checked against what the result will hold.

        :raises ConfigError: not of that form, or it names an arm, a measure or a comparison that will not be there.
        """
        sides = re.split(r"(<=|>=|<|>)", text)
        if len(sides) != 3:
            raise ConfigError(f"condition {text!r}: write LEFT < RIGHT (or <=, >, >=) once; a side is {known.forms}")
        left, right = (_operand(side.strip(), text, known) for side in (sides[0], sides[2]))
        return cls(text.strip(), left, sides[1], right)

    def holds(self, result: Mapping[str, Any]) -> bool:
        """Whether the condition is true of a result.

        :raises DataError: it cannot be checked: one query has neither an interval nor a p.
        """
        left, right = (_value(side, result) for side in (self.left, self.right))
        if left is None or right is None:
            raise DataError(
                f"condition {self.text!r} cannot be checked: the result has no such value over {result['queries']} "
                "queries (an interval needs two queries, a factor needs features, diversity needs --vectors)"
            )
        return _COMPARE[self.comparison](left, right)


def _operand(side: str, text: str, known: Known) -> _Operand:
    try:
        number = float(side)
    except ValueError:
        pass
    else:
        if math.isfinite(number):
            return _Number(number)
    call = _CALL.fullmatch(side)
    if call is not None:
        return _comparison(call, text, known)
    arm, _, name = side.rpartition(".")
    if name not in {*known.measures, *_ARM_VALUES} or not arm:
        raise ConfigError(f"condition {text!r}: {side!r} is none of {known.forms}")
    if arm not in known.arms:
        raise ConfigError(f"condition {text!r}: there is no arm {arm!r}; the arms are {', '.join(known.arms)}")
    return _ArmValue(arm, name)


def _comparison(call: re.Match[str], text: str, known: Known) -> _ComparisonValue:
    name, arguments = call[1], [each.strip() for each in call[2].split(",")]
    if name not in _COMPARISON_VALUES or len(arguments) != 3 or arguments[2] not in known.measures:
        raise ConfigError(f"condition {text!r}: {call[0]!r} is none of {known.forms}")
    candidate, baseline, measure = arguments
    if (baseline, candidate) not in known.pairs:
        pairs = ", ".join(f"({above}, {below})" for below, above in known.pairs) or "none"
        raise ConfigError(
            f"condition {text!r}: {candidate!r} is not compared with {baseline!r}; (CANDIDATE, BASELINE) may be {pairs}"
        )
    return _ComparisonValue(name, candidate, baseline, measure)


def _value(side: _Operand, result: Mapping[str, Any]) -> float | None:
    if isinstance(side, _Number):
        return side.value
    if isinstance(side, _ArmValue):
        found: Any = result["arms"][side.arm]
        for key in _ARM_VALUES.get(side.name, (side.name,)):
            found = found[key]
        return None if found is None else float(found)
    wanted = (side.baseline, side.candidate, side.measure)
    entry = next(
        each for each in result["comparisons"] if (each["baseline"], each["candidate"], each["measure"]) == wanted
    )
    if side.name in {"ci_low", "ci_high"}:
        return None if entry["ci95"] is None else float(entry["ci95"][side.name == "ci_high"])
    value = entry[side.name]
    return None if value is None else float(value)
