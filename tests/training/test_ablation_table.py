"""The table of ``benchmarks/bench_ablation.py``: what its folds, rivals and differences are."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import bench_ablation
import numpy as np
import pytest
from ablation_table import printed, summary

from rerank_plugin.domain.features import Features
from rerank_plugin.ranking.relevance import Fit, RelevanceHead
from rerank_plugin.training.calibrate import Blended
from training.training_samples import window

pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore")]


def fold(ndcg: list[list[float]], authority: list[list[float]], year: list[list[float]], **more: Any) -> dict[str, Any]:
    """Per trade and query."""
    return {
        "known": ["authority"],
        "chosen": len(ndcg) - 1,
        "ndcg": ndcg,
        "utility": [[{"authority": each} for each in trade] for trade in authority],
        "units": [[{"year": each} for each in trade] for trade in year],
        **more,
    }


def test_means_differences_and_hypervolume_by_hand() -> None:
    """Two folds, of two queries and of one; the arm takes its last trade, and is held against the first of fused."""
    weights = {"weights": {"authority": 1.0, "freshness": 0.0, "novelty": 0.0, "popularity": 0.0}}
    fused = [
        fold([[0.4, 0.6], [0.3, 0.6]], [[0.5, 0.5], [0.6, 0.6]], [[1970.0, 1972.0], [1971.0, 1973.0]], **weights),
        fold([[0.5], [0.6]], [[0.5], [0.9]], [[1980.0], [1981.0]], **weights),
    ]
    done = {**weights, "trained": {"best_step": 8, "conflict": None}}
    arm = [
        fold([[0.4, 0.6], [0.6, 0.6]], [[0.5, 0.5], [0.8, 0.8]], [[1970.0, 1972.0], [1974.0, 1976.0]], **done),
        fold([[0.5], [0.6]], [[0.5], [0.8]], [[1980.0], [1984.0]], **done),
    ]  # fmt: skip
    found = summary({"fused": fused, "all": arm})
    assert found["fused without weights"] == {
        "queries_measured": 3,
        "nDCG@10": pytest.approx(0.5),
        "utility": {"authority": pytest.approx(0.5)},
        "units": {"year": pytest.approx(1974.0)},
    }
    plain, trained = found["arms"]["fused"], found["arms"]["all"]
    assert plain["delta"]["delta"] == pytest.approx(0.0)
    assert trained["delta"]["delta"] == pytest.approx(0.1)
    assert (trained["nDCG@10"], trained["without weights"]) == (pytest.approx(0.6), pytest.approx(0.5))
    assert trained["gain"] == {"authority": pytest.approx(0.6)}
    assert trained["units"] == {"year": pytest.approx(1978.0)}
    assert trained["hypervolume"] == pytest.approx(0.6 * 0.8)  # (.6, .8) dominates (.5, .5)
    assert plain["hypervolume"] == pytest.approx(0.5 * 0.7)
    assert (trained["best_steps"], trained["gradient_conflict"]) == ([8, 8], None)
    told = {"settings": {"max_steps": 24, "groups": 4, "group_size": 6, "tokens": 48}, "folds": 2, "layers": 2}
    table = printed("x", {**told, **found, "gain": "linear", "seed": 0, "window": 9, "start": "s", "versions": {}})
    assert "| all | .600 | +.100, -.148..+.348 | 1978.0 | .800 (+60%) | .4800 |" in table


def test_lightgbm_is_taught_grades_mixed_with_utilities() -> None:
    found = window("q", ["a", "b", "c"], [1], features=[Features(authority=1.0), Features(), Features()])
    assert bench_ablation._lesson(found, 0.0).grades.tolist() == [0, 30, 0]
    # Unknown is 1/2: the mean utilities are 5/8, 1/2, 1/2.
    assert bench_ablation._lesson(found, 0.5).grades.tolist() == [9, 22, 8]
    rows = bench_ablation._rows(found)
    assert rows[:, 0].tolist() == [1.0, 0.5, 0.0]  # the words, min-max
    assert rows[:, 3] == pytest.approx([1.0, 2 / 3, 1 / 3])
    assert rows[0, 5] == 1.0
    assert np.isnan(rows[1, 5])


def test_the_sum_adds_to_relevance_between_nothing_and_its_scale() -> None:
    found = window("q", ["a", "b"], [1], cosines=[0.0, 100.0])
    head = RelevanceHead(dict.fromkeys(("score+text", "text", "score"), Fit(intercept=0.0, cosine=1.0)))
    assert bench_ablation._as_sum(Blended.of(found, head)).zs == pytest.approx([2.0, 4.0])


def test_every_query_is_held_out_once_and_never_learned_from_by_its_own_fold() -> None:
    bench = object.__new__(bench_ablation.Ablation)
    bench._options = Namespace(folds=3, seed=0)
    bench._windows = [window(f"q{place}", ["a"], [0]) for place in range(7)]
    held = [bench._of([fold]) for fold in range(3)]
    assert sorted(each.request.query for part in held for each in part) == [f"q{place}" for place in range(7)]
    assert [len(part) for part in held] == [3, 2, 2]
    others = {each.request.query for each in bench._of([1, 2])}
    assert not others & {each.request.query for each in held[0]}


def test_another_run_does_not_go_on_in_its_folder(tmp_path: Path) -> None:
    bench_ablation.keep(tmp_path, {"steps": 1})
    bench_ablation.keep(tmp_path, {"steps": 1})
    with pytest.raises(SystemExit, match="holds a run with other settings"):
        bench_ablation.keep(tmp_path, {"steps": 2})


def test_units_are_means_of_the_documents_that_say_them() -> None:
    bench = object.__new__(bench_ablation.Ablation)
    bench._said = {"d0": {"year": 1970.0}, "d1": {"year": 1980.0, "votes": 3.0}, "d2": {}}
    found = window("q", ["a", "b", "c"], [0])
    assert bench._units(found, [2, 1, 0]) == {"year": 1975.0, "votes": 3.0}
    assert bench_ablation.SAID["year"]({"date": "1980-07-01"}) == 1980.5
