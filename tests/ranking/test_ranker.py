"""The ranker over a trunk whose vectors can be worked by hand."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from rerank_plugin.domain.candidate import Candidate
from rerank_plugin.domain.factors import Weights
from rerank_plugin.domain.features import Features
from rerank_plugin.errors import RerankError
from rerank_plugin.models.types import Encoded, Interaction
from rerank_plugin.ranking.gate import LearnedGates
from rerank_plugin.ranking.ranker import FIRST_WAVE, WAVE, ModelRanker
from rerank_plugin.ranking.relevance import Fit, RelevanceHead
from rerank_plugin.ranking.types import RankRequest

HEAD = RelevanceHead(
    {
        "score+text": Fit(intercept=0.0, log_score=1.0, cosine=2.0),
        "text": Fit(intercept=0.0, cosine=2.0),
        "score": Fit(intercept=-1.0, log_score=1.0),
    }
)


class AngleTrunk:
    """Texts are angles in degrees: the cosine of two texts is the cosine of the angle between them."""

    name = "angles@0"
    dimensions = 2

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def encode(self, texts: Sequence[str]) -> Encoded:
        self.calls.append(list(texts))
        angles = np.radians([float(text) for text in texts], dtype=np.float32)
        vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        return Encoded(vectors.astype(np.float32), np.array([len(text) > 4 for text in texts]))

    def interact(self, query: str, texts: Sequence[str]) -> Interaction:
        return Interaction(np.array([-float(text) for text in texts], dtype=np.float32), np.zeros(len(texts), bool))


def candidates(*texts: str, score: float | None = 0.0) -> tuple[Candidate, ...]:
    return tuple(
        Candidate(doc_id=f"d{rank}", retrieval_rank=rank, retrieval_score=score, text=text)
        for rank, text in enumerate(texts, start=1)
    )


def order(ranking: object) -> list[str]:
    return [each.candidate.doc_id for each in ranking.ranked]  # type: ignore[attr-defined]


def test_the_nearest_text_comes_first() -> None:
    ranking = ModelRanker(AngleTrunk(), HEAD, Weights()).rank(
        [RankRequest(query="0", candidates=candidates("90", "0", "60"))]
    )[0]
    assert order(ranking) == ["d2", "d3", "d1"]
    assert [each.z for each in ranking.ranked] == pytest.approx([2.0, 1.0, 0.0], abs=1e-6)
    assert ranking.model == "angles@0"
    assert ranking.features_missing == 3


def test_a_given_cosine_is_taken_and_nothing_is_encoded_for_it() -> None:
    trunk = AngleTrunk()
    known = Candidate(doc_id="d1", retrieval_rank=1, retrieval_score=math.e - 1, text="90", cosine=0.25)
    ranking = ModelRanker(trunk, HEAD, Weights()).rank([RankRequest(query="0", candidates=(known,))])[0]
    assert ranking.ranked[0].z == pytest.approx(1.5)  # ln e + 2 * .25
    assert trunk.calls == []


def test_a_document_without_text_is_judged_by_its_score_alone() -> None:
    ranking = ModelRanker(AngleTrunk(), HEAD, Weights()).rank(
        [RankRequest(query="0", candidates=candidates(" ", score=math.e - 1))]
    )[0]
    assert ranking.ranked[0].z == pytest.approx(0.0)  # -1 + ln e


def test_texts_are_encoded_once_and_batched_across_requests() -> None:
    trunk = AngleTrunk()
    ranker = ModelRanker(trunk, HEAD, Weights())
    requests = [
        RankRequest(query="0", candidates=candidates("10", "20")),
        RankRequest(query="5", candidates=candidates("20", "30")),
    ]
    ranker.rank(requests)
    assert trunk.calls == [["10", "20", "30"], ["0"], ["5"]]
    ranker.rank(requests)
    assert len(trunk.calls) == 3


def test_truncated_texts_are_counted_also_when_remembered() -> None:
    ranker = ModelRanker(AngleTrunk(), HEAD, Weights())
    request = RankRequest(query="0", candidates=candidates("10", "20.25", "30.125"))
    assert [ranker.rank([request])[0].truncated for _ in range(2)] == [2, 2]


def test_ties_keep_the_first_stages_order() -> None:
    ranking = ModelRanker(AngleTrunk(), HEAD, Weights()).rank(
        [RankRequest(query="0", candidates=candidates("45", "45", "-45"))]
    )[0]
    assert order(ranking) == ["d1", "d2", "d3"]


def test_callers_weights_open_every_gate_and_the_models_do_not() -> None:
    known = Candidate(doc_id="d1", retrieval_rank=1, retrieval_score=0.0, text="0", features=Features(popularity=1.0))
    ranker = ModelRanker(AngleTrunk(), HEAD, Weights(popularity=1.0))
    own = ranker.rank([RankRequest(query="0", candidates=(known,))])[0]
    given = ranker.rank([RankRequest(query="0", candidates=(known,), weights=Weights(popularity=2.0))])[0]
    assert own.ranked[0].factors["popularity"].contribution == pytest.approx(0.1)  # 1 * .2 * .5
    assert given.ranked[0].factors["popularity"].contribution == pytest.approx(1.0)  # 2 * 1 * .5
    assert given.weights == Weights(popularity=2.0)


def test_a_deadline_cuts_after_a_wave_and_keeps_the_rest_in_order() -> None:
    ticks = iter(range(1000))
    ranker = ModelRanker(AngleTrunk(), HEAD, Weights(), clock=lambda: float(next(ticks)))
    many = candidates(*["45"] * (2 * WAVE + 5))
    cut, whole = ranker.rank(
        [RankRequest(query="0", candidates=many, deadline=1.0), RankRequest(query="0", candidates=many)]
    )
    assert len(cut.ranked) == FIRST_WAVE
    assert [each.doc_id for each in cut.unscored] == [f"d{rank}" for rank in range(FIRST_WAVE + 1, 2 * WAVE + 6)]
    assert len(whole.ranked) == len(many)
    assert whole.unscored == ()


def test_a_value_that_is_no_number_is_an_error_not_an_order() -> None:
    ill = Candidate(doc_id="d1", retrieval_rank=1, retrieval_score=1.0, text="0", cosine=math.nan)
    with pytest.raises(RerankError, match="the model gave nan for document 'd1'"):
        ModelRanker(AngleTrunk(), HEAD, Weights()).rank([RankRequest(query="0", candidates=(ill,))])


def test_the_share_of_the_top_score_is_of_the_whole_window_not_of_a_wave() -> None:
    head = RelevanceHead({**HEAD.fits, "score+text": Fit(intercept=0.0, relative_score=1.0)})
    window = tuple(
        Candidate(doc_id=f"d{rank}", retrieval_rank=rank, retrieval_score=100.0 - rank, text="0", cosine=0.0)
        for rank in range(1, 2 * WAVE)
    )
    ranker = ModelRanker(AngleTrunk(), head, Weights(), clock=lambda: 0.0)
    ranking = ranker.rank([RankRequest(query="0", candidates=window, deadline=1.0)])[0]
    assert ranking.ranked[-1].z == pytest.approx((100.0 - (2 * WAVE - 1)) / 99.0)


def test_the_interaction_counts_where_the_head_gives_it_a_say() -> None:
    head = RelevanceHead({**HEAD.fits, "score+text": Fit(intercept=0.0, interaction=1.0)})
    ranking = ModelRanker(AngleTrunk(), head, Weights()).rank(
        [RankRequest(query="0", candidates=candidates("3", "", "1"))]
    )[0]
    assert order(ranking) == ["d3", "d2", "d1"]  # d2 has no text and keeps its place
    assert [each.z for each in ranking.ranked] == [-1.0, -2.0, -3.0]


class SplittingTrunk(AngleTrunk):
    """Reads one word at a time."""

    def passages(self, text: str, most: int, *, query: str = "", before: str = "") -> list[str]:
        return text.split(" ", most - 1)

    def encode(self, texts: Sequence[str]) -> Encoded:
        read = super().encode([text.split(" ")[0] for text in texts])
        return Encoded(read.vectors, np.array([" " in text for text in texts]))


def test_of_a_long_text_the_best_passage_counts_and_what_is_beyond_is_counted() -> None:
    trunk = SplittingTrunk()
    ranker = ModelRanker(trunk, HEAD, Weights())
    window = candidates("60 90 0", "60", "90 0")
    for passages, zs, truncated in ((1, [1.0, 1.0, 0.0], 2), (2, [2.0, 1.0, 1.0], 1), (3, [2.0, 2.0, 1.0], 0)):
        ranking = ranker.rank([RankRequest(query="0", candidates=window, passages=passages)])[0]
        assert [each.z for each in ranking.ranked] == pytest.approx(zs, abs=1e-6)
        assert ranking.truncated == truncated
    asked = len(trunk.calls)
    both = [RankRequest(query="0", candidates=window, passages=passages) for passages in (2, 3)]
    assert [each.truncated for each in ranker.rank(both)] == [1, 0]
    assert len(trunk.calls) == asked  # remembered, apart for each number of passages


def test_what_cannot_be_read_keeps_its_place_whatever_its_factors() -> None:
    wanted = Features(popularity=1.0)
    window = tuple(
        Candidate(doc_id=f"d{rank}", retrieval_rank=rank, retrieval_score=9.0 - rank, text=text, features=wanted)
        for rank, text in enumerate(["", "90", " ", "0", "60", ""], start=1)
    )
    weights = Weights(popularity=2.0)
    ranking = ModelRanker(AngleTrunk(), HEAD, Weights()).rank(
        [RankRequest(query="0", candidates=window, weights=weights)]
    )[0]
    assert order(ranking) == ["d1", "d4", "d3", "d5", "d2", "d6"]
    assert ranking.unread == 3
    finals = [each.z_final for each in ranking.ranked]
    assert finals == sorted(finals, reverse=True)
    assert all(term.contribution == 0.0 for term in ranking.ranked[0].factors.values())


def test_no_requests_and_no_candidates() -> None:
    ranker = ModelRanker(AngleTrunk(), HEAD, Weights())
    assert ranker.rank([]) == []
    empty = ranker.rank([RankRequest(query="0", candidates=())])[0]
    assert (empty.ranked, empty.unscored) == ((), ())


def test_waves_start_small_and_double() -> None:
    trunk = AngleTrunk()
    many = candidates(*[str(angle) for angle in range(100)])
    ModelRanker(trunk, HEAD, Weights(), clock=lambda: 0.0).rank([RankRequest(query="0", candidates=many, deadline=1.0)])
    assert [len(call) for call in trunk.calls if call != ["0"]] == [4, 8, 16, 32, 32, 8]


def test_learned_gates_count_where_the_request_has_no_weights() -> None:
    """A query at 0 degrees asks for freshness, one at 90 does not; a weight that is given counts in full."""
    gates = LearnedGates({"freshness": (0.0, 0.0, np.array([50.0, -50.0]))})
    ranker = ModelRanker(AngleTrunk(), HEAD, Weights(freshness=1.0), gates=gates)
    fresh = Candidate(
        doc_id="d1", retrieval_rank=1, retrieval_score=0.0, text="45", cosine=0.0, features=Features(freshness=1.0)
    )

    def moved(query: str, weights: Weights | None = None) -> float:
        request = RankRequest(query=query, candidates=(fresh,), weights=weights)
        ranked = ranker.rank([request])[0].ranked[0]
        return ranked.z_final - ranked.z

    assert moved("0") == pytest.approx(0.5, abs=1e-6)
    assert moved("90") == pytest.approx(0.1, abs=1e-6)
    assert moved("90", Weights(freshness=1.0)) == pytest.approx(0.5)
    plain = ModelRanker(AngleTrunk(), HEAD, Weights(freshness=1.0))
    assert plain.gates("0")["freshness"] == 0.2
