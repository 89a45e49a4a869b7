"""Labels that nobody gave: both tails and nothing between, by hand, and never of what is tested."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rerank_plugin.errors import ConfigError, DataError
from rerank_plugin.ranking.relevance import Fit, RelevanceHead
from rerank_plugin.training.calibrate import Window
from rerank_plugin.training.groups import Groups
from rerank_plugin.training.pseudo import pseudo_labelled, said_of, with_labels
from rerank_plugin.training.settings import Settings
from rerank_plugin.wiring.splits import read_splits
from rerank_plugin.wiring.unlabelled import with_pseudo_labels
from training.training_samples import window

pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore")]

FIT = Fit(intercept=-1.0, cosine=4.0)
HEAD = RelevanceHead(dict.fromkeys(("score+text", "text", "score"), FIT))
TEXTS = [f"text {place}" for place in range(6)]


def unjudged(query: str = "q", cosines: list[float] | None = None) -> Window:
    return replace(window(query, TEXTS, [], cosines=cosines), judgments={})


def test_both_tails_by_hand() -> None:
    """Chances .9, .8, .5, .06, .05, and one that nobody looked at."""
    said = np.log(np.array([9.0, 4.0, 1.0, 6 / 94, 1 / 19, math.nan]))
    said[1] += 1e-9  # at the threshold, whatever rounding does
    said[4] -= 1e-9
    found = with_labels(unjudged(), said, relevant=0.8, irrelevant=0.05)
    assert found.judgments == {"d0": 1, "d1": 1, "d4": 0}
    assert found.open == {"d2", "d3", "d5"}
    assert with_labels(unjudged(), said, relevant=1.0, irrelevant=0.0).judgments == {}


def test_what_a_query_was_made_of_stays_open_and_is_not_counted() -> None:
    made = [replace(each, open=frozenset({"elsewhere"})) for each in (unjudged("q1"), unjudged("q2"))]
    found = pseudo_labelled(made, planted(5, 40), HEAD, relevant=0.99, irrelevant=0.0)
    assert all(each.open == {"elsewhere", "d0", "d1", "d2", "d3", "d4", "d5"} for each in found.windows)
    assert found.open == 12


def test_what_stays_open_is_no_negative() -> None:
    said = np.log(np.array([9.0, 1.0, 1 / 99, 1 / 99, 1.0, 1 / 99]))
    found = with_labels(unjudged(cosines=[0.9, 0.1, 0.1, 0.1, 0.1, 0.1]), said, relevant=0.8, irrelevant=0.05)
    drawn = {
        each.doc_id for group in Groups([found], size=4, count=40, margin=0.0, seed=0) for each in group.candidates
    }
    assert drawn == {"d0", "d2", "d3", "d5"}
    taught = replace(found, taught=np.array([3.0, 0.0, -1.0, -1.0, 0.0, -1.0]))
    seen: dict[str, set[bool]] = {}
    for group in Groups([taught], size=4, count=80, margin=0.0, seed=0):
        for candidate, labelled in zip(group.candidates, group.labelled, strict=True):
            seen.setdefault(candidate.doc_id, set()).add(labelled)
    # Where there are teachers it is there for what they say of it, without a label.
    assert seen == {"d0": {True}, "d1": {False}, "d2": {True}, "d3": {True}, "d4": {False}, "d5": {True}}


def planted(seed: int, count: int) -> list[Window]:
    """Judged with a chance whose log-odds are z, 4 * cosine - 1, halved, and 2 less."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        cosines = rng.uniform(-1, 2, 6)
        chances = 1 / (1 + np.exp(-(0.5 * (4 * cosines - 1) - 2)))
        relevant = [place for place, chance in enumerate(chances) if rng.uniform() < chance]
        found.append(window(f"q{number}", TEXTS, relevant, cosines=cosines.tolist()))
    return found


def test_the_scale_is_that_of_the_judged_queries() -> None:
    """The head finds a cosine of .5 even (z = 1); here it is a chance of sigmoid(-1.5)."""
    cosines = [2.2, 1.6, 1.25, 0.5, -0.6, -1.0]  # z / 2 - 2: 1.9, .7, 0, -1.5, -3.7, -4.5
    assert said_of(unjudged(cosines=cosines), HEAD) == pytest.approx([4 * each - 1 for each in cosines])
    found = pseudo_labelled([unjudged(cosines=cosines)], planted(0, 2000), HEAD, relevant=0.8, irrelevant=0.05)
    assert found.windows[0].judgments == {"d0": 1, "d4": 0, "d5": 0}
    assert (found.queries, found.relevant, found.irrelevant, found.open) == (1, 1, 2, 3)


