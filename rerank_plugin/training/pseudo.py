"""Labels that nobody gave: of queries without judgments, where the start or the teachers are sure (one round).

Yarowsky 1995 labels what the first model is sure of and trains on it; Lee 2013 names them pseudo-labels. Here both
tails of the chance are believed, and what lies between stays without a label: it is in a group only for what teachers
say of it. The chance is that of the teachers' mix, where there are teachers, else of the start's relevance; its scale
is fitted on the judged training windows (Platt 1999), since neither is calibrated on this collection.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from rerank_plugin.training.calibrate import platt, relevance

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rerank_plugin.ranking.relevance import RelevanceHead
    from rerank_plugin.training.calibrate import Window


@dataclass(frozen=True, slots=True)
class Pseudo:
    """Windows with labels that nobody gave, and how many these are."""

    windows: list[Window]
    #: Windows with a document that is believed to be relevant, and others: only these can teach.
    queries: int
    relevant: int
    irrelevant: int
    #: Candidates that stay without a label.
    open: int


def pseudo_labelled(
    windows: Sequence[Window], judged: Sequence[Window], head: RelevanceHead, *, relevant: float, irrelevant: float
) -> Pseudo:
    """The windows with labels where it is sure what they are.

    :param windows: without judgments; taught if ``judged`` are.
    :param judged: what the scale is fitted on.
    :param head: of the start, for windows that were not taught.
    :param relevant: the least chance of a document that is labelled 1.
    :param irrelevant: the highest of one that is labelled 0.
    """
    scale, intercept = _scale(judged, head)
    found = [
        with_labels(window, scale * said_of(window, head) + intercept, relevant=relevant, irrelevant=irrelevant)
        for window in windows
    ]
    return Pseudo(
        windows=found,
        queries=sum({0, 1} <= set(window.judgments.values()) for window in found),
        relevant=sum(grade for window in found for grade in window.judgments.values()),
        irrelevant=sum(1 - grade for window in found for grade in window.judgments.values()),
        open=sum(each.doc_id in window.open for window in found for each in window.request.candidates),
    )


def with_labels(window: Window, log_odds: NDArray[np.float64], *, relevant: float, irrelevant: float) -> Window:
    """The window with a grade wherever the chance is in one of the tails.

    :param log_odds: (candidates,) of relevance; NaN is not sure.
    """
    grades: dict[str, int] = {}
    unsure = set()
    for each, value in zip(window.request.candidates, log_odds.tolist(), strict=True):
        if value >= _logit(relevant):
            grades[each.doc_id] = 1
        elif value <= _logit(irrelevant):
            grades[each.doc_id] = 0
        else:
            unsure.add(each.doc_id)
    return replace(window, judgments=grades, open=window.open | unsure)


def said_of(window: Window, head: RelevanceHead) -> NDArray[np.float64]:
    """(candidates,): the teachers' mix where the window was taught (NaN where they did not look), else the head's z."""
    if window.taught is not None:
        return window.taught
    return np.array(relevance(window, head))


def _scale(judged: Sequence[Window], head: RelevanceHead) -> tuple[float, float]:
    """Scale and intercept that make log-odds of what is said of the judged windows; every query counts the same."""
    sums, grades, shares = [], [], []
    for window in judged:
        said = said_of(window, head)
        known = np.isfinite(said)
        sums.append(said[known])
        grades.append(window.grades[known] > 0)
        shares.append(np.full(int(known.sum()), 1.0 / max(int(known.sum()), 1)))
    return platt(np.concatenate(sums), np.concatenate(grades), np.concatenate(shares))


def _logit(chance: float) -> float:
    if chance in {0.0, 1.0}:
        return math.copysign(math.inf, chance - 0.5)
    return math.log(chance / (1.0 - chance))
