"""Groups hold what the read path found, and nothing that is probably a mistake of the judges."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rerank_plugin.domain.features import Features
from rerank_plugin.errors import DataError
from rerank_plugin.training.calibrate import Window
from rerank_plugin.training.groups import Groups
from training.training_samples import window

pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore")]

TEXTS = [f"text {place}" for place in range(12)]


def groups(windows: list[Window], **more: float) -> Groups:
    told = {"size": 4, "count": 40, "margin": 0.0, "seed": 7, **more}
    return Groups(windows, **told)  # type: ignore[arg-type]


def test_a_group_is_one_relevant_candidate_and_others_of_its_window() -> None:
    for group in groups([window("q", TEXTS, [3, 8])]):
        assert len(group.candidates) == len({each.doc_id for each in group.candidates}) == 4
        assert sorted(group.grades) == [0.0, 0.0, 0.0, 1.0]
        assert group.top == 12.0  # of the window, not of the group


def test_what_looks_more_relevant_than_the_relevant_one_is_no_negative() -> None:
    cosines = [0.9, 0.5, 0.61, *[0.1] * 9]
    one = window("q", TEXTS, [1], cosines=cosines)
    drawn = {each.doc_id for group in groups([one]) for each in group.candidates}
    assert not drawn & {"d0", "d2"}
    drawn = {each.doc_id for group in groups([one], margin=0.2) for each in group.candidates}
    assert "d2" in drawn
    assert "d0" not in drawn


def test_a_judged_negative_stays_however_it_looks() -> None:
    one = window("q", TEXTS, [1], cosines=[0.9, 0.5, *[0.1] * 10])
    judged = Window(one.request, None, {"d1": 1, "d0": 0})
    assert "d0" in {each.doc_id for group in groups([judged]) for each in group.candidates}


def seen(window: Window, **more: float) -> dict[str, set[bool]]:
    """Document -> whether its label is believed, over many groups."""
    found: dict[str, set[bool]] = {}
    for group in groups([window], count=80, **more):
        assert len(group.labelled) == len(group.taught) == len(group.candidates)
        for candidate, labelled in zip(group.candidates, group.labelled, strict=True):
            found.setdefault(candidate.doc_id, set()).add(labelled)
    return found


def test_what_teachers_find_likelier_is_learned_from_without_a_label() -> None:
    one = window("q", TEXTS, [1], cosines=[0.9, 0.5, *[0.1] * 10])
    said = np.array([-1.0, 0.0, math.log(2) - 0.01, math.log(2) + 0.01, *[-2.0] * 6, math.nan, math.nan])
    taught = replace(one, taught=said)
    found = seen(taught, denoise=2.0)
    assert {doc for doc, labels in found.items() if labels == {False}} == {"d3"}
    assert found["d0"] == {True}  # whatever the cosine says
    assert found.keys() == {f"d{place}" for place in range(10)}  # no teacher looked at the last two
    assert {doc for doc, labels in seen(taught, denoise=0.5).items() if labels == {False}} == {"d2", "d3"}
    assert {doc for doc, labels in seen(taught, denoise=0.0).items() if labels == {True}} == {"d1"}
    judged = replace(taught, judgments={"d1": 1, "d3": 0})
    assert seen(judged, denoise=2.0)["d3"] == {True}


def test_what_teachers_say_goes_with_its_candidate() -> None:
    said = np.arange(12.0)
    for group in groups([replace(window("q", TEXTS, [1]), taught=said)]):
        assert group.taught == tuple(float(each.doc_id[1:]) for each in group.candidates)
    assert groups([window("q", TEXTS, [1])])[0].taught == ()


def test_places_in_a_group_say_nothing() -> None:
    places = [group.grades.index(1.0) for group in groups([window("q", TEXTS, [0])], count=400)]
    assert min(places.count(place) for place in range(4)) > 60  # 100 each, were it even


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 29), st.integers(0, 1000))
def test_the_same_number_is_the_same_group_in_any_order(number: int, seed: int) -> None:
    windows = [window(f"q{place}", TEXTS, [place]) for place in range(5)]
    first, second = groups(windows, seed=seed), groups(windows, seed=seed)
    list(first)
    assert first[number] == second[number]


def test_every_query_once_before_any_twice() -> None:
    windows = [window(f"q{place}", TEXTS, [place]) for place in range(5)]
    asked = [group.query for group in groups(windows, count=10)]
    assert sorted(asked[:5]) == sorted(asked[5:]) == [f"q{place}" for place in range(5)]


def test_unknown_features_are_halves_and_known_as_unknown() -> None:
    features = [Features(authority=0.9), *[Features()] * 11]
    for group in groups([window("q", TEXTS, [0], features=features)], count=3):
        place = group.grades.index(1.0)
        assert group.utilities[place] == [0.9, 0.5, 0.5, 0.5]
        assert group.known[place] == [True, False, False, False]


def test_windows_without_a_choice_are_refused_in_one_line() -> None:
    with pytest.raises(DataError, match="none of 2 training queries found a relevant and an irrelevant document"):
        groups([window("q", TEXTS, []), window("p", TEXTS[:1], [0])])
