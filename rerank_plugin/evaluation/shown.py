"""Queries side by side: the first hits of two arms, for people to look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from rerank_plugin.domain.factors import PRIORS
from rerank_plugin.evaluation.arms import Answer, Found
from rerank_plugin.evaluation.collection import Query
from rerank_plugin.ranking.blend import sigmoid

#: Hits shown of each arm.
TOP = 5
#: Queries shown from each end.
EACH_END = 3
TITLE_LENGTH = 110


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownHit:
    """A hit as a person sees it."""

    rank: int
    doc_id: str
    title: str
    #: ``None``: nobody judged it.
    grade: int | None
    #: Its rank in the other arm; ``None`` where that does not have it.
    other_rank: int | None
    #: Relevance as a probability, where the arm says it.
    relevance: float | None
    #: Factor -> utility in [0, 1]; ``None`` where nothing is known.
    factors: Mapping[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SideBySide:
    """One query in two arms."""

    query: Query
    #: Why it is shown.
    reason: str
    left: tuple[ShownHit, ...]
    right: tuple[ShownHit, ...]


def ends(changes: Mapping[str, float]) -> list[tuple[str, float]]:
    """The queries with the largest gains and, after them, those with the largest losses, each with its change."""
    ordered = sorted(changes.items(), key=lambda each: (-each[1], each[0]))
    gains = [each for each in ordered[:EACH_END] if each[1] > 0]
    losses = [each for each in reversed(ordered[-EACH_END:]) if each[1] < 0]
    return [*gains, *losses]


def side_by_side(
    chosen: Sequence[tuple[Query, str]],
    left: Mapping[str, Answer],
    right: Mapping[str, Answer],
    grades: Callable[[str, str], int | None],
    titles: Callable[[Sequence[str]], Mapping[str, str]],
) -> list[SideBySide]:
    """The chosen queries, each with the reason it is shown, with the first hits of two arms.

    :param grades: (query, document) -> grade, ``None`` where it is not judged.
    :param titles: documents -> a line for each that is known.
    """
    shown: list[SideBySide] = []
    for query, reason in chosen:
        before, after = left[query.query_id].found, right[query.query_id].found
        known = titles([*dict.fromkeys(each.doc_id for each in (*before[:TOP], *after[:TOP]))])
        judged = partial(grades, query.query_id)
        shown.append(
            SideBySide(
                query=query,
                reason=reason,
                left=_hits(before, after, judged, known),
                right=_hits(after, before, judged, known),
            )
        )
    return shown


def _hits(
    mine: Sequence[Found], other: Sequence[Found], grades: Callable[[str], int | None], titles: Mapping[str, str]
) -> tuple[ShownHit, ...]:
    ranks = {each.doc_id: rank for rank, each in enumerate(other, start=1)}
    return tuple(
        _shown(each, rank, titles.get(each.doc_id, each.doc_id), grades(each.doc_id), ranks)
        for rank, each in enumerate(mine[:TOP], start=1)
    )


def _shown(found: Found, rank: int, title: str, grade: int | None, ranks: Mapping[str, int]) -> ShownHit:
    z = found.said.get("z")
    return ShownHit(
        rank=rank,
        doc_id=found.doc_id,
        title=title if len(title) <= TITLE_LENGTH else f"{title[: TITLE_LENGTH - 1]}…",
        grade=grade,
        other_rank=ranks.get(found.doc_id),
        relevance=None if z is None else sigmoid(z),
        factors={factor: found.features[factor] for factor in PRIORS},
    )
