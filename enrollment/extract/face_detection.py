"""The compact pack's detectors, asked one after the other until one finds a face.

1. Gradients (``face_hog``). A face of which it is certain is upright, and the search ends.
2. Else the same at twice the size, and where that finds nothing the small network (``face_small_network``).
3. Neither of these knows for sure which way is up: gradients take one upside-down face in seven for an upright one, the
   network finds nine in ten that lie on the side. So unless the recogniser sees a clear face in what was found, the
   network also looks at the picture turned by 90, 180 and 270 degrees, and the way of turning is taken at which the
   recogniser sees most of a face (length of its vector; on 83 press photos (LFW) turned in all four ways always the
   right one).
4. Where nothing is found at all, the small network looks at tiles, for faces that are small in the picture.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from enrollment.extract.face_hog import HogDetector
from enrollment.extract.face_pack import FaceBox
from enrollment.extract.face_small_network import SmallNetworkDetector

Image = NDArray[np.uint8]
Strength = Callable[[Image, FaceBox], float]


@dataclasses.dataclass(frozen=True)
class DetectionParameters:
    """Parameters of the order of detectors.

    Attributes:
        certain: confidence of the first detector from which on the face is upright. Of 88 press photos (LFW) turned
            upside down it reaches 0.54 at most in 99 of 100; 95 of 100 upright ones reach 0.73.
        clear_strength: of what the recogniser sees (its vector's length) from which on a face is surely upright. Of 83
            press photos it sees 3.02 at most in any that is turned, and more than 2.99 in 95 of 100 upright ones.
        turned_margin: how many times as much of a face as in the picture as it is the recogniser must see in the turned
            one: few pictures are turned, and of 83 turned ones (LFW) 81 reach 1.15.
        least_strength: the same in a box that only the small network found.
    """

    certain: float = 0.7
    clear_strength: float = 3.1
    turned_margin: float = 1.15
    least_strength: float = 2.2


class FaceDetection:
    """See the module. Thread-safe when its parts are.

    Args:
        hog, network: the detectors.
        strength: length of the recogniser's vector for a box of an image.
    """

    def __init__(
        self,
        hog: HogDetector,
        network: SmallNetworkDetector,
        strength: Strength,
        parameters: DetectionParameters | None = None,
    ) -> None:
        self._hog = hog
        self._network = network
        self._strength = strength
        self._parameters = parameters or DetectionParameters()

    def __call__(self, rgb: Image) -> list[FaceBox]:
        """All faces of uint8[height, width, 3] that the first successful detector finds."""
        upright = self._hog(rgb)
        if any(box.confidence >= self._parameters.certain for box in upright):
            return upright
        upright = upright or self._hog(rgb, magnified=True) or self._seen(rgb, self._network(rgb))
        ways, strengths = [upright], [self._most(rgb, upright)]
        if strengths[0] >= self._parameters.clear_strength:
            return upright
        for turn in (1, 2, 3):
            found = self._network(np.ascontiguousarray(np.rot90(rgb, turn)))
            ways.append(self._seen(rgb, [turned_back(box, turn, rgb.shape[0], rgb.shape[1]) for box in found]))
            strengths.append(self._most(rgb, ways[-1]))
        if any(ways):
            best = int(np.argmax(strengths))
            return ways[best] if strengths[best] >= self._parameters.turned_margin * strengths[0] else upright
        return self._seen(rgb, self._network.tiled(rgb))

    def _most(self, rgb: Image, boxes: Sequence[FaceBox]) -> float:
        """What the recogniser sees in the box in which it sees most; -1 where there is none."""
        return max((self._strength(rgb, box) for box in boxes), default=-1.0)

    def _seen(self, rgb: Image, boxes: Sequence[FaceBox]) -> list[FaceBox]:
        """Those in which the recogniser sees a face, too."""
        return [box for box in boxes if self._strength(rgb, box) >= self._parameters.least_strength]


def turned_back(box: FaceBox, turn: int, height: int, width: int) -> FaceBox:
    """A box found in ``np.rot90(image, turn)``, in pixels of the image itself, which is ``height`` x ``width``."""
    # x and y of the image are the columns' and rows' places in the turned one, or their distances from the far side.
    linear, corner = {
        0: ([[1, 0], [0, 1]], [0, 0]),
        1: ([[0, -1], [1, 0]], [width, 0]),
        2: ([[-1, 0], [0, -1]], [width, height]),
        3: ([[0, 1], [-1, 0]], [0, height]),
    }[turn]
    rotation, origin = np.array(linear, np.float64), np.array(corner, np.float64)
    first, second = np.array([[box.left, box.top], [box.right, box.bottom]]) @ rotation.T + origin
    left, top = np.minimum(first, second).tolist()
    right, bottom = np.maximum(first, second).tolist()
    # Points are places of pixels' centres, boxes of their edges.
    points = None if box.points is None else (box.points + 0.5) @ rotation.T + origin - 0.5
    return FaceBox(left, top, right, bottom, box.confidence, points, turn)
