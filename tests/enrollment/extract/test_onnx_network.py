"""Networks run with denormals flushed, and leave the process as it was."""

from __future__ import annotations

import threading

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from enrollment.extract.denormals import can_flush
from enrollment.extract.onnx_network import Network, without_denormal_weights
from enrollment.models import COMPACT, ModelFile, pack_folder, read_model
from tests.enrollment.extract.face_samples import needs_compact_pack

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


def weights_of(model: bytes) -> dict[str, np.ndarray]:
    return {t.name: numpy_helper.to_array(t) for t in onnx.load_from_string(model).graph.initializer}


def test_only_denormal_weights_become_zero() -> None:
    smallest = float(np.finfo(np.float32).tiny)
    values = [1.0, -1e-40, 1e-45, smallest, -smallest, 0.0, 3e-39]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 7])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 7])
    weight = helper.make_tensor("w", TensorProto.FLOAT, [7], values)
    shape = helper.make_tensor("s", TensorProto.INT64, [1], [1])
    constant = helper.make_node(
        "Constant", [], ["c"], value=helper.make_tensor("c", TensorProto.FLOAT, [7], [1e-40] + [2.0] * 6)
    )
    nodes = [constant, helper.make_node("Mul", ["x", "w"], ["xw"]), helper.make_node("Add", ["xw", "c"], ["y"])]
    graph = helper.make_graph(nodes, "g", [x], [y], [weight, shape])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    flushed = without_denormal_weights(model)
    assert weights_of(flushed)["w"].tolist() == [1.0, 0.0, 0.0, smallest, -smallest, 0.0, 0.0]
    inner = numpy_helper.to_array(onnx.load_from_string(flushed).graph.node[0].attribute[0].t)
    assert inner.tolist() == [0.0] + [2.0] * 6
    assert without_denormal_weights(flushed) is flushed


def test_weights_in_another_file_are_refused() -> None:
    proto = onnx.load_from_string(multiplier(2.0))
    proto.graph.initializer[0].data_location = TensorProto.EXTERNAL
    with pytest.raises(ValueError, match="another file"):
        without_denormal_weights(proto.SerializeToString())


@needs_compact_pack
@pytest.mark.parametrize("file", COMPACT.files, ids=lambda file: file.name)
def test_the_compact_networks_compute_the_same_without_them(file: ModelFile) -> None:
    published = read_model(pack_folder(), file)
    flushed = without_denormal_weights(published)
    # The detector has none; the others have thousands.
    assert (flushed == published) is (file.name == "fr_detect.onnx")
    sessions = [onnxruntime.InferenceSession(m, providers=["CPUExecutionProvider"]) for m in (published, flushed)]
    entry = sessions[0].get_inputs()[0]
    data = np.random.default_rng(4).normal(0, 0.5, entry.shape).astype(np.float32)
    before, after = (s.run(None, {entry.name: data})[0] for s in sessions)
    assert np.abs(before - after).max() <= 1e-6 * np.abs(before).max()
