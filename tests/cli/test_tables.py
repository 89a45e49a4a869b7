"""Results as tables: every figure whole, one line per row, on terminals of any usual width."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from rerank_plugin.cli.tables import print_arms, print_comparisons
from rerank_plugin.domain.factors import PRIORS

ARM: dict[str, Any] = {
    "nDCG@10": 0.5328,
    "RR@10": 0.7771,
    "AP": 0.3872,
    "R@100": 0.9784,
    "latency_ms": {"p50": 118.34, "p95": 232.61},
    "factors@10": dict.fromkeys(PRIORS, 0.4321),
    "fallbacks": 12,
    "reasons": {},
    "note": "",
}
ROW: dict[str, Any] = {
    "measure": "nDCG@10",
    "candidate": "rerank",
    "baseline": "fused",
    "delta": 0.0104,
    "ci95": [-0.0051, 0.0247],
    "p_ttest": 0.1911,
    "p_permutation": 0.1902,
    "p_permutation_holm": 0.3804,
    "wins": 116,
    "ties": 114,
    "losses": 110,
}
RESULT: dict[str, Any] = {
    "dataset": "tiny",
    "queries": 340,
    "gain": "linear",
    "unjudged": 0,
    "without_relevant": 0,
    "note": "",
    "arms": {"bm25": ARM, "an arm with a very long label": ARM},
    "comparisons": [ROW],
}


@pytest.mark.parametrize("width", [80, 100, 120])
def test_figures_are_whole_and_each_arm_is_a_line(width):
    out = Console(width=width, no_color=True)
    with out.capture() as captured:
        print_arms(RESULT, out)
        print_comparisons(RESULT, out)
    lines = [line.strip() for line in captured.get().splitlines() if line.strip()]
    assert max(map(len, lines)) <= width
    assert "…" not in lines[1]
    figures = ["0.533", "0.777", "0.387", "0.978", "118.3", "232.6", *["0.43"] * 4, "12"]
    assert lines[3].split() == ["bm25", *figures]
    assert lines[4].split()[-len(figures) :] == figures
    corrected = ["0.3804"] if width >= 110 else []
    compared = ["rerank", "fused", "+0.010", "-0.005", "to", "+0.025", "0.1911", "0.1902", *corrected, "116/114/110"]
    assert lines[-1].split() == compared
