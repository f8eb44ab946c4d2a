"""The iris unrolled ("rubber sheet", J. Daugman, PAMI 15(11), 1993), evened out, and what hides it masked."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from enrollment.extract.iris_geometry import EyeSegmentation
from enrollment.extract.iris_lashes import find_lashes
from enrollment.extract.iris_parameters import PARAMETERS, IrisExtractionParameters


def unroll(
    grey: NDArray[np.uint8], eye: EyeSegmentation, p: IrisExtractionParameters = PARAMETERS
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The iris as a rectangle, radii from the pupil outwards by angles, and where it is visible.

    Args:
        grey: uint8[height, width], the picture that was segmented.
        eye: its segmentation.

    Returns:
        float32[rows, columns] grey levels and bool[rows, columns]: False at lids, glints, lashes, outside the picture.
    """
    directions = np.arange(p.columns, dtype=np.float64) * (2.0 * np.pi / p.columns)
    radii = np.linspace(p.inner, p.outer, p.rows)[:, None]
    inner_x, inner_y = eye.pupil.points(directions)
    outer_x, outer_y = eye.limbus.points(directions)
    map_x = ((1.0 - radii) * inner_x + radii * outer_x).astype(np.float32)
    map_y = ((1.0 - radii) * inner_y + radii * outer_y).astype(np.float32)
    sheet = cv2.remap(grey, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
    covered = eye.glints if eye.hidden is None else eye.glints | eye.hidden
    glints = cv2.remap(covered.astype(np.uint8), map_x, map_y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
    height, width = grey.shape
    visible = (map_x >= 1) & (map_x <= width - 2) & (map_y >= 1) & (map_y <= height - 2) & (glints == 0)
    xs, ys = map_x.astype(np.float64), map_y.astype(np.float64)
    if eye.upper is not None:
        visible &= ys > eye.upper.height(xs)
    if eye.lower is not None:
        visible &= ys < eye.lower.height(xs)
    return sheet, visible & ~find_lashes(sheet, visible, p)


def even_out(
    sheet: NDArray[np.float32], visible: NDArray[np.bool_], p: IrisExtractionParameters = PARAMETERS
) -> NDArray[np.float32]:
    """Local mean removed and local contrast brought to one, by visible pixels only; hidden pixels are 0.

    Returns:
        float32[rows, columns], about -3 to 3.
    """
    mask = visible.astype(np.float32)
    weight = np.maximum(_blur(mask, p.mean_sigma), 1e-3)
    mean = _blur(sheet * mask, p.mean_sigma) / weight
    centred = np.asarray((sheet - mean) * mask, np.float32)
    weight = np.maximum(_blur(mask, p.contrast_sigma), 1e-3)
    contrast = np.sqrt(_blur(np.square(centred), p.contrast_sigma) / weight)
    return np.asarray(np.clip(centred / np.maximum(contrast, 1.0), -3.0, 3.0), np.float32)


def _blur(picture: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Gaussian, closed round the angle, mirrored at pupil and limbus."""
    pad = int(3 * sigma)
    wrapped = np.concatenate([picture[:, -pad:], picture, picture[:, :pad]], axis=1)
    blurred = cv2.GaussianBlur(wrapped, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    return np.asarray(blurred[:, pad:-pad], np.float32)
