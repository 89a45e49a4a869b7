"""Backbones of any make: local folders of transformers' encoders and decoders, as trunks that train and are exported.

An encoder (BERT, ALBERT, RoBERTa, DeBERTa, ModernBERT) is read at its first token, a decoder (GPT-2, Qwen) at its last
one, by a linear head that starts at 0. A cross-encoder with one label keeps its own head, and so starts from its own
score. A verbaliser asks a language model for one of two words (Schick and Schuetze 2021, PET, arXiv 2001.07676; Qwen3's
rerankers) and starts at logit(yes) - logit(no): of the rows of its vocabulary only the difference of these two is kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from rerank_plugin.errors import ConfigError, ModelFolderError
from rerank_plugin.models.folder import MAX_FILE_BYTES
from rerank_plugin.models.tokens import TextTokenizer
from rerank_plugin.training.hub_models import CrossEncoderSource, kind_of, load_cross_encoder, write_cross_encoder
from rerank_plugin.training.pair_trunk import PairReader, PairTrunk, Place, TokenLogit, first, last, masked
from rerank_plugin.training.prompts import LEAST_ROOM, PROMPT, Layout, laid_out, word_id
from rerank_plugin.training.tuning import check, put
from rerank_plugin.training.two_mode import licence_of, load_backbone, quietly, read_object, shipped_backbone

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from rerank_plugin.models.folder import ModelFolder
    from rerank_plugin.training.settings import Settings
    from rerank_plugin.training.trunk import Backbone

#: Tokens of a pair that a model reads when serving, if it can, and more where training reads more.
SERVED_TOKENS = 512
FOUR_BYTES = 4
#: How hubs name models.
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, slots=True)
class PairBackbone:
    """A trunk that reads pairs, and what is written of it."""

    model: PairTrunk
    #: Its ``model`` is the trunk's logit.
    source: CrossEncoderSource

    def reader(self, tokens: int) -> PairReader:
        """Reads pairs up to ``2 * tokens``; what is too long loses tokens of its longer side.

        :raises ConfigError: the prompt leaves too little room for them.
        """
        source, limit = self.source, min(2 * tokens, self.source.max_tokens)
        read = TextTokenizer(source.tokenizer, limit, pairs=True)
        if (room := limit - read.around) < LEAST_ROOM:
            raise ConfigError(
                f"the prompt leaves {room} of {limit} tokens to query and document; raise tokens or shorten the prompt"
            )
        return PairReader(read, source.pad_id, source.query_prefix, source.text_prefix)

    def export(self, out: Path, *, name: str, precision: str, texts: Sequence[str]) -> ModelFolder:
        """See ``hub_models.write_cross_encoder``."""
        return write_cross_encoder(self.source, out, name=name, precision=precision, texts=texts)


def backbone_of(settings: Settings) -> Backbone:
    """What a run trains: the folder of ``backbone``, else what ships.

    :raises ModelFolderError: the folder cannot be trained.
    :raises ConfigError: prompt, words or tuning do not go with it.
    """
    found: Backbone
    if not settings.backbone:
        found = load_backbone(shipped_backbone())
    else:
        found = load_pair_backbone(Path(settings.backbone), settings)
    check(found.model, settings)
    found.reader(settings.tokens)
    return found


def load_pair_backbone(source: Path, settings: Settings) -> PairBackbone:
    """The trunk of a local folder, or of a hub's model, in evaluation mode; no code of the folder is run.

    :raises ModelFolderError: no such folder, no tokenizer.json, a make that transformers does not know, several labels,
        weights that are missing, no language model where a verbaliser needs one, or too large.
    :raises ConfigError: prompt or words do not go with its tokenizer.
    """
    name, source = _resolved(source)
    for file in ("config.json", "tokenizer.json"):
        if not (source / file).is_file():
            raise ModelFolderError(f"{source} has no {file}; give a whole folder, its tokenizer a fast one")
    decodes = _decodes(source)
    reader = _read(source, lambda: _tokenizer(source))
    tokenizer, pad_id, limit = reader.backend_tokenizer, _pad_id(reader), 1 << 13
    asks = settings.head_kind == "verbaliser"
    kept = not asks and kind_of(source) == "cross-encoder"
    mask_id = _mask_id(reader, source) if asks and not decodes else None
    prompt = settings.prompt or (PROMPT if asks or (decodes and not kept) else "")
    layout = laid_out(tokenizer, prompt, decodes=decodes, mask_id=mask_id) if prompt else Layout(tokenizer.to_str())
    if asks:
        unknown = reader.unk_token_id
        yes, no = (word_id(tokenizer, word, spaced=layout.spaced, unknown=unknown) for word in settings.words)
        trunk = _verbaliser(source, yes, no, mask_id)
    elif kept:
        own = load_cross_encoder(source)
        trunk, limit = PairTrunk(own.model, own.inputs, last if decodes else first, fresh=False), own.max_tokens
        cast(Any, trunk.body).config.pad_token_id = pad_id
    else:
        trunk = _headed(source, last if decodes else first)
    _check_size(trunk, source)
    _straighten(trunk)
    limit = min(limit, _positions(trunk), reader.model_max_length)
    described = CrossEncoderSource(
        model=trunk.logit,
        name=name,
        licence=licence_of(source),
        max_tokens=limit if kept else min(limit, max(SERVED_TOKENS, 2 * settings.tokens)),
        tokenizer=layout.tokenizer,
        pad_id=pad_id,
        inputs=trunk.inputs,
        query_prefix=layout.query_prefix,
        text_prefix=layout.text_prefix,
    )
    return PairBackbone(trunk.eval(), described)


def _headed(source: Path, place: Place) -> PairTrunk:
    """A body with a linear head at 0."""
    from transformers import AutoModel

    body = _model(source, AutoModel)
    if getattr(body, "pooler", None) is not None:
        body.pooler = None  # nobody reads it
    head = nn.Linear(int(body.config.hidden_size), 1)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return PairTrunk(TokenLogit(body, head, place), _inputs(body), place, fresh=True)


def _verbaliser(source: Path, yes: int, no: int, mask_id: int | None) -> PairTrunk:
    """A language model that is asked for one of two words: a masked one at the mask, another at the end."""
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

    model = _model(source, AutoModelForCausalLM if mask_id is None else AutoModelForMaskedLM)
    row = _difference(model, source, yes, no)
    if mask_id is None:
        return PairTrunk(TokenLogit(model.base_model, row, last), _inputs(model), last, fresh=False)
    name = next(name for name, each in model.named_modules() if each is model.get_output_embeddings())
    parent = model.get_submodule(name.rpartition(".")[0])
    setattr(parent, name.rpartition(".")[2], row)
    if "bias" in parent._parameters:  # the vocabulary's, which was tied to what was taken out
        parent.register_parameter("bias", None)
    place = masked(mask_id)
    return PairTrunk(TokenLogit(model, nn.Identity(), place), _inputs(model), place, fresh=False)


def _difference(model: Any, source: Path, yes: int, no: int) -> nn.Linear:
    """The output layer's row of one word less that of the other, (width,) -> (1,): the difference of their logits."""
    output = model.get_output_embeddings()
    if not isinstance(output, nn.Linear) or output.out_features != model.config.vocab_size:
        raise ModelFolderError(f"{source} says no words by a linear output layer; use head_kind=linear")
    row = nn.Linear(output.in_features, 1)
    with torch.no_grad():
        row.weight.copy_(output.weight[yes : yes + 1] - output.weight[no : no + 1])
        row.bias.copy_(output.bias[yes] - output.bias[no] if output.bias is not None else torch.zeros(1))
    return row


