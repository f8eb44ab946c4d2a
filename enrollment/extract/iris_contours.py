"""From a circle to the true boundary: the strongest closed path round it, smoothed by a short Fourier series.

The path is a Viterbi search in the polar gradient picture (Sutra, Garcia-Salicetti & Dorizzi, "The Viterbi Algorithm
at Different Resolutions for Enhanced Iris Segmentation", ICB 2012); the series is Daugman's (IEEE Trans. SMC-B 37(5),
2007).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from enrollment.extract.iris_geometry import ANGLES, DIRECTIONS, Boundary, Circle
from matcher.compiled import kernel

_LEVELS = 65


def refine_boundary(
    smooth: NDArray[np.float32],
    circle: Circle,
    weights: NDArray[np.float64],
    *,
    reach: float,
    order: int,
    clip: float,
) -> Boundary:
    """The boundary near a circle along which the picture grows brighter outwards.

    Args:
        smooth: float32[height, width], the picture, smoothed.
        circle: where to look.
        weights: float64[256], how far the picture is to be believed in each direction, 0-1; where it is not, the curve
            follows its harmonics from elsewhere and, for want of them, the circle.
        reach: how far from the circle to look, over its radius.
        order: harmonics kept, 0 being a circle about the same centre.
        clip: gradient, grey levels a pixel, beyond which an edge counts little more.
    """
    radii = circle.radius * (1.0 + np.linspace(-reach, reach, _LEVELS))
    map_x = (circle.x + np.cos(DIRECTIONS)[:, None] * radii).astype(np.float32)
    map_y = (circle.y + np.sin(DIRECTIONS)[:, None] * radii).astype(np.float32)
    polar = cv2.remap(smooth, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    rise = np.maximum(np.gradient(polar, float(radii[1] - radii[0]), axis=1), 0.0)
    # Not quite flat above the clip: a strong edge would be a plateau, on which only the prior would choose.
    edges = np.minimum(rise, clip) + 0.15 * np.maximum(rise - clip, 0.0)
    prior = np.exp(-0.5 * (np.linspace(-1.0, 1.0, _LEVELS) / 0.6) ** 2)
    gain = (edges * prior * weights[:, None]).astype(np.float64)
    levels = _closed_path(gain, 0.05 * clip)
    found = radii[levels]
    strength = edges[np.arange(ANGLES), levels] * weights
    return Boundary(circle.x, circle.y, fourier_fit(found, strength, circle.radius, order))


@kernel
def _closed_path(gain: NDArray[np.float64], penalty: float) -> NDArray[np.int64]:
    """The level at each angle of the path of greatest gain, at most 2 levels a step, each step costing its square.

    Two rounds are walked and the second is kept, which closes the path in all but degenerate cases.
    """
    angles, levels = gain.shape
    total = np.zeros(levels)
    back = np.zeros((2 * angles, levels), np.int8)
    for step in range(2 * angles):
        a = step % angles
        following = np.empty(levels)
        for level in range(levels):
            best = -1e18
            move = 0
            for m in range(-2, 3):
                source = level + m
                if 0 <= source < levels:
                    value = total[source] - penalty * m * m
                    if value > best:
                        best = value
                        move = m
            following[level] = best + gain[a, level]
            back[step, level] = move
        total = following
    path = np.empty(angles, np.int64)
    level = int(np.argmax(total))
    # The last half round has seen no future and the first no past: read the angles from the middle of the two rounds.
    for step in range(2 * angles - 1, -1, -1):
        if step < angles + angles // 2 and step >= angles // 2:
            path[step % angles] = level
        level += back[step, level]
    return path


def fourier_fit(
    radii: NDArray[np.float64], weights: NDArray[np.float64], radius: float, order: int
) -> NDArray[np.float64]:
    """Weighted least squares fit of a Fourier series, reweighted (Cauchy) against outliers, drawn to the circle."""
    harmonics = np.arange(1, order + 1)
    basis = np.hstack(
        [np.ones((ANGLES, 1)), np.cos(DIRECTIONS[:, None] * harmonics), np.sin(DIRECTIONS[:, None] * harmonics)]
    )
    # Higher harmonics are held back the more, so that hidden sectors do not bulge.
    ridge = np.diag(np.concatenate([[1e-3], 0.006 * harmonics**2, 0.006 * harmonics**2])) * ANGLES
    offsets = radii - radius
    w = weights / max(float(weights.max()), 1e-6)
    fit = np.zeros(ANGLES)
    robust = w
    for _ in range(3):
        normal = basis.T @ (robust[:, None] * basis) + ridge
        fit = basis @ np.linalg.solve(normal, basis.T @ (robust * offsets))
        residual = np.abs(offsets - fit)
        scale = max(1.5 * float(np.median(residual[w > 0.05])) if np.any(w > 0.05) else 1.0, 0.3)
        robust = w / (1.0 + (residual / scale) ** 2)
    return np.maximum(radius + fit, 1.0)
