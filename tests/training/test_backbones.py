"""Every family of backbones: read the same however padded, learns, resumes, serves in ONNX what torch says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rerank_plugin.domain.factors import Weights
from rerank_plugin.errors import ConfigError, ModelFolderError
from rerank_plugin.models.folder import ModelFolder
from rerank_plugin.models.load import open_model
from rerank_plugin.training import backbones
from rerank_plugin.training.backbones import PairBackbone, backbone_of, load_pair_backbone
from rerank_plugin.training.groups import Groups
from rerank_plugin.training.loop import Trained, Validation, rates, seeded, shared, train
from rerank_plugin.training.mix import Batch, Collator, Mix
from rerank_plugin.training.objective import balance_of, losses_of
from rerank_plugin.training.pair_trunk import PairTrunk
from rerank_plugin.training.settings import Settings
from rerank_plugin.training.tuning import added, fold, prepare
from training.backbone_samples import DECODERS, FAMILIES, folder
from training.test_loop import FIT, HEAD, windows
from training.test_mix import group
from training.training_samples import one_thread

pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore")]

QUERY = "which one is it"
TEXTS = ["green apples here", "", "red stones", "report of the vessel number " * 12]
SETTINGS = Settings(
    max_steps=6, validate_every=2, groups=2, group_size=4, tokens=24, learning_rate=3e-3, head_rate=3e-2, patience=9,
    backbone="from the test",
)  # fmt: skip
each_family = pytest.mark.parametrize("family", FAMILIES)
#: Makes a folder of a family and loads it.
Load = Callable[..., PairBackbone]


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    made: dict[tuple[str, str], Path] = {}

    def loaded(family: str, kind: str = "", settings: Settings = SETTINGS) -> PairBackbone:
        if (family, kind) not in made:
            more = {"num_labels": 1} if kind == "classifier" else {}
            made[family, kind] = folder(tmp_path_factory.mktemp("folder") / family, family, kind, **more)
        return load_pair_backbone(made[family, kind], settings)

    return loaded


def moved(backbone: PairBackbone) -> PairBackbone:
    """With a head that says something."""
    with torch.no_grad():
        for each in backbone.model.own:
            torch.manual_seed(1)
            each.normal_(std=0.5)
    return backbone


def rows(backbone: PairBackbone, texts: list[str] = TEXTS) -> dict[str, Tensor]:
    reader = backbone.reader(SETTINGS.tokens)
    return {name: torch.from_numpy(each) for name, each in reader.pad(reader.pairs(QUERY, texts)).items()}


def said(trunk: PairTrunk, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        return trunk(**inputs)


def training(load: Load, family: str, settings: Settings = SETTINGS) -> tuple[Mix, Batch]:
    backbone = load(family, settings=settings)
    mix = Mix(backbone.model, fit=FIT, weights=Weights(), opened=-1.0, balance=balance_of(settings))
    return mix, Collator(backbone.reader(settings.tokens))([group(4), group(3, "sorting")])["batch"]


@each_family
def test_padding_on_either_side_changes_nothing(load: Load, family: str) -> None:
    backbone = moved(load(family))
    together = rows(backbone)
    lengths = together["attention_mask"].sum(dim=1).tolist()
    assert len(set(lengths)) == len(TEXTS)
    left = {
        name: torch.stack([each.roll(-length) for each, length in zip(values, lengths, strict=True)])
        for name, values in together.items()
    }
    assert not bool(left["attention_mask"][1, 0])
    for found in (said(backbone.model, together), said(backbone.model, left)):
        for place, text in enumerate(TEXTS):
            for one, alone in zip(found, said(backbone.model, rows(backbone, [text])), strict=True):
                assert torch.allclose(one[place], alone[0], atol=1e-5)


@each_family
def test_it_is_read_where_a_token_has_seen_the_text(load: Load, family: str) -> None:
    """The first token of an encoder, the last one of a decoder: what stands behind it changes what it says."""
    trunk, inputs = (backbone := moved(load(family))).model, rows(backbone)
    [length, *_] = inputs["attention_mask"].sum(dim=1).tolist()
    changed = {name: values.clone() for name, values in inputs.items()}
    changed["input_ids"][0, length // 2] = 5
    before, after = said(trunk, inputs), said(trunk, changed)
    for one, other in zip(before, after, strict=True):
        assert bool((one[0] - other[0]).abs().max() > 1e-5)
        assert torch.equal(one[1:], other[1:])
    hidden = trunk.body(**{name: inputs[name] for name in trunk.inputs})[0]
    place = length - 1 if family in DECODERS else 0
    assert torch.allclose(before[0][0], hidden[0, place], atol=1e-5)


@each_family
def test_it_starts_at_the_order_of_first_stage_and_cosine(load: Load, family: str) -> None:
    mix, batch = training(load, family)
    assert mix.slopes.tolist() == pytest.approx([0.1, 0.1, 0.5, 1.0])
    with torch.no_grad():
        found = mix.eval()(batch)
    assert not bool(found.interaction.any())
    expected = (batch.given @ torch.tensor([0.1, 0.1, 0.5])).masked_fill(~batch.mask, 0.0)
    assert torch.allclose(found.z_final, expected, atol=1e-6)
    assert found.heads.shape == (2, 4, 4)


@each_family
def test_every_parameter_learns_once_and_a_few_steps_lower_the_loss(load: Load, family: str) -> None:
    settings = replace(SETTINGS, dropout=0.0)
    mix, batch = training(load, family, settings)
    prepare(mix.trunk, settings)
    groups = rates(mix, settings)
    told = [id(each) for one in groups for each in one["params"]]
    assert len(told) == len(set(told)) == len(list(mix.parameters()))
    assert [one["lr"] for one in groups[1:]] == pytest.approx(
        [3e-3 * 0.9**below for below in reversed(range(len(mix.trunk.layers) + 1))]
    )
    optimizer = torch.optim.AdamW(groups)
    losses = []
    for _ in range(6):
        loss = losses_of(mix.train()(batch), batch, settings)["relevance"]
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < losses[0] - 0.01
    without = [name for name, each in mix.trunk.named_parameters() if each.grad is None]
    assert without == []  # nothing is trained and exported that nobody reads


@each_family
def test_onnx_says_what_torch_says(load: Load, family: str, tmp_path: Path) -> None:
    """Through the tokenizer that is served, a text that is cut among them."""
    backbone = moved(load(family))
    exported = backbone.export(tmp_path, name="tiny", precision="fp32", texts=[])
    manifest = exported.manifest
    assert (manifest.kind, manifest.dimensions, manifest.backbone) == ("cross-encoder", 0, family)
    assert manifest.max_tokens == (95 if family == "roberta" else 96)
    expected = said(backbone.model, rows(backbone, TEXTS[:3]))[1]
    served = open_model(ModelFolder.open(tmp_path), threads=1)
    assert served.interact(QUERY, TEXTS[:3]).logits == pytest.approx(expected.numpy(), abs=1e-4)
    whole = backbone.reader(48)
    texts = ["report of the vessel number " * 40, "green"]
    pads = {name: torch.from_numpy(each) for name, each in whole.pad(whole.pairs(QUERY, texts)).items()}
    both = served.interact(QUERY, texts)
    assert both.logits == pytest.approx(said(backbone.model, pads)[1].numpy(), abs=1e-4)
    assert both.truncated.tolist() == [True, False]


@pytest.mark.parametrize("family", ["bert", "gpt2", "qwen3"])
def test_eight_bits_say_nearly_the_same(load: Load, family: str, tmp_path: Path) -> None:
    backbone = moved(load(family))
    texts = [f"report of the {kind} vessel number" for kind in ("approved", "rejected", "green", "red")] * 4
    backbone.export(tmp_path, name="tiny", precision="int8", texts=texts)
    found = open_model(ModelFolder.open(tmp_path), threads=1).interact(QUERY, TEXTS[:3]).logits
    expected = said(backbone.model, rows(backbone, TEXTS[:3]))[1].numpy()
    assert 0 < np.abs(found - expected).max() < 0.25 * max(1.0, np.abs(expected).max())


@each_family
@pytest.mark.parametrize("tuning", ["lora", "adapter"])
def test_few_parameters_start_at_the_trunk_and_learn(load: Load, family: str, tuning: str) -> None:
    settings = replace(SETTINGS, tuning=tuning, lora_rank=2, adapter_width=3)
    mix, batch = training(load, family, settings)
    trunk = moved(load(family)).model
    inputs, keys = rows(load(family)), set(trunk.state_dict())
    before = said(trunk, inputs)
    prepare(trunk, settings)
    for start, untouched in zip(said(trunk.eval(), inputs), before, strict=True):
        assert torch.allclose(start, untouched, atol=1e-6)
    with torch.no_grad():
        for each in added(trunk):
            each.normal_(std=0.3)
    after = said(trunk, inputs)
    assert bool((after[1] - before[1]).abs().max() > 1e-3)
    fold(trunk)
    assert torch.allclose(said(trunk, inputs)[1], after[1], atol=1e-4)
    assert (set(trunk.state_dict()) == keys) == (tuning == "lora")

    prepare(mix.trunk, settings)
    rates(mix, settings)
    loss = losses_of(mix.train()(batch), batch, settings)["relevance"]
    loss.backward()
    learning = {name for name, each in mix.trunk.named_parameters() if each.grad is not None}
    assert learning == {name for name in learning if "lora_" in name or "adapter." in name or "head" in name}
    assert any("head" in name for name in learning)


def test_a_prefix_is_for_layers_of_bert(load: Load) -> None:
    settings = replace(SETTINGS, tuning="prefix", prefix_tokens=2)
    backbone = moved(load("bert"))
    inputs = rows(backbone)
    before = said(backbone.model, inputs)
    prepare(backbone.model, settings)
    for start, untouched in zip(said(backbone.model.eval(), inputs), before, strict=True):
        assert torch.allclose(start, untouched, atol=1e-6)
    with torch.no_grad():
        for each in added(backbone.model):
            each.fill_(0.7)
    assert bool((said(backbone.model, inputs)[1] - before[1]).abs().max() > 1e-3)
    for family in set(FAMILIES) - {"bert"}:
        with pytest.raises(ConfigError, match=r"^tuning=prefix reads attention as BERT has it, and \w+ has another; "):
            prepare(load(family).model, settings)


@pytest.mark.parametrize(
    ("change", "layers"),
    [({"tuning": "head"}, []), ({"frozen_layers": 1}, [1]), ({"frozen_layers": 2}, []), ({}, [0, 1])],
)
def test_what_the_tuning_leaves_alone_gets_no_gradient(load: Load, change: dict, layers: list[int]) -> None:
    for family in ("deberta-v2", "qwen3"):
        settings = replace(SETTINGS, **change)
        mix, batch = training(load, family, settings)
        rates(mix, settings)
        moved(PairBackbone(mix.trunk, None))  # type: ignore[arg-type]
        losses_of(mix(batch), batch, settings)["relevance"].backward()
        grads = [next(layer.parameters()).grad is not None for layer in mix.trunk.layers]
        assert [place for place, learns in enumerate(grads) if learns] == layers
        embedded = [each.grad is not None for name, each in mix.trunk.named_parameters() if "embed" in name]
        assert set(embedded) == {layers == [0, 1]}
        assert shared(mix)[:2] == mix.trunk.own
        assert all(each.requires_grad for each in shared(mix))


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_16_bits_and_computing_again(load: Load, family: str) -> None:
    kept: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        kept[-1] += tensor.nbytes
        return tensor

    def gradients(**change: str) -> dict[str, Tensor]:
        settings = replace(SETTINGS, dropout=0.0, **change)
        mix, batch = training(load, family, settings)
        moved(PairBackbone(mix.trunk, None))  # type: ignore[arg-type]
        prepare(mix.trunk, settings)
        rates(mix, settings)
        kept.append(0)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = losses_of(mix.train()(batch), batch, settings)["relevance"]
        loss.backward()
        return {name: each.grad for name, each in mix.named_parameters() if each.grad is not None}

    plain, again, short = gradients(), gradients(gradient_checkpointing="on"), gradients(autocast="bf16")
    assert plain.keys() == again.keys() == short.keys()
    assert kept[1] < kept[0] / 2
    for name, value in plain.items():
        assert torch.allclose(again[name], value, atol=1e-6), name
        assert short[name].dtype == torch.float32
    assert any(not torch.allclose(short[name], value, atol=1e-6) for name, value in plain.items())


def run(load: Load, family: str, out: Path, *, resume: bool = False, cut: bool = False) -> tuple[Trained, Mix]:
    seeded(0)
    backbone = load(family)
    mix = Mix(backbone.model, fit=FIT, weights=Weights(), opened=-1.0, balance=balance_of(SETTINGS))
    reader = backbone.reader(SETTINGS.tokens)
    groups = Groups(windows(12), size=4, count=SETTINGS.groups_of_run(1), margin=0.0, seed=0)
    validation = Validation(windows(6, 12), reader, most=6, head=HEAD, weights=Weights(), fresh=False)
    validation.before = 0.0  # any step beats it

    def tell(line: str) -> None:
        if cut and line.startswith("step 4 "):
            raise KeyboardInterrupt

    with one_thread():
        done = train(mix, groups, validation, reader, SETTINGS, out=out, resume=resume, tell=tell)
        assert validation(mix) == pytest.approx(done.after, abs=1e-6)  # the best step is what is left
    return done, mix


@pytest.mark.parametrize("family", ["albert", "qwen3"])
def test_a_run_that_was_cut_off_ends_as_the_whole_one(load: Load, family: str, tmp_path: Path) -> None:
    whole, expected = run(load, family, tmp_path / "whole")
    assert whole.best_step > 0
    with pytest.raises(KeyboardInterrupt):
        run(load, family, tmp_path / "cut", cut=True)
    assert [each.name for each in (tmp_path / "cut").glob("checkpoint-*")] == ["checkpoint-2"]
    done, mix = run(load, family, tmp_path / "cut", resume=True)
    assert done == whole
    for name, value in expected.state_dict().items():
        assert torch.equal(mix.state_dict()[name], value), name


@pytest.mark.parametrize("family", ["bert", "roberta", "deberta-v2", "modernbert"])
def test_a_cross_encoder_starts_from_its_own_score(load: Load, family: str) -> None:
    """As sentence-transformers says it, with a logit in place of its sigmoid."""
    from sentence_transformers import CrossEncoder

    backbone = load(family, "classifier")
    source = Path(cross_folder(backbone, load, family))
    own = CrossEncoder(str(source), device="cpu", activation_fn=nn.Identity())
    expected = own.predict([(QUERY, text) for text in TEXTS[:3]], show_progress_bar=False)
    assert said(backbone.model, rows(backbone, TEXTS[:3]))[1].numpy() == pytest.approx(expected, abs=1e-5)
    mix = Mix(backbone.model, fit=FIT, weights=Weights(), opened=-1.0, balance=balance_of(SETTINGS))
    groups = rates(mix, replace(SETTINGS, tuning="head"))
    assert groups[-1]["lr"] == SETTINGS.learning_rate  # somebody trained it: it is no head at 0
    assert groups[-1]["params"] == backbone.model.own
    assert len(backbone.model.own) >= 2
    exported = backbone.model.logit(**{name: rows(backbone)[name] for name in backbone.model.inputs})
    assert torch.allclose(exported, said(backbone.model, rows(backbone))[1])


def cross_folder(backbone: PairBackbone, load: Load, family: str) -> str:
    """Where the body was loaded from."""
    return str(backbone.model.body.config._name_or_path or load(family).model.body.config._name_or_path)


@pytest.mark.parametrize("family", ["gpt2", "qwen3"])
def test_a_classifying_decoder_starts_from_its_own_score(load: Load, family: str) -> None:
    """Transformers' own logit of each pair alone, though the tokenizer has no padding token."""
    from transformers import AutoModelForSequenceClassification

    backbone = load(family, "classifier")
    source = cross_folder(backbone, load, family)
    own = AutoModelForSequenceClassification.from_pretrained(source, attn_implementation="eager").eval()
    with torch.no_grad():
        alone = [own(input_ids=rows(backbone, [text])["input_ids"]).logits.item() for text in TEXTS]
    assert said(backbone.model, rows(backbone))[1].tolist() == pytest.approx(alone, abs=1e-5)


