from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_plugin.errors import ConfigError
from rerank_plugin.ranking.diversity import aspects_of, mmr, xquad

#: Three documents: the second repeats the first, the third is about something else.
RELEVANCE = np.array([3.0, 2.0, 1.0])
VECTORS = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])


def test_mmr_by_hand():
    similarities = VECTORS @ VECTORS.T
    # after the first: the second is worth .5 * .5 - .5 * 1 = -.25, the third .5 * 0 - .5 * 0 = 0
    assert mmr(RELEVANCE, similarities, trade=0.5) == [0, 2, 1]
    # .7 * .5 - .3 * 1 = .05 against 0
    assert mmr(RELEVANCE, similarities, trade=0.3) == [0, 1, 2]


def test_xquad_by_hand():
    # the first covers the first aspect whole: what is left of the second's gain is 0, the third's is .4
    coverage, importance = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), np.array([0.6, 0.4])
    # after it the second is worth .5 * .5 = .25, the third .5 * .4 = .2
    assert xquad(RELEVANCE, coverage, importance, trade=0.5) == [0, 1, 2]
    # .4 * .5 = .2 against .6 * .4 = .24
    assert xquad(RELEVANCE, coverage, importance, trade=0.6) == [0, 2, 1]


def test_aspects_by_hand():
    coverage, importance = aspects_of(VECTORS, RELEVANCE, count=2)
    # the first document, then the one least like it; the mean cosines are 2/3 and 1/3
    assert coverage.tolist() == [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    assert importance.tolist() == pytest.approx([1.0, 0.0], abs=1e-8)
    nothing, none = aspects_of(np.zeros((0, 2)), np.zeros(0))
    assert (nothing.size, none.size) == (0, 0)


@st.composite
def windows(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    count = draw(st.integers(0, 9))
    generator = np.random.default_rng(draw(st.integers(0, 2**20)))
    vectors = generator.normal(size=(count, 4))
    vectors[generator.random(count) < 0.2] = 0.0  # some documents have no vector
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.sort(generator.normal(size=count).round(1))[::-1], vectors / np.where(lengths > 0, lengths, 1.0)


@given(windows(), st.floats(0, 1))
def test_every_document_keeps_exactly_one_place(window, trade):
    relevance, vectors = window
    for order in (
        mmr(relevance, vectors @ vectors.T, trade=trade),
        xquad(relevance, *aspects_of(vectors, relevance), trade=trade),
    ):
        assert sorted(order) == list(range(len(relevance)))


@given(windows())
def test_without_any_share_of_diversity_nothing_moves(window):
    relevance, vectors = window
    places = list(range(len(relevance)))
    assert mmr(relevance, vectors @ vectors.T, trade=0.0) == places
    assert xquad(relevance, *aspects_of(vectors, relevance), trade=0.0) == places


@given(windows(), st.floats(-5, 5), st.floats(0.1, 10))
def test_the_scale_of_relevance_does_not_matter(window, offset, factor):
    relevance, vectors = window
    if len(set(relevance.tolist())) == len(relevance):
        similarities = vectors @ vectors.T
        scaled = np.round(relevance * factor + offset, 9)
        assert mmr(scaled, similarities, trade=0.37) == mmr(relevance, similarities, trade=0.37)


@pytest.mark.parametrize("trade", [-0.1, 1.1, float("nan")])
def test_a_share_is_between_0_and_1(trade):
    with pytest.raises(ConfigError, match="from 0 to 1"):
        mmr(RELEVANCE, VECTORS @ VECTORS.T, trade=trade)