def _model(source: Path, kind: Any) -> Any:
    """Whole, in 32 bits, from the folder alone.

    :raises ModelFolderError: it is not.
    """

    def load() -> Any:
        with quietly():
            # eager: its operators are those that exporting and rounding know.
            return kind.from_pretrained(
                source, local_files_only=True, trust_remote_code=False, dtype=torch.float32,
                attn_implementation="eager", output_loading_info=True,
            )  # fmt: skip

    model, told = _read(source, load)
    missing = sorted(name for name in told["missing_keys"] if not name.rpartition("pooler.")[1])
    if missing:
        raise ModelFolderError(
            f"{source} lacks {len(missing)} of the weights of a {type(model).__name__}, such as {missing[0]}; "
            "give a folder that has them"
        )
    model.config.use_cache = False
    return model


def _read(source: Path, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except Exception as error:  # a foreign folder: transformers' and tokenizers' classes share no base but Exception
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelFolderError(f"{source} cannot be loaded ({reason}); give a complete model folder") from error


def _tokenizer(source: Path) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(source, local_files_only=True)


def _decodes(source: Path) -> bool:
    """Whether a token sees only what stands before it.

    :raises ModelFolderError: transformers does not know the make, or it is neither encoder nor decoder.
    """
    from transformers import AutoConfig
    from transformers.models.auto import modeling_auto as makes

    kind = read_object(source / "config.json").get("model_type")
    config = _read(source, lambda: AutoConfig.from_pretrained(source, local_files_only=True, trust_remote_code=False))
    if kind in makes.MODEL_FOR_MASKED_LM_MAPPING_NAMES and not config.is_encoder_decoder:
        return False
    if kind in makes.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and not config.is_encoder_decoder:
        return True
    raise ModelFolderError(
        f"{source} holds a {kind!r} model; a backbone is an encoder such as BERT or a decoder such as GPT-2"
    )


def _inputs(body: Any) -> tuple[str, ...]:
    """What the model takes; token types where it has several."""
    types = ("token_type_ids",) if (getattr(body.config, "type_vocab_size", None) or 0) > 1 else ()
    return ("input_ids", "attention_mask", *types)


def _positions(trunk: PairTrunk) -> int:
    """Tokens that the model has positions for; RoBERTa's begin behind the number of the padding token."""
    places = [each for name, each in trunk.body.named_modules() if name.endswith("position_embeddings")]
    taken = max((each.padding_idx + 1 for each in places if getattr(each, "padding_idx", None) is not None), default=0)
    return int(cast(Any, trunk.body).config.max_position_embeddings) - taken


def _mask_id(reader: PreTrainedTokenizerFast, source: Path) -> int:
    found = reader.mask_token_id
    if not isinstance(found, int):
        raise ModelFolderError(f"the tokenizer of {source} has no mask token to read a word at; use head_kind=linear")
    return found


def _pad_id(reader: PreTrainedTokenizerFast) -> int:
    """The padding token, else the one that ends texts: what pads is masked, so any token does."""
    found = reader.pad_token_id if reader.pad_token_id is not None else reader.eos_token_id
    return int(found or 0)


def _straighten(trunk: nn.Module) -> None:
    """GPT-2's layers multiply by weights that lie the other way round: tuning and rounding know one kind only."""
    from transformers.pytorch_utils import Conv1D

    for name, module in list(trunk.named_modules()):
        if isinstance(module, Conv1D):
            inputs, outputs = module.weight.shape
            straight = nn.Linear(inputs, outputs)
            with torch.no_grad():
                straight.weight.copy_(module.weight.T)
                straight.bias.copy_(module.bias)
            put(trunk, name, straight)


def _check_size(model: nn.Module, source: Path) -> None:
    """Refuses what no ONNX file can hold, before it is trained."""
    size = FOUR_BYTES * sum(each.numel() for each in model.parameters())
    if size > MAX_FILE_BYTES:
        raise ModelFolderError(
            f"{source} has {size / 2**30:.1f} GB of weights in 32 bits, and an ONNX file holds 2; give a smaller model"
        )


def _resolved(source: Path) -> tuple[str, Path]:
    """The model's name, and the folder that its files are in: of a hub's cache, the snapshot that it names ``main``."""
    if not source.exists() and _HUB_NAME.fullmatch(str(source)):
        source = _fetched(str(source))
    main = source / "refs" / "main"
    if main.is_file():
        source = source / "snapshots" / main.read_text(encoding="utf-8").strip()
    cached = [part for part in source.absolute().parts if part.startswith("models--")]
    return (cached[-1].removeprefix("models--").replace("--", "/") if cached else source.resolve().name), source


def _fetched(name: str) -> Path:
    """Where the hub's cache has a model, fetched first if it is not there; weights that are pickles are never fetched.

    :raises ModelFolderError: it is neither there nor to be had.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        with quietly():
            return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "README.md"]))
    except (OSError, ValueError, HfHubHTTPError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelFolderError(f"there is no folder {name}, and no model of that name to be had ({reason})") from error
