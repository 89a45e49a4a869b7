"""Eight-bit weights for an exported trunk, with activations quantised token by token.

Why our own rewrite of the graph and not ``onnxruntime.quantization.quantize_dynamic``: its operators take one scale per
*batch*, so that a text's vector depends on its batch mates. Here every token has its own scale: a text's vector is its
own affair, and vectors kept on disk equal those computed later.

Four measures keep the loss small; only the first costs time, a pass over the activations:
channels are scaled such that activations and weights share the difficulty (SmoothQuant, Xiao et al. 2023, arXiv
2211.10438, alpha 1/2); activations behind a Gelu, which never fall below -0.17, have their zero near the foot of the
byte; each column of weights has its own scale; and weights are rounded one row after another, every rounding error made
good by the rows to come (GPTQ, Frantar et al. 2023, arXiv 2210.17323).

Saturation: without VNNI, x86 multiplies unsigned activations by signed weights in pairs into 16 bits (vpmaddubsw), and
255 * (w0 + w1) may leave [-32768, 32767]. The usual remedies are seven-bit weights, or unsigned weights, which run at
less than half the speed where there is VNNI (74 against 184 billion products a second, measured). We round such that
two neighbouring weights of the same sign never sum to more than 128: exact on every machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rerank_plugin.errors import ModelFolderError

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    Array = NDArray[np.floating[Any]]

#: Largest magnitude of a weight, and of the sum of two neighbours of the same sign.
WEIGHT_LIMIT, PAIR_LIMIT = 127, 128
#: The least value of Gelu, rounded away from zero, and the byte that stands for 0 behind a Gelu.
GELU_FLOOR, GELU_ZERO = 0.17, 24
#: Share of the mean diagonal added to the second moments before they are inverted.
DAMPING = 0.05
#: A table of at least this many numbers is stored in eight bits, with a scale per row.
TABLE_SIZE = 1 << 20
MICROSOFT = "com.microsoft"


@dataclass(frozen=True, slots=True)
class Moments:
    """What calibration texts say of an activation."""

    #: (channels,): largest magnitude.
    peak: Array
    #: (channels, channels): sum over tokens of products.
    second: Array


def quantized(model: onnx.ModelProto, calibration: Iterable[Mapping[str, NDArray[np.int64]]]) -> onnx.ModelProto:
    """A copy of an exported fp32 trunk with eight-bit linear layers and word table.

    :param calibration: inputs of the graph, unpadded, on whose texts the rounding is fitted.
    :raises ModelFolderError: the graph has no linear layer to quantise, or there is no calibration text.
    """
    import onnx

    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    weights = _initializers(changed)
    linear = [node for node in changed.graph.node if _is_linear(node, weights)]
    if not linear:
        raise ModelFolderError(
            "the graph has no linear layers in fp32; quantise a folder exported with --precision fp32"
        )
    moments = _moments(model, sorted({node.input[0] for node in linear}), calibration)
    rewrite = _Rewrite(changed, weights, moments)
    for node in linear:
        rewrite.linear(node)
    for node in [node for node in changed.graph.node if _is_table(node, weights)]:
        rewrite.table(node)
    return rewrite.finished()


def rounded(weights: Array, second: Array) -> tuple[NDArray[np.int8], Array]:
    """Weights in eight bits, (inputs, outputs), and the scale of each column.

    Rounded by GPTQ under the pair rule of this module; ``integers * scales`` stands for ``weights``.

    :param weights: (inputs, outputs); the number of inputs is even.
    :param second: (inputs, inputs), sums of products of the inputs; zeros give plain rounding.
    """
    left = np.array(weights, dtype=np.float64)
    scales = _scales(left)
    damped = second.astype(np.float64) + np.eye(len(left)) * (DAMPING * np.trace(second) / len(left) or 1.0)
    # Upper triangular U with U' U = H^-1: row k says how an error in weight k is made good by those after it.
    upper = np.linalg.cholesky(np.linalg.inv(damped)).T
    integers = np.zeros(left.shape, dtype=np.int8)
    for row in range(len(left)):
        low, high = np.full(left.shape[1], -WEIGHT_LIMIT), np.full(left.shape[1], WEIGHT_LIMIT)
        if row % 2:
            partner = integers[row - 1].astype(np.int64)
            high = np.minimum(high, PAIR_LIMIT - np.maximum(partner, 0))
            low = np.maximum(low, -PAIR_LIMIT - np.minimum(partner, 0))
        integers[row] = np.clip(np.rint(left[row] / scales), low, high)
        error = (left[row] - integers[row] * scales) / upper[row, row]
        left[row + 1 :] -= np.outer(upper[row, row + 1 :], error)
    return integers, scales.astype(np.float32)


def _scales(weights: Array) -> Array:
    """(outputs,): the least scale at which every weight and every pair of neighbours keeps its limit."""
    pairs = weights.reshape(len(weights) // 2, 2, -1)
    same_sign = np.maximum(np.maximum(pairs, 0).sum(axis=1), np.maximum(-pairs, 0).sum(axis=1)).max(axis=0)
    return np.asarray(
        np.maximum.reduce(
            [
                np.abs(weights).max(axis=0) / WEIGHT_LIMIT,
                same_sign / PAIR_LIMIT,
                np.full(weights.shape[1], 1e-9),
            ]
        )
    )


def smoothing(peak: Array, weights: Array) -> Array:
    """(inputs,): what to divide each input channel by, and to multiply its weights with (SmoothQuant, alpha 1/2).

    :param peak: (inputs,), largest magnitudes of the channel's activations.
    :param weights: (inputs, outputs), all layers that read the activation side by side.
    """
    return np.asarray(np.sqrt(np.maximum(peak, 1e-3) / np.maximum(np.abs(weights).max(axis=1), 1e-5)), dtype=np.float32)


def _initializers(model: onnx.ModelProto) -> dict[str, Array]:
    from onnx import numpy_helper

    return {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}


def _is_linear(node: onnx.NodeProto, weights: Mapping[str, Array]) -> bool:
    if node.op_type != "MatMul" or node.input[1] not in weights:
        return False
    shape = weights[node.input[1]].shape
    return len(shape) == 2 and shape[0] % 2 == 0


def _is_table(node: onnx.NodeProto, weights: Mapping[str, Array]) -> bool:
    if node.op_type != "Gather" or node.input[0] not in weights:
        return False
    table = weights[node.input[0]]
    return table.ndim == 2 and table.size >= TABLE_SIZE and table.dtype == np.float32


def _moments(
    model: onnx.ModelProto, names: list[str], calibration: Iterable[Mapping[str, NDArray[np.int64]]]
) -> dict[str, Moments]:
    """Of each named activation, over all calibration tokens; one thread, so that every run gives the same sums."""
    import onnx
    import onnxruntime

    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found: dict[str, Moments] = {}
    for inputs in calibration:
        for name, values in zip(names, session.run(names, dict(inputs)), strict=True):
            flat = values.reshape(-1, values.shape[-1])
            peak, second = np.abs(flat).max(axis=0), (flat.T @ flat).astype(np.float64)
            before = found.get(name)
            found[name] = Moments(
                peak if before is None else np.maximum(before.peak, peak),
                second if before is None else before.second + second,
            )
    if not found:
        raise ModelFolderError("quantisation needs calibration texts, found none; give --texts FILE with some")
    return found


@dataclass(frozen=True, slots=True)
class _Activation:
    """Names in the graph of a quantised activation's bytes and of the value of one unit per token."""

    bytes: str
    unit: str
    #: The byte that stands for 0.
    zero: int
    #: (channels,): what its channels were divided by.
    divisors: Array