def test_teachers_speak_in_place_of_the_start() -> None:
    judged = [replace(each, taught=-each.cosines) for each in planted(1, 500)]
    one = replace(unjudged(cosines=[2.0] * 6), taught=np.array([-2.2, math.nan, -1.25, 0, 1.0, 1.0]))
    found = pseudo_labelled([one], judged, HEAD, relevant=0.8, irrelevant=0.05)
    assert (
        found.windows[0].judgments == {}
    )  # a platt scale is at least 0: what is said the wrong way round says nothing
    right = [replace(each, taught=each.cosines) for each in planted(1, 500)]
    one = replace(one, taught=np.array([2.2, math.nan, 1.25, 0.5, -0.6, -1.0]))
    assert pseudo_labelled([one], right, HEAD, relevant=0.8, irrelevant=0.05).windows[0].judgments.keys() == {
        "d0", "d4", "d5"
    }  # fmt: skip


def test_what_came_of_it_is_told_in_one_line() -> None:
    told: list[str] = []
    judged = planted(0, 2000)
    sure, unsure = unjudged(cosines=[2.2, 1.6, 1.25, 0.5, -0.6, -1.0]), unjudged(cosines=[1.0] * 6)
    windows, account = with_pseudo_labels(judged, [sure, unsure], HEAD, Settings(), told.append)
    assert len(windows) == 2002
    assert account == {"queries": 1, "relevant": 1, "irrelevant": 2, "open": 9}
    assert told == [
        "pseudo-labels: 1 of 2 unjudged queries can teach; 1 documents are relevant with a chance of 0.8 or more, "
        "2 with 0.05 or less, 9 stay open"
    ]
    assert with_pseudo_labels(judged, [], HEAD, Settings(), told.append) == (judged, {})


def directory(folder: Path) -> Path:
    """Query n asks "query n"; 90 asks what 3 does, 91 what 5 does, 92 what 1 does."""
    (folder / "qrels").mkdir(parents=True)
    texts = {str(number): f"query {number}" for number in range(12)}
    texts |= {"90": "Query  3", "91": "QUERY 5", "92": "query 1"}
    lines = [json.dumps({"_id": key, "text": text}) + "\n" for key, text in texts.items()]
    (folder / "queries.jsonl").write_text("".join(lines))
    splits = {
        "train": ["0\td\t1", "1\td\t1", "2\td\t1", "6\td\t0"],
        "dev": ["3\td\t1", "4\td\t0"],
        "test": ["91\td\t1"],
    }
    for split, rows in splits.items():
        (folder / "qrels" / f"{split}.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *rows]) + "\n")
    return folder


def test_no_text_that_a_split_judges_gets_a_label(tmp_path: Path) -> None:
    """Held back queries too, which no window is drawn for, and those in which nothing is relevant."""
    folder = directory(tmp_path / "c")
    found = read_splits(folder, Settings(pseudo_queries=99, validate_queries=1, test_queries=0))
    assert found.unlabelled is not None
    assert [query.query_id for query in found.unlabelled.queries] == ["7", "8", "9", "10", "11"]
    assert not any(found.unlabelled.qrels.values())
    few = read_splits(folder, Settings(pseudo_queries=2)).unlabelled
    assert few is not None
    assert len(few.queries) == 2
    assert read_splits(folder, Settings()).unlabelled is None
    with (folder / "qrels" / "train.tsv").open("a") as file:
        file.writelines(f"{number}\td\t1\n" for number in range(7, 12))
    with pytest.raises(DataError, match="has no query without judgments; leave out pseudo_queries"):
        read_splits(folder, Settings(pseudo_queries=2))


def test_the_tails_do_not_meet() -> None:
    with pytest.raises(ConfigError, match=r"pseudo_relevant must be between 0\.5 and 1, got 0\.4"):
        Settings(pseudo_relevant=0.4)
    with pytest.raises(ConfigError, match=r"pseudo_irrelevant must be between 0 and 0\.5, got 0\.6"):
        Settings(pseudo_irrelevant=0.6)
