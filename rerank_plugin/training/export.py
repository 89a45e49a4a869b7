"""From a backbone to a model folder: torch's own exporter, then our quantisation. No other exporter is involved."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from rerank_plugin.errors import ModelFolderError
from rerank_plugin.models.batches import PlainRow, Row, padded, plainly_padded
from rerank_plugin.models.card import CARD_FILE, NOTICE_FILE, card, notice
from rerank_plugin.models.folder import (
    MODEL_FILE,
    TOKENIZER_FILE,
    ModelFolder,
    default_model_folder,
    write_manifest,
    write_whole,
)
from rerank_plugin.models.tokens import TextTokenizer
from rerank_plugin.training.quantize import quantized

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from rerank_plugin.training.two_mode import Backbone, TwoModeModel

INPUTS = ("input_ids", "segment_ids", "position_ids")
OUTPUTS = ("first", "second", "interaction")
#: The oldest set of operators with Gelu in it; every onnxruntime we allow runs it.
OPSET = 20
#: onnxruntime 1.20 reads files up to this version of the format.
IR_VERSION = 10
PRECISIONS = ("int8", "fp32")


def exported(model: TwoModeModel) -> onnx.ModelProto:
    """The fp32 graph of a two-mode model, any number of rows of any length, the same bytes every time."""
    import torch

    row = padded([Row([101, 2054, 102], [101, 3437, 2182, 102]), Row([101, 102], [101, 2003, 102])])
    return to_onnx(model, tuple(torch.from_numpy(row[name]) for name in INPUTS), INPUTS, OUTPUTS)


def to_onnx(
    model: nn.Module, example: tuple[Tensor, ...], inputs: Sequence[str], outputs: Sequence[str]
) -> onnx.ModelProto:
    """The fp32 graph of a module, free in the first two dimensions of every input, the same bytes every time.

    :param example: one tensor per input, (rows, tokens) each.
    :raises ModelFolderError: torch's exporter cannot do it.
    """
    import torch

    free = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it warns that torchvision is not installed
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                model.eval(),
                example,
                dynamo=True,
                opset_version=OPSET,
                input_names=inputs,
                output_names=outputs,
                dynamic_shapes=tuple(free for _ in inputs),
                verbose=False,
            )
    finally:
        logger.setLevel(level)
    if program is None:
        raise ModelFolderError("torch exported nothing; try the torch version of constraints.txt")
    return _bare(program.model_proto)


def _bare(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without notes on where each operator was written: they differ between machines and name their paths."""
    del model.metadata_props[:]
    model.doc_string = ""
    model.ir_version = IR_VERSION
    for part in (model.graph, *model.graph.node, *model.graph.initializer, *model.graph.value_info,
                 *model.graph.input, *model.graph.output):  # fmt: skip
        part.doc_string = ""
        del part.metadata_props[:]
    del model.graph.value_info[:]
    return model


def export_model(backbone: Backbone, out: Path, *, name: str, precision: str, texts: Sequence[str]) -> ModelFolder:
    """A model folder at ``out`` from a loaded, perhaps trained, backbone.

    Calibration and weights are kept from a folder that is there already, else taken from the shipped one where that has
    the same backbone; a folder without them must be calibrated before it can rank.

    :param name: of the model, as reports will show it.
    :param texts: on which the rounding of weights is fitted; read for ``int8`` only.
    :raises ModelFolderError: an unknown precision, or ``out`` cannot be written.
    """
    if precision not in PRECISIONS:
        raise ModelFolderError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    graph = exported(backbone.model)
    tokenizer = plain_tokenizer(backbone.tokenizer)
    if precision == "int8":
        graph = quantized(graph, _trunk_rows(tokenizer, backbone.max_tokens, texts))
    manifest = {
        **numbers_to_start_from(out, backbone.name),
        "name": name,
        "backbone": backbone.name,
        "licence": backbone.licence,
        "dimensions": backbone.model.dimensions,
        "max_tokens": backbone.max_tokens,
        "precision": precision,
        "interaction": backbone.model.state(),
    }
    return write_folder(out, graph, tokenizer, manifest)


