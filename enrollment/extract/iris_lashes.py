"""Lashes and glare in the unrolled iris: what differs from the iris by its grey level, and what lies between lashes."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from enrollment.extract.iris_parameters import IrisExtractionParameters


def find_lashes(
    sheet: NDArray[np.float32], visible: NDArray[np.bool_], p: IrisExtractionParameters
) -> NDArray[np.bool_]:
    """Pixels far from the median of their row, taken at the sides of the eye, where lids are not, and those among them.

    The deviation is the robust one (1.4826 times the median absolute deviation), of the lateral part likewise. Where
    such pixels and lids together are dense, whatever shows between them is skin or shadow more often than iris.

    Args:
        sheet: float32[rows, columns], the unrolled iris.
        visible: bool[rows, columns], where neither lid nor glint is.

    Returns:
        bool[rows, columns].
    """
    angle = np.arange(p.columns) * (360.0 / p.columns)
    side = ((angle <= 50) | (angle >= 335)) | ((angle >= 130) & (angle <= 205))
    lateral = sheet[:, side]
    seen = visible[:, side]
    if seen.mean() < 0.2:
        lateral, seen = sheet, visible
    empty = np.asarray(~seen.any(axis=1))
    values = np.where(seen, lateral, np.inf)
    values[empty] = float(np.median(sheet))
    seen = seen | empty[:, None]
    median = _row_medians(values, seen)
    deviation = max(1.4826 * float(np.median(np.abs(values - median)[seen])), 3.0)
    far = np.abs(sheet - median) > p.noise_deviation * deviation
    above = angle > 180
    far[:, above] |= (median - sheet[:, above]) > p.lash_deviation * deviation
    far = cv2.dilate(far.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    hidden = (far | ~visible).astype(np.float32)
    pad = p.columns // 8
    wrapped = np.concatenate([hidden[:, -pad:], hidden, hidden[:, :pad]], axis=1)
    density = cv2.GaussianBlur(
        wrapped, (0, 0), sigmaX=p.lash_spread, sigmaY=0.5 * p.lash_spread, borderType=cv2.BORDER_REFLECT
    )
    return np.asarray(far | (density[:, pad:-pad] > p.lash_density))


def _row_medians(values: NDArray[np.float32], seen: NDArray[np.bool_]) -> NDArray[np.float32]:
    """float32[rows, 1], the median of what is seen of each row, infinite elsewhere; much faster than a nanmedian."""
    count = seen.sum(axis=1)[:, None]
    ordered = np.sort(values, axis=1)
    low, high = (np.take_along_axis(ordered, middle, axis=1) for middle in ((count - 1) // 2, count // 2))
    return np.asarray(0.5 * (low + high), np.float32)
