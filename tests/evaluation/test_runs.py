from __future__ import annotations

import itertools
import math

import ir_measures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_plugin.errors import DataError
from rerank_plugin.evaluation.runs import Run, ScoredDocument, read_trec, strict_scores, write_trec


def run_of(**found: list[tuple[str, float]]) -> Run:
    return Run("arm", {key: tuple(ScoredDocument(*pair) for pair in pairs) for key, pairs in found.items()})


def test_scores_that_fall_stay_and_ties_are_lowered_by_the_smallest_step():
    below = float(np.nextafter(np.float32(2.0), np.float32(-np.inf)))
    assert strict_scores([3.0, 2.0, 2.0, 1.0]) == [3.0, 2.0, below, 1.0]


@given(st.lists(st.floats(min_value=-1e6, max_value=1e6), max_size=30))
def test_strict_scores_fall_in_single_precision_whatever_comes_in(scores):
    strict = strict_scores(scores)
    assert len(strict) == len(scores)
    assert all(np.float32(low) < np.float32(high) for high, low in itertools.pairwise(strict))


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_scores_that_are_no_numbers_are_refused(score):
    with pytest.raises(DataError, match="finite scores"):
        strict_scores([1.0, score])


def test_a_run_comes_back_in_its_order_though_every_score_ties(tmp_path):
    path = tmp_path / "runs" / "arm.run"
    run = run_of(q1=[("c", 0.5), ("a", 0.5), ("b", 0.5)], q2=[("z", -1.0), ("y", 7.0)])
    write_trec(run, path)
    again = read_trec(path)
    assert {query: again.ids(query) for query in again.found} == {"q1": ("c", "a", "b"), "q2": ("z", "y")}
    assert path.read_text().splitlines()[0] == "q1 Q0 c 1 0.5 arm"
    # and another reader, which breaks ties by document id, sees the same order
    rows = sorted(ir_measures.read_trec_run(str(path)), key=lambda row: (row.query_id, -row.score))
    assert [row.doc_id for row in rows] == ["c", "a", "b", "z", "y"]


def test_white_space_in_ids_is_written_as_in_a_url(tmp_path):
    path = tmp_path / "arm.run"
    write_trec(run_of(**{"q 1": [("a\tb", 1.0)]}), path)
    assert path.read_text() == "q%201 Q0 a%09b 1 1.0 arm\n"


def test_equal_scores_of_a_foreign_run_keep_their_ranks(tmp_path):
    path = tmp_path / "other.run"
    path.write_text("q1 Q0 b 2 1.5 x\nq1 Q0 c 1 1.5 x\nq1 Q0 a 3 2.5 x\n")
    assert read_trec(path).ids("q1") == ("a", "c", "b")
    assert read_trec(path).ids("absent") == ()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("q1 Q0 b 2 1.5", "6 columns, got 5"),
        ("q1 Q0 b two 1.5 x", "rank and score are numbers"),
        ("q1 Q0 b 2 nan x", "finite number"),
        ("q1 Q0 a 2 1.5 x", "occurs twice"),
    ],
)
def test_bad_lines_name_file_and_line(tmp_path, line, told):
    path = tmp_path / "bad.run"
    path.write_text(f"q1 Q0 a 1 2.0 x\n{line}\n")
    with pytest.raises(DataError) as caught:
        read_trec(path)
    assert f"{path}:2: " in str(caught.value)
    assert told in str(caught.value)
