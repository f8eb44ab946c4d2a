"""How ridges flow over a synthetic finger: pattern classes, loops, deltas and the orientation that they imply.

Sources:
    [SM] B. G. Sherlock, D. M. Monro, "A model for interpreting fingerprint topology", Pattern Recognition 26(7), 1993.
    [VG] P. R. Vizcaya, L. A. Gerhardt, "A nonlinear orientation model for global description of fingerprints",
        Pattern Recognition 29(7), 1996.
    [SFinGe] R. Cappelli, D. Maio, D. Maltoni, "Synthetic fingerprint-image generation", ICPR 2000.
    [W] C. L. Wilson et al., "Massively parallel neural network fingerprint classification system", NISTIR 4880, 1992.

Coordinates are pixels at 500 ppi from the centre of the finger, x to the right, y upwards; angles are radians
counter-clockwise.
"""

from __future__ import annotations

import dataclasses
import enum
import math
from typing import Self

import numpy as np
from numpy.typing import NDArray

from matcher.compiled import kernel


class Pattern(enum.StrEnum):
    """Pattern class of a finger (Henry); left and right as they appear in the image."""

    ARCH = "arch"
    TENTED_ARCH = "tented_arch"
    LEFT_LOOP = "left_loop"
    RIGHT_LOOP = "right_loop"
    WHORL = "whorl"
    TWIN_LOOP = "twin_loop"


@dataclasses.dataclass(frozen=True)
class FlowParameters:
    """Constants of the flow. Where no source is named: by eye, against real prints.

    Attributes:
        pattern_shares: natural frequencies [W]; a tenth of the whorls are taken as twin loops.
        layout_spread: factor on the deviations of the places of loops and deltas.
        correction_sd, correction_limit: radians; deviation and bound of the knots of the piecewise linear
            correction [VG].
        parallel: mean and deviation of the correction [VG] that makes the ridges within a loop run side by side.
        dome, dome_sd: radians; how far the ridges at 170 px from the middle line are turned towards the fingertip's
            outline, and its deviation between fingers.
    """

    pattern_shares: tuple[tuple[Pattern, float], ...] = (
        (Pattern.ARCH, 0.037),
        (Pattern.TENTED_ARCH, 0.029),
        (Pattern.LEFT_LOOP, 0.338),
        (Pattern.RIGHT_LOOP, 0.317),
        (Pattern.WHORL, 0.251),
        (Pattern.TWIN_LOOP, 0.028),
    )
    layout_spread: float = 1.6
    correction_sd: float = 0.17
    correction_limit: float = 0.3
    parallel: tuple[float, float] = (0.35, 0.1)
    dome: float = 0.4
    dome_sd: float = 0.08


_P = FlowParameters()
_KNOTS = np.linspace(-np.pi, np.pi, 9)
_PATTERNS = tuple(pattern for pattern, _ in _P.pattern_shares)
_EDGES = np.cumsum([share for _, share in _P.pattern_shares])
_ARCH, _TENTED, _LEFT, _RIGHT, _WHORL = range(5)
_TURNING = 4
"""Most loops and deltas of a pattern: those of a whorl."""
_SPREAD = _P.layout_spread
_CORRECTION_SD = _P.correction_sd
_CORRECTION_LIMIT = _P.correction_limit
_PARALLEL_MEAN, _PARALLEL_SD = _P.parallel
_DOME, _DOME_SD = _P.dome, _P.dome_sd


def natural_pattern(rng: np.random.Generator) -> Pattern:
    """Draws a pattern class by its natural frequency."""
    return _PATTERNS[draw_pattern(rng)]


