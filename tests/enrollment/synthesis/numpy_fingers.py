"""Synthetic minutiae sets in plain numpy, step by step: the slow, obvious way that the kernels must agree with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from enrollment.synthesis.finger_flow import FlowParameters, Pattern
from enrollment.synthesis.finger_templates import FingerTemplateParameters
from matcher.templates import FingerTemplate

FLOW = FlowParameters()
KNOTS = np.linspace(-np.pi, np.pi, 9)


def draw_pattern(rng: np.random.Generator) -> Pattern:
    edges = np.cumsum([share for _, share in FLOW.pattern_shares])
    return FLOW.pattern_shares[int(np.searchsorted(edges, rng.random() * edges[-1], side="right"))][0]


class NumpyFlow:
    """``finger_flow.RidgeFlow``."""

    def __init__(self, pattern: Pattern, rng: np.random.Generator) -> None:
        self.pattern = pattern
        self.loops, self.deltas = _singularities(pattern, rng)
        self.bends = [_bend(_opening(p, self.loops, self.deltas), rng.normal(*FLOW.parallel), rng) for p in self.loops]
        self.bends += [_bend(0.0, 0.0, rng) for _ in self.deltas]
        self.dome = max(float(rng.normal(FLOW.dome, FLOW.dome_sd)), 0.1)
        self.arch = (rng.uniform(0.8, 1.3), rng.normal(-20, 10), rng.uniform(95, 130), rng.normal(0, 8))

    def angle(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        angle = np.zeros(np.shape(x))
        if self.pattern is Pattern.ARCH:
            steepness, height, half, middle = self.arch
            steep = steepness * np.exp(-(((y - height) / half) ** 2))
            angle = -np.arctan(steep * np.sin(np.clip((x - middle) / 170, -1, 1) * np.pi))
        for point, bend in zip(self.loops + self.deltas, self.bends, strict=True):
            around = np.arctan2(y - point.imag, x - point.real)
            angle += (0.5 if point in self.loops else -0.5) * np.interp(around, KNOTS, bend)
        rise = 0.5 * (1 - np.cos(np.pi * np.clip((y + 110) / 200, 0, 1)))
        return np.asarray(angle - self.dome * np.clip(x / 170, -1.2, 1.2) * rise)


def _singularities(pattern: Pattern, rng: np.random.Generator) -> tuple[list[complex], list[complex]]:
    def at(x: float, y: float, spread: float) -> complex:
        dx, dy = rng.normal(0.0, spread, 2) * FLOW.layout_spread
        return complex(x + dx, y + dy)

    if pattern is Pattern.ARCH:
        return [], []
    if pattern is Pattern.TENTED_ARCH:
        loop = at(0, -5, 8)
        return [loop], [loop + complex(rng.normal(0, 4), -rng.uniform(45, 80))]
    if pattern in (Pattern.LEFT_LOOP, Pattern.RIGHT_LOOP):
        side = 1.0 if pattern is Pattern.LEFT_LOOP else -1.0
        return [at(-4 * side, 25, 10)], [at(88 * side, -98, 14)]
    left, right = at(-112, -104, 14), at(112, -104, 14)
    if pattern is Pattern.WHORL:
        centre, half = at(0, 15, 10), complex(rng.normal(0, 5), rng.uniform(8, 30))
    else:
        centre = at(0, 5, 8)
        half = complex(rng.choice([-1.0, 1.0]) * rng.uniform(18, 30), rng.uniform(26, 40))
    return [centre + half, centre - half], [left, right]


def _opening(point: complex, loops: list[complex], deltas: list[complex]) -> float:
    others = [p for p in loops if p != point]
    if others:
        return float(np.angle(others[0] - point))
    return float(-np.pi / 2 - np.angle((deltas[0] - point) * 1j))


def _bend(opening: float, parallel: float, rng: np.random.Generator) -> NDArray[np.float64]:
    offsets = np.clip(rng.normal(0.0, FLOW.correction_sd, 8), -FLOW.correction_limit, FLOW.correction_limit)
    offsets -= parallel * np.sin(KNOTS[:-1] - opening)
    return np.asarray(KNOTS + np.append(offsets, offsets[0]))


def draw_finger(rng: np.random.Generator, p: FingerTemplateParameters, algorithm: str) -> FingerTemplate:
    """``finger_templates.bulk_finger_templates``, one finger of it."""
    middle = np.array([p.size[1], p.size[0]]) / 2
    axes = np.minimum(np.array(p.semi_axes) * np.exp(rng.normal(0.0, p.axes_sd, 2)), middle[::-1] - 2)
    density = p.density * np.exp(rng.normal(0.0, p.density_sd))
    wanted = int(np.clip(round(density * np.pi * axes.prod() / 1e4), *p.count_range))
    points = _scatter(wanted, axes, p.spacing, rng)
    place = points + rng.normal(0.0, p.placement, 2)
    angle = NumpyFlow(draw_pattern(rng), rng).angle(place[:, 0], -place[:, 1])
    angle += rng.normal(0.0, p.angle_sd, len(points))
    angle += np.pi * _turned(points, np.clip((p.base - place[:, 1]) / 60, -1, 1), angle, p, rng)
    quality = np.maximum(p.most_quality * rng.beta(*p.quality, len(points)), 1)
    x, y = np.rint(points + middle).astype(np.int16).T.copy()
    code = FingerTemplate.encode_angle(angle)
    return FingerTemplate(algorithm, 1, p.size[1], p.size[0], x, y, code, np.rint(quality).astype(np.uint8))


def _turned(
    points: NDArray[np.float64],
    wish: NDArray[np.float64],
    angle: NDArray[np.float64],
    p: FingerTemplateParameters,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    between = points[None] - points[:, None]
    apart = np.hypot(between[..., 0], between[..., 1])
    np.fill_diagonal(apart, np.inf)
    pull = (between * (p.toward * np.exp(-apart / p.toward_reach) / apart)[..., None]).sum(axis=1)
    pull[:, 1] += p.downward * wish
    along = pull[:, 0] * np.cos(angle) - pull[:, 1] * np.sin(angle)
    turned = rng.logistic(0.0, 1.0, len(points)) > 2 * along
    close = np.argwhere(np.triu(apart < p.close))
    for i, j in close[rng.random(len(close)) < p.opposite]:
        turned[j] = ~turned[i]
    return np.asarray(turned, np.bool_)


def _scatter(wanted: int, axes: NDArray[np.float64], spacing: float, rng: np.random.Generator) -> NDArray[np.float64]:
    radius, turn = np.sqrt(rng.random(2 * wanted)), rng.uniform(0, 2 * np.pi, 2 * wanted)
    throw = np.stack([axes[1] * radius * np.cos(turn), axes[0] * radius * np.sin(turn)], axis=1)
    near = np.hypot(*(throw[:, None] - throw[None]).transpose(2, 0, 1)) < spacing + 1.5
    taken: list[int] = []
    blocked = np.zeros(len(throw), np.bool_)
    for i in range(len(throw)):
        if not blocked[i]:
            taken.append(i)
            if len(taken) == wanted:
                break
            blocked |= near[i]
    return throw[taken]