class _Rewrite:
    """Replaces nodes of a graph in place, in order."""

    def __init__(self, model: onnx.ModelProto, weights: dict[str, Array], moments: Mapping[str, Moments]) -> None:
        self._model = model
        self._graph = model.graph
        self._weights = weights
        self._moments = moments
        self._replaced: dict[str, list[onnx.NodeProto]] = {}
        self._activations: dict[str, _Activation] = {}
        self._shared: dict[bytes, str] = {}
        self._count = 0

    def linear(self, node: onnx.NodeProto) -> None:
        """``MatMul`` with a constant in eight bits."""
        nodes: list[onnx.NodeProto] = []
        source, moments = node.input[0], self._moments[node.input[0]]
        activation = self._activations.get(source) or self._quantize(source, moments, nodes)
        scaled = self._weights[node.input[1]] * activation.divisors[:, None]
        integers, scales = rounded(scaled, moments.second / np.outer(activation.divisors, activation.divisors))
        product = self._op(
            nodes, "MatMulIntegerToFloat", activation.bytes, self._constant(integers), self._constant(np.float32(1)),
            self._constant(scales), self._constant(np.uint8(activation.zero)), domain=MICROSOFT,
        )  # fmt: skip
        self._op(nodes, "Mul", product, activation.unit, output=node.output[0])
        self._replaced[node.output[0]] = nodes

    def table(self, node: onnx.NodeProto) -> None:
        """``Gather`` of rows kept in eight bits, each with its own scale."""
        table = self._weights[node.input[0]]
        scales = np.maximum(np.abs(table).max(axis=1, keepdims=True) / WEIGHT_LIMIT, 1e-9).astype(np.float32)
        nodes: list[onnx.NodeProto] = []
        rows = self._op(nodes, "Gather", self._constant(np.rint(table / scales).astype(np.int8)), node.input[1])
        numbers = self._op(nodes, "Cast", rows, to=1)
        self._op(
            nodes,
            "Mul",
            numbers,
            self._op(nodes, "Gather", self._constant(scales), node.input[1]),
            output=node.output[0],
        )
        self._replaced[node.output[0]] = nodes

    def finished(self) -> onnx.ModelProto:
        """The model with the new nodes, without what they replaced."""
        from onnx import helper

        kept = [new for old in self._graph.node for new in self._replaced.get(old.output[0], [old])]
        del self._graph.node[:]
        self._graph.node.extend(kept)
        used = {name for node in kept for name in node.input}
        weights = [each for each in self._graph.initializer if each.name in used]
        del self._graph.initializer[:]
        self._graph.initializer.extend(weights)
        del self._graph.value_info[:]
        self._model.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
        return self._model

    def _quantize(self, source: str, moments: Moments, nodes: list[onnx.NodeProto]) -> _Activation:
        last = self._constant(np.array([-1]))
        divisors: Array = np.ones(len(moments.peak), dtype=np.float32)
        if self._producer(source) == "Gelu":
            zero, least, numbers = GELU_ZERO, GELU_FLOOR / GELU_ZERO, source
            peak = self._op(nodes, "ReduceMax", source, last)
        else:
            zero, least = 128, 1e-8
            readers = [self._weights[each.input[1]] for each in self._linear_readers(source)]
            divisors = smoothing(moments.peak, np.concatenate(readers, axis=1))
            numbers = self._op(nodes, "Mul", source, self._constant((1 / divisors).astype(np.float32)))
            lowest = self._op(nodes, "Neg", self._op(nodes, "ReduceMin", numbers, last))
            peak = self._op(nodes, "Max", self._op(nodes, "ReduceMax", numbers, last), lowest)
        exact = self._op(nodes, "Mul", peak, self._constant(np.float32(1 / (255 - zero))))
        unit = self._op(nodes, "Max", exact, self._constant(np.float32(least)))
        counted = self._op(nodes, "Div", numbers, unit)
        one, middle = self._constant(np.float32(1)), self._constant(np.uint8(zero))
        found = _Activation(self._op(nodes, "QuantizeLinear", counted, one, middle), unit, zero, divisors)
        self._activations[source] = found
        return found

    def _linear_readers(self, source: str) -> list[onnx.NodeProto]:
        return [node for node in self._graph.node if node.input[0] == source and _is_linear(node, self._weights)]

    def _producer(self, name: str) -> str:
        return next((node.op_type for node in self._graph.node if name in node.output), "")

    def _constant(self, value: Any) -> str:
        from onnx import numpy_helper

        array = np.asarray(value, order="C")
        key = f"{array.dtype}{array.shape}".encode() + array.tobytes()
        if key not in self._shared:
            self._shared[key] = f"int8_constant_{len(self._shared)}"
            self._graph.initializer.append(numpy_helper.from_array(array, self._shared[key]))
        return self._shared[key]

    def _op(
        self,
        nodes: list[onnx.NodeProto],
        kind: str,
        *inputs: str,
        domain: str = "",
        output: str = "",
        **attributes: Any,
    ) -> str:
        from onnx import helper

        self._count += 1
        name = output or f"int8_{self._count}"
        nodes.append(helper.make_node(kind, list(inputs), [name], name=f"int8_node_{self._count}", domain=domain,
                                      **attributes))  # fmt: skip
        return name
