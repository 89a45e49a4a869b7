"""How far the judge's statistics can be trusted: false findings under a true null, power, and coverage of intervals.

    python benchmarks/bench_significance.py [--simulations N] [--resamples N] [--seed N] [--json]

Per-query differences are drawn as they look in practice: a share of queries is untouched, the others move by a normal
amount; clipped to [-1, 1]. Under the null their mean is 0. `--simulations 1000` (the default) takes about 3 minutes.
For each number of queries: the share of simulations in which each test rejects at .05 (wanted: .05), the share of 95 %
intervals that hold the true mean (wanted: .95), how often the smallest of five true nulls is rejected with and without
Holm's correction, and the power against planted mean gains.
"""

from __future__ import annotations

import argparse
import json
import math
from importlib.metadata import version
from typing import Any

import numpy as np

from rerank_plugin.evaluation.significance import holm, paired

QUERIES = (20, 50, 200)
GAINS = (0.02, 0.05, 0.10, 0.15, 0.20)
#: What differences of rerank and BM25 look like on the collections here: a third are ties, the others have a standard
#: deviation of about .25.
TIES, DEVIATION = 1 / 3, 0.25
FAMILY = 5
LEVEL = 0.05


def main() -> None:
    """Prints the tables, or with --json one object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=999)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", dest="as_json")
    options = parser.parse_args()
    result = {
        "simulations": options.simulations,
        "seed": options.seed,
        "null": {str(count): null(count, options.simulations, options.resamples, options.seed) for count in QUERIES},
        "power": {str(count): power(count, options.simulations, options.resamples, options.seed) for count in QUERIES},
        "versions": {name: version(name) for name in ("numpy", "scipy")},
    }
    print(json.dumps(result, indent=2) if options.as_json else table(result))


def differences(rng: np.random.Generator, count: int, gain: float) -> list[float]:
    """Per-query differences with that mean (before clipping)."""
    moved = rng.random(count) >= TIES
    values = np.where(moved, rng.normal(gain / (1 - TIES), DEVIATION, count), 0.0)
    return [float(each) for each in np.clip(values, -1.0, 1.0)]


def null(count: int, simulations: int, resamples: int, seed: int) -> dict[str, float]:
    """Rejections and coverage where nothing is true."""
    rng = np.random.default_rng(seed)
    found = [paired(differences(rng, count, 0.0), seed=place, resamples=resamples) for place in range(simulations)]
    families = [found[place : place + FAMILY] for place in range(0, len(found) - FAMILY + 1, FAMILY)]
    return {
        "p_ttest": _share(found, lambda each: _below(each.p_ttest)),
        "p_permutation": _share(found, lambda each: _below(each.p_permutation)),
        "coverage_t": _share(found, lambda each: _holds(each.ci95, 0.0)),
        "coverage_bootstrap": _share(found, lambda each: _holds(each.ci95_bootstrap, 0.0)),
        "family": _share(families, lambda each: any(_below(one.p_permutation) for one in each)),
        "family_holm": _share(families, lambda each: any(map(_below, holm([one.p_permutation for one in each])))),
    }


def power(count: int, simulations: int, resamples: int, seed: int) -> dict[str, float]:
    """Share of planted gains that the permutation test finds."""
    curve: dict[str, float] = {}
    for gain in GAINS:
        rng = np.random.default_rng(seed + 1)
        found = [paired(differences(rng, count, gain), seed=place, resamples=resamples) for place in range(simulations)]
        curve[f"{gain:g}"] = _share(found, lambda each: _below(each.p_permutation) and each.delta > 0)
    return curve


def _below(p: float | None) -> bool:
    return p is not None and p <= LEVEL


def _holds(ends: tuple[float, float] | None, value: float) -> bool:
    return ends is not None and ends[0] <= value <= ends[1]


def _share(each: Any, told: Any) -> float:
    values = [bool(told(one)) for one in each]
    return round(math.fsum(values) / max(len(values), 1), 4)


def table(result: dict[str, Any]) -> str:
    """Two tables in Markdown."""
    names = list(next(iter(result["null"].values())))
    rows = [["queries", *names], ["---"] * (len(names) + 1)]
    rows += [[count, *(f"{found[name]:.3f}" for name in names)] for count, found in result["null"].items()]
    rows += [[], ["queries", *(f"gain {gain:g}" for gain in GAINS)], ["---"] * (len(GAINS) + 1)]
    rows += [[count, *(f"{value:.2f}" for value in curve.values())] for count, curve in result["power"].items()]
    return "\n".join(f"| {' | '.join(row)} |" if row else "" for row in rows)


if __name__ == "__main__":
    main()
