"""Shapes that iris segmentation speaks of: circles, closed boundaries, lids."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

ANGLES = 256
"""Angles at which a boundary is sampled, from the x axis towards the y axis (downwards)."""

DIRECTIONS: NDArray[np.float64] = np.arange(ANGLES, dtype=np.float64) * (2.0 * np.pi / ANGLES)
"""float64[256], radians."""


@dataclasses.dataclass(frozen=True)
class Circle:
    """A circle in pixels; y downwards."""

    x: float
    y: float
    radius: float

    def scaled(self, factor: float) -> Circle:
        """The same circle in a picture enlarged by ``factor``; pixel centres are kept in place."""
        half = 0.5 * (factor - 1.0)
        return Circle(self.x * factor + half, self.y * factor + half, self.radius * factor)


@dataclasses.dataclass(frozen=True, eq=False)
class Boundary:
    """A closed curve round a centre: radii float64[256] in pixels at ``DIRECTIONS``."""

    x: float
    y: float
    radii: NDArray[np.float64]

    @classmethod
    def of(cls, circle: Circle) -> Boundary:
        """A circle as a boundary."""
        return cls(circle.x, circle.y, np.full(ANGLES, circle.radius))

    @property
    def circle(self) -> Circle:
        """The circle that fits the curve: its centroid and mean radius."""
        shift_x = 2.0 * float(np.mean(self.radii * np.cos(DIRECTIONS)))
        shift_y = 2.0 * float(np.mean(self.radii * np.sin(DIRECTIONS)))
        return Circle(self.x + shift_x, self.y + shift_y, float(np.mean(self.radii)))

    def points(self, directions: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """x and y, float64[n] each, of the curve at the given directions (radians) from its centre."""
        radii = np.interp(
            directions % (2.0 * np.pi), np.append(DIRECTIONS, 2.0 * np.pi), np.append(self.radii, self.radii[0])
        )
        return self.x + radii * np.cos(directions), self.y + radii * np.sin(directions)


@dataclasses.dataclass(frozen=True)
class Lid:
    """An eyelid's edge, the parabola y = y0 + slope * (x - x0) + bend * (x - x0)^2, in pixels."""

    x0: float
    y0: float
    slope: float
    bend: float

    def height(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """y of the edge at every x."""
        t = x - self.x0
        return self.y0 + self.slope * t + self.bend * t * t


@dataclasses.dataclass(frozen=True, eq=False)
class EyeSegmentation:
    """Where the iris is in a picture.

    Attributes:
        pupil, limbus: inner and outer boundary.
        upper, lower: lids, where they cut into the iris.
        glints: bool[height, width], specular reflections.
        filled: uint8[height, width], the picture with them painted over.
        pupil_edge, limbus_edge: mean clipped gradient along the circles, grey levels a pixel; the limbus by its lateral
            arcs.
        pupil_share: share of the pupil's circle along which it grows brighter outwards, 0-1.
        hidden: bool[height, width], lids and lashes by pixels, from those who know them so (``iris_network``).
    """

    pupil: Boundary
    limbus: Boundary
    upper: Lid | None
    lower: Lid | None
    glints: NDArray[np.bool_]
    filled: NDArray[np.uint8]
    pupil_edge: float
    limbus_edge: float
    pupil_share: float
    hidden: NDArray[np.bool_] | None = None
