"""The first face detector: histograms of oriented gradients, dlib's own, compiled into ``dlib-bin``.

A linear classifier over an image pyramid (N. Dalal and B. Triggs, CVPR 2005; D. King, "Max-Margin Object Detection",
arXiv:1502.00046). It finds upright frontal and half-turned faces of 80 pixels and more and hardly ever anything else.
"""

from __future__ import annotations

import collections
import dataclasses
from typing import Any

import cv2
import dlib
import numpy as np
from numpy.typing import NDArray

from enrollment.extract.face_pack import FaceBox


@dataclasses.dataclass(frozen=True)
class HogParameters:
    """Parameters of the detector.

    Attributes:
        side: larger images are reduced to this longest side, in pixels. Faces of more than an eighth of that
            (magnified: a sixteenth) are found.
        certain_score: detector score at which a box counts as fully certain; chosen so that nine tenths of 2,162 press
            photos (LFW) reach it.
    """

    side: int = 1024
    certain_score: float = 1.0


class HogDetector:
    """See the module. Thread-safe.

    A scanner keeps state and takes a third of a second to make: each serves one call at a time, and the next one after.
    """

    def __init__(self, parameters: HogParameters | None = None) -> None:
        self._parameters = parameters or HogParameters()
        self._idle: collections.deque[Any] = collections.deque()  # appending and popping are atomic

    def __call__(self, rgb: NDArray[np.uint8], *, magnified: bool = False) -> list[FaceBox]:
        """All upright faces of uint8[height, width, 3]; boxes are squares from the brows to the chin.

        Args:
            magnified: looks at twice the size, for small faces; four times the computing.
        """
        small = reduced(rgb, self._parameters.side)
        try:
            scanner = self._idle.pop()
        except IndexError:
            scanner = dlib.get_frontal_face_detector()
        rectangles, scores, _ = scanner.run(small, int(magnified), 0.0)
        self._idle.append(scanner)
        across, down = rgb.shape[1] / small.shape[1], rgb.shape[0] / small.shape[0]
        return [
            FaceBox(
                r.left() * across,
                r.top() * down,
                r.right() * across,
                r.bottom() * down,
                float(np.clip(score / self._parameters.certain_score, 0.0, 1.0)),
            )
            for r, score in zip(rectangles, scores, strict=True)
        ]


def reduced(rgb: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The image, by area averaging no longer than ``side`` pixels on its longer side; contiguous."""
    shrink = side / max(rgb.shape[:2])
    if shrink < 1.0:
        size = (max(round(rgb.shape[1] * shrink), 1), max(round(rgb.shape[0] * shrink), 1))
        rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    return np.ascontiguousarray(rgb)
