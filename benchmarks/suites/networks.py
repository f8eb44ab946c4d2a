"""Other ways to run the networks of the extractors: what ours is measured against."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from enrollment.extract.finger_leader import pad, read_model
from enrollment.extract.finger_minutiae import Minutiae, best_minutiae
from matcher.finger.parameters import FINGER_ALGORITHM


class PlainNetwork:
    """In place of ``onnx_network.Network``: onnxruntime with its defaults but for the number of threads."""

    def __init__(self, model: bytes, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session: Any = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._input = str(self._session.get_inputs()[0].name)

    def __call__(self, data: NDArray[np.float32]) -> NDArray[np.float32]:
        # One at a time: the published networks take no more.
        outputs = [self._session.run(None, {self._input: one[None]})[0] for one in data]
        return np.concatenate(outputs).astype(np.float32, copy=False)


class OpenCvNetwork:
    """In place of ``onnx_network.Network``: OpenCV's ``dnn`` module."""

    def __init__(self, model: bytes, threads: int = 1) -> None:
        self._net = cv2.dnn.readNetFromONNX(np.frombuffer(model, np.uint8))

    def __call__(self, data: NDArray[np.float32]) -> NDArray[np.float32]:
        outputs = []
        for one in data:
            self._net.setInput(one[None])
            outputs.append(np.array(self._net.forward(), np.float32))
        return np.concatenate(outputs)


class PublishedLeader:
    """In place of ``LeaderNetwork``: the published graph as it is, onnxruntime with its defaults."""

    algorithm = FINGER_ALGORITHM

    def __init__(self, threads: int = 1) -> None:
        self._network = PlainNetwork(read_model(), threads)

    def maps(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """float32[h, w, 4]: position, direction, type and suppressed quality of uint8[h, w] at 500 ppi."""
        height, width = image.shape
        padded, top, left = pad(image)
        output = self._network(padded[None, :, :, None].astype(np.float32))[0]
        return np.asarray(output[top : top + height, left : left + width], np.float32)

    def find(self, image: NDArray[np.uint8], *, min_quality: float, max_count: int) -> Minutiae:
        output = self.maps(image)
        y, x = np.nonzero(output[..., 3] >= min_quality)
        direction, quality = output[y, x, 1].astype(np.float64), output[y, x, 3].astype(np.float64)
        return best_minutiae(x, y, direction, quality, max_count)


def keeps_denormals() -> bool:
    """Whether this thread computes with denormals, as it does unless a library has changed that for good.

    Where it does not, networks are no longer run "plainly" on it.
    """
    return bool(np.multiply(np.full(1, 1e-40, np.float32), np.float32(0.5))[0] > 0.0)
