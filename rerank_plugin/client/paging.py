"""Places in the final order: window, tail, the page between them, and the name of an order (DESIGN 6.2)."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rerank_plugin.client.order import Order
from rerank_plugin.client.plan import Plan
from rerank_plugin.domain.candidate import Candidate, Ranked, Ranking

#: What changes neither which documents match nor their order; the index counts by itself.
_PRESENTATION = frozenset(
    {"_source", "aggregations", "aggs", "docvalue_fields", "explain", "ext", "fields", "from", "highlight", "index"}
    | {
        "profile",
        "script_fields",
        "seq_no_primary_term",
        "size",
        "stats",
        "stored_fields",
        "suggest",
        "timeout",
        "version",
    }
    | {"track_scores", "track_total_hits", "pretty", "human", "error_trace", "typed_keys", "rest_total_hits_as_int"}
    | {"request_timeout", "suggest_field", "suggest_mode", "suggest_size", "suggest_text", "request_cache"}
)
#: The largest double below 1: what the best tail score may come to.
_BELOW_ONE = math.nextafter(1.0, 0.0)


def to_the_hour(moment: datetime) -> datetime:
    """The moment in UTC, rounded down to the hour."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def query_digest(plan: Plan) -> str:
    """Twelve hex digits that are equal for every page of one query over one index."""
    basis = [plan.index, plan.text, plan.query, _ordering(plan.body), _ordering(plan.params)]
    return _digest(basis)[:12]


def order_id_of(plan: Plan, *, model: str, now: datetime) -> str:
    """Sixteen hex digits: pages of one order carry the same, and no document is lost or repeated among them.

    Query, index, model, weights, settings and the clock go in; paging, ``_source`` and the like do not.

    :param now: what :func:`clock_hour` says.
    """
    settings = plan.settings
    basis = [
        query_digest(plan),
        model,
        settings.window,
        None if settings.weights is None else settings.weights.as_dict(),
        [settings.text_fields, settings.text_template, settings.passages],
        [sorted((name, repr(source)) for name, source in settings.field_map.items())],
        [settings.half_life_days, str(settings.vectors), settings.vector_field, settings.dense, settings.dense_size],
        now.isoformat(),
    ]
    return _digest(basis)[:16]


def clock_hour(plan: Plan, wall: datetime) -> datetime:
    """The time for which freshness is computed: the settings', else the wall clock's hour."""
    return plan.settings.now if plan.settings.now is not None else to_the_hour(wall)


def _ordering(parts: Any) -> dict[str, Any]:
    return {str(key): value for key, value in parts.items() if key not in _PRESENTATION}


def _digest(basis: Any) -> str:
    text = json.dumps(basis, sort_keys=True, default=str, ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


@dataclass(frozen=True, slots=True)
class Placed:
    """A document's place in the reordered window."""

    retrieval_rank: int
    retrieval_score: float | None
    #: What ranking said; ``None`` where the deadline came first.
    ranked: Ranked | None
    #: In (0, 1), falling: below every scored document for those that were not scored.
    final_score: float


def place(order: Order, part: slice = slice(None)) -> tuple[Placed, ...]:
    """The window in its final order, or a part of it.

    The i-th of n documents that were not scored in time gets (n - i + 1) / (n + 1) of the lowest score there is (of 1
    where there is none): they keep the engine's order, behind the scored ones and above the tail.
    """
    unscored = len(order) - order.scored
    share = min(order.final_scores, default=1.0) / (unscored + 1)
    return tuple(
        Placed(
            order.retrieval_ranks[position],
            order.score(position),
            order.ranked(position),
            order.final_scores[position] if position < order.scored else share * (len(order) - position),
        )
        for position in range(len(order))[part]
    )


def window_score(final_score: float) -> float:
    """``_score`` inside the window: 1 + final_score, in (1, 2)."""
    return 1.0 + final_score


def tail_score(retrieval_score: float | None) -> float | None:
    """``_score`` beyond the window: s / (1 + s), in [0, 1), so that the tail is below the window; order is kept."""
    if retrieval_score is None:
        return None
    score = max(float(retrieval_score), 0.0)
    return min(score / (1.0 + score), _BELOW_ONE) if math.isfinite(score) else _BELOW_ONE


def page_slices(from_: int, size: int, in_window: int) -> tuple[slice, slice]:
    """Which part of the reordered window, and which of the tail behind it, a page shows."""
    end = from_ + size
    return slice(min(from_, in_window), min(end, in_window)), slice(max(from_ - in_window, 0), max(end - in_window, 0))


def is_whole(ranking: Ranking, candidates: Sequence[Candidate]) -> bool:
    """Whether a ranking holds exactly the candidates it was asked for, each once, with finite scores."""
    ranks = [each.candidate.retrieval_rank for each in ranking.ranked]
    ranks += [each.retrieval_rank for each in ranking.unscored]
    finite = all(math.isfinite(each.final_score) and math.isfinite(each.z) for each in ranking.ranked)
    return finite and sorted(ranks) == [each.retrieval_rank for each in candidates]
