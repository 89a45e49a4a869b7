from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_plugin.evaluation.changes import change, changes, most_changed, rank_biased_overlap, summary
from rerank_plugin.evaluation.collection import Query
from rerank_plugin.evaluation.formats import read_judgments
from rerank_plugin.evaluation.judging_list import pool, write_judging_lists
from rerank_plugin.evaluation.runs import Run, ScoredDocument

LISTS = st.lists(st.sampled_from("abcdefghijkl"), max_size=12, unique=True)


def run(**found: str) -> Run:
    return Run("r", {query: tuple(ScoredDocument(each, 1.0) for each in ids) for query, ids in found.items()})


def test_overlap_and_shift_by_hand():
    # b: 2 -> 1, a: 1 -> 2, x: not in the first list of 3, so from place 4 to 3
    found = change("abc", "bax")
    assert (found.overlap, found.shift, found.first) == (2 / 3, 1.0, True)
    assert change("", "").overlap == change("", "").rbo == 1.0
    assert change("ab", "").overlap == 0.0


def test_rank_biased_overlap_by_hand():
    # agreement at depth 1, 2, 3: 0, 1, 2/3; p = .9
    expected = 2 / 3 * 0.9**3 + 0.1 / 0.9 * (0 * 0.9 + 1 * 0.81 + 2 / 3 * 0.729)
    assert rank_biased_overlap("abc", "bax") == pytest.approx(expected)


@given(LISTS, LISTS)
def test_rank_biased_overlap_is_a_similarity(a, b):
    value = rank_biased_overlap(a, b)
    assert 0.0 <= value <= 1 + 1e-12
    assert value == pytest.approx(rank_biased_overlap(b, a))
    assert rank_biased_overlap(a, a) == pytest.approx(1.0)
    if not set(a) & set(b) and (a or b):
        assert value == 0.0


@given(LISTS)
def test_a_change_at_the_top_counts_more_than_one_further_down(ids):
    if len(ids) >= 4:
        top, end = [ids[1], ids[0], *ids[2:]], [*ids[:-2], ids[-1], ids[-2]]
        assert rank_biased_overlap(ids, top) <= rank_biased_overlap(ids, end) + 1e-12


def test_a_summary_is_the_mean_and_the_most_changed_come_first():
    found = changes(run(q1="ab", q2="ab", q3="ab"), run(q1="ab", q2="ba", q3="xy"), ["q1", "q2", "q3"])
    told = summary("bm25", "rerank", found)
    assert (told.overlap, told.first_changed, told.unchanged) == pytest.approx((2 / 3, 2 / 3, 1 / 3))
    assert most_changed(found) == ["q3", "q2", "q1"]
    empty = summary("a", "b", {})
    assert (empty.overlap, empty.shift, empty.unchanged) == (1.0, 0.0, 0.0)


def test_the_judging_list_hides_who_found_what_and_comes_back_as_judgments(tmp_path: Path):
    queries = [Query("q1", 'with "quotes", and commas'), Query("q2", "two")]
    runs = [run(q1="abcdefghijkl", q2="xy"), run(q1="lkjihgfedcba")]
    pooled = pool(queries, runs, seed=1)
    assert [sorted(documents) for _, documents in pooled] == [list("abcdefghijkl"), ["x", "y"]]
    assert pooled == pool(queries, runs[::-1], seed=1)
    assert pooled[0][1] not in ([*"abcdefghijkl"], [*"lkjihgfedcba"])
    paths = write_judging_lists(pooled, lambda ids: {each: f"title, {each}" for each in ids if each != "x"}, tmp_path)
    for path in paths.values():
        assert read_judgments(path).grades == {}
        rows = list(csv.reader(path.read_text().splitlines()))
        assert len(rows) == 15
        rated = [rows[0], *([*row[:-1], "2"] for row in rows[1:13]), *rows[13:]]
        with path.open("w", newline="") as stream:
            csv.writer(stream).writerows(rated)
        assert read_judgments(path).grades == {'with "quotes", and commas': dict.fromkeys("abcdefghijkl", 2)}
