"""A language model asked for one of two words: its logits' difference, by hand, and in what is exported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

from rerank_plugin.domain.factors import Weights
from rerank_plugin.errors import ConfigError
from rerank_plugin.models.folder import ModelFolder
from rerank_plugin.models.load import open_model
from rerank_plugin.models.tokens import TextTokenizer
from rerank_plugin.training.backbones import load_pair_backbone
from rerank_plugin.training.loop import rates
from rerank_plugin.training.mix import Mix
from rerank_plugin.training.objective import balance_of
from rerank_plugin.training.prompts import PROMPT, laid_out, word_id
from rerank_plugin.training.settings import Settings
from training.backbone_samples import DECODERS, ENCODERS, FAMILIES, config, folder, tokenizer
from training.test_backbones import QUERY, rows, said
from training.test_loop import FIT

pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore")]

SETTINGS = Settings(backbone="from the test", head_kind="verbaliser", tokens=24, learning_rate=3e-3)
TEXTS = ["green apples here", "", "red stones"]


def language_model(path: Path, family: str, **more: object) -> Path:
    return folder(path / family, family, "causal" if family in DECODERS else "masked", **more)


@pytest.mark.parametrize("family", FAMILIES)
def test_it_says_what_the_language_model_says_of_the_two_words(tmp_path: Path, family: str) -> None:
    """Of the prompt as one text, the special tokens put by hand; and a space belongs to the word behind it."""
    source = language_model(tmp_path, family)
    backbone, read = load_pair_backbone(source, SETTINGS), tokenizer(family)
    kind = AutoModelForCausalLM if family in DECODERS else AutoModelForMaskedLM
    model = kind.from_pretrained(source, attn_implementation="eager").eval()
    yes, no = (read.encode(f" {word}", add_special_tokens=False) for word in ("yes", "no"))
    assert len(yes) == len(no) == 1
    expected = []
    for text in (TEXTS[0], TEXTS[2]):
        asked = read.encode(PROMPT.format(query=QUERY, document=text), add_special_tokens=False)
        if family in ENCODERS:
            asked = [read.cls_token_id, *asked, read.mask_token_id, read.sep_token_id]
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([asked])).logits[0, -1 if family in DECODERS else -2]
        expected.append((logits[yes[0]] - logits[no[0]]).item())
    found = said(backbone.model, rows(backbone, [TEXTS[0], TEXTS[2]]))
    assert found[1].tolist() == pytest.approx(expected, abs=1e-5)
    assert abs(expected[0] - expected[1]) > 1e-3


def test_by_hand(tmp_path: Path) -> None:
    """The last norm gives (1, 2, 0, ...) of every token; "yes" has the row (.5, 1), "no" (-1, .25); biases .1, .3."""
    words = {word: tokenizer("bert").convert_tokens_to_ids(word) for word in ("yes", "no")}
    for family, last in (("bert", "cls.predictions.transform.LayerNorm"), ("gpt2", "transformer.ln_f")):
        source = language_model(tmp_path, family, tie_word_embeddings=False)
        kind = AutoModelForCausalLM if family in DECODERS else AutoModelForMaskedLM
        model = kind.from_pretrained(source)
        if family == "gpt2":
            words = {word: tokenizer(family).encode(f" {word}")[0] for word in ("yes", "no")}
        with torch.no_grad():
            norm, output = model.get_submodule(last), model.get_output_embeddings()
            norm.weight.zero_()
            norm.bias.copy_(torch.tensor([1.0, 2.0, *[0.0] * 14]))
            output.weight[words["yes"], :2] = torch.tensor([0.5, 1.0])
            output.weight[words["no"], :2] = torch.tensor([-1.0, 0.25])
            if output.bias is not None:
                output.bias[words["yes"]], output.bias[words["no"]] = 0.1, 0.3
        model.save_pretrained(source)
        backbone = load_pair_backbone(source, SETTINGS)
        logit = said(backbone.model, rows(backbone, TEXTS))[1]
        by_hand = (0.5 + 2.0) - (-1.0 + 0.5) + (-0.2 if family == "bert" else 0.0)
        assert logit.tolist() == pytest.approx([by_hand] * 3, abs=1e-5)
        other = load_pair_backbone(source, replace(SETTINGS, prompt_words="no,yes"))
        assert said(other.model, rows(other, TEXTS))[1].tolist() == pytest.approx([-by_hand] * 3, abs=1e-5)


@pytest.mark.parametrize("family", ["albert", "roberta", "qwen3"])
def test_the_graph_has_no_vocabulary_of_outputs(tmp_path: Path, family: str) -> None:
    backbone = load_pair_backbone(language_model(tmp_path, family), SETTINGS)
    out = tmp_path / "model"
    manifest = backbone.export(out, name="tiny", precision="fp32", texts=[]).manifest
    space = " " if family != "albert" else ""
    assert (manifest.layout.query_prefix.strip(), manifest.layout.text_prefix.strip()) == ("", "")
    assert space in manifest.layout.query_prefix
    served = open_model(ModelFolder.open(out), threads=1)
    expected = said(backbone.model, rows(backbone, TEXTS))[1].numpy()
    assert served.interact(QUERY, TEXTS).logits == pytest.approx(expected, abs=1e-4)
    graph = onnx.load_from_string((out / "model.onnx").read_bytes()).graph
    size = config(family).vocab_size
    tables = [list(each.dims) for each in graph.initializer if size in each.dims]
    assert len(tables) == 1  # the embeddings of what is read
    long = "report of the vessel number " * 40
    served_long = served.interact(QUERY, [long])
    assert served_long.truncated.tolist() == [True]
    pieces = served.passages(long, 9, query=QUERY)
    assert len(pieces) > 1
    assert not served.interact(QUERY, pieces[:-1]).truncated.any()  # the prompt's tokens have their room


@pytest.mark.parametrize("family", FAMILIES)
def test_all_of_it_learns_at_the_layers_rate(tmp_path: Path, family: str) -> None:
    backbone = load_pair_backbone(language_model(tmp_path, family), SETTINGS)
    mix = Mix(backbone.model, fit=FIT, weights=Weights(), opened=-1.0, balance=balance_of(SETTINGS))
    groups = rates(mix, SETTINGS)
    assert groups[-1]["params"] == backbone.model.own
    assert groups[-1]["lr"] == SETTINGS.learning_rate
    vectors, logits = backbone.model.train()(**rows(backbone, TEXTS))
    (vectors.sum() + logits.sum()).backward()
    assert [name for name, each in backbone.model.named_parameters() if each.grad is None] == []


def test_a_prompt_by_hand() -> None:
    read = tokenizer("bert")
    layout = laid_out(read.backend_tokenizer, "{document}: is it {mask} of {query}?", decodes=False, mask_id=3)
    laid = TextTokenizer(layout.tokenizer, 48, pairs=True)
    [pair] = laid.pairs("red [MASK] stones", ["green apples"])
    told = ["[CLS]", "green", "apples", ":", "is", "it", "[MASK]", "of", "red", "[UNK]"]
    assert read.convert_ids_to_tokens(pair.ids)[:10] == told
    assert read.convert_ids_to_tokens(pair.ids)[-3:] == ["stones", "[UNK]", "[SEP]"]  # it has no question mark
    assert pair.ids.count(read.mask_token_id) == 1  # what a text says is text
    assert set(pair.types) == {0}
    [cut] = TextTokenizer(layout.tokenizer, 20, pairs=True).pairs("red stones", ["green apples " * 20])
    assert cut.truncated
    assert len(cut.ids) == 20
    assert read.convert_ids_to_tokens(cut.ids)[-6:] == ["[MASK]", "of", "red", "stones", "[UNK]", "[SEP]"]


def test_spaces_of_a_prompt_belong_to_the_word_behind() -> None:
    read = tokenizer("gpt2")
    for prompt in (PROMPT, "<|end|>Query:\n{query}\nDocument: {document}\n\n"):
        layout = laid_out(read.backend_tokenizer, prompt, decodes=True)
        laid = TextTokenizer(layout.tokenizer, 48, pairs=True)
        [pair] = laid.pairs(layout.query_prefix + "red stones", [layout.text_prefix + "green apples"])
        assert pair.ids == read.encode(prompt.format(query="red stones", document="green apples"))
        assert layout.spaced == (prompt == PROMPT)
    for word in ("yes", "the"):  # there are both of them
        bare, spaced = (word_id(read.backend_tokenizer, word, spaced=each, unknown=None) for each in (False, True))
        assert read.convert_ids_to_tokens([bare, spaced]) == [word, f"Ġ{word}"]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"prompt": "{query} {document"}, "prompt has a brace without its other one"),
        ({"prompt": "{query}"}, "prompt must have {query} and {document}, once each"),
        ({"prompt": "{query} {document} {query}"}, "prompt must have {query} and {document}, once each"),
        ({"prompt": "{query} {document} {title}"}, "prompt must have {query} and {document}, once each"),
        ({"prompt_words": "yes"}, "prompt_words must be two words with a comma between, got 'yes'"),
        ({"prompt_words": "yes,yes"}, "prompt_words must be two words with a comma between"),
        ({"prompt_words": "yes,no,maybe"}, "prompt_words must be two words with a comma between"),
        ({"backbone": ""}, "head_kind and prompt are for a --backbone of your own"),
    ],
)
def test_settings_that_do_not_go(change: dict[str, str], line: str) -> None:
    with pytest.raises(ConfigError) as found:
        replace(SETTINGS, **change)
    assert str(found.value).startswith(line)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"prompt_words": "yes,stonemason"}, "prompt_words: 'stonemason' is no single token of the backbone's"),
        ({"prompt": "{query} {document} {mask}"}, "{mask} in a prompt is for a verbaliser over an encoder; leave it"),
    ],
)
def test_words_and_masks_that_do_not_go(tmp_path: Path, change: dict[str, str], line: str) -> None:
    with pytest.raises(ConfigError) as found:
        load_pair_backbone(language_model(tmp_path, "gpt2"), replace(SETTINGS, **change))
    assert str(found.value).startswith(line)


def test_a_prompt_that_leaves_no_room(tmp_path: Path) -> None:
    backbone = load_pair_backbone(
        language_model(tmp_path, "bert"), replace(SETTINGS, prompt="red " * 30 + "{query}{document}")
    )
    with pytest.raises(ConfigError, match=r"^the prompt leaves 7 of 40 tokens to query and document; raise tokens or"):
        backbone.reader(20)


def test_a_prompt_without_a_verbaliser(tmp_path: Path) -> None:
    """A linear head reads it too; an encoder's special tokens stay around it."""
    settings = replace(SETTINGS, head_kind="linear", prompt="query: {query} document: {document}")
    backbone = load_pair_backbone(folder(tmp_path, "bert"), settings)
    [row, *_] = backbone.reader(24).pairs("red stones", ["green apples"])
    read = tokenizer("bert")
    assert row.ids == read.encode("query: red stones document: green apples")
