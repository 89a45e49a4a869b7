"""The HTML report of an evaluation without judgments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from rerank_plugin.domain.factors import PRIORS
from rerank_plugin.evaluation.changes import CUT, Change
from rerank_plugin.evaluation.drawings import Bar, latency_bars
from rerank_plugin.evaluation.report import fill
from rerank_plugin.evaluation.shown import SideBySide

_STEP, _HEIGHT = 60, 120


class Compared(Protocol):
    """What is shown: the pair of arms, every query's change, and some queries side by side."""

    @property
    def lead(self) -> tuple[str, str]: ...

    @property
    def changes(self) -> Mapping[str, Change]: ...

    @property
    def shown(self) -> Sequence[SideBySide]: ...


def render_changes(found: Compared, result: Mapping[str, Any], *, command: str) -> str:
    """The report as HTML.

    :param result: what ``wiring.unjudged`` gave.
    :param command: how to run it again.
    :raises MissingExtraError: jinja2 is not installed.
    """
    return fill(
        "changes.html",
        result=result,
        factors=PRIORS,
        command=command,
        verdict=verdict(found, result),
        pair=found.lead,
        bars=_bars(found.changes),
        shown=found.shown,
        latency_bars=latency_bars(result),
    )


def verdict(found: Compared, result: Mapping[str, Any]) -> str:
    """The lead pair in two sentences."""
    baseline, candidate = found.lead
    row = next(each for each in result["changes"] if (each["baseline"], each["candidate"]) == found.lead)
    return (
        f"On {result['queries']} queries, {candidate} keeps on average {row['overlap@10'] * CUT:.1f} of {baseline}'s "
        f"first {CUT} hits. {row['first_changed']:.0%} of the queries get another first hit, "
        f"{row['unchanged']:.0%} stay exactly as they are."
    )


def _bars(changes: Mapping[str, Change]) -> list[Bar]:
    """One bar for each number of documents, 0 to 10, that stay; the highest is ``_HEIGHT`` high."""
    counts = Counter(round(each.overlap * CUT) for each in changes.values())
    highest = max(counts.values(), default=1)
    bars: list[Bar] = []
    for stay in range(CUT + 1):
        height = _HEIGHT * counts[stay] / highest
        title = f"{counts[stay]} queries keep {stay} of {CUT}"
        bars.append(
            Bar(
                x=stay * _STEP + 10,
                y=round(20 + _HEIGHT - height, 2),
                width=_STEP * 0.8,
                height=round(max(height, 0.5), 2),
                title=title,
                label=str(stay),
                value=str(counts[stay]),
            )
        )
    return bars
