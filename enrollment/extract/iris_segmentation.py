"""Finds the iris in a near-infrared picture of one eye: circles, lids, then true boundaries."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from enrollment.extract.iris_circles import find_circles, paint_pupil
from enrollment.extract.iris_contours import refine_boundary
from enrollment.extract.iris_geometry import DIRECTIONS, Boundary, Circle, EyeSegmentation, Lid
from enrollment.extract.iris_gradients import blur, gradients
from enrollment.extract.iris_lids import find_lid
from enrollment.extract.iris_parameters import PARAMETERS, IrisExtractionParameters
from enrollment.extract.iris_reflections import fill_reflections, iris_glints


def reduce(grey: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The picture with its longer side reduced to ``side`` pixels by averaging; smaller ones stay as they are."""
    factor = side / max(grey.shape)
    if factor >= 1.0:
        return grey
    size = (max(1, round(grey.shape[1] * factor)), max(1, round(grey.shape[0] * factor)))
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)


def segment(fine: NDArray[np.uint8], p: IrisExtractionParameters = PARAMETERS) -> EyeSegmentation | None:
    """The best hypothesis of where pupil, iris and lids are; None where nothing looks like a pupil at all.

    The caller judges whether it is good enough (``iris_quality``).

    Args:
        fine: uint8[height, width], near-infrared, upright, longer side at most ``fine_side``.
    """
    filled, glints = fill_reflections(fine, p)
    coarse = reduce(filled, p.coarse_side)
    size = (coarse.shape[1], coarse.shape[0])
    coarse_glints = cv2.resize(glints.astype(np.uint8), size, interpolation=cv2.INTER_AREA) > 0
    best = find_circles(coarse, coarse_glints, p)
    if best is None:
        return None
    factor = fine.shape[1] / coarse.shape[1]
    pupil_circle, limbus_circle = best.pupil.scaled(factor), best.limbus.scaled(factor)
    painted = paint_pupil(filled, pupil_circle)
    _, gy = gradients(painted, 2.5 * factor)
    upper = find_lid(gy, pupil_circle, limbus_circle, upper=True)
    lower = find_lid(gy, pupil_circle, limbus_circle, upper=False)
    pupil = refine_boundary(
        blur(filled, 1.2 * factor),
        pupil_circle,
        _pupil_weights(pupil_circle, upper, lower, glints, p),
        reach=0.25,
        order=p.fourier_order,
        clip=p.gradient_clip,
    )
    smooth = blur(painted, 2.0 * factor)
    limbus = refine_boundary(
        smooth,
        limbus_circle,
        _limbus_weights(limbus_circle, upper, lower),
        reach=0.15,
        order=p.fourier_order,
        clip=p.gradient_clip,
    )
    return EyeSegmentation(
        pupil,
        limbus,
        upper,
        lower,
        glints | _faint_glints(filled, pupil, limbus, p),
        filled,
        best.pupil_edge,
        best.limbus_edge,
        best.pupil_share,
    )


def _faint_glints(
    filled: NDArray[np.uint8], pupil: Boundary, limbus: Boundary, p: IrisExtractionParameters
) -> NDArray[np.bool_]:
    """bool[height, width], by the grey of the iris at the sides of the eye, where lids are not."""
    sides = DIRECTIONS[np.abs(np.cos(DIRECTIONS)) > 0.8]
    inner, outer = pupil.points(sides), limbus.points(sides)
    share = np.linspace(0.15, 0.85, 15)[:, None]
    map_x = ((1.0 - share) * inner[0] + share * outer[0]).astype(np.float32)
    map_y = ((1.0 - share) * inner[1] + share * outer[1]).astype(np.float32)
    iris = cv2.remap(filled, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    level = float(np.median(iris))
    deviation = 1.4826 * float(np.median(np.abs(iris.astype(np.float64) - level)))
    return iris_glints(filled, level, deviation, p)


def _pupil_weights(
    pupil: Circle, upper: Lid | None, lower: Lid | None, glints: NDArray[np.bool_], p: IrisExtractionParameters
) -> NDArray[np.float64]:
    """1, less at the top, where lashes shade the rim, and 0 behind a lid or where a glint lies on it."""
    up = np.clip(-np.sin(DIRECTIONS), 0.0, 1.0)
    weights = 1.0 - (1.0 - p.contour_top_weight) * np.clip((up - 0.35) / 0.4, 0.0, 1.0)
    radii = pupil.radius * np.linspace(0.8, 1.2, 9)
    map_x = (pupil.x + np.cos(DIRECTIONS)[:, None] * radii).astype(np.float32)
    map_y = (pupil.y + np.sin(DIRECTIONS)[:, None] * radii).astype(np.float32)
    glint = cv2.remap(glints.astype(np.uint8), map_x, map_y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
    weights[glint.any(axis=1)] = 0.0
    x = pupil.x + pupil.radius * np.cos(DIRECTIONS)
    y = pupil.y + pupil.radius * np.sin(DIRECTIONS)
    if upper is not None:
        weights[y < upper.height(x)] = 0.0
    if lower is not None:
        weights[y > lower.height(x)] = 0.0
    return np.asarray(weights, np.float64)


def _limbus_weights(limbus: Circle, upper: Lid | None, lower: Lid | None) -> NDArray[np.float64]:
    """1 at the sides, falling to 0.1 above and 0.3 below, and 0 behind a lid."""
    x = limbus.x + limbus.radius * np.cos(DIRECTIONS)
    y = limbus.y + limbus.radius * np.sin(DIRECTIONS)
    up = np.clip(-np.sin(DIRECTIONS), 0.0, 1.0)
    down = np.clip(np.sin(DIRECTIONS), 0.0, 1.0)
    weights = 1.0 - 0.9 * np.clip(up / 0.7, 0, 1) ** 2 - 0.7 * np.clip(down / 0.95, 0, 1) ** 4
    margin = 0.06 * limbus.radius
    if upper is not None:
        weights[y < upper.height(x) + margin] = 0.0
    if lower is not None:
        weights[y > lower.height(x) - margin] = 0.0
    return np.asarray(weights, np.float64)
