"""Models that others trained, as model folders: any cross-encoder with one label, any ONNX encoder.

A cross-encoder is exported as sentence-transformers runs it, whatever it is made of: one sequence classifier, or a
transformer with pooling and layers behind it. Its logit is kept as it is. An encoder comes as an ONNX file beside its
tokenizer.json and is taken as it is.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from rerank_plugin.errors import ModelFolderError
from rerank_plugin.models.batches import PlainRow, plainly_padded
from rerank_plugin.models.folder import Layout, ModelFolder, default_model_folder
from rerank_plugin.ranking.relevance import CASES, PAIR_CASES, Fit, RelevanceHead
from rerank_plugin.training.two_mode import licence_of, quietly, read_object

if TYPE_CHECKING:
    import onnx

#: Operators whose rounding is that of the whole batch.
_PER_BATCH = {"DynamicQuantizeLinear", "DynamicQuantizeMatMul"}
_INPUTS = {"input_ids", "attention_mask", "token_type_ids"}


def kind_of(source: Path) -> str:
    """What a folder can become: ``cross-encoder``, ``encoder`` (an ONNX file without weights), else ``two-mode``."""
    architectures = read_object(source / "config.json").get("architectures") or [""]
    made_of = read_object(source / "config_sentence_transformers.json").get("model_type")
    if str(architectures[0]).endswith("ForSequenceClassification") or made_of == "CrossEncoder":
        return "cross-encoder"
    weights = [*source.glob("*.safetensors"), *source.glob("pytorch_model*.bin")]
    return "encoder" if list(source.glob("*.onnx")) and not weights else "two-mode"


class PairLogit(nn.Module):
    """The logit of a pair from plain tensors.

    :param parts: modules of a ``sentence_transformers.CrossEncoder``, in order; they pass a dict of tensors on.
    """

    def __init__(self, parts: Sequence[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """(pairs,) logits.

        :param input_ids, attention_mask, token_type_ids: (pairs, tokens), int64.
        """
        features: dict[str, Tensor] = {"input_ids": input_ids, "attention_mask": attention_mask}
        if token_type_ids is not None:
            features["token_type_ids"] = token_type_ids
        for part in self.parts:
            features = part(features)
        return features["scores"].reshape(-1)


@dataclass(frozen=True, slots=True)
class CrossEncoderSource:
    """A loaded cross-encoder and what its folder says of it."""

    #: (inputs in order) -> (pairs,) logits.
    model: nn.Module
    name: str
    licence: str
    #: Tokens per pair, special tokens included.
    max_tokens: int
    #: The text of tokenizer.json.
    tokenizer: str
    pad_id: int
    #: Inputs of the graph, in order.
    inputs: tuple[str, ...]
    #: Put before every query, before every text.
    query_prefix: str = ""
    text_prefix: str = ""


def load_cross_encoder(source: Path) -> CrossEncoderSource:
    """A local folder of a cross-encoder with one label; no code of the folder is run.

    :raises ModelFolderError: unreadable, several labels, or no fast tokenizer.
    """
    from sentence_transformers import CrossEncoder

    logger = logging.getLogger("sentence_transformers")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with quietly():
            # eager: its operators are those that rounding knows.
            found = CrossEncoder(
                str(source),
                device="cpu",
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"attn_implementation": "eager"},
            )
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelFolderError(f"{source} cannot be loaded ({reason}); give a complete model folder") from error
    finally:
        logger.setLevel(level)
    if any(type(part).__name__ == "LogitScore" for part in found):  # its place is the end of text padded in front
        raise ModelFolderError(
            f"{source} scores by two words of a language model; give it to rerank train --backbone, with "
            "head_kind=verbaliser and its prompt"
        )
    if found.num_labels != 1:
        raise ModelFolderError(f"{source} has {found.num_labels} labels; relevance needs a cross-encoder with one")
    tokenizer = cast(Any, found.tokenizer)
    if not getattr(tokenizer, "is_fast", False):
        raise ModelFolderError(f"{source} has no tokenizer.json; save its tokenizer with transformers' fast tokenizers")
    layout = ("input_ids", "attention_mask", "token_type_ids")
    return CrossEncoderSource(
        model=PairLogit([cast(nn.Module, part) for part in found.eval().float()]),
        name=source.resolve().name,
        licence=licence_of(source),
        max_tokens=min(int(found.max_seq_length or 512), 1 << 13),
        tokenizer=tokenizer.backend_tokenizer.to_str(),
        pad_id=int(tokenizer.pad_token_id or 0),
        inputs=tuple(name for name in layout if name in tokenizer.model_input_names),
    )


def exported_cross_encoder(source: CrossEncoderSource) -> onnx.ModelProto:
    """The fp32 graph, any number of pairs of any length."""
    from rerank_plugin.training.export import to_onnx

    row = plainly_padded([PlainRow([5, 6, 7, 8], [0, 0, 1, 1]), PlainRow([5, 6, 7], [0, 0, 1])], source.pad_id)
    example = tuple(torch.from_numpy(row[name]) for name in source.inputs)
    return to_onnx(source.model, example, source.inputs, ("logits",))


@dataclass(frozen=True, slots=True)
class EncoderSource:
    """An ONNX encoder and what lies beside it."""

    graph: onnx.ModelProto
    name: str
    licence: str
    dimensions: int
    max_tokens: int
    tokenizer: str
    pad_id: int
    precision: str
    #: A text must not share a batch: the graph rounds activations per batch.
    alone: bool


def load_encoder(source: Path, *, max_tokens: int | None) -> EncoderSource:
    """The one ONNX file of a folder and the tokenizer.json beside it.

    :param max_tokens: tokens of a text to read; ``None`` takes what the folder says, else 512.
    :raises ModelFolderError: several files, or a graph that gives no vector per token.
    """
    import onnx

    graph = _read_graph(_only(source, "*.onnx"))
    tokenizer = _only(source, "*tokenizer.json").read_text(encoding="utf-8")
    inputs = {each.name for each in graph.graph.input} - {each.name for each in graph.graph.initializer}
    shape = graph.graph.output[0].type.tensor_type.shape.dim if graph.graph.output else []
    if not {"input_ids", "attention_mask"} <= inputs <= _INPUTS or len(shape) != 3 or shape[2].dim_value < 3:
        raise ModelFolderError(
            f"the graph in {source} takes {', '.join(sorted(inputs))}; an encoder takes input_ids, attention_mask and "
            "perhaps token_type_ids, and gives a vector per token first"
        )
    rounded = any(each.data_type in (onnx.TensorProto.INT8, onnx.TensorProto.UINT8) for each in graph.graph.initializer)
    limit = read_object(source / "config.json").get("max_position_embeddings", 512)
    return EncoderSource(
        graph=graph,
        name=source.resolve().name,
        licence=licence_of(source),
        dimensions=int(shape[2].dim_value),
        max_tokens=min(int(limit), max_tokens or int(limit)),
        tokenizer=tokenizer,
        pad_id=_pad_id(tokenizer),
        precision="int8" if rounded else "fp32",
        alone=any(node.op_type in _PER_BATCH for node in graph.graph.node),
    )


def _only(source: Path, pattern: str) -> Path:
    found = sorted(source.glob(pattern))
    if len(found) != 1:
        raise ModelFolderError(f"{source} has {len(found)} files like {pattern}; an encoder's folder has one")
    return found[0]


def _read_graph(path: Path) -> onnx.ModelProto:
    import onnx

    try:
        graph = onnx.load(str(path), load_external_data=False)
        onnx.checker.check_model(graph)
    except Exception as error:  # protobuf's and the checker's own classes share no base but Exception
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelFolderError(f"{path} is no whole ONNX file ({reason}); fetch it again") from error
    return graph


def _pad_id(tokenizer: str) -> int:
    """The id of the padding token, 0 where the tokenizer names none."""
    added = cast(list[dict[str, Any]], json.loads(tokenizer).get("added_tokens") or [])
    return next((int(each["id"]) for each in added if each.get("content") in {"[PAD]", "<pad>"}), 0)


def export_cross_encoder(source: Path, out: Path, *, name: str, precision: str, texts: Sequence[str]) -> ModelFolder:
    """A model folder at ``out`` whose interaction logit is the cross-encoder's own.

    It ranks at once: until it is calibrated z is that logit, which models trained with binary cross-entropy give in
    log-odds, and a document without readable text has the z that the shipped model gives to its first-stage score.

    :param texts: on which the rounding of weights is fitted; read for ``int8`` only.
    :raises ModelFolderError: the source is no such model, or ``out`` cannot be written.
    """
    return write_cross_encoder(load_cross_encoder(source), out, name=name, precision=precision, texts=texts)


def write_cross_encoder(
    loaded: CrossEncoderSource, out: Path, *, name: str, precision: str, texts: Sequence[str]
) -> ModelFolder:
    """The same of a loaded, perhaps trained, cross-encoder.

    :raises ModelFolderError: ``out`` cannot be written.
    """
    from rerank_plugin.training.export import numbers_to_start_from, plain_tokenizer, rows_for, write_folder
    from rerank_plugin.training.quantize import quantized

    graph, tokenizer = exported_cross_encoder(loaded), plain_tokenizer(loaded.tokenizer)
    if precision == "int8":
        rows = rows_for("cross-encoder", tokenizer, loaded.max_tokens, loaded.pad_id, texts)
        graph = quantized(graph, ({key: row[key] for key in loaded.inputs} for row in rows))
    return write_folder(
        out,
        graph,
        tokenizer,
        {
            "relevance": identity_relevance(),
            **numbers_to_start_from(out, loaded.name),
            "name": name,
            "backbone": loaded.name,
            "licence": loaded.licence,
            "kind": "cross-encoder",
            "dimensions": 0,
            "max_tokens": loaded.max_tokens,
            "precision": precision,
            "layout": {
                "pad_id": loaded.pad_id,
                "query_prefix": loaded.query_prefix,
                "text_prefix": loaded.text_prefix,
            },
        },
    )


def identity_relevance() -> dict[str, dict[str, float]]:
    """The relevance section of a cross-encoder that was never calibrated: z is its logit."""
    logit = Fit(intercept=0.0, interaction=1.0)
    shipped = RelevanceHead.from_manifest(ModelFolder.open(default_model_folder()).relevance, where="the shipped model")
    return RelevanceHead({**dict.fromkeys(CASES + PAIR_CASES, logit), "score": shipped.fits["score"]}).to_manifest()


def export_encoder(source: Path, out: Path, *, name: str, layout: Layout, max_tokens: int | None) -> ModelFolder:
    """A model folder at ``out`` that ranks by the encoder's cosines, once it is calibrated.

    :param layout: pooling and prefixes; padding and batching are found out here.
    :param max_tokens: tokens of a text to read; ``None`` takes what the folder says, else 512.
    :raises ModelFolderError: the source is no such model, or ``out`` cannot be written.
    """
    from rerank_plugin.training.export import numbers_to_start_from, plain_tokenizer, write_folder

    loaded = load_encoder(source, max_tokens=max_tokens)
    return write_folder(
        out,
        loaded.graph,
        plain_tokenizer(loaded.tokenizer),
        {
            **numbers_to_start_from(out, loaded.name),
            "name": name,
            "backbone": loaded.name,
            "licence": loaded.licence,
            "kind": "encoder",
            "dimensions": loaded.dimensions,
            "max_tokens": loaded.max_tokens,
            "precision": loaded.precision,
            "layout": asdict(replace(layout, pad_id=loaded.pad_id, alone=loaded.alone)),
        },
    )
