"""Documents of which the model could read nothing keep the place that the first stage gave them (DESIGN 6.8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rerank_plugin.domain.candidate import Candidate, Ranked
from rerank_plugin.domain.factors import PRIORS, Weights
from rerank_plugin.ranking.blend import blend, in_order

#: No factor moves a document that keeps its place.
CLOSED_GATES = dict.fromkeys(PRIORS, 0.0)


def with_kept_places(
    read: Sequence[Ranked], unread: Mapping[int, tuple[Candidate, float]], weights: Weights
) -> tuple[Ranked, ...]:
    """The final order: what was read by its score, around those that keep their places.

    The z of one that keeps its place is what its first-stage score says where that lies between its neighbours', else
    their middle, so that scores fall along the order.

    :param unread: place in the first stage's order, from 0 -> candidate and what its first-stage score says.
    """
    if not unread:
        return in_order(read)
    ordered: list[Ranked | tuple[Candidate, float]] = list(in_order(read))
    for place in sorted(unread):  # from the front, so that each insertion is at its final place
        ordered.insert(place, unread[place])
    placed: list[Ranked] = []
    for place, each in enumerate(ordered):
        if isinstance(each, Ranked):
            placed.append(each)
            continue
        candidate, own = each
        above = placed[-1].z_final if placed else None
        below = next((other.z_final for other in ordered[place + 1 :] if isinstance(other, Ranked)), None)
        placed += blend([_between(own, above, below)], [candidate], weights, CLOSED_GATES)
    return tuple(placed)


def _between(own: float, above: float | None, below: float | None) -> float:
    if (above is None or own < above) and (below is None or own > below):
        return own
    if above is None:
        return (below or 0.0) + 1.0
    return above - 1.0 if below is None else (above + below) / 2.0
