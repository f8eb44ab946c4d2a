"""Specular reflections: small and far brighter than the picture, or the iris, around; painted over before edges are
looked for."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from enrollment.extract.iris_parameters import IrisExtractionParameters


def fill_reflections(
    grey: NDArray[np.uint8], p: IrisExtractionParameters
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The picture with glints painted over, and where they were.

    A glint is nearly as bright as the picture gets (``specular_level``, less in pictures that use less of the scale)
    and rises ``specular_rise``, likewise, above the morphological opening by an ellipse of 15 pixels at the coarse
    size (larger in larger pictures).

    Args:
        grey: uint8[height, width].

    Returns:
        uint8[height, width] and bool[height, width].
    """
    opened = _opened(grey, p)
    darkest, brightest = float(np.percentile(grey[::4, ::4], 0.3)), float(grey.max())
    level = min(float(p.specular_level), darkest + 0.88 * (brightest - darkest))
    rise = p.specular_rise * min(1.0, (brightest - darkest) / 200.0)
    glints = _grown((grey > level) & (cv2.subtract(grey, opened) > rise), p)
    return np.where(glints, opened, grey).astype(np.uint8), glints


def iris_glints(
    grey: NDArray[np.uint8], level: float, deviation: float, p: IrisExtractionParameters
) -> NDArray[np.bool_]:
    """Glints too faint for the picture as a whole, by the grey level of the iris itself.

    Args:
        grey: uint8[height, width].
        level, deviation: median of the iris and its robust standard deviation.

    Returns:
        bool[height, width]: brighter than the iris by ``glint_deviations``, and by half of that than what is around.
    """
    least = max(p.glint_deviations * deviation, 0.5 * p.specular_rise)
    opened = _opened(grey, p)
    return _grown((grey > level + least) & (cv2.subtract(grey, opened) > 0.5 * least), p)


def _opened(grey: NDArray[np.uint8], p: IrisExtractionParameters) -> NDArray[np.uint8]:
    side = max(1, round(7 * max(grey.shape) / p.coarse_side))
    element = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * side + 1, 2 * side + 1))
    return np.asarray(cv2.morphologyEx(grey, cv2.MORPH_OPEN, element), np.uint8)


def _grown(bright: NDArray[np.bool_], p: IrisExtractionParameters) -> NDArray[np.bool_]:
    """With the soft rim of each glint."""
    size = 2 * max(1, round(2 * max(bright.shape) / p.coarse_side)) + 1
    return np.asarray(cv2.dilate(bright.astype(np.uint8), np.ones((size, size), np.uint8)) > 0)
