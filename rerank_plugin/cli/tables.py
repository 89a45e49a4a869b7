"""Results as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rerank_plugin.domain.factors import PRIORS
from rerank_plugin.evaluation.metrics import MEASURES

#: What fits a terminal; the report and the JSON have all measures.
_SHOWN = MEASURES[:4]
#: Letters from an empty to a full cell.
_EIGHTHS = " ▏▎▍▌▋▊▉█"
BAR_WIDTH = 6
#: Tests and their headings; the last is the permutation test's, corrected for the number of rows.
_P_VALUES = (("p_ttest", "p (t)"), ("p_permutation", "p (perm.)"), ("p_permutation_holm", "p (Holm)"))
#: A narrower terminal gets shorter headings and less space between columns, so that figures are never cut.
ROOMY_WIDTH = 110


def console() -> Console:
    """Standard output; a width of 120 where it is no terminal, so that files and pipes get whole tables."""
    found = Console(highlight=False, soft_wrap=False)
    return found if found.is_terminal else Console(highlight=False, width=120)


def bar(value: float, width: int = BAR_WIDTH) -> str:
    """A value of [0, 1] as a bar of that many letters."""
    eighths = round(min(max(value, 0.0), 1.0) * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(width)


def is_roomy(out: Console) -> bool:
    """Whether full headings and wide columns fit."""
    return out.width >= ROOMY_WIDTH


def padding(out: Console) -> tuple[int, int]:
    """Space above and beside the cells of a table."""
    return (0, 1) if is_roomy(out) else (0, 0)


def print_arms(result: Mapping[str, Any], out: Console | None = None) -> None:
    """One row per arm."""
    out = out or console()
    roomy = is_roomy(out)
    times = ("p50 ms", "p95 ms") if roomy else ("p50", "p95")
    table = Table(
        title=f"{result['dataset']}: {result['queries']} queries, nDCG with {result['gain']} gain",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=padding(out),
    )
    table.add_column("arm", overflow="ellipsis")
    for name in (*_SHOWN, *times, *(f"{factor[: 5 if roomy else 3]}." for factor in PRIORS), "fallbacks"):
        table.add_column(name, justify="right", no_wrap=True)
    for label, arm in result["arms"].items():
        factors = arm["factors@10"]
        table.add_row(
            Text(label, no_wrap=True, overflow="ellipsis"),
            *(f"{arm[measure]:.3f}" for measure in _SHOWN),
            *("–" if (took := arm["latency_ms"][key]) is None else f"{took:.1f}" for key in ("p50", "p95")),
            *("–" if factors[factor] is None else f"{factors[factor]:.2f}" for factor in PRIORS),
            str(arm["fallbacks"]),
        )
    out.print(table)
    for label, arm in result["arms"].items():
        for reason, count in arm["reasons"].items():
            out.print(Text(f"{label}: {count} of {result['queries']} searches were not reranked in full: {reason}"))
        if arm["note"]:
            out.print(Text(f"{label}: {arm['note']}"))
    for key, told in (
        ("unjudged", "queries have no judgments"),
        ("without_relevant", "judged queries have no relevant document"),
    ):
        if result[key]:
            out.print(f"{result[key]} {told} and are left out.")
    if result["note"]:
        out.print(Text(f"{result['note']}."))


def print_comparisons(result: Mapping[str, Any], out: Console | None = None) -> None:
    """One row per pair of arms, for the first measure; the report has them all. Nothing where there is no pair."""
    rows = [row for row in result["comparisons"] if row["measure"] == MEASURES[0]]
    if not rows:
        return
    out = out or console()
    title = f"{MEASURES[0]}, candidate minus baseline"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=padding(out))
    for name in ("candidate", "baseline"):
        table.add_column(name)
    tests = _P_VALUES if is_roomy(out) else _P_VALUES[:2]
    for name in ("difference", "95 % interval", *(told for _, told in tests), "win/tie/loss"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        interval = "–" if row["ci95"] is None else f"{row['ci95'][0]:+.3f} to {row['ci95'][1]:+.3f}"
        table.add_row(
            *(Text(row[name], no_wrap=True, overflow="ellipsis") for name in ("candidate", "baseline")),
            f"{row['delta']:+.3f}",
            interval,
            *("–" if row[key] is None else f"{row[key]:.4f}" for key, _ in tests),
            f"{row['wins']}/{row['ties']}/{row['losses']}",
        )
    out.print(table)


def print_changes(result: Mapping[str, Any], out: Console | None = None) -> None:
    """What each arm changes of the baseline's first ten, where nothing is judged; and how to go on."""
    out = out or console()
    table = Table(
        title=f"{result['dataset']}: {result['queries']} queries without judgments",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=padding(out),
    )
    for name in ("candidate", "baseline"):
        table.add_column(name)
    for name in ("overlap@10", "RBO", "shift", "first changed", "unchanged", "p50 ms"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in result["changes"]:
        took = result["arms"][row["candidate"]]["latency_ms"]["p50"]
        table.add_row(
            *(Text(row[name], no_wrap=True, overflow="ellipsis") for name in ("candidate", "baseline")),
            *(f"{row[name]:.2f}" for name in ("overlap@10", "rbo", "shift")),
            *(f"{row[name]:.0%}" for name in ("first_changed", "unchanged")),
            "–" if took is None else f"{took:.1f}",
        )
    out.print(table)
    judging = result["judging"]
    out.print(Text(f"Which is better? Rate the {judging['rows']} documents of {judging['csv']} (0 to 3), then:"))
    out.print(Text(f"  rerank evaluate ... --queries {result['dataset']} --qrels {judging['csv']}"))
