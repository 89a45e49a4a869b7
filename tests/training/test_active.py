"""What is asked next: hand-worked doubts, and on planted labels more to learn per judgment than at random."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import numpy as np
import pytest

from rerank_plugin.domain.candidate import Candidate
from rerank_plugin.domain.factors import Weights
from rerank_plugin.ranking.relevance import Fit, RelevanceHead
from rerank_plugin.ranking.types import RankRequest
from rerank_plugin.training.active import CUT, Doubt, doubts, entropy, queue
from rerank_plugin.training.calibrate import Window, in_final_order

PLAIN = Weights()


def head(log_score: float, cosine: float) -> RelevanceHead:
    fit = Fit(intercept=-2.0, log_score=log_score, cosine=cosine)
    return RelevanceHead({"score+text": fit, "text": fit, "score": fit})


def found(query: str, scores: Sequence[float], cosines: Sequence[float], judgments: dict[str, int]) -> Window:
    """Documents d0, d1, ... whose scores enter z as they are given: ``log1p`` of what stands here is the input."""
    candidates = tuple(
        Candidate(
            doc_id=f"d{place}",
            retrieval_rank=place + 1,
            retrieval_score=math.expm1(score),
            text="a text",
            cosine=cosine,
        )
        for place, (score, cosine) in enumerate(zip(scores, cosines, strict=True))
    )
    return Window(RankRequest(query=query, candidates=candidates), None, judgments)


def test_bits_of_a_choice() -> None:
    assert [entropy(each) for each in (0.0, 0.5, 1.0)] == [0.0, 1.0, 0.0]
    assert entropy(1 / 3) == pytest.approx(0.9182958)


def test_doubts_by_hand() -> None:
    """Four documents, so the cut-off lies behind the second; z_final is score + 2 * cosine - 2."""
    window = found("q", [3.0, 2.0, 1.0, 0.0], [0.0, 0.1, 1.0, 0.2], {"d1": 0})
    # z + 2: d0 3, d2 3, d1 2.2, d3 .4; d0 goes before d2 as it was retrieved first; the cut-off is (3 + 2.2) / 2.
    by_doc = {each.candidate.doc_id: each for each in doubts(window, head(1.0, 2.0), PLAIN)}
    assert by_doc.keys() == {"d0", "d2", "d3"}  # d1 is judged
    assert [by_doc[doc].ranks for doc in ("d0", "d2", "d3")] == [(1, 4, 1), (3, 1, 2), (4, 2, 4)]
    assert {each.cut for each in by_doc.values()} == {2}
    assert [by_doc[doc].distance for doc in ("d0", "d2", "d3")] == pytest.approx([0.4, 0.4, -2.2])
    near, far = 1 / (1 + math.exp(-0.4)), 1 / (1 + math.exp(2.2))
    assert by_doc["d2"].bits == pytest.approx(entropy(1 / 3) + entropy(near))
    assert by_doc["d3"].bits == pytest.approx(entropy(1 / 3) + entropy(far))
    assert by_doc["d3"].why == "place 4 by words, 2 by vectors, 4 as served; -2.20 log-odds from place 2"


def test_those_that_agree_leave_the_models_own_doubt() -> None:
    one = found("q", [1.0], [0.5], {}).request.candidates[0]
    assert Doubt(one, (1, 1, 1), CUT, 40.0).bits == pytest.approx(0.0, abs=1e-9)
    assert Doubt(one, (10, 10, 10), CUT, 0.0).bits == 1.0
    assert Doubt(one, (10, 11, 11), CUT, 0.0).bits == pytest.approx(1.0 + entropy(1 / 3))


def test_what_cannot_be_judged_is_not_asked() -> None:
    assert doubts(found("q", [1.0], [0.5], {}), head(1.0, 1.0), PLAIN) == []
    window = found("q", [3.0, 2.0], [0.5, 0.4], {})
    blank = Candidate(doc_id="d9", retrieval_rank=3, retrieval_score=1.0, text="  ")
    request = RankRequest(query="q", candidates=(*window.request.candidates, blank))
    left = doubts(Window(request, None, {}), head(1.0, 1.0), PLAIN)
    assert {each.candidate.doc_id for each in left} == {"d0", "d1"}


def planted(seed: int, queries: int = 30) -> list[Window]:
    """40 documents a query: relevant by score + 4 * cosine with noise, about seven of them."""
    rng = np.random.default_rng(seed)
    windows = []
    for number in range(queries):
        scores, cosines = np.sort(rng.uniform(0, 4, 40))[::-1], rng.uniform(0, 1, 40)
        true = scores + 4 * cosines + rng.logistic(0, 0.3, 40)
        judgments = {f"d{place}": int(value > 5.3) for place, value in enumerate(true)}
        windows.append(found(f"q{number}", scores.tolist(), cosines.tolist(), judgments))
    return windows


def unjudged(windows: Sequence[Window]) -> list[Window]:
    return [Window(each.request, None, {}) for each in windows]


def misplaced(windows: Sequence[Window], served: RelevanceHead, pairs: Sequence[tuple[int, str]]) -> float:
    """Share of the pairs whose label contradicts the order: relevant beyond the first ten, or not, and among them."""
    wrong = 0
    for place, doc_id in pairs:
        order = [each.candidate.doc_id for each in in_final_order(windows[place], served, PLAIN)]
        wrong += (windows[place].judgments[doc_id] > 0) != (order.index(doc_id) < CUT)
    return wrong / len(pairs)


def test_it_finds_more_of_what_the_order_has_wrong_than_chance() -> None:
    """The served order leans on words, the planted labels on vectors too."""
    served = head(1.0, 1.5)
    for seed in range(3):
        windows = planted(seed)
        asked = queue(unjudged(windows), served, PLAIN, count=120, seed=seed)
        every = [(place, f"d{row}") for place in range(len(windows)) for row in range(40)]
        drawn = random.Random(seed).sample(every, 600)
        chosen = misplaced(windows, served, [(place, each.candidate.doc_id) for place, each in asked])
        assert chosen > 2.5 * misplaced(windows, served, drawn)  # measured: 3.3 to 3.8 times


def test_one_hard_query_does_not_fill_the_list() -> None:
    windows = planted(0)
    asked = queue(unjudged(windows), head(1.0, 1.5), PLAIN, count=60, seed=0)
    by_query = [sum(place == each for place, _ in asked) for each in range(len(windows))]
    assert (min(by_query) >= 1, max(by_query) <= 4) == (True, True)
    # Of one query alone everything is asked, the greatest doubt first.
    alone = queue(unjudged(windows[:1]), head(1.0, 1.5), PLAIN, count=99, seed=0)
    bits = [each.bits for _, each in alone]
    assert (len(bits), bits) == (40, sorted(bits, reverse=True))


def test_judged_pairs_never_come_and_the_seed_alone_decides() -> None:
    windows, served = planted(1), head(1.0, 1.5)
    first = queue(unjudged(windows), served, PLAIN, count=50, seed=3)
    assert first == queue(unjudged(windows), served, PLAIN, count=50, seed=3)
    half = [
        Window(each.request, None, {doc: grade for doc, grade in each.judgments.items() if int(doc[1:]) % 2})
        for each in windows
    ]
    asked = queue(half, served, PLAIN, count=10_000, seed=3)
    assert {int(each.candidate.doc_id[1:]) % 2 for _, each in asked} == {0}
    assert len(asked) == 30 * 20
    # Documents that nothing tells apart: the seed draws among them.
    same = [found(f"q{number}", [1.0] * 20, [0.5] * 20, {}) for number in range(3)]
    draws = [[each.candidate.doc_id for _, each in queue(same, served, PLAIN, count=6, seed=seed)] for seed in (0, 1)]
    assert draws[0] != draws[1]
