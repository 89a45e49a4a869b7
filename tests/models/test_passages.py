"""The shipped tokenizer cuts texts into passages: whole words, nothing lost, all but the last within the limit."""

from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rerank_plugin.models.folder import ModelFolder, default_model_folder
from rerank_plugin.models.tokens import TextTokenizer
from rerank_plugin.models.trunk import open_trunk
from rerank_plugin.models.types import Splitter

LIMIT = 16


@lru_cache
def tokenizer(*, pairs: bool = False) -> TextTokenizer:
    definition = ModelFolder.open(default_model_folder()).read("tokenizer").decode()
    return TextTokenizer(definition, LIMIT, pairs=pairs)


@pytest.mark.parametrize("pairs", [False, True])
@settings(max_examples=60)
@given(
    words=st.lists(
        st.sampled_from(["graph", "search", "unbelievably", "\u00e9t\u00e9", "\u56fe", "x" * 40, "  ", "."])
    ),
    most=st.integers(1, 5),
)
def test_nothing_is_lost_and_all_but_the_last_are_read_to_their_end(words: list[str], most: int, pairs: bool) -> None:
    text = " ".join(words)
    pieces = tokenizer(pairs=pairs).passages(text, most)
    assert "".join(pieces) == text
    assert 1 <= len(pieces) <= most
    assert not any(tokens.truncated for tokens in tokenizer()(pieces[:-1]))


def test_words_stay_whole_and_a_query_takes_its_room() -> None:
    text = "unbelievably " * 12
    assert all(piece.split() == ["unbelievably"] * len(piece.split()) for piece in tokenizer().passages(text, 4))
    alone, beside = tokenizer().passages("a " * 40, 9), tokenizer().passages("a " * 40, 9, beside="three small words")
    assert len(alone[0]) == 2 * (LIMIT - 4)
    assert len(beside[0]) == 2 * (LIMIT - 4 - 3)


def test_the_shipped_model_splits() -> None:
    model = open_trunk(ModelFolder.open(default_model_folder()))
    assert isinstance(model, Splitter)
    text = "word " * (2 * model.max_tokens)
    assert len(model.passages(text, 2)) == 2
    assert model.encode(model.passages(text, 3)).truncated.tolist() == [False, False, False]
    statement = "authority high. published some time ago."
    for before, whole in ((statement, True), ("", False)):  # what is put in front takes its room from each piece
        read = [f"{statement} {piece}" for piece in model.passages(text, 4, before=before)]
        assert bool(model.encode(read[:2]).truncated.any()) != whole
