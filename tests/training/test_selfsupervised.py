"""Queries cut out of documents: what was cut is gone, and a document's cut depends on nothing but itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_plugin.errors import ConfigError
from rerank_plugin.training.selfsupervised import KINDS, LEFT_WORDS, cut, kinds_of, place_of, without, words

TITLE = "The ways of the heron"
FIRST = "The heron waits in the reeds."
SECOND = "It eats fish, frogs and eels by the river."
THIRD = "Its nest is built high above the water of the lake."
TEXT = f"{FIRST} {SECOND} {THIRD}"


def test_a_title_is_asked_for_and_gone() -> None:
    found = cut("d1", TITLE, f"The  ways of the HERON. {TEXT}", ["title"], 0)
    assert found is not None
    assert (found.query, found.title, found.text) == (TITLE, "", f". {TEXT}")


def test_a_sentence_is_asked_for_and_gone() -> None:
    found = {cut("d1", TITLE, TEXT, ["sentence"], seed) for seed in range(40)}
    left = {FIRST: f"{SECOND} {THIRD}", SECOND: f"{FIRST}   {THIRD}", THIRD: f"{FIRST} {SECOND}"}
    assert {(each.query, each.text) for each in found if each} == set(left.items())
    assert {each.title for each in found if each} == {TITLE}


def test_a_span_is_three_to_twelve_words_and_gone() -> None:
    lengths = set()
    for seed in range(200):
        found = cut("d1", "", TEXT, ["span"], seed)
        assert found is not None
        assert found.query in TEXT
        assert found.query not in found.text
        assert len(words(found.query)) + len(words(found.text)) == len(words(TEXT))
        lengths.add(len(words(found.query)))
    assert lengths == set(range(3, 13))


@given(st.text(max_size=300), st.text(max_size=60), st.integers(0, 50))
def test_what_was_cut_stands_nowhere_any_more(text: str, title: str, seed: int) -> None:
    found = cut("d", title, text, KINDS, seed)
    if found is not None:
        assert without(found.text, found.query) == found.text
        assert len(words(found.text)) >= LEFT_WORDS
        assert 3 <= len(words(found.query)) <= 32


@pytest.mark.parametrize(
    ("title", "text"),
    [
        ("Heron", "Herons."),  # a word is no query
        (TITLE, "The heron waits in the reeds."),  # the text has six words
        ("", "heron " * 4),
        ("", ""),
    ],
)
def test_what_is_too_short_gives_none(title: str, text: str) -> None:
    assert cut("d", title, text, KINDS, 0) is None


def test_where_one_kind_is_not_to_be_had_another_is() -> None:
    found = {cut("d", "", TEXT, ["title", "sentence"], seed) for seed in range(9)}
    assert {each.kind for each in found if each} == {"sentence"}


def test_whole_words_only() -> None:
    assert without("the cat and the category", "The cat") == "and the category"
    assert without("a tomcat sat; cat sat", "cat sat") == "a tomcat sat;"


def test_chinese_is_counted_by_characters() -> None:
    assert words("港湾内有块, 3 rocks") == ["港", "湾", "内", "有", "块", "3", "rocks"]
    found = cut("d", "", "苍鹭在芦苇中等待。它吃鱼、青蛙和鳗鱼。它的巢很高。", ["sentence"], 0)
    assert found is not None
    assert found.query in {"苍鹭在芦苇中等待。", "它吃鱼、青蛙和鳗鱼。", "它的巢很高。"}


def test_the_same_document_and_seed_give_the_same() -> None:
    assert cut("d", TITLE, TEXT, KINDS, 3) == cut("d", TITLE, TEXT, KINDS, 3)
    assert len({place_of(seed, doc) for seed in range(3) for doc in ("a", "b")}) == 6
    assert place_of(1, "a") == place_of(1, "a")


def test_kinds_are_words_with_commas() -> None:
    assert kinds_of("span, title") == ("title", "span")
    with pytest.raises(ConfigError, match="corpus_kinds must be some of title, sentence, span, with commas"):
        kinds_of("title,summary")
    with pytest.raises(ConfigError, match="corpus_kinds must be some"):
        kinds_of("")
