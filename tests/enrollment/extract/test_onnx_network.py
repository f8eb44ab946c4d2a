"""Networks run with denormals flushed, and leave the process as it was."""

from __future__ import annotations

import threading

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from enrollment.extract.denormals import can_flush
from enrollment.extract.onnx_network import Network

TINY = np.full((1, 64), 1e-30, np.float32)


def multiplier(factor: float) -> bytes:
    """The ONNX bytes of y = factor * x for x float32[1, 64]."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 64])
    weight = helper.make_tensor("factor", TensorProto.FLOAT, [1], [factor])
    graph = helper.make_graph([helper.make_node("Mul", ["x", "factor"], ["y"])], "multiplier", [x], [y], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("threads", [1, 2])
def test_ordinary_numbers_come_out_as_they_should(threads: int) -> None:
    data = np.linspace(-3, 3, 64, dtype=np.float32)[None]
    assert np.array_equal(Network(multiplier(2.5), threads)(data), np.float32(2.5) * data)


@pytest.mark.skipif(not can_flush(), reason="this platform's floating-point environment is not known")
def test_denormals_are_flushed_in_the_network_and_nowhere_else() -> None:
    model = multiplier(1e-10)
    seen: list[bool] = []

    def look() -> None:
        network = Network(model)
        seen.append(bool((network(TINY) == 0).all()))
        plain = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        seen.append(bool((plain.run(None, {"x": TINY})[0].view(np.uint32) != 0).all()))
        seen.append(bool(((TINY * np.float32(1e-10)).view(np.uint32) != 0).all()))

    look()
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [True] * 6
