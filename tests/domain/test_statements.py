"""What is known of a document, in words."""

from __future__ import annotations

import pytest

from rerank_plugin.domain.candidate import Candidate
from rerank_plugin.domain.factors import PRIORS
from rerank_plugin.domain.features import Features
from rerank_plugin.domain.statements import WORDS, stated, statement_of, texts_of


@pytest.mark.parametrize(
    ("value", "place"), [(0.0, 0), (0.33, 0), (1 / 3, 1), (0.5, 1), (0.66, 1), (0.67, 2), (0.999, 2), (1.0, 2)]
)
def test_thirds_of_a_utility_have_words(value: float, place: int) -> None:
    for factor in PRIORS:
        assert statement_of(Features(**{factor: value})) == WORDS[factor][place]


def test_the_unknown_is_not_stated() -> None:
    assert statement_of(Features()) == ""
    assert statement_of(Features(age_days=3.0)) == ""
    both = statement_of(Features(freshness=1.0, authority=0.9))
    assert both == "authority high. published recently."
    assert stated(both, "Storage engines") == "authority high. published recently. Storage engines"
    assert [stated("", "a text"), stated(both, ""), stated(both, " ")] == ["a text", "", " "]


def test_no_two_statements_are_the_same() -> None:
    words = [each for three in WORDS.values() for each in three]
    assert set(WORDS) == set(PRIORS)
    assert len(set(words)) == 3 * len(PRIORS)


def test_texts_are_plain_unless_statements_are_wanted() -> None:
    window = [
        Candidate(doc_id="a", retrieval_rank=1, retrieval_score=1.0, text="one", features=Features(popularity=0.0)),
        Candidate(doc_id="b", retrieval_rank=2, retrieval_score=1.0, text="two"),
    ]
    assert texts_of(window, statements=False) == ["one", "two"]
    assert texts_of(window, statements=True) == ["seldom wanted. one", "two"]
