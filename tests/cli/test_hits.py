from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from rerank_plugin.cli.hits import print_hits, title_of
from rerank_plugin.cli.tables import bar
from rerank_plugin.domain.factors import PRIORS
from rerank_plugin.ranking.blend import sigmoid


def hit(doc: str, old: int, z: float, authority: float | None) -> dict[str, Any]:
    """A reranked hit with one factor that may be known."""
    terms = {
        factor: {"utility": 0.5, "weight": 1.0, "gate": 1.0, "contribution": 0.0, "origin": "missing"}
        for factor in PRIORS
    }
    if authority is not None:
        terms["authority"].update(utility=authority, contribution=authority - 0.5, origin="feature")
    z_final = z + terms["authority"]["contribution"]
    return {
        "_id": doc,
        "_source": {"title": f"Title {doc}"},
        "_rerank": {
            "final_score": sigmoid(z_final),
            "z": z,
            "retrieval_rank": old,
            "retrieval_score": float(old <= 100),
            "factors": terms,
        },
    }


def shown(response: dict[str, Any], width: int = 140, **options: Any) -> list[str]:
    out = Console(width=width, record=True, file=None, quiet=False, no_color=True)
    with out.capture() as captured:
        print_hits(response, out=out, **options)
    return [line.rstrip() for line in captured.get().splitlines() if line.strip()]


RESPONSE: dict[str, Any] = {
    "rerank": {
        "status": "applied",
        "reranked": 3,
        "window": 9,
        "dense": "2 documents added",
        "took_ms": {"total": 12.3},
    },
    "hits": {
        "hits": [
            hit("a", 3, 2.0, 1.0),
            hit("b", 1, 1.0, None),
            hit("c", 3, 0.0, 0.0),
            hit("v", 101, -1.0, 0.0),
            {"_id": "tail", "_rerank": {"z": None, "final_score": None, "retrieval_rank": 9, "factors": {}}},
        ]
    },
}


def test_ranks_move_up_and_down_and_bars_stand_for_factors():
    rows = shown(RESPONSE)
    assert "1   3 ↑   0.924" in rows[2]
    assert bar(1.0) in rows[2]
    assert "2   1 ↓   0.731" in rows[3]
    assert rows[3].count("·") == 4
    assert "3   3 =   0.378" in rows[4]
    assert rows[2].endswith("Title a")
    assert rows[5].split()[:2] == ["4", "vec"]
    assert rows[6].split() == ["5", "9", "↑", "–", "tail"]
    assert rows[-1] == "reranking: applied, 3 rescored with a window of 9, vectors: 2 documents added, 12 ms"


def test_an_explanation_sums_to_z_final():
    row = shown(RESPONSE, explain=True)[2].split()
    z, *parts, z_final, score = (float(each) for each in row[3:10])
    assert (z, parts) == (2.0, [0.5, 0.0, 0.0, 0.0])
    assert z_final == z + sum(parts) == 2.5
    assert score == round(sigmoid(2.5), 3)


@pytest.mark.parametrize("width", [80, 100, 120])
@pytest.mark.parametrize("explain", [False, True])
def test_figures_are_whole_and_each_hit_is_a_line_on_a_narrow_terminal(width, explain):
    long = {**hit("a", 73, -12.3456, 1.0), "_source": {"title": "A very long title " * 10}}
    _, heading, _, row, _ = ["", *shown({"hits": {"hits": [long]}}, width, explain=explain)]
    assert len(row) <= width
    assert row.split()[:3] == ["1", "73", "↑"]
    assert row.split()[3] == ("-12.3456" if explain else "0.000")
    assert "…" not in heading
    assert ("+0.5000" if explain else bar(1.0)) in row
    assert row.endswith("…")


def test_a_fallback_shows_the_engines_order_and_why():
    response = {"rerank": {"status": "fallback", "reason": "no model"}, "hits": {"hits": [{"_id": "x"}]}}
    assert shown(response)[-1] == "reranking: fallback (no model)"
    assert shown({"hits": {"hits": []}}) == ["Nothing found.", "reranking: off"]


def test_a_title_is_one_line_of_what_there_is():
    assert title_of({"_id": "7", "_source": {"title": " two\nlines "}}) == "two lines"
    assert title_of({"_id": "7", "_source": {"rerank": {"authority": 1}, "body": "text"}}) == "text"
    assert title_of({"_id": "7"}) == "7"
    assert len(title_of({"_source": {"title": "long " * 100}})) == 80


def test_bars_grow_by_eighths_of_a_letter():
    assert bar(0.0) == " " * 6
    assert bar(1.0) == "█" * 6
    assert bar(0.5) == "███   "
    assert bar(0.02) == "▏     "
    assert bar(7.0) == bar(1.0)