def test_what_no_onnx_file_can_hold_is_refused(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load("bert")
    monkeypatch.setattr(backbones, "MAX_FILE_BYTES", 4000)
    with pytest.raises(ModelFolderError, match=r"has 0\.0 GB of weights in 32 bits, and an ONNX file holds 2; give a "):
        load("bert")


def test_a_hubs_cache_is_a_folder_too(tmp_path: Path) -> None:
    cache = tmp_path / "models--someone--tiny-bert"
    folder(cache / "snapshots" / "0123abcd", "bert")
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("0123abcd")
    for given in (cache, cache / "snapshots" / "0123abcd"):
        found = backbone_of(replace(SETTINGS, backbone=str(given)))
        assert isinstance(found, PairBackbone)
        assert found.source.name == "someone/tiny-bert"


def test_a_hubs_model_goes_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No hub is here: what a cache holds is found by the name, and what it does not hold is one line."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    revision = "0123456789abcdef0123456789abcdef01234567"
    cache = tmp_path / "models--someone--tiny-bert"
    folder(cache / "snapshots" / revision, "bert")
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(revision)
    found = backbone_of(replace(SETTINGS, backbone="someone/tiny-bert"))
    assert isinstance(found, PairBackbone)
    assert found.source.name == "someone/tiny-bert"
    with pytest.raises(ModelFolderError, match="there is no folder someone/else, and no model of that name") as caught:
        backbone_of(replace(SETTINGS, backbone="someone/else"))
    assert "\n" not in str(caught.value)


def test_no_pickle_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def fetch(name: str, **more: Any) -> str:
        asked.update(more, name=name)
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    with pytest.raises(ModelFolderError, match=r"to be had \(no network\)"):
        backbone_of(replace(SETTINGS, backbone="someone/tiny"))
    assert asked == {"name": "someone/tiny", "allow_patterns": ["*.json", "*.safetensors", "README.md"]}
