"""Segmentation by a network: what stands for the network paints by grey level, so that the answer is known."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from enrollment.extract.iris import IrisExtractor
from enrollment.extract.iris_geometry import DIRECTIONS, Circle
from enrollment.extract.iris_network import IrisNetwork
from enrollment.images import DecodedImage
from matcher.errors import InvalidInput, SampleRejected
from matcher.templates import IrisTemplate
from tests.enrollment.extract.iris_drawings import drawn_eye, furthest

PUPIL, LIMBUS = Circle(150, 118, 28), Circle(152, 120, 75)
_MEAN, _DEVIATION = 0.485, 0.229


def network_by_grey(path: Path, channels: int = 4) -> Path:
    """An ONNX file that calls what is darker than 70 pupil, than 140 iris, than 220 eyeball, and nothing lashes.

    It smooths first, so that the iris' texture does not break its maps: output sigmoid(gain * (limit - grey)).
    """
    gain = 0.5
    limits = np.array([220.0, 150.0, 70.0, -400.0][:channels])
    # Input is (grey / 255 - mean) / deviation; the mean of 7 x 7 pixels of the first channel is taken back to grey.
    weight = np.zeros((channels, 3, 7, 7), np.float32)
    weight[:, 0] = -gain * 255.0 * _DEVIATION / 49.0
    bias = (gain * (limits - 255.0 * _MEAN)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "weight", "bias"], ["z"], kernel_shape=[7, 7], pads=[3, 3, 3, 3]),
            helper.make_node("Sigmoid", ["z"], ["y"]),
        ],
        "by grey",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 480, 640])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, channels, 480, 640])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> IrisNetwork:
    return IrisNetwork(network_by_grey(tmp_path_factory.mktemp("network") / "by_grey.onnx"))


@pytest.mark.parametrize("size", [(320, 240), (320, 280), (640, 480)])
def test_boundaries_are_where_the_maps_end(network: IrisNetwork, size: tuple[int, int]) -> None:
    factor = size[0] / 320
    pupil, limbus = PUPIL.scaled(factor), LIMBUS.scaled(factor)
    eye = network.segment(drawn_eye(pupil, limbus, size=size))
    assert eye is not None
    assert furthest(eye.pupil, pupil) < 2.0 * factor
    assert furthest(eye.limbus, limbus) < 3.0 * factor
    assert eye.pupil_share > 0.9
    assert eye.limbus_edge > 1.0


def test_lids_are_hidden_and_do_not_pull_the_limbus(network: IrisNetwork) -> None:
    picture = drawn_eye(PUPIL, LIMBUS)
    picture[:85] = 250
    eye = network.segment(picture)
    assert eye is not None
    assert eye.hidden is not None
    assert eye.hidden[70:80, 130:170].all()
    assert not eye.hidden[110:130, 190:215].any()
    x, y = eye.limbus.points(DIRECTIONS)
    lower = np.sin(DIRECTIONS) > -0.2
    assert np.abs(np.hypot(x - LIMBUS.x, y - LIMBUS.y) - LIMBUS.radius)[lower].max() < 4


def test_the_extractor_takes_the_network_s_word(network: IrisNetwork) -> None:
    picture = DecodedImage(drawn_eye(PUPIL, LIMBUS), None, "image/png")
    own, other = (IrisExtractor(network=n).extract(picture).template for n in (None, network))
    assert isinstance(own, IrisTemplate)
    assert isinstance(other, IrisTemplate)
    common = own.search.mask & other.search.mask
    differing = np.bitwise_count((own.search.bits ^ other.search.bits) & common).sum()
    assert differing < 0.3 * np.bitwise_count(common).sum()
    with pytest.raises(SampleRejected, match="pupil"):
        IrisExtractor(network=network).extract(DecodedImage(np.full((240, 320), 200, np.uint8), None, "image/png"))


def _no_pupil() -> NDArray[np.uint8]:
    iris = np.full((240, 320), 240, np.uint8)
    cv2.circle(iris, (160, 120), 70, 110, -1)
    return iris


def test_no_pupil_no_eye(network: IrisNetwork) -> None:
    assert network.segment(_no_pupil()) is None
    assert network.segment(np.zeros((240, 320), np.uint8)) is None


def test_a_file_that_is_no_such_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read") as refused:
        IrisNetwork(tmp_path / "missing.onnx")
    assert refused.value.reason == "SETTINGS_INVALID"
    (tmp_path / "text.onnx").write_bytes(b"no network")
    with pytest.raises(InvalidInput, match="no network that segments eyes"):
        IrisNetwork(tmp_path / "text.onnx")
    with pytest.raises(InvalidInput, match="no network that segments eyes"):
        IrisNetwork(network_by_grey(tmp_path / "three.onnx", channels=3))
