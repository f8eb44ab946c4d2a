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
from typing import Self

import numpy as np
from numpy.typing import NDArray


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


def natural_pattern(rng: np.random.Generator) -> Pattern:
    """Draws a pattern class by its natural frequency."""
    edges = np.cumsum([share for _, share in _P.pattern_shares])
    return _P.pattern_shares[int(np.searchsorted(edges, rng.random() * edges[-1], side="right"))][0]


@dataclasses.dataclass(frozen=True)
class RidgeFlow:
    """The orientation field of one finger, to be evaluated anywhere.

    Attributes:
        pattern: the pattern class.
        loops, deltas: their places as complex numbers.
        bends: for each loop, then each delta, float64[9]: what the angle about it becomes at the knots.
        dome: radians, see the parameters.
        arch: steepness, height, half height and middle of an arch's swelling.
    """

    pattern: Pattern
    loops: tuple[complex, ...]
    deltas: tuple[complex, ...]
    bends: tuple[NDArray[np.float64], ...]
    dome: float
    arch: tuple[float, float, float, float]

    @classmethod
    def draw(cls, pattern: Pattern, rng: np.random.Generator) -> Self:
        """A finger of the class."""
        loops, deltas = _singularities(pattern, rng)
        bends = [_bend(_opening(p, loops, deltas), rng.normal(*_P.parallel), rng) for p in loops]
        bends += [_bend(0.0, 0.0, rng) for _ in deltas]
        dome = max(float(rng.normal(_P.dome, _P.dome_sd)), 0.1)
        arch = (rng.uniform(0.8, 1.3), rng.normal(-20, 10), rng.uniform(95, 130), rng.normal(0, 8))
        return cls(pattern, tuple(loops), tuple(deltas), tuple(bends), dome, arch)

    def angle(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Ridge orientation at the points, radians, any multiple of pi added; shape as of ``x``."""
        if self.pattern is Pattern.ARCH:
            # [SFinGe]: arches have no singularity; a sine whose steepness is greatest at mid-height.
            steepness, height, half, middle = self.arch
            steep = steepness * np.exp(-(((y - height) / half) ** 2))
            angle = -np.arctan(steep * np.sin(np.clip((x - middle) / 170, -1, 1) * np.pi))
        else:
            # [SM]: half the angles about the loops less half those about the deltas, each bent [VG].
            angle = np.zeros(np.shape(x))
            for point, bend in zip(self.loops + self.deltas, self.bends, strict=True):
                around = np.arctan2(y - point.imag, x - point.real)
                angle += (0.5 if point in self.loops else -0.5) * np.interp(around, _KNOTS, bend)
        # Above the deltas the ridges of real fingers bow along the fingertip, which zeros and poles leave too flat.
        return np.asarray(angle - self.dome * np.clip(x / 170, -1.2, 1.2) * ramp((y + 110) / 200))


def ramp(value: NDArray[np.float64]) -> NDArray[np.float64]:
    """A smooth step from 0 at 0 to 1 at 1."""
    return np.asarray(0.5 * (1 - np.cos(np.pi * np.clip(value, 0, 1))))


def _singularities(pattern: Pattern, rng: np.random.Generator) -> tuple[list[complex], list[complex]]:
    """Loops and deltas as complex numbers, of a new finger of the class."""

    def at(x: float, y: float, spread: float) -> complex:
        dx, dy = rng.normal(0.0, spread, 2) * _P.layout_spread
        return complex(x + dx, y + dy)

    if pattern is Pattern.ARCH:
        return [], []
    if pattern is Pattern.TENTED_ARCH:
        loop = at(0, -5, 8)
        return [loop], [loop + complex(rng.normal(0, 4), -rng.uniform(45, 80))]
    if pattern in (Pattern.LEFT_LOOP, Pattern.RIGHT_LOOP):
        # The delta of a right loop, whose ridges leave to the right, lies to the left.
        side = 1.0 if pattern is Pattern.LEFT_LOOP else -1.0
        return [at(-4 * side, 25, 10)], [at(88 * side, -98, 14)]
    left, right = at(-112, -104, 14), at(112, -104, 14)
    if pattern is Pattern.WHORL:
        centre = at(0, 15, 10)
        half = complex(rng.normal(0, 5), rng.uniform(8, 30))
        return [centre + half, centre - half], [left, right]
    centre = at(0, 5, 8)
    half = complex(rng.choice([-1.0, 1.0]) * rng.uniform(18, 30), rng.uniform(26, 40))
    return [centre + half, centre - half], [left, right]


def _opening(point: complex, loops: list[complex], deltas: list[complex]) -> float:
    """The direction, radians, in which a loop opens: of its own field lines [SM], or, in a whorl, of the other loop."""
    others = [p for p in loops if p != point]
    if others:
        return float(np.angle(others[0] - point))
    return float(-np.pi / 2 - np.angle((deltas[0] - point) * 1j))


def _bend(opening: float, parallel: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """What the angle about a singularity becomes at the knots [VG]; closed, so that its index stays: float64[9].

    ``parallel`` turns the ridges on the open side of a loop towards its opening, where zeros alone make a fan of them.
    """
    offsets = np.clip(rng.normal(0.0, _P.correction_sd, 8), -_P.correction_limit, _P.correction_limit)
    offsets -= parallel * np.sin(_KNOTS[:-1] - opening)
    return np.asarray(_KNOTS + np.append(offsets, offsets[0]))
