"""The HTML report: one file, no outside resource, readable in light and dark and on paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from rerank_plugin.errors import MissingExtraError
from rerank_plugin.evaluation.compare import differences
from rerank_plugin.evaluation.metrics import MEASURES
from rerank_plugin.evaluation.result import Evaluation
from rerank_plugin.evaluation.significance import TIE

#: Queries shown among the most helped, and among the most hurt.
SHOWN = 8
LEAD_MEASURE = "nDCG@10"


@dataclass(frozen=True, slots=True)
class _Moved:
    """A query and what became of it."""

    query_id: str
    text: str
    baseline: float
    candidate: float

    @property
    def delta(self) -> float:
        return self.candidate - self.baseline


@dataclass(frozen=True, slots=True)
class _Bar:
    """A rectangle in user units of its drawing."""

    x: float
    y: float
    width: float
    height: float
    title: str
    label: str = ""
    value: str = ""
    kind: str = ""


def render(evaluation: Evaluation, result: Mapping[str, Any], *, command: str, note: str = "") -> str:
    """The report as HTML.

    :param result: what :meth:`Evaluation.to_json` gave.
    :param command: how to run it again.
    :param note: a sentence that qualifies everything below it, shown first.
    :raises MissingExtraError: jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError as error:
        raise MissingExtraError("the HTML report", "evaluate") from error
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(share=_share, signed=_signed, p_value=_p_value, days=_days, ms=_ms)
    template = resources.files("rerank_plugin.evaluation").joinpath("templates", "report.html")
    pair = evaluation.lead
    moved = [] if pair is None else _moved(evaluation, *pair)
    html: str = environment.from_string(template.read_text(encoding="utf-8")).render(
        result=result,
        measures=MEASURES,
        lead=LEAD_MEASURE,
        note=note,
        command=command,
        verdict=verdict(result, pair),
        pair=pair,
        arm_bars=_arm_bars(result),
        delta_bars=_delta_bars(moved),
        helped=[each for each in moved if each.delta > TIE][:SHOWN],
        hurt=[each for each in reversed(moved) if each.delta < -TIE][:SHOWN],
    )
    return html


def verdict(result: Mapping[str, Any], pair: tuple[str, str] | None) -> str:
    """The lead comparison in a sentence."""
    if pair is None:
        return f"{result['queries']} queries of {result['dataset']}; there is no baseline to compare with."
    baseline, candidate = pair
    entry = next(
        each
        for each in result["comparisons"]
        if (each["baseline"], each["candidate"], each["measure"]) == (baseline, candidate, LEAD_MEASURE)
    )
    arms = result["arms"]
    means = (
        f"On {result['queries']} queries of {result['dataset']}, {candidate} has {LEAD_MEASURE} "
        f"{_share(arms[candidate][LEAD_MEASURE])} and {baseline} {_share(arms[baseline][LEAD_MEASURE])}"
    )
    if entry["ci95"] is None:
        return f"{means}; a single query says nothing about others."
    low, high = entry["ci95"]
    told = (
        "better, and more than chance explains"
        if low > 0
        else "worse, and more than chance explains"
        if high < 0
        else "a difference that chance alone could explain"
    )
    return f"{means}: {_signed(entry['delta'])} (95 % interval {_signed(low)} to {_signed(high)}), {told}."


def _moved(evaluation: Evaluation, baseline: str, candidate: str) -> list[_Moved]:
    """Every query, most helped first."""
    values = evaluation.per_query
    texts = {query.query_id: query.text for query in evaluation.collection.queries}
    below, above = values[LEAD_MEASURE][baseline], values[LEAD_MEASURE][candidate]
    deltas = differences(values, baseline, candidate, LEAD_MEASURE)
    moved = [
        _Moved(query_id, texts.get(query_id, "(its text is not in the queries)"), below[query_id], above[query_id])
        for query_id, _ in zip(below, deltas, strict=True)
    ]
    return sorted(moved, key=lambda each: (-each.delta, each.query_id))


def _arm_bars(result: Mapping[str, Any]) -> list[_Bar]:
    """One bar per arm, 400 units wide for a value of 1; rows are 34 units high."""
    bars: list[_Bar] = []
    for row, (label, arm) in enumerate(result["arms"].items()):
        value = arm[LEAD_MEASURE]
        bars.append(
            _Bar(
                150, row * 34 + 6, max(400 * value, 0.5), 22, f"{label}: {value:.4f}", label=label, value=_share(value)
            )
        )
    return bars


def _delta_bars(moved: Sequence[_Moved]) -> list[_Bar]:
    """One bar per query over 720 units, up for helped, down for hurt; 100 units are a difference of 1."""
    if not moved:
        return []
    step = 720 / len(moved)
    return [
        _Bar(
            x=round(position * step, 3),
            y=round(110 - max(each.delta, 0) * 100, 3),
            width=round(max(step * 0.85, 0.4), 3),
            height=round(max(abs(each.delta) * 100, 0.6), 3),
            title=f"{each.query_id}: {_signed(each.delta)} {each.text[:120]}",
            kind="up" if each.delta > TIE else "down" if each.delta < -TIE else "same",
        )
        for position, each in enumerate(moved)
    ]


def _share(value: float | None) -> str:
    """A measure with three digits; a dash where there is none."""
    return "–" if value is None else f"{value:.3f}"


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def _p_value(value: float | None) -> str:
    if value is None:
        return "–"
    return "< .001" if value < 0.001 else f"{value:.3f}"


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _days(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"
