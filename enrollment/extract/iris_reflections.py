"""Specular reflections: found by being nearly saturated and small, then painted over so that they draw no edges."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from enrollment.extract.iris_parameters import IrisExtractionParameters


def fill_reflections(
    grey: NDArray[np.uint8], p: IrisExtractionParameters
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The picture with glints painted over, and where they were.

    A glint is brighter than ``specular_level`` and rises ``specular_rise`` above the morphological opening by an
    ellipse of 15 pixels at the coarse size (larger in larger pictures).

    Args:
        grey: uint8[height, width].

    Returns:
        uint8[height, width] and bool[height, width].
    """
    side = max(1, round(7 * max(grey.shape) / p.coarse_side))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * side + 1, 2 * side + 1))
    opened = cv2.morphologyEx(grey, cv2.MORPH_OPEN, kernel)
    bright = (grey > p.specular_level) & (cv2.subtract(grey, opened) > p.specular_rise)
    grow = 2 * max(1, round(2 * max(grey.shape) / p.coarse_side)) + 1
    glints = cv2.dilate(bright.astype(np.uint8), np.ones((grow, grow), np.uint8)).astype(bool)
    filled = np.where(glints, opened, grey)
    return filled.astype(np.uint8), glints
