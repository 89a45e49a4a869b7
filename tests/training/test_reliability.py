"""The expected calibration error: by hand, near 0 for what is calibrated, large for what is sure of everything."""

from __future__ import annotations

import numpy as np
import pytest

from rerank_plugin.training.reliability import BINS, diagram, reliability
from training.training_samples import window

pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore")]


def test_by_hand() -> None:
    said = np.array([0.1] * 10 + [0.6] * 10)
    relevant = np.array([True, *[False] * 9, *[True] * 10])
    found = diagram(said, relevant)
    assert found["error"] == pytest.approx((0.4 + 4 * 0.1 + 5 * 0.4) / 10)  # in the first bin one of two is relevant
    assert found["base_rate"] == 0.55
    assert found["bins"][0] == [0.1, 0.5, 2]
    assert found["bins"][1:5] == [[0.1, 0.0, 2]] * 4
    assert found["bins"][5:] == [[0.6, 1.0, 2]] * 5


def test_few_candidates_make_few_bins() -> None:
    assert diagram(np.array([0.2, 0.9]), np.array([False, True]))["bins"] == [[0.2, 0.0, 1], [0.9, 1.0, 1]]


def test_what_is_drawn_by_its_own_chance_is_calibrated_and_what_is_sure_is_not() -> None:
    rng = np.random.default_rng(1)
    chance = rng.random(40_000) ** 3
    relevant = rng.random(40_000) < chance
    assert diagram(chance, relevant)["error"] < 0.01
    assert diagram(chance**0.2, relevant)["error"] > 0.3
    assert sum(count for *_, count in diagram(chance, relevant)["bins"]) == 40_000


def test_the_head_is_measured_on_queries_that_it_was_not_fitted_on() -> None:
    rng = np.random.default_rng(0)
    windows = [
        window(
            f"q{number}",
            [f"text {place}" for place in range(20)],
            [int(rng.integers(20))],
            cosines=list(rng.random(20)),
        )
        for number in range(40)
    ]
    found = reliability({"noise": windows})
    assert sum(count for *_, count in found["noise"]["bins"]) == 40 * 20
    assert len(found["noise"]["bins"]) == BINS
    assert found["noise"]["base_rate"] == 0.05
    assert found["noise"]["error"] < 0.05  # nothing is to be told from noise, and so nothing is told
    assert found == reliability({"noise": windows})


def test_too_few_queries_say_nothing() -> None:
    assert reliability({"one": [window("q", ["a", "b"], [0])]}) == {}
