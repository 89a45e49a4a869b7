from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from rerank_plugin.domain.features import Features
from rerank_plugin.errors import DataError
from rerank_plugin.evaluation.arms import Found, Lists
from rerank_plugin.evaluation.collection import Collection, Query
from rerank_plugin.evaluation.metrics import judge
from rerank_plugin.evaluation.rivals import (
    COLUMNS,
    Learned,
    Lesson,
    inputs,
    learn_lightgbm,
    learn_sum,
    learned_arm,
    mean_ndcg,
    read_teaching,
    require_learning,
)
from rerank_plugin.evaluation.runs import Run, ScoredDocument


def lesson(rows: list[dict[str, float]], grades: list[float]) -> Lesson:
    best = sorted(grades, reverse=True)[:10]
    ideal = sum(grade / math.log2(rank + 2) for rank, grade in enumerate(best))
    table = [[row.get(name, 0.0 if name in COLUMNS[:5] else math.nan) for name in COLUMNS] for row in rows]
    return Lesson(np.array(table), np.array(grades, dtype=float), ideal)


def test_inputs_by_hand():
    lists = Lists({"a": 4.0, "b": 1.0, "c": 0.0}, {"b": 0.9, "c": 0.5, "d": 0.1})
    rows = inputs(lists, [("b", Features(authority=0.25)), ("a", Features())])
    named = [dict(zip(COLUMNS, row, strict=True)) for row in rows.tolist()]
    assert (named[0]["words"], named[0]["meaning"], named[0]["cosine"]) == (0.25, 1.0, 0.9)
    assert (named[0]["log_score"], named[0]["relative_score"]) == (math.log(2), 0.25)
    assert (named[0]["authority"], named[1]["words"], named[1]["meaning"]) == (0.25, 1.0, 0.0)
    assert math.isnan(named[1]["cosine"])
    assert math.isnan(named[1]["authority"])
    assert inputs(lists, []).shape == (0, len(COLUMNS))


def test_the_mean_that_is_tuned_on_is_the_measure_that_is_reported():
    rng = np.random.default_rng(5)
    lessons, scores, runs, qrels = [], [], {}, {}
    for number in range(20):
        grades = rng.integers(0, 4, 15) * (rng.random(15) < 0.3)
        given = rng.normal(size=15).round(1)
        lessons.append(lesson([{}] * 15, grades.tolist()))
        scores.append(given)
        order = np.argsort(-given, kind="stable")
        runs[f"q{number}"] = tuple(ScoredDocument(f"d{place}", 1.0) for place in order)
        qrels[f"q{number}"] = {f"d{place}": int(grade) for place, grade in enumerate(grades)}
    assert mean_ndcg(lessons, scores) == pytest.approx(judge(Run("r", runs), qrels).mean("nDCG@10"))
    assert mean_ndcg([], []) == 0.0


def test_the_sum_finds_the_factor_that_tells_relevant_from_not_and_leaves_the_others_at_0():
    # the words prefer the wrong document by .1, the meaning says nothing: only authority puts it right
    rows = [{"words": 0.6, "authority": 0.2, "novelty": 0.5}, {"words": 0.5, "authority": 0.8, "novelty": 0.5}]
    learned = learn_sum([lesson(rows, [0, 1])] * 3)
    assert learned.told == "meaning 1, authority 0.2, freshness 0, novelty 0, popularity 0"
    assert learned.score(lesson(rows, [0, 0]).rows).tolist() == pytest.approx([0.6 + 0.04, 0.5 + 0.16])


def test_an_unknown_factor_counts_as_a_half_in_the_sum():
    learned = learn_sum([lesson([{"words": 0.6, "authority": 0.2}, {"words": 0.5, "authority": 0.8}], [0, 1])])
    unknown, middle = lesson([{"words": 0.1}, {"words": 0.1, "authority": 0.5}], [0, 0]).rows
    scores = learned.score(np.array([unknown, middle]))
    assert scores[0] == scores[1]


