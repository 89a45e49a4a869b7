"""Masked language modelling before training: what it reads, asks and moves, and that a kill costs nothing."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import BertForMaskedLM

from rerank_plugin.errors import ConfigError, DataError
from rerank_plugin.models.folder import ModelFolder, default_model_folder
from rerank_plugin.training.loop import last_checkpoint, seeded
from rerank_plugin.training.pretrain import (
    NOT_ASKED,
    MaskedTrunk,
    Masks,
    Pretrained,
    Texts,
    pretrain,
    texts_wanted,
    unmasked,
    vectors_of,
)
from rerank_plugin.training.settings import Settings
from rerank_plugin.training.two_mode import Backbone, TwoModeModel
from training.training_samples import one_thread, small_trunk, tokenizer

pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore")]

DEFINITION = ModelFolder.open(default_model_folder()).read("tokenizer").decode()
DOCUMENTS = [f"the cat number {number} says meow today" for number in range(24)]
SETTINGS = Settings(
    pretrain_steps=12, pretrain_rate=1e-2, validate_every=3, groups=2, group_size=4, tokens=24, head_rate=1e-2,
    pretrain_anchor=0.0,
)  # fmt: skip


def run(
    out: Path, settings: Settings = SETTINGS, *, resume: bool = False, tell: Callable[[str], None] | None = None
) -> tuple[Pretrained, TwoModeModel, list[str]]:
    seeded(settings.seed)
    backbone = Backbone(small_trunk(), "small", "none", 64, DEFINITION)
    told: list[str] = []
    with one_thread():
        done = pretrain(
            backbone, DOCUMENTS, tokenizer(settings.tokens), settings, out=out, resume=resume, tell=tell or told.append
        )
    return done, backbone.model, told


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pretrained, TwoModeModel, list[str]]:
    """A run without a break."""
    return run(tmp_path_factory.mktemp("whole"))


def batch(count: int = 8, seed: int = 0) -> dict[str, torch.Tensor]:
    texts = Texts(DOCUMENTS, tokenizer(), count=count, seed=seed)
    return Masks(DEFINITION, seed)([texts[number] for number in range(count)])


def test_it_learns_to_find_masked_words(whole: tuple) -> None:
    done, _, told = whole
    assert (done.steps, done.documents, done.held_out) == (12, 22, 2)
    assert done.loss_before == pytest.approx(math.log(30522), abs=0.5)  # a fresh head knows nothing
    assert done.loss_after < done.loss_before - 1
    assert [line.split(": loss")[0] for line in told[:-1]] == [
        f"pre-training: step {step} of 12" for step in (3, 6, 9, 12)
    ]
    assert told[-1].startswith("pre-trained on 22 documents: loss of masked tokens 10.")


def test_the_trunk_itself_is_trained(whole: tuple) -> None:
    """Its embeddings too, which the head shares; what joins query and document is left alone."""
    _, trunk, _ = whole
    before = dict(small_trunk().named_parameters())
    moved = {name for name, value in trunk.named_parameters() if not torch.equal(value, before[name])}
    assert {name for name in before if name.startswith(("embeddings.", "layers."))} - moved == set()
    assert moved & {"segment_bias", "interaction_weight", "interaction_offset"} == set()
    assert not any(module.training for module in trunk.modules())


def test_frozen_layers_stay_as_they_are(tmp_path: Path) -> None:
    _, trunk, _ = run(tmp_path, replace(SETTINGS, pretrain_steps=2, frozen_layers=1))
    before = dict(small_trunk().named_parameters())
    moved = {
        name.split(".", 2)[0:2][1] for name, value in trunk.named_parameters() if not torch.equal(value, before[name])
    }
    assert moved == {"1"}  # of layers 0 and 1


def test_the_loss_is_that_of_transformers() -> None:
    """Over masked places only, as theirs; and by hand: ln of the vocabulary where all words are as likely."""
    asked = batch()
    model = MaskedTrunk(small_trunk()).eval()
    theirs = BertForMaskedLM.forward(model, **asked).loss
    assert float(model(**asked)["loss"]) == pytest.approx(float(theirs), rel=1e-5)
    torch.nn.init.zeros_(model.cls.predictions.transform.LayerNorm.weight)  # all words get their bias, which is 0
    assert float(model(**asked)["loss"]) == pytest.approx(math.log(30522), rel=1e-5)
    nothing = {**asked, "labels": torch.full_like(asked["labels"], NOT_ASKED)}
    said = model(**nothing)["loss"]
    said.backward()
    assert float(said.detach()) == 0.0


def test_weights_are_shared_and_the_head_is_tied() -> None:
    trunk = small_trunk()
    model = MaskedTrunk(trunk)
    words = trunk.embeddings.word_embeddings.weight
    assert model.cls.predictions.decoder.weight is words
    assert model.bert.embeddings.word_embeddings.weight is words
    assert model.bert.encoder.layer[1] is trunk.layers[1]


def test_vectors_are_those_that_the_trunk_gives_apart() -> None:
    asked, trunk = batch(), small_trunk()
    plain = unmasked(asked["input_ids"], asked["labels"])
    segments = torch.where(asked["attention_mask"].bool(), 0, -1)
    places = torch.arange(plain.shape[1]).expand_as(plain)
    with torch.no_grad():
        found = vectors_of(MaskedTrunk(trunk).eval().bert, plain, asked["attention_mask"])
        torch.testing.assert_close(found, trunk(plain, segments, places)[0])


def test_masks_are_those_of_bert() -> None:
    """15 % of the words; 80 % of them [MASK], 10 % others, 10 % as they were; special tokens and padding never."""
    mask, special = 103, {0, 101, 102}
    asked = [batch(64, seed) for seed in range(5)]
    words = replaced = hidden = kept = 0
    for each in asked:
        plain = unmasked(each["input_ids"], each["labels"])
        real = torch.tensor([[int(token) not in special for token in row] for row in plain])
        chosen = each["labels"] != NOT_ASKED
        assert not (chosen & ~real).any()
        assert torch.equal(plain[~chosen], each["input_ids"][~chosen])
        words, replaced = words + int(real.sum()), replaced + int(chosen.sum())
        hidden += int((each["input_ids"][chosen] == mask).sum())
        kept += int((each["input_ids"][chosen] == plain[chosen]).sum())
    assert replaced / words == pytest.approx(0.15, abs=0.02)
    assert hidden / replaced == pytest.approx(0.8, abs=0.05)
    assert kept / replaced == pytest.approx(0.1, abs=0.04)


def test_every_document_is_read_before_one_is_read_again() -> None:
    texts = Texts(["ape", "bee", "cow"], tokenizer(), count=9, seed=0)
    read = [tuple(texts[number]["input_ids"]) for number in range(9)]
    assert [len(set(read[start : start + 3])) for start in (0, 3, 6)] == [3, 3, 3]
    assert len({tuple(read[start : start + 3]) for start in (0, 3, 6)}) > 1
    again = Texts(["ape", "bee", "cow"], tokenizer(), count=9, seed=0)
    assert [tuple(again[number]["input_ids"]) for number in (7, 2)] == [read[7], read[2]]


def test_masks_are_drawn_by_number() -> None:
    texts = Texts(["one and the same long text of many words"], tokenizer(), count=16, seed=0)
    first, again, other = (
        Masks(DEFINITION, seed)([texts[number] for number in range(at, at + 8)])["labels"]
        for at, seed in ((0, 0), (0, 0), (8, 0))
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_of_long_documents_every_passage_is_read() -> None:
    texts = Texts([" ".join(f"w{n}" for n in range(60))], tokenizer(16), count=40, seed=0)
    read = [tuple(texts[number]["input_ids"]) for number in range(40)]
    assert len(set(read)) > 5
    assert max(map(len, read)) <= 16


def test_the_anchor_holds_the_vectors(tmp_path: Path, whole: tuple) -> None:
    held, trunk, _ = run(tmp_path, replace(SETTINGS, pretrain_anchor=1000.0))
    assert whole[0].cosine_to_start < held.cosine_to_start <= 1.0
    assert held.loss_after < held.loss_before
    asked = batch()
    model = MaskedTrunk(trunk).eval()
    now = vectors_of(model.bert, unmasked(asked["input_ids"], asked["labels"]), asked["attention_mask"])
    assert float(model(**asked, wanted=now)["moved"]) == pytest.approx(0.0, abs=1e-9)
    assert float(model(**asked, wanted=-now)["moved"]) == pytest.approx(4.0, rel=1e-5)  # |v - -v|^2 of unit vectors


def test_a_run_that_was_cut_off_ends_as_the_whole_one(tmp_path: Path, whole: tuple) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from training.test_pretrain import run\n"
        "def tell(line):\n"
        "    if 'step 9 ' in line: os.kill(os.getpid(), signal.SIGKILL)\n"
        "run(Path(sys.argv[1]), tell=tell)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, env=environment)
    assert ended.returncode == -signal.SIGKILL
    found = last_checkpoint(tmp_path)
    assert found is not None
    assert found.name == "checkpoint-6"
    for expected in (["step 9 of 12", "step 12 of 12"], []):  # then it had ended and is only read
        done, trunk, told = run(tmp_path, resume=True)
        assert done == whole[0]
        assert [line.split(": ")[1] for line in told[:-1]] == expected
        for name, value in whole[1].state_dict().items():
            assert torch.equal(trunk.state_dict()[name], value), name


def test_too_little_to_read_is_one_line(tmp_path: Path) -> None:
    backbone = Backbone(small_trunk(), "small", "none", 64, DEFINITION)
    with pytest.raises(DataError, match="at least 2 documents with text, one of them to measure; got 1"):
        pretrain(backbone, ["one", " "], tokenizer(), SETTINGS, out=tmp_path, resume=False, tell=print)


def test_what_is_told_to_stay_is_not_pre_trained() -> None:
    with pytest.raises(ConfigError, match="pretrain_steps moves vectors and tuning=head keeps them; leave one out"):
        Settings(pretrain_steps=1, tuning="head")


def test_so_many_documents_are_wanted() -> None:
    assert texts_wanted(replace(SETTINGS, accumulation=3)) == 12 * 2 * 4 * 3 + 200
