"""The recogniser's rewritten activations against PRelu itself."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from enrollment.extract.face_recogniser_graph import rewrite
from enrollment.models import RECOGNISER, pack_folder, read_model
from tests.enrollment.extract.face_samples import needs_compact_pack


def activation(slope: str = "slope") -> bytes:
    """y = PRelu(x) for x float32[1, 3, 4, 4], with slopes below 0, between 0 and 1, and above 1."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 4, 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 4, 4])
    weight = numpy_helper.from_array(np.array([-0.5, 0.25, 1.5], np.float32).reshape(3, 1, 1), "slope")
    graph = helper.make_graph([helper.make_node("PRelu", ["x", slope], ["y"])], "activation", [x], [y], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=4)
    return bytes(model.SerializeToString())


def run(model: bytes, data: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: data})[0])


def test_it_is_the_same_function() -> None:
    data = np.random.default_rng(1).normal(0, 2, (1, 3, 4, 4)).astype(np.float32)
    assert np.allclose(run(rewrite(activation()), data), run(activation(), data), atol=1e-6)
    assert "PRelu" not in {n.op_type for n in onnx.load_from_string(rewrite(activation())).graph.node}


def test_a_slope_that_is_computed_is_refused() -> None:
    with pytest.raises(ValueError, match="no weight"):
        rewrite(activation(slope="x"))


@needs_compact_pack
def test_a_batch_gives_what_the_published_network_gives_one_by_one() -> None:
    published = read_model(pack_folder(), RECOGNISER)
    data = np.random.default_rng(4).normal(0, 0.5, (8, 3, 112, 112)).astype(np.float32)
    alone = np.concatenate([run(published, data[i : i + 1]) for i in range(8)])
    for size in (1, 2, 3, 8):
        batch = run(rewrite(published), data[:size])
        assert batch.shape == (size, 512)
        assert np.allclose(batch, alone[:size], atol=1e-5)


@needs_compact_pack
def test_the_recogniser_says_the_same() -> None:
    published = read_model(pack_folder(), RECOGNISER)
    for seed in range(3):
        data = np.random.default_rng(seed).normal(0, 0.5, (1, 3, 112, 112)).astype(np.float32)
        ours, theirs = run(rewrite(published), data)[0], run(published, data)[0]
        assert np.allclose(ours, theirs, atol=1e-5)
