"""What a model said of a window, and the ranking made of it: the same whether the model ran here or elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from rerank_plugin.domain.candidate import Candidate, Ranking
from rerank_plugin.domain.factors import Weights
from rerank_plugin.ranking.blend import blend
from rerank_plugin.ranking.gate import OPEN_GATES, query_gates
from rerank_plugin.ranking.places import with_kept_places
from rerank_plugin.ranking.types import RankRequest


@dataclass(slots=True)
class Scored:
    """What a model has said so far of one request's candidates; ``None`` where it was not reached in time."""

    z: list[float | None]
    #: The query's highest first-stage score.
    top_score: float = 0.0
    #: Places of candidates of which the model could not read everything.
    truncated: set[int] = field(default_factory=set)
    #: Places of candidates whose language the model does not know.
    unknown: set[int] = field(default_factory=set)
    #: Places of candidates of which nothing could be read.
    unread: set[int] = field(default_factory=set)
    #: Why the query is not to be ranked; empty when it is.
    refusal: str = ""
    model_seconds: float = 0.0


def ranking_of(
    request: RankRequest, scored: Scored, *, weights: Weights, model: str, dense: str = "",
    gates_of: Callable[[str], Mapping[str, float]] = query_gates,
) -> Ranking:  # fmt: skip
    """The final order of a window.

    :param weights: the model's, used where the request has none.
    :param gates_of: how much a query asks for each factor, where the request has no weights.
    :param dense: what the status is to say of vectors.
    """
    given = request.weights
    weights = weights if given is None else given
    gates = gates_of(request.query) if given is None else OPEN_GATES
    zs: list[float] = []
    read: list[Candidate] = []
    unread: dict[int, tuple[Candidate, float]] = {}
    unscored: list[Candidate] = []
    for place, (candidate, z) in enumerate(zip(request.candidates, scored.z, strict=True)):
        if z is None:
            unscored.append(candidate)
        elif place in scored.unread:
            unread[place] = candidate, z
        else:
            zs.append(z)
            read.append(candidate)
    refusal, unknown = scored.refusal, scored.unknown
    if unknown and unknown == {place for place, each in enumerate(request.candidates) if each.text.strip()}:
        refusal = f"the language of all {len(unknown)} texts found is unknown to {model}"
    return Ranking(
        ranked=with_kept_places(blend(zs, read, weights, gates), unread, weights),
        unscored=tuple(unscored),
        weights=weights,
        model=model,
        truncated=len(scored.truncated),
        features_missing=sum(each.features.missing > 0 for each in request.candidates),
        model_ms=1000.0 * scored.model_seconds,
        unknown=len(scored.unknown),
        unread=len(unread),
        refusal=refusal,
        dense=dense,
    )
