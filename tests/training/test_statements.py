"""Statements in front of texts: training, validation and serving read the same, and vectors stay of the plain text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from rerank_plugin.domain.factors import Weights
from rerank_plugin.domain.features import Features
from rerank_plugin.models.tokens import Tokens
from rerank_plugin.models.types import Encoded, Interaction
from rerank_plugin.ranking.ranker import ModelRanker
from rerank_plugin.ranking.relevance import Fit, RelevanceHead
from rerank_plugin.training.balance import Balance
from rerank_plugin.training.groups import Group
from rerank_plugin.training.loop import Validation
from rerank_plugin.training.mix import Collator, Mix
from rerank_plugin.training.two_mode import TwoModeReader
from training.training_samples import small_trunk, tokenizer, window

pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore")]

FIT = Fit(intercept=0.0, log_score=0.5, cosine=1.0, interaction=1.0)
HEAD = RelevanceHead(dict.fromkeys(("score+text", "text", "score"), FIT))
TEXTS = ["sorting by merging", "sorting in place", "  ", "a stable sort"]
KNOWN = [Features(authority=0.9), Features(), Features(authority=0.9), Features(freshness=0.0, popularity=0.5)]
WINDOW = window("sorting", TEXTS, [1], features=KNOWN)
STATED = ["authority high. sorting by merging", "sorting in place", "  ",
          "published long ago. sometimes wanted. a stable sort"]  # fmt: skip


class Recorder:
    """The tokenizer, and what it was given."""

    def __init__(self) -> None:
        self.read: list[list[str]] = []

    def __call__(self, texts: Sequence[str]) -> list[Tokens]:
        self.read.append(list(texts))
        return tokenizer()(texts)


class Reader:
    """A trunk that keeps what it is given."""

    name, dimensions = "reader@0", 2

    def __init__(self) -> None:
        self.pairs: list[str] = []
        self.alone: list[str] = []

    def encode(self, texts: Sequence[str]) -> Encoded:
        self.alone += texts
        return Encoded(np.ones((len(texts), 2), np.float32) / np.float32(2**0.5), np.zeros(len(texts), bool))

    def interact(self, query: str, texts: Sequence[str]) -> Interaction:
        self.pairs += texts
        return Interaction(np.zeros(len(texts), np.float32), np.zeros(len(texts), bool))


class SplittingReader(Reader):
    """Reads a word at a time, and keeps what room it is asked to leave."""

    def __init__(self) -> None:
        super().__init__()
        self.before: list[str] = []

    def passages(self, text: str, most: int, *, query: str = "", before: str = "") -> list[str]:
        self.before.append(before)
        return text.split(" ", most - 1)


def served(*, statements: bool, passages: int = 1, trunk: Reader | None = None) -> Reader:
    reader = trunk or Reader()
    ranker = ModelRanker(reader, HEAD, Weights(), statements=statements)
    candidates = tuple(replace(each, cosine=None) for each in WINDOW.request.candidates)
    ranker.rank([replace(WINDOW.request, candidates=candidates, passages=passages)])
    return reader


def trained(*, statements: bool) -> list[str]:
    recorder = Recorder()
    group = Group("sorting", WINDOW.request.candidates, tuple(WINDOW.grades.tolist()), 4.0, (1.0,) * 4)
    Collator(TwoModeReader(recorder), statements=statements)([group])  # type: ignore[arg-type]
    [[asked, *texts]] = recorder.read
    assert asked == "sorting"
    return texts


@pytest.mark.parametrize("statements", [True, False])
def test_training_and_serving_read_the_same(statements: bool) -> None:
    """But for documents without text, which serving does not read at all."""
    expected = STATED if statements else TEXTS
    assert trained(statements=statements) == expected
    reader = served(statements=statements)
    assert reader.pairs == [each for each in expected if each.strip()]
    assert set(reader.alone) == {"sorting", *(each for each in TEXTS if each.strip())}  # never behind a statement


def test_every_passage_is_behind_the_statement() -> None:
    reader = SplittingReader()
    served(statements=True, passages=2, trunk=reader)
    assert reader.pairs == [
        "authority high. sorting", "authority high. by merging", "sorting", "in place",
        "published long ago. sometimes wanted. a", "published long ago. sometimes wanted. stable sort",
    ]  # fmt: skip
    assert [each for each in reader.before if each] == ["authority high.", "published long ago. sometimes wanted."]


def test_validation_reads_statements_in_pairs_alone() -> None:
    mix = Mix(small_trunk(), fit=FIT, weights=Weights(), opened=-1.0, balance=Balance({"relevance": 1.0}))
    read = []
    for statements in (False, True):
        recorder = Recorder()
        tested = Validation(
            [WINDOW],
            TwoModeReader(recorder),
            most=4,
            head=HEAD,
            weights=Weights(),
            fresh=True,
            statements=statements,  # type: ignore[arg-type]
        )
        with torch.no_grad():
            read.append((tested.scored_by(mix)[0], recorder.read))
    (plain, texts), (behind, stated_texts) = read
    assert sorted(texts[0]) == sorted(["sorting", *TEXTS])
    assert sorted(stated_texts[0]) == sorted(["sorting", *STATED])
    assert plain.cosines.tolist() == pytest.approx(behind.cosines.tolist(), abs=1e-6)
    assert plain.interactions is not None
    assert behind.interactions is not None
    same = [abs(one - two) < 1e-6 for one, two in zip(plain.interactions, behind.interactions, strict=True)]
    ids = [each.doc_id for each in plain.request.candidates]
    assert {key for key, equal in zip(ids, same, strict=True) if equal} == {"d1", "d2"}