def quantize_folder(source: ModelFolder, out: Path, *, texts: Sequence[str]) -> ModelFolder:
    """An int8 copy of an fp32 folder, calibration and weights included.

    :raises ModelFolderError: the folder is not fp32, or ``out`` cannot be written.
    """
    import onnx

    if source.manifest.precision != "fp32":
        raise ModelFolderError(f"{source.path} is {source.manifest.precision} already; give a folder in fp32")
    graph = onnx.load_from_string(source.read("model"))
    tokenizer = source.read("tokenizer").decode("utf-8")
    rows = rows_for(source.manifest.kind, tokenizer, source.manifest.max_tokens, source.manifest.layout.pad_id, texts)
    small = quantized(graph, _taken(rows, graph))
    return write_folder(out, small, tokenizer, {**source.manifest.to_json(), "precision": "int8"})


def numbers_to_start_from(out: Path, backbone: str) -> dict[str, Any]:
    """Calibration, weights and figures of a folder at ``out``, else of the shipped one, if its backbone is the same."""
    for folder in (out, default_model_folder()):
        try:
            found = ModelFolder.open(folder).manifest
        except ModelFolderError:
            continue
        if found.backbone == backbone:
            return {key: found.to_json()[key] for key in ("relevance", "weights", "gate", "metrics")}
    return {}


def _taken(
    rows: Iterator[dict[str, NDArray[np.int64]]], graph: onnx.ModelProto
) -> Iterator[dict[str, NDArray[np.int64]]]:
    """Of each row the inputs that the graph takes."""
    inputs = {each.name for each in graph.graph.input}
    return ({name: values for name, values in row.items() if name in inputs} for row in rows)


def rows_for(
    kind: str, tokenizer: str, max_tokens: int, pad_id: int, texts: Sequence[str]
) -> Iterator[dict[str, NDArray[np.int64]]]:
    """Texts as a model of the kind takes them, one row each; a cross-encoder reads each text with the one before."""
    if kind == "two-mode":
        yield from _trunk_rows(tokenizer, max_tokens, texts)
        return
    read = TextTokenizer(tokenizer, max_tokens, pairs=kind == "cross-encoder")
    for place, text in enumerate(texts):
        if kind == "cross-encoder":
            [pair] = read.pairs(text, [texts[place - 1]])
            yield plainly_padded([PlainRow(pair.ids, pair.types)], pad_id)
        else:
            ids = read([text])[0].ids
            yield plainly_padded([PlainRow(ids, [0] * len(ids))], pad_id)


def _trunk_rows(tokenizer: str, max_tokens: int, texts: Sequence[str]) -> Iterator[dict[str, NDArray[np.int64]]]:
    for tokens in TextTokenizer(tokenizer, max_tokens)(texts):
        yield padded([Row(tokens.ids, [])])


def plain_tokenizer(definition: str) -> str:
    """The tokenizer without padding and truncation, which are ours, in one line of JSON."""
    parsed = cast(dict[str, Any], json.loads(definition))
    return json.dumps({**parsed, "truncation": None, "padding": None}, ensure_ascii=False, separators=(",", ":"))


def write_folder(out: Path, graph: onnx.ModelProto, tokenizer: str, manifest: Mapping[str, Any]) -> ModelFolder:
    """The folder, with notice and card.

    :raises ModelFolderError: it cannot be written, or the manifest lacks something.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelFolderError(f"{out} cannot be made ({error.strerror}); give a folder that can") from error
    write_whole(out / MODEL_FILE, graph.SerializeToString(deterministic=True))
    write_whole(out / TOKENIZER_FILE, tokenizer.encode("utf-8"))
    folder = write_manifest(out, {**manifest, "files": {"model": MODEL_FILE, "tokenizer": TOKENIZER_FILE}})
    write_whole(out / NOTICE_FILE, notice(folder).encode("utf-8"))
    write_whole(out / CARD_FILE, card(folder).encode("utf-8"))
    return folder
