"""What the folds of ``bench_ablation.py`` come to: means, differences and the table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tables import difference, short

from rerank_plugin.evaluation.significance import paired
from rerank_plugin.evaluation.sweeps import hypervolume

#: What is told of the first ten in its own units, where a collection says it.
UNITS = ("year", "citations", "reputation", "votes")


def summary(cells: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Means of all folds, and differences to ``fused`` without weights, paired by query."""
    base = cells["fused"]
    known = base[0]["known"]
    plain = {what: _queries(base, what, 0) for what in ("ndcg", "utility", "units")}
    units = [unit for unit in UNITS if any(unit in each for each in plain["units"])]
    start = {factor: _mean(plain["utility"], factor) for factor in known}
    found: dict[str, Any] = {}
    for arm, folds in cells.items():
        taken = {what: _queries(folds, what) for what in ("ndcg", "utility", "units")}
        said = paired([a - b for a, b in zip(taken["ndcg"], plain["ndcg"], strict=True)], seed=0)
        utility = {factor: _mean(taken["utility"], factor) for factor in known}
        found[arm] = {
            "nDCG@10": float(np.mean(taken["ndcg"])),
            "without weights": float(np.mean(_queries(folds, "ndcg", 0))),
            "delta": {"delta": said.delta, "ci95": said.ci95},
            "utility": utility,
            "gain": {factor: utility[factor] / start[factor] - 1.0 for factor in known},
            "units": {unit: _mean(taken["units"], unit) for unit in units},
            "hypervolume": hypervolume([_trade(folds, place, known) for place in range(len(folds[0]["ndcg"]))]),
            **{key: _average([fold[key] for fold in folds]) for key in ("weights", "share") if key in folds[0]},
        }
        if "trained" in folds[0]:
            found[arm]["best_steps"] = [fold["trained"]["best_step"] for fold in folds]
            looked = [fold["trained"]["conflict"] for fold in folds if fold["trained"]["conflict"] is not None]
            found[arm]["gradient_conflict"] = float(np.mean(looked)) if looked else None
    asked = {"queries_measured": len(plain["ndcg"]), "nDCG@10": float(np.mean(plain["ndcg"])), "utility": start}
    asked["units"] = {unit: _mean(plain["units"], unit) for unit in units}
    return {"fused without weights": asked, "arms": found}


def _trade(folds: list[dict[str, Any]], place: int, known: Sequence[str]) -> tuple[float, float]:
    """nDCG@10 and the mean of the known utilities."""
    utilities = _queries(folds, "utility", place)
    return float(np.mean(_queries(folds, "ndcg", place))), float(np.mean([_mean(utilities, each) for each in known]))


def _average(of: list[Any]) -> Any:
    """Mean of numbers, or of objects of numbers."""
    if isinstance(of[0], dict):
        return {key: float(np.mean([each[key] for each in of])) for key in of[0]}
    return float(np.mean(of))


def _queries(folds: list[dict[str, Any]], what: str, trade: int | None = None) -> list[Any]:
    """A measure of every query, at one trade or at the one that the arm takes."""
    return [each for fold in folds for each in fold[what][fold["chosen"] if trade is None else trade]]


def _mean(queries: list[dict[str, float]], key: str) -> float:
    """Over the queries that know it."""
    values = [each[key] for each in queries if key in each]
    return float(np.mean(values)) if values else float("nan")


def printed(name: str, found: dict[str, Any]) -> str:
    """The table in Markdown, one line per arm."""
    base = found["fused without weights"]
    units, factors = list(base["units"]), list(base["utility"])
    rows = [["arm", "nDCG@10", "- fused, 95 %", *units, *(f"{factor} utility" for factor in factors), "hypervolume"]]
    rows.append(["---"] * len(rows[0]))
    rows.append(["fused without weights", short(base["nDCG@10"], ".3f"), "", *_units(base, units)])
    rows[-1] += [*(short(base["utility"][factor], ".3f") for factor in factors), ""]
    for arm, each in found["arms"].items():
        rows.append([arm, short(each["nDCG@10"], ".3f"), difference(each["delta"]), *_units(each, units)])
        for factor in factors:
            rows[-1].append(f"{short(each['utility'][factor], '.3f')} ({each['gain'][factor]:+.0%})")
        rows[-1].append(short(each["hypervolume"], ".4f"))
    settings = found["settings"]
    told = (
        f"{name}: {base['queries_measured']} queries, {found['folds']} folds, {found['gain']} gain, "
        f"seed {found['seed']}, {settings['max_steps']} steps of {settings['groups']} groups of "
        f"{settings['group_size']}, {settings['tokens']} tokens, {found['layers']} layers, "
        f"first {found['window']} candidates; start {found['start']}; "
        + ", ".join(f"{package} {number}" for package, number in found["versions"].items())
    )
    return "\n".join(["| " + " | ".join(row) + " |" for row in rows]) + f"\n\n{told}"


def _units(of: dict[str, Any], units: Sequence[str]) -> list[str]:
    return [format(of["units"][unit], ".1f" if unit == "year" else ".2f") for unit in units]
