"""The one way in which networks are loaded and run: denormal weights are zero before a session is made of them.

Networks trained with weight decay hold thousands of denormal weights (the compact recogniser 8,938, its landmark
network 26,567), on which Intel processors are several times slower. What they add to a sum is below 1e-38 and lost in
its rounding, so that the outputs are the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from enrollment.extract.denormals import flushed_denormals

_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE)
"""Not FLOAT16: onnxruntime computes it in float32 on processors, where its denormals are ordinary numbers."""


def without_denormal_weights(model: bytes) -> bytes:
    """An ONNX file with every denormal weight replaced by zero; the same bytes where there is none.

    Raises:
        google.protobuf.message.DecodeError, ValueError: these are no bytes of an ONNX file that holds its weights.
    """
    proto = onnx.load_from_string(model)
    changed = [_flush(tensor) for tensor in _tensors(proto.graph)]
    return bytes(proto.SerializeToString()) if any(changed) else model


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Weights and constants of a graph and of the graphs within it."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _tensors(inner)


def _flush(tensor: onnx.TensorProto) -> bool:
    """Whether the tensor had denormals, which are zero now."""
    if tensor.data_type not in _FLOATS:
        return False
    if tensor.data_location == TensorProto.EXTERNAL:
        raise ValueError(f"the weights {tensor.name!r} lie in another file; put all into one ONNX file")
    weights = numpy_helper.to_array(tensor)
    denormal = (weights != 0) & (np.abs(weights) < np.finfo(weights.dtype).tiny)
    if not denormal.any():
        return False
    tensor.CopyFrom(numpy_helper.from_array(np.where(denormal, weights.dtype.type(0), weights), tensor.name))
    return True


def session_options(threads: int = 1) -> Any:
    """Options for an onnxruntime session.

    Args:
        threads: of one operator. One by default: the server runs one extraction a thread.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # For the session's own threads, where it has any; the caller's is cared for by flushed_denormals.
    options.add_session_config_entry("session.set_denormal_as_zero", "1" if threads > 1 else "0")
    return options


def load_session(model: bytes, threads: int = 1) -> Any:
    """An onnxruntime session on the CPU, of weights without denormals. To be run within ``flushed_denormals``, since
    activations may be denormal too.

    Args:
        model: the ONNX file's bytes.
        threads: see ``session_options``.

    Raises:
        ValueError, DecodeError, or a type of onnxruntime's own: it is no network that can be run.
    """
    flushed = without_denormal_weights(model)
    with flushed_denormals():  # also undoes what onnxruntime may do to the calling thread
        return onnxruntime.InferenceSession(flushed, session_options(threads), providers=["CPUExecutionProvider"])


class Network:
    """An ONNX network of one input on the CPU, run with denormals flushed. Thread-safe.

    Args:
        model: the ONNX file's bytes.
        threads: see ``load_session``.
    """

    def __init__(self, model: bytes, threads: int = 1) -> None:
        self._session = load_session(model, threads)
        self._input = str(self._session.get_inputs()[0].name)

    def __call__(self, data: NDArray[np.float32]) -> NDArray[np.float32]:
        """The output for an input of the shape that the network takes; it has one output."""
        (output,) = self.outputs(data)
        return output

    def outputs(self, data: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        """All outputs, in the network's order."""
        with flushed_denormals():
            found = self._session.run(None, {self._input: data})
        return tuple(np.asarray(output, np.float32) for output in found)
