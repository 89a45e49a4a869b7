"""What training sees: groups of candidates of one query, drawn from the windows that the read path found.

A group is one relevant candidate and others of the same window; a positive that retrieval missed is not put in.
Unjudged candidates count as not relevant, as the measures count them, except those that look more relevant than the
relevant one itself: many of them are relevant documents that nobody judged (Qu et al. 2021, RocketQA, found 70 % of
such "negatives" relevant). Who looks is the encoder, and then they are left out; where there are teachers, it is they,
and such a candidate stays, without a label, to be learned from what they say of it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rerank_plugin.domain.candidate import NEUTRAL, Candidate
from rerank_plugin.domain.factors import PRIORS
from rerank_plugin.errors import DataError
from rerank_plugin.ranking.ranker import top_score
from rerank_plugin.training.clicks import one_of

if TYPE_CHECKING:
    from rerank_plugin.training.augment import Augment
    from rerank_plugin.training.calibrate import Window


@dataclass(frozen=True, slots=True)
class Group:
    """One query with some of its candidates, the relevant one among them."""

    query: str
    candidates: tuple[Candidate, ...]
    #: Per candidate, 0 where it is not relevant or not judged.
    grades: tuple[float, ...]
    #: The highest first-stage score of the whole window.
    top: float
    #: How much the query asks for each factor, in the order of ``PRIORS``.
    gates: tuple[float, ...]
    #: Per candidate, whether its grade is believed; empty for all.
    labelled: tuple[bool, ...] = ()
    #: Per candidate, the teachers' log-odds; empty without teachers.
    taught: tuple[float, ...] = ()
    #: Per candidate, the place of one impression, 0 where it has none, and whether it was clicked; empty for none.
    shown: tuple[tuple[int, bool], ...] = ()
    #: Grades by document id, those of documents outside of the group included; documents of the query's collection of
    #: which no label is believed; and the collection's name, since ids are only different within one.
    judgments: Mapping[str, int] = field(default_factory=dict)
    open: frozenset[str] = frozenset()
    collection: str = ""

    @property
    def utilities(self) -> list[list[float]]:
        """(candidates, factors): the stored feature, 1/2 where it is unknown."""
        return [
            [NEUTRAL if (value := each.features[factor]) is None else value for factor in PRIORS]
            for each in self.candidates
        ]

    @property
    def known(self) -> list[list[bool]]:
        """(candidates, factors): whether the feature is known."""
        return [[each.features[factor] is not None for factor in PRIORS] for each in self.candidates]


class Groups:
    """Groups by number: the same number gives the same group, whatever was asked before, so a resumed run sees what
    an unbroken one would have seen.

    :param windows: those without a relevant and another candidate are left out.
    :param size: candidates of a group, at least 2.
    :param count: how many groups there are; windows repeat, each time with other candidates.
    :param margin: an unjudged candidate is left out where its cosine exceeds the relevant one's by more than this.
    :param denoise: in windows that were taught, an unjudged candidate has no label where its odds exceed so many times
        those of the relevant one; only what teachers looked at is drawn.
    :param augment: rewords the queries, each group's on its own.
    :raises DataError: no window has both a relevant and another candidate.
    """

    def __init__(
        self, windows: Sequence[Window], *, size: int, count: int, margin: float, seed: int, denoise: float = 1.0,
        augment: Augment | None = None,
    ) -> None:  # fmt: skip
        self._windows = [each for each in windows if (each.grades > 0).any() and (each.grades <= 0).any()]
        if not self._windows:
            raise DataError(
                f"none of {len(windows)} training queries found a relevant and an irrelevant document; nothing to learn"
            )
        self._size, self._count, self._margin, self._seed = size, count, margin, seed
        self._denoise = math.log(denoise) if denoise > 0 else -math.inf
        self._augment = augment

    @property
    def usable(self) -> int:
        """Queries that groups are drawn from."""
        return len(self._windows)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> Group:
        if not 0 <= number < self._count:
            raise IndexError(number)
        turn, place = divmod(number, len(self._windows))
        order = random.Random(f"{self._seed} {turn}").sample(range(len(self._windows)), len(self._windows))
        return self._drawn(self._windows[order[place]], random.Random(f"{self._seed} {number} candidates"))

    def _drawn(self, window: Window, rng: random.Random) -> Group:
        candidates, grades = window.request.candidates, window.grades.tolist()
        relevant = rng.choice([place for place, grade in enumerate(grades) if grade > 0])
        taught = () if window.taught is None else tuple(window.taught.tolist())
        if taught:
            looks, limit = taught, taught[relevant] + self._denoise
        else:
            looks = tuple(each.cosine or 0.0 for each in candidates)
            limit = looks[relevant] + self._margin
        labelled = [
            grades[place] > 0
            or each.doc_id in window.judgments
            or (looks[place] <= limit and each.doc_id not in window.open)
            for place, each in enumerate(candidates)
        ]
        others = [
            place
            for place, grade in enumerate(grades)
            if grade <= 0 and (not math.isnan(taught[place]) if taught else labelled[place])
        ]
        chosen = [relevant, *_hard_first(others, self._size - 1, rng)]
        rng.shuffle(chosen)  # a place in the group must say nothing
        query = window.request.query
        return Group(
            query if self._augment is None else self._augment(query, rng),
            tuple(candidates[place] for place in chosen),
            tuple(grades[place] for place in chosen),
            top_score(candidates),
            tuple(window.asked[factor] for factor in PRIORS),
            labelled=tuple(labelled[place] for place in chosen),
            taught=tuple(taught[place] for place in chosen) if taught else (),
            shown=tuple(one_of(window.shown.get(candidates[place].doc_id, ()), rng) for place in chosen),
            judgments=window.judgments,
            open=window.open,
            collection=window.collection,
        )


def _hard_first(others: Sequence[int], count: int, rng: random.Random) -> list[int]:
    """Half from the window's first quarter, where mistakes cost most, half from all of it."""
    near = list(others[: max(count, len(others) // 4)])
    chosen = rng.sample(near, min((count + 1) // 2, len(near)))
    rest = [place for place in others if place not in chosen]
    return chosen + rng.sample(rest, min(count - len(chosen), len(rest)))
