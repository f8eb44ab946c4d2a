"""Simple drawn eyes whose geometry is known, for the tests of the steps of iris extraction."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from enrollment.extract.iris_geometry import DIRECTIONS, Boundary, Circle, EyeSegmentation


def drawn_eye(
    pupil: Circle, limbus: Circle, *, size: tuple[int, int] = (320, 240), stretch: float = 1.0, seed: int = 0
) -> NDArray[np.uint8]:
    """Dark disc on a mottled disc on a bright ground, blurred and noisy.

    Args:
        stretch: the limbus is an ellipse, that much wider than high.
    """
    width, height = size
    rng = np.random.default_rng(seed)
    mottle = cv2.GaussianBlur(rng.normal(0, 30, (height, width)).astype(np.float32), (0, 0), 2)
    ys, xs = np.mgrid[0:height, 0:width]
    picture = np.full((height, width), 190.0)
    iris = np.hypot((xs - limbus.x) / stretch, ys - limbus.y) < limbus.radius
    picture[iris] = (110 + mottle)[iris]
    picture[np.hypot(xs - pupil.x, ys - pupil.y) < pupil.radius] = 30
    picture = cv2.GaussianBlur(picture, (0, 0), 1.0) + rng.normal(0, 2, (height, width))
    return np.asarray(np.clip(np.round(picture), 0, 255), np.uint8)


def known_segmentation(picture: NDArray[np.uint8], pupil: Circle, limbus: Circle) -> EyeSegmentation:
    """The segmentation of a drawn eye, lids open, no glints."""
    return EyeSegmentation(
        Boundary.of(pupil),
        Boundary.of(limbus),
        None,
        None,
        np.zeros(picture.shape, bool),
        picture,
        9.0,
        5.0,
        1.0,
    )


def furthest(boundary: Boundary, circle: Circle) -> float:
    """Greatest distance, in pixels, of a boundary from a circle."""
    x, y = boundary.points(DIRECTIONS)
    return float(np.max(np.abs(np.hypot(x - circle.x, y - circle.y) - circle.radius)))
