"""The drawings of a report as rectangles and points in user units; the template only writes them down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rerank_plugin.evaluation.significance import TIE

#: Bars of arms: where they begin, how long the longest is, and the height of a row.
ARM_LEFT, ARM_LENGTH, ARM_ROW = 150, 400, 34
#: The drawing of all queries.
QUERIES_WIDTH, QUERIES_MIDDLE = 720, 110


@dataclass(frozen=True, slots=True)
class Moved:
    """A query and what became of it."""

    query_id: str
    text: str
    baseline: float
    candidate: float

    @property
    def delta(self) -> float:
        """Candidate minus baseline."""
        return self.candidate - self.baseline


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float
    title: str
    label: str = ""
    value: str = ""
    kind: str = ""


def arm_bars(result: Mapping[str, Any], measure: str) -> list[Bar]:
    """One bar per arm, ``ARM_LENGTH`` long for a value of 1."""
    bars: list[Bar] = []
    for row, (label, arm) in enumerate(result["arms"].items()):
        value = arm[measure]
        length = max(ARM_LENGTH * value, 0.5)
        title = f"{label}: {value:.4f}"
        bars.append(Bar(ARM_LEFT, row * ARM_ROW + 6, length, 22, title, label=label, value=share(value)))
    return bars


def latency_bars(result: Mapping[str, Any]) -> list[Bar]:
    """Three bars per arm that was timed, p50, p95 and p99 over each other, the slowest p99 at ``ARM_LENGTH``."""
    timed = {label: arm["latency_ms"] for label, arm in result["arms"].items() if arm["latency_ms"]["p50"] is not None}
    longest = max((each["p99"] for each in timed.values()), default=0.0) or 1.0
    bars: list[Bar] = []
    for row, (label, took) in enumerate(timed.items()):
        for name in ("p99", "p95", "p50"):  # the longer first, so that the shorter lie on top
            first = name == "p99"
            bars.append(
                Bar(
                    ARM_LEFT,
                    row * ARM_ROW + 6,
                    max(ARM_LENGTH * took[name] / longest, 0.5),
                    22,
                    f"{label}: {name} {took[name]:.1f} ms",
                    label=label if first else "",
                    value=f"{took['p50']:.0f} / {took['p95']:.0f} / {took['p99']:.0f} ms" if first else "",
                    kind=name,
                )
            )
    return bars


def delta_bars(moved: Sequence[Moved]) -> list[Bar]:
    """One bar per query, up for helped, down for hurt; 100 units are a difference of 1."""
    step = QUERIES_WIDTH / max(len(moved), 1)
    return [
        Bar(
            x=round(position * step, 3),
            y=round(QUERIES_MIDDLE - max(each.delta, 0) * 100, 3),
            width=round(max(step * 0.85, 0.4), 3),
            height=round(max(abs(each.delta) * 100, 0.6), 3),
            title=f"{each.query_id}: {signed(each.delta)} {each.text[:120]}",
            kind="up" if each.delta > TIE else "down" if each.delta < -TIE else "same",
        )
        for position, each in enumerate(moved)
    ]


@dataclass(frozen=True, slots=True)
class Front:
    """A scatter drawing, 340 by 240 units, of a measure (rightwards) and a factor (upwards)."""

    factor: str
    hypervolume: float
    #: Circles: x, y, title; those of the front are bars' colour.
    points: list[tuple[float, float, str, bool]]
    #: The front as an SVG path.
    path: str
    #: What the ends of the axes stand for.
    x_ends: tuple[str, str]
    y_ends: tuple[str, str]


def fronts(swept: Mapping[str, Any], measure: str, factors_key: str) -> list[Front]:
    """One drawing for each factor of a sweep over weights."""
    drawn: list[Front] = []
    for factor, front in swept["front"].items():
        pairs = [(each[measure], each[factors_key][factor]) for each in swept["points"]]
        (x_low, x_high), (y_low, y_high) = (_ends([pair[axis] for pair in pairs]) for axis in (0, 1))
        places = [
            (
                round(50 + 270 * (x - x_low) / (x_high - x_low), 2),
                round(200 - 180 * (y - y_low) / (y_high - y_low), 2),
            )
            for x, y in pairs
        ]
        titles = [
            f"{share(x)}, {factor} {share(y)}: "
            + ", ".join(f"{name}={value:g}" for name, value in each["weights"].items())
            for (x, y), each in zip(pairs, swept["points"], strict=True)
        ]
        drawn.append(
            Front(
                factor=factor,
                hypervolume=swept["hypervolume"][factor],
                points=[(*place, titles[index], index in front) for index, place in enumerate(places)],
                path="M" + " L".join(f"{places[index][0]} {places[index][1]}" for index in front),
                x_ends=(share(x_low), share(x_high)),
                y_ends=(share(y_low), share(y_high)),
            )
        )
    return drawn


def _ends(values: Sequence[float]) -> tuple[float, float]:
    """Lowest and highest, a little apart where they are the same."""
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.005, high + 0.005)


def share(value: float | None) -> str:
    """A measure with three digits; a dash where there is none."""
    return "–" if value is None else f"{value:.3f}"


def signed(value: float) -> str:
    """A difference with its sign, a true minus."""
    return f"{value:+.3f}".replace("-", "−")


def p_value(value: float | None) -> str:
    """A p with three digits, never shown as 0."""
    if value is None:
        return "–"
    return "< .001" if value < 0.001 else f"{value:.3f}"


def days(value: float | None) -> str:
    """Whole days."""
    return "–" if value is None else f"{value:,.0f}"


def milliseconds(value: float | None) -> str:
    """With one digit; a dash for what was not timed."""
    return "–" if value is None else f"{value:.1f}"


FILTERS = {"share": share, "signed": signed, "p_value": p_value, "days": days, "ms": milliseconds}