def made_up(count: int) -> list[Lesson]:
    rng = np.random.default_rng(1)
    lessons = []
    for _ in range(count):
        rows = [{name: float(value) for name, value in zip(COLUMNS, rng.random(9), strict=True)} for _ in range(20)]
        lessons.append(lesson(rows, [float(row["freshness"] > 0.8) for row in rows]))
    return lessons


def test_lightgbm_learns_what_is_there_and_its_seed_decides():
    lessons = made_up(40)
    learned = learn_lightgbm(lessons, seed=3)
    assert learned.told.startswith("share of gain: freshness ")
    rows = lessons[0].rows
    assert (learned.score(rows) == learn_lightgbm(lessons, seed=3).score(rows)).all()
    assert mean_ndcg(lessons, [learned.score(each.rows) for each in lessons]) > 0.95
    assert learned.score(rows[:0]).shape == (0,)
    with pytest.raises(DataError, match="nothing to learn from"):
        learn_lightgbm([lesson([{}], [0])], seed=0)


class Canned:
    """Candidates of a query: two documents, the second of which is more of everything."""

    def of(self, query):
        found = (Found("a", 2.0), Found("b", 1.0))
        return found, np.array([[0.0] * len(COLUMNS), [1.0] * len(COLUMNS)])


QUERIES = tuple(Query(f"q{number}", "x") for number in range(7))
COLLECTION = Collection(name="c", queries=QUERIES, qrels={}, unjudged=0, without_relevant=0)


def test_a_query_is_answered_by_what_the_other_folds_taught():
    lessons = [lesson([{}], [float(number)]) for number in range(7)]
    taught: list[set[float]] = []

    class Recorded:
        told = "t"

        def __init__(self, given):
            mine = {float(each.grades[0]) for each in given}
            taught.append(mine)
            self.score = lambda rows: np.array([float(len(mine))] * len(rows))
            self.score.mine = mine

    arm = learned_arm(Canned(), lessons, Recorded, COLLECTION, "", seed=2)
    assert len(taught) == 5
    assert set(arm.scorers) == {query.query_id for query in QUERIES}
    for number, query in enumerate(QUERIES):
        assert float(number) not in arm.scorers[query.query_id].mine
    assert "5 folds" in arm.note
    once = learned_arm(Canned(), lessons, Recorded, COLLECTION, "dev", seed=2)
    assert taught[-1] == {float(number) for number in range(7)}
    assert once.note == "learned from 7 queries of dev: t"


@pytest.mark.parametrize(("slope", "order"), [(1.0, ["b", "a"]), (0.0, ["a", "b"]), (-1.0, ["a", "b"])])
def test_a_learned_arm_orders_by_its_score_and_keeps_ties(slope, order):
    learned = Learned(lambda rows: rows[:, 0] * slope, "")
    arm = learned_arm(Canned(), [], lambda given: learned, COLLECTION, "dev", 0)
    assert [each.doc_id for each in arm.answer(QUERIES[0]).found] == order


def test_rivals_learn_from_no_query_that_is_judged_here(tmp_path: Path):
    queries, qrels = tmp_path / "queries.jsonl", tmp_path / "train.tsv"
    queries.write_text("".join(json.dumps({"_id": f"q{n}", "text": "x"}) + "\n" for n in range(9)))
    qrels.write_text("".join(f"q{n} d 1\n" for n in range(9)))
    teaching = read_teaching("train", queries, qrels, COLLECTION, seed=0)
    assert teaching is not None
    assert [query.query_id for query in teaching.collection.queries] == ["q7", "q8"]
    qrels.write_text("q1 d 1\n")
    assert read_teaching("train", queries, qrels, COLLECTION, seed=0) is None


def test_one_query_alone_teaches_nothing():
    with pytest.raises(DataError, match="give at least 2 queries"):
        require_learning("sum", COLLECTION.first(1), None)
    require_learning("lightgbm", COLLECTION, None)
    assert COLLECTION.queries
