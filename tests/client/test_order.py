"""A kept order says of every document exactly what its ranking said, texts and ages aside."""

from __future__ import annotations

import gc
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from rerank_plugin.client.order import Order
from rerank_plugin.domain.candidate import Candidate, Ranking
from rerank_plugin.domain.factors import PRIORS, Weights
from rerank_plugin.domain.features import Features
from rerank_plugin.ranking.blend import blend
from rerank_plugin.ranking.gate import query_gates
from rerank_plugin.ranking.places import with_kept_places

unit = st.floats(0, 1)
features = st.builds(
    Features, **{factor: st.none() | unit for factor in PRIORS}, age_days=st.none() | st.floats(0, 9e4)
)
documents = st.lists(
    st.tuples(st.floats(-30, 30), st.none() | st.floats(0, 1e6), features, st.sampled_from(("read", "unread", "late"))),
    max_size=9,
)


def ranked(window: list[tuple[float, float | None, Features, str]]) -> tuple[list[Candidate], Ranking]:
    weights, gates = Weights(authority=0.5, freshness=1.0), query_gates("latest graphs")
    found = [
        Candidate(
            doc_id=f"d{rank}",
            index=f"i{rank % 2}",
            retrieval_rank=rank,
            retrieval_score=score,
            text="t",
            features=known,
        )
        for rank, (_, score, known, _) in enumerate(window, start=1)
    ]
    zs = [z for z, *_ in window]
    part = {
        kind: [place for place, each in enumerate(window) if each[3] == kind] for kind in ("read", "unread", "late")
    }
    read = blend([zs[place] for place in part["read"]], [found[place] for place in part["read"]], weights, gates)
    order = with_kept_places(read, {place: (found[place], zs[place]) for place in part["unread"]}, weights)
    late = tuple(found[place] for place in part["late"])
    return found, Ranking(order, late, weights, "m", truncated=1, features_missing=2, model_ms=3.0, unread=4)


@given(documents)
def test_it_says_what_the_ranking_said(window: list[tuple[float, float | None, Features, str]]) -> None:
    found, ranking = ranked(window)
    order = Order.of("digest", [(each.index, each.doc_id) for each in found], 0, ranking)
    assert (len(order), order.scored) == (len(found), len(ranking.ranked))
    for place, each in enumerate(ranking.ranked):
        kept = order.ranked(place)
        bare = replace(each.candidate, text="", features=replace(each.candidate.features, age_days=None))
        assert kept == replace(each, candidate=bare)
        assert kept is not None
        assert kept.factors == each.factors
    for place, each in enumerate(ranking.unscored, start=order.scored):
        assert order.ranked(place) is None
        assert (order.key(place), order.score(place)) == ((each.index, each.doc_id), each.retrieval_score)
    assert order.said == replace(ranking, ranked=(), unscored=())


def test_the_garbage_collector_has_nothing_to_walk_in_its_numbers() -> None:
    found, ranking = ranked([(1.0, 2.0, Features(authority=0.5), "read")] * 50)
    order = Order.of("digest", [(each.index, each.doc_id) for each in found], 0, ranking)
    held = gc.get_referents(*(getattr(order, name) for name in ("retrieval_ranks", "zs", "features")))
    assert all(isinstance(each, type) for each in held)  # nothing but the arrays' own type