@dataclasses.dataclass(frozen=True, eq=False)
class RidgeFlow:
    """The orientation field of one finger, to be evaluated anywhere.

    Attributes:
        pattern: the pattern class.
        turning: what the kernels need: float64[4, 12], a row for each loop and delta: x, y, the part of the angle about
            it that is added (half; 0: no more of them) and what the angle about it becomes at the knots.
        dome: radians, see the parameters.
        arch: float64[4], steepness, height, half height and middle of an arch's swelling.
    """

    pattern: Pattern
    turning: NDArray[np.float64]
    dome: float
    arch: NDArray[np.float64]

    @classmethod
    def draw(cls, pattern: Pattern, rng: np.random.Generator) -> Self:
        """A finger of the class."""
        turning, arch = np.empty((_TURNING, 3 + len(_KNOTS))), np.empty(4)
        dome = draw_flow(_PATTERNS.index(pattern), rng, turning, arch)
        return cls(pattern, turning, dome, arch)

    @property
    def loops(self) -> tuple[complex, ...]:
        """Their places."""
        return tuple(complex(x, y) for x, y, part in self.turning[:, :3].tolist() if part > 0)

    @property
    def deltas(self) -> tuple[complex, ...]:
        """Their places."""
        return tuple(complex(x, y) for x, y, part in self.turning[:, :3].tolist() if part < 0)

    def angle(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Ridge orientation at the points, radians, any multiple of pi added; the shape that x and y have together."""
        across, up = np.broadcast_arrays(x, y)
        result = np.empty(across.shape)
        _angles(across.ravel(), up.ravel(), self.turning, self.dome, self.arch, result.reshape(-1))
        return result


def ramp(value: NDArray[np.float64]) -> NDArray[np.float64]:
    """A smooth step from 0 at 0 to 1 at 1."""
    return np.asarray(0.5 * (1 - np.cos(np.pi * np.clip(value, 0, 1))))


@kernel
def draw_pattern(rng: np.random.Generator) -> int:
    """Draws the number of a pattern class by its natural frequency."""
    drawn = rng.random() * _EDGES[-1]
    number = 0
    while _EDGES[number] <= drawn:
        number += 1
    return number


@kernel
def draw_flow(pattern: int, rng: np.random.Generator, turning: NDArray[np.float64], arch: NDArray[np.float64]) -> float:
    """Draws the flow of a finger of a class, by its number; fills ``RidgeFlow.turning`` and ``arch``, returns the
    dome."""
    turning[:] = 0.0
    loops = _place_singularities(pattern, rng, turning)
    for i in range(loops):
        parallel = rng.normal(_PARALLEL_MEAN, _PARALLEL_SD)
        _bend(_opening(i, loops, turning), parallel, rng, turning[i])
    for i in range(loops, 2 * loops):
        _bend(0.0, 0.0, rng, turning[i])
    dome = max(rng.normal(_DOME, _DOME_SD), 0.1)
    arch[0] = rng.uniform(0.8, 1.3)
    arch[1] = rng.normal(-20.0, 10.0)
    arch[2] = rng.uniform(95.0, 130.0)
    arch[3] = rng.normal(0.0, 8.0)
    return dome


@kernel
def flow_angle(x: float, y: float, turning: NDArray[np.float64], dome: float, arch: NDArray[np.float64]) -> float:
    """Ridge orientation at a point, radians, any multiple of pi added."""
    angle = 0.0
    if turning[0, 2] == 0.0:
        # [SFinGe]: arches have no singularity; a sine whose steepness is greatest at mid-height.
        steep = arch[0] * math.exp(-(((y - arch[1]) / arch[2]) ** 2))
        angle = -math.atan(steep * math.sin(min(max((x - arch[3]) / 170.0, -1.0), 1.0) * math.pi))
    else:
        # [SM]: half the angles about the loops less half those about the deltas, each bent [VG].
        for i in range(len(turning)):
            if turning[i, 2] != 0.0:
                around = math.atan2(y - turning[i, 1], x - turning[i, 0])
                angle += turning[i, 2] * _bent(around, turning[i])
    # Above the deltas the ridges of real fingers bow along the fingertip, which zeros and poles leave too flat.
    rise = 0.5 * (1.0 - math.cos(math.pi * min(max((y + 110.0) / 200.0, 0.0), 1.0)))
    return angle - dome * min(max(x / 170.0, -1.2), 1.2) * rise


@kernel
def _angles(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    turning: NDArray[np.float64],
    dome: float,
    arch: NDArray[np.float64],
    result: NDArray[np.float64],
) -> None:
    for i in range(len(x)):
        result[i] = flow_angle(x[i], y[i], turning, dome, arch)


@kernel
def _bent(around: float, row: NDArray[np.float64]) -> float:
    """The angle about a singularity, bent: between the knots, which are evenly spaced, along straight lines."""
    place = (around + math.pi) * (8.0 / (2.0 * math.pi))
    knot = min(max(int(place), 0), 7)
    left: float = row[3 + knot]
    right: float = row[4 + knot]
    return left + (right - left) * (place - knot)


@kernel
def _place(x: float, y: float, spread: float, part: float, rng: np.random.Generator, row: NDArray[np.float64]) -> None:
    row[0] = x + rng.normal(0.0, spread) * _SPREAD
    row[1] = y + rng.normal(0.0, spread) * _SPREAD
    row[2] = part


@kernel
def _place_singularities(pattern: int, rng: np.random.Generator, turning: NDArray[np.float64]) -> int:
    """Puts loops, then deltas, of a new finger of the class into the rows; returns how many of each there are."""
    if pattern == _ARCH:
        return 0
    if pattern == _TENTED:
        _place(0.0, -5.0, 8.0, 0.5, rng, turning[0])
        turning[1, 0] = turning[0, 0] + rng.normal(0.0, 4.0)
        turning[1, 1] = turning[0, 1] - rng.uniform(45.0, 80.0)
        turning[1, 2] = -0.5
        return 1
    if pattern in (_LEFT, _RIGHT):
        # The delta of a right loop, whose ridges leave to the right, lies to the left.
        side = 1.0 if pattern == _LEFT else -1.0
        _place(-4.0 * side, 25.0, 10.0, 0.5, rng, turning[0])
        _place(88.0 * side, -98.0, 14.0, -0.5, rng, turning[1])
        return 1
    _place(-112.0, -104.0, 14.0, -0.5, rng, turning[2])
    _place(112.0, -104.0, 14.0, -0.5, rng, turning[3])
    if pattern == _WHORL:
        _place(0.0, 15.0, 10.0, 0.5, rng, turning[0])
        half_x = rng.normal(0.0, 5.0)
        half_y = rng.uniform(8.0, 30.0)
    else:
        _place(0.0, 5.0, 8.0, 0.5, rng, turning[0])
        half_x = 2.0 * rng.integers(0, 2) - 1.0
        half_x *= rng.uniform(18.0, 30.0)
        half_y = rng.uniform(26.0, 40.0)
    turning[1, 0] = turning[0, 0] - half_x
    turning[1, 1] = turning[0, 1] - half_y
    turning[1, 2] = 0.5
    turning[0, 0] += half_x
    turning[0, 1] += half_y
    return 2


@kernel
def _opening(loop: int, loops: int, turning: NDArray[np.float64]) -> float:
    """The direction, radians, in which a loop opens: of its own field lines [SM], or, in a whorl, of the other loop."""
    if loops == 2:
        return math.atan2(turning[1 - loop, 1] - turning[loop, 1], turning[1 - loop, 0] - turning[loop, 0])
    # The direction to the delta, turned by a quarter.
    return -0.5 * math.pi - math.atan2(turning[1, 0] - turning[0, 0], turning[0, 1] - turning[1, 1])


@kernel
def _bend(opening: float, parallel: float, rng: np.random.Generator, row: NDArray[np.float64]) -> None:
    """Draws what the angle about a singularity becomes at the knots [VG]; closed, so that its index stays.

    ``parallel`` turns the ridges on the open side of a loop towards its opening, where zeros alone make a fan of them.
    """
    for k in range(8):
        offset = min(max(rng.normal(0.0, _CORRECTION_SD), -_CORRECTION_LIMIT), _CORRECTION_LIMIT)
        row[3 + k] = _KNOTS[k] + offset - parallel * math.sin(_KNOTS[k] - opening)
    row[11] = row[3] + 2.0 * math.pi
