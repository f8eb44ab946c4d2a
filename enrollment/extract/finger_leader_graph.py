"""LEADER's graph written anew from its weights: the same arithmetic in operators that onnxruntime runs fast.

The published graph was converted from TensorFlow operator by operator. What is different here, and why the minutiae are
the same (float sums in another order is all that remains; the tests compare both graphs):

- The 27 GELUs, nine operators each, are one ``FastGelu`` (the same tanh form); each normalisation over the channels,
  a dozen operators, is one ``LayerNormalization``.
- Activations lie as [height, width, channel]. A pointwise convolution is then one matrix product, and a normalisation
  runs over what lies side by side. Only depthwise and dense convolutions are given [channel, height, width].
- Dilated convolutions are dilated convolutions, not a shuffle to batches and back. Those of the stems are laid into one
  kernel of 9 x 9 with the plain ones beside them.
- Two linear layers in a row are one where that is fewer multiplications: the reduction of an inverted bottleneck with
  the pointwise convolution behind it, and in the heads with the next one as well.
- The heads' enlargement (every pixel doubled both ways) moves behind their pointwise layers, which work on pixels one
  by one, and is then taken into the last convolution: 5 x 5 on doubled pixels is 3 x 3 on the single ones, with other
  sums of the same weights for each of the four places of a doubled pixel.
- The head of the type (ending or bifurcation) is left out, and the direction is left as a vector: its angle is wanted
  at the minutiae only.

The result is made once and kept (``finger_leader_cache``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

_PREFIX = "functional_1/"
_MICROSOFT = "com.microsoft"
_Array = NDArray[np.float32]


def rewrite(model: bytes) -> bytes:
    """The rewritten graph, with the weights of the published one, as an ONNX file.

    Input ``images``: float32[n, h, w], grey 0-255 at 500 ppi, h and w multiples of 32. Outputs: ``quality``
    float32[n, h, w], 0-1, after non-maximum suppression (the published output's fourth channel), and ``direction``
    float32[n, 2, h, w], cosine and sine (not of length 1) of the direction, counter-clockwise with y upwards.

    Raises:
        ValueError: the model is not the graph that this is made for.
    """
    weights = _Weights(onnx.load_from_string(model).graph)
    return _Rewriter(weights).build()


class _Weights:
    """The published graph's weights by layer."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._constants = {t.name: t for t in graph.initializer}
        self._nodes = {n.output[0]: n for n in graph.node}

    def conv(self, output: str) -> tuple[_Array, _Array]:
        """Kernel float32[out, in, k, k] and bias float32[out] of the convolution of that output, zero where none."""
        node = self._node(output, "Conv")
        kernel = self._constant(node.input[1])
        bias = self._constant(node.input[2]) if len(node.input) > 2 else np.zeros(len(kernel), np.float32)
        return kernel, bias

    def dilated(self, layer: str) -> tuple[_Array, _Array]:
        """The same of a layer whose bias is added after its batches are put together."""
        kernel, _ = self.conv(f"{_PREFIX}{layer}_1/convolution:0")
        add = self._node(f"{_PREFIX}{layer}_1/BiasAdd:0", "Add")
        return kernel, self._constant(add.input[1]).reshape(-1)

    def pointwise(self, layer: str) -> tuple[_Array, _Array]:
        """Matrix float32[in, out] and bias float32[out]."""
        kernel, bias = self.conv(f"{_PREFIX}{layer}_1/BiasAdd:0")
        if kernel.shape[2:] != (1, 1):
            raise ValueError(f"not the expected LEADER graph: {layer} has a kernel of {kernel.shape}")
        return np.ascontiguousarray(kernel[:, :, 0, 0].T), bias

    def norm(self, layer: str) -> tuple[_Array, _Array, float]:
        """Scale and shift, float32[channels], and the epsilon of a normalisation over the channels."""
        scale = self._constant(self._node(f"{_PREFIX}{layer}_1/mul:0", "Mul").input[1])
        shift = self._constant(self._node(f"{_PREFIX}{layer}_1/add_1:0", "Add").input[1])
        epsilon = self._constant(self._node(f"{_PREFIX}{layer}_1/add:0", "Add").input[1])
        return scale.reshape(-1), shift.reshape(-1), float(epsilon.reshape(-1)[0])

    def _node(self, output: str, kind: str) -> onnx.NodeProto:
        node = self._nodes.get(output)
        if node is None or node.op_type != kind:
            raise ValueError(f"not the expected LEADER graph: no {kind} makes {output}")
        return node

    def _constant(self, name: str) -> _Array:
        if name not in self._constants:
            raise ValueError(f"not the expected LEADER graph: {name} is no constant")
        return np.asarray(numpy_helper.to_array(self._constants[name]), np.float32)


class _Rewriter:
    """Writes the graph, layer by layer. Names of values; ``rows`` lie as [n, h, w, c], ``planes`` as [n, c, h, w]."""

    def __init__(self, weights: _Weights) -> None:
        self._weights = weights
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._named = 0

    def build(self) -> bytes:
        image = self._node("Unsqueeze", ["images", self._constant(np.array([1], np.int64))])
        first = self._pool(self._stem(image, "stem0"), "max")
        skips = []
        planes = first
        for level in range(4):
            skips.append(self._separable(planes, f"enc0_{level}"))
            planes = self._pool_halves(skips[-1])
        rows = self._separable(planes, "dec0_3")
        for level in (2, 1, 0):
            rows = self._separable(self._joined(rows, skips[level + 1]), f"dec0_{level}")
        rows = self._attention(self._joined(rows, skips[0]))
        second = self._rows(self._pool(self._stem(image, "stem1"), "average"))
        rows = self._node("Concat", [rows, second], axis=3)
        skips = []
        for level in range(4):
            skips.append(self._bottleneck(rows, self._planes(rows), f"enc1_{level}"))
            rows = self._rows(self._pool_halves(skips[-1]))
        rows = self._bottleneck(rows, self._planes(rows), "dec1_3")
        for level in (3, 2, 1, 0):
            planes = self._joined(rows, skips[level])
            rows = self._rows(planes)
            if level:
                rows = self._bottleneck(rows, planes, f"dec1_{level - 1}")
        position = self._head(rows, planes, "head_0", "Conv__3172:0")
        self._head(rows, planes, "head_1", f"{_PREFIX}head_conv_dir_1/BiasAdd:0", "direction")
        self._suppress(self._node("Sigmoid", [position]))
        size = ["images", "height", "width"]
        graph = helper.make_graph(
            self._nodes,
            "LEADER",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, size)],
            [
                helper.make_tensor_value_info("quality", TensorProto.FLOAT, size),
                helper.make_tensor_value_info("direction", TensorProto.FLOAT, [size[0], 2, *size[1:]]),
            ],
            self._constants,
        )
        opsets = [helper.make_opsetid("", 18), helper.make_opsetid(_MICROSOFT, 1)]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="ambis", ir_version=8)
        return bytes(model.SerializeToString())

    def _stem(self, image: str, name: str) -> str:
        """Plain and dilated 5 x 5 side by side, as one 9 x 9; rows."""
        plain, plain_bias = self._weights.conv(f"{_PREFIX}{name}_conv_1/BiasAdd:0")
        wide, wide_bias = self._weights.dilated(f"{name}_dilated_conv")
        kernel = np.zeros((len(plain) + len(wide), 1, 9, 9), np.float32)
        kernel[: len(plain), :, 2:7, 2:7] = plain
        kernel[len(plain) :, :, ::2, ::2] = wide
        planes = self._conv(image, kernel, np.concatenate([plain_bias, wide_bias]))
        return self._gelu(self._norm(self._rows(planes), f"{name}_ln"))

    def _separable(self, planes: str, name: str) -> str:
        """Depthwise 5 x 5, pointwise, normalisation, GELU; planes in, rows out."""
        depthwise = self._weights.conv(f"{_PREFIX}{name}_conv_1/separable_conv2d/depthwise:0")
        matrix, bias = self._weights.pointwise(f"{name}_conv")
        mixed = self._linear(self._depthwise(planes, *depthwise), matrix, bias)
        return self._gelu(self._norm(mixed, f"{name}_ln"))

    def _attention(self, planes: str) -> str:
        """Planes weighted by what three dilations see around them; rows."""
        seen = []
        for dilation in (1, 3, 6):
            layer = f"attention_conv_d{dilation}"
            conv = (
                self._weights.conv(f"{_PREFIX}{layer}_1/BiasAdd:0") if dilation == 1 else self._weights.dilated(layer)
            )
            seen.append(self._conv(planes, *conv, dilation=dilation))
        all_seen = self._gelu(self._rows(self._node("Concat", seen, axis=1)))
        weight = self._node("Sigmoid", [self._linear(all_seen, *self._weights.pointwise("attention_s"))])
        return self._node("Mul", [self._rows(planes), weight])

    def _bottleneck(self, rows: str, planes: str, name: str, behind: Sequence[str] = ()) -> str:
        """An inverted bottleneck with its sum, the pointwise layer behind it, and further ones of ``behind``; rows."""
        hidden = self._depthwise(planes, *self._weights.conv(f"{_PREFIX}{name}_depthwise_conv_1/depthwise:0"))
        hidden = self._norm(hidden, f"{name}_ln")
        matrix, bias = self._weights.pointwise(f"{name}_conv_exp")
        hidden = self._gelu(self._linear(hidden, matrix, None), bias)
        reduce, reduce_bias = self._weights.pointwise(f"{name}_conv_red")
        after, after_bias = _in_a_row([self._weights.pointwise(layer) for layer in (f"{name}_conv_adj", *behind)])
        if after.shape[1] > reduce.shape[1]:  # together they would be more multiplications
            total = self._node("Add", [rows, self._linear(hidden, reduce, reduce_bias)])
            return self._linear(total, after, after_bias)
        both, both_bias = _in_a_row([(reduce, reduce_bias), (after, after_bias)])
        straight = self._linear(rows, after, both_bias)
        return self._node("Add", [self._linear(hidden, both, None), straight])

    def _head(self, rows: str, planes: str, name: str, last: str, output: str = "") -> str:
        """A head up to and with its last convolution, planes at the image's resolution."""
        small = self._bottleneck(rows, planes, f"{name}_ibc", [f"{name}_conv1"])
        small = self._norm(small, f"{name}_ln")
        small = self._linear(small, *self._weights.pointwise(f"{name}_conv2"))
        kernel, bias = self._weights.conv(last)
        folded = _on_single_pixels(kernel)
        places = self._conv(self._planes(self._gelu(small)), folded, np.repeat(bias, 4))
        return self._node("DepthToSpace", [places], output, blocksize=2, mode="CRD")

    def _suppress(self, position: str) -> None:
        """Non-maximum suppression: what is largest among 7 x 7 after smoothing keeps its smoothed value."""
        smooth = self._conv(position, *self._weights.conv(f"{_PREFIX}nms_Gaussian_blur_1/convolution:0"))
        largest = self._node("MaxPool", [smooth], kernel_shape=[7, 7], pads=[3, 3, 3, 3])
        is_largest = self._node("Cast", [self._node("Equal", [smooth, largest])], to=TensorProto.FLOAT)
        quality = self._node("Mul", [smooth, is_largest])
        self._node("Squeeze", [quality, self._constant(np.array([1], np.int64))], "quality")

    def _joined(self, rows: str, skip: str) -> str:
        """Rows enlarged twice both ways, by doubling pixels, and behind them the channels of the skip; planes."""
        scales = self._constant(np.array([1, 1, 2, 2], np.float32))
        large = self._node(
            "Resize",
            [self._planes(rows), "", scales],
            mode="nearest",
            nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
        )
        return self._node("Concat", [large, self._planes(skip)], axis=1)

    def _pool_halves(self, rows: str) -> str:
        """The largest of 2 x 2 in the first half of the channels, the mean in the second; planes."""
        first = self._name()
        second = self._name()
        self._nodes.append(helper.make_node("Split", [rows], [first, second], axis=3, num_outputs=2))
        return self._node("Concat", [self._pool(first, "max"), self._pool(second, "average")], axis=1)

    def _pool(self, rows: str, kind: str) -> str:
        """Over 2 x 2 pixels; rows in, planes out."""
        operator = "MaxPool" if kind == "max" else "AveragePool"
        return self._node(operator, [self._planes(rows)], kernel_shape=[2, 2], strides=[2, 2])

    def _depthwise(self, planes: str, kernel: _Array, bias: _Array) -> str:
        """Depthwise convolution, planes to rows.

        onnxruntime's fast kernel takes whole groups of four channels only; others are filled up for its sake.
        """
        count, missing = len(kernel), -len(kernel) % 4
        if not missing:
            return self._rows(self._conv(planes, kernel, bias, groups=count))
        ends = self._constant(np.array([0, 0, 0, 0, 0, missing, 0, 0], np.int64))
        kernel = np.concatenate([kernel, np.zeros((missing, *kernel.shape[1:]), np.float32)])
        bias = np.concatenate([bias, np.zeros(missing, np.float32)])
        filled = self._conv(self._node("Pad", [planes, ends]), kernel, bias, groups=count + missing)
        bounds = [self._constant(np.array([n], np.int64)) for n in (0, count, 3)]
        return self._node("Slice", [self._rows(filled), *bounds])

    def _conv(self, planes: str, kernel: _Array, bias: _Array, *, dilation: int = 1, groups: int = 1) -> str:
        """Convolution with zeros around the image, planes to planes."""
        margin = dilation * (kernel.shape[2] // 2)
        return self._node(
            "Conv",
            [planes, self._constant(kernel), self._constant(bias)],
            kernel_shape=list(kernel.shape[2:]),
            pads=[margin] * 4,
            dilations=[dilation] * 2,
            group=groups,
        )

    def _linear(self, rows: str, matrix: _Array, bias: _Array | None) -> str:
        product = self._node("MatMul", [rows, self._constant(matrix)])
        return product if bias is None else self._node("Add", [product, self._constant(bias)])

    def _norm(self, rows: str, layer: str) -> str:
        scale, shift, epsilon = self._weights.norm(layer)
        return self._node(
            "LayerNormalization", [rows, self._constant(scale), self._constant(shift)], axis=-1, epsilon=epsilon
        )

    def _gelu(self, rows: str, bias: _Array | None = None) -> str:
        inputs = [rows] if bias is None else [rows, self._constant(bias)]
        return self._node("FastGelu", inputs, domain=_MICROSOFT)

    def _rows(self, planes: str) -> str:
        return self._node("Transpose", [planes], perm=[0, 2, 3, 1])

    def _planes(self, rows: str) -> str:
        return self._node("Transpose", [rows], perm=[0, 3, 1, 2])

    def _node(self, kind: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        output = output or self._name()
        self._nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def _constant(self, value: NDArray[Any]) -> str:
        name = f"w{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def _name(self) -> str:
        self._named += 1
        return f"v{self._named}"


def _in_a_row(layers: Sequence[tuple[_Array, _Array]]) -> tuple[_Array, _Array]:
    """Matrix and bias of linear layers one after the other, multiplied in double precision."""
    matrix, bias = (a.astype(np.float64) for a in layers[0])
    for next_matrix, next_bias in layers[1:]:
        matrix, bias = matrix @ next_matrix, bias @ next_matrix + next_bias
    return matrix.astype(np.float32), bias.astype(np.float32)


def _on_single_pixels(kernel: _Array) -> _Array:
    """float32[4 n, c, 3, 3] for float32[n, c, 5, 5]: what it does on doubled pixels, at each of the four places.

    A row of the doubled image 2 i + p, seen at distance d from -2 to 2, is row i + floor((p + d) / 2) of the single
    one. Channel 4 n + 2 p + q is place (p, q) of output n.
    """
    count, channels = kernel.shape[:2]
    folded = np.zeros((count, 2, 2, channels, 3, 3), np.float64)
    for p in range(2):
        for q in range(2):
            for dy in range(-2, 3):
                for dx in range(-2, 3):
                    folded[:, p, q, :, 1 + (p + dy) // 2, 1 + (q + dx) // 2] += kernel[:, :, dy + 2, dx + 2]
    return folded.reshape(4 * count, channels, 3, 3).astype(np.float32)
