"""Eyelids: the parabola, out of a family, along which the iris ends in brighter skin."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from enrollment.extract.iris_geometry import Circle, Lid
from matcher.compiled import kernel

LEAST_EDGE = 2.0
"""Mean gradient, grey levels a pixel, below which there is no lid: the iris is open there."""

_SLOPES = (-0.3, -0.15, 0.0, 0.15, 0.3)
_BENDS = (0.0, 0.1, 0.2, 0.35, 0.5)


def find_lid(gy: NDArray[np.float32], pupil: Circle, limbus: Circle, *, upper: bool) -> Lid | None:
    """The lid that cuts into the iris, if one does.

    Args:
        gy: float32[height, width], vertical derivative (grey levels a pixel, downwards) of the smoothed picture, pupil
            and glints painted over.
        pupil, limbus: the eye.
        upper: which lid.
    """
    sign = -1.0 if upper else 1.0
    # Bends are drawn over the iris radius: the upper lid arches up (its edge is highest in the middle), the lower down.
    x0, y0, slope, bend, edge = _best_parabola(
        gy,
        limbus.x,
        limbus.y,
        limbus.radius,
        pupil.x,
        pupil.y,
        pupil.radius,
        sign,
        np.array(_SLOPES),
        np.array(_BENDS) / limbus.radius,
    )
    return Lid(x0, y0, slope, bend) if edge > LEAST_EDGE else None


@kernel
def _best_parabola(
    gy: NDArray[np.float32],
    cx: float,
    cy: float,
    radius: float,
    pupil_x: float,
    pupil_y: float,
    pupil_radius: float,
    sign: float,
    slopes: NDArray[np.float64],
    bends: NDArray[np.float64],
) -> tuple[float, float, float, float, float]:
    best = (cx, cy, 0.0, 0.0, 0.0)
    height, width = gy.shape
    points = 41
    # ``depth`` is the distance of the parabola's middle from the iris centre, towards the lid.
    first = 0.15 * radius
    steps = 34
    for k in range(steps):
        depth = first + (0.97 * radius - first) * k / (steps - 1)
        y0 = cy + sign * depth
        for slope in slopes:
            for bend in bends:
                total = 0.0
                n = 0
                for i in range(points):
                    t = (2.0 * i / (points - 1) - 1.0) * radius
                    y = y0 + slope * t - sign * bend * t * t
                    if t * t + (y - cy) ** 2 > 0.86 * radius * radius:  # beyond, the limbus itself is felt
                        continue
                    # What was painted over the pupil says nothing of a lid that crosses it.
                    if (cx + t - pupil_x) ** 2 + (y - pupil_y) ** 2 < (1.25 * pupil_radius) ** 2:
                        continue
                    px, py = int(cx + t + 0.5), int(y + 0.5)
                    if 0 <= px < width and 0 <= py < height:
                        g = sign * gy[py, px]
                        total += min(max(g, -6.0), 6.0)
                        n += 1
                if n >= 9:
                    # Short lines find an edge by chance more easily than long ones.
                    value = total / (n + 4.0)
                    if value > best[4]:
                        best = (cx, y0, slope, -sign * bend, value)
    return best
