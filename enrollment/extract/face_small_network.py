"""The second face detector: ``fr_detect.onnx`` of the compact pack, a small single-shot network.

What goes in and out was read off the file and the package's own ``fr_detect.js``: 320 x 240 pixels RGB, (pixel - 127) /
128; 4,420 boxes, of 10 to 256 pixels, as shares of width and height, each with the probability of a face. The shape is
that of the "Ultra-Light-Fast-Generic-Face-Detector-1MB" (Linzaer, 2019), a single-shot detector (Liu et al., "SSD",
ECCV 2016). It finds half-turned, dark and covered faces that the gradients do not, and some that lie on the side.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
from numpy.typing import NDArray

from enrollment.extract.face_hog import reduced
from enrollment.extract.face_pack import FaceBox
from enrollment.extract.onnx_network import Network


@dataclasses.dataclass(frozen=True)
class SmallNetworkParameters:
    """Parameters of the detector.

    Attributes:
        width, height: of its input, in pixels.
        pixel_offset, pixel_scale: its input is (pixel - offset) / scale; of ``fr_detect.js``, as the next two.
        threshold: least probability of a face.
        overlap: of two boxes with a larger intersection over union, the less probable one is dropped.
        border: the image fills its input but for this share on each side, so that a face that fills the image has
            surroundings: of 53 LFW faces cut out a tenth tighter than their boxes, all are found (at 0: 51).
        tile_side: where tiles are looked at, the image is first reduced to this longest side.
        tile_overlap: pixels that tiles share, more than the largest face that they are there for.
        box_scale, box_shift: a box as tall as h becomes the square of the first detector: h times the scale wide, moved
            up by h times the shift. So the landmark network gets the square of side h for which it was made
            (``fr_detect.js``, ``scaleResult``).
    """

    width: int = 320
    height: int = 240
    pixel_offset: float = 127.0
    pixel_scale: float = 128.0
    threshold: float = 0.65
    overlap: float = 0.4
    border: float = 0.2
    tile_side: int = 2048
    tile_overlap: int = 80
    box_scale: float = 1.0 / 1.1
    box_shift: float = 0.07 / 1.1


class SmallNetworkDetector:
    """See the module. Thread-safe.

    Args:
        model: bytes of ``fr_detect.onnx``.
        threads: of one operator.
    """

    def __init__(self, model: bytes, parameters: SmallNetworkParameters | None = None, threads: int = 1) -> None:
        self._parameters = parameters or SmallNetworkParameters()
        self._network = Network(model, threads)

    def __call__(self, rgb: NDArray[np.uint8]) -> list[FaceBox]:
        """Faces of an eighth of uint8[height, width, 3] and more, up to such as fill it; the most probable first.

        Boxes are squares from the brows to the chin.
        """
        p = self._parameters
        share = 1.0 - 2.0 * p.border
        scale = share * min(p.width / rgb.shape[1], p.height / rgb.shape[0])
        size = (max(round(rgb.shape[1] * scale), 1), max(round(rgb.shape[0] * scale), 1))
        method = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_LINEAR
        small = np.asarray(cv2.resize(rgb, size, interpolation=method), np.uint8)
        left, top = (p.width - size[0]) // 2, (p.height - size[1]) // 2
        factors = np.array([rgb.shape[1] / size[0], rgb.shape[0] / size[1]] * 2)
        boxes, scores = self._boxes(self._canvas(small, left, top))
        return self._best((boxes - [left, top, left, top]) * factors, scores)

    def tiled(self, rgb: NDArray[np.uint8]) -> list[FaceBox]:
        """Small faces: the image in overlapping tiles at (almost) its own size; many times the computing."""
        p = self._parameters
        small = reduced(rgb, p.tile_side)
        height, width = small.shape[:2]
        boxes, scores = [np.zeros((0, 4))], [np.zeros(0)]
        for top in _starts(height, p.height, p.tile_overlap):
            for left in _starts(width, p.width, p.tile_overlap):
                tile = small[top : top + p.height, left : left + p.width]
                found, score = self._boxes(self._canvas(tile, 0, 0))
                boxes.append(found + np.array([left, top, left, top]))
                scores.append(score)
        factors = np.array([rgb.shape[1] / width, rgb.shape[0] / height] * 2)
        return self._best(np.concatenate(boxes) * factors, np.concatenate(scores))

    def _canvas(self, part: NDArray[np.uint8], left: int, top: int) -> NDArray[np.uint8]:
        """The network's input with a picture in it, grey around."""
        p = self._parameters
        canvas = np.full((p.height, p.width, 3), round(p.pixel_offset), np.uint8)
        canvas[top : top + part.shape[0], left : left + part.shape[1]] = part
        return canvas

    def _boxes(self, canvas: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Boxes float64[n, 4] in pixels of the canvas and their probabilities, of those above the threshold."""
        p = self._parameters
        planes = ((canvas.astype(np.float32) - p.pixel_offset) / p.pixel_scale).transpose(2, 0, 1)[None]
        probabilities, boxes = self._network.outputs(np.ascontiguousarray(planes, np.float32))
        kept = probabilities[0, :, 1] >= p.threshold
        return (
            boxes[0][kept].astype(np.float64) * [p.width, p.height, p.width, p.height],
            probabilities[0, kept, 1].astype(np.float64),
        )

    def _best(self, boxes: NDArray[np.float64], scores: NDArray[np.float64]) -> list[FaceBox]:
        """One box a face (greedy non-maximum suppression), as the squares of the first detector."""
        p = self._parameters
        kept: list[int] = []
        for i in np.argsort(-scores, kind="stable"):
            if all(_overlap(boxes[i], boxes[j]) <= p.overlap for j in kept):
                kept.append(int(i))
        faces = []
        for left, top, right, bottom in boxes[kept].tolist():
            tall = bottom - top
            half = p.box_scale * tall / 2
            x, y = (left + right) / 2, (top + bottom) / 2 - p.box_shift * tall
            # The first detector, which is hard to deceive, did not find it: that is as little as its own threshold.
            faces.append(FaceBox(x - half, y - half, x + half, y + half, 0.0))
        return faces


def _starts(length: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin that cover a length, the last one at its end."""
    last = max(length - tile, 0)
    count = -(-last // (tile - overlap)) + 1
    return sorted({round(last * k / max(count - 1, 1)) for k in range(count)})


def _overlap(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Intersection over union."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = float(np.prod(np.maximum(sides, 0.0)))
    areas = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]))
    return shared / max(areas - shared, 1e-9)
