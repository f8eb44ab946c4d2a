"""Synthetic minutiae sets in bulk, for benchmarks, load and as strangers in galleries; hits of them are never quoted.

No image is made: positions are thrown at random with a minimum distance, directions follow the ridge flow of a finger
of a random pattern class (``finger_flow``), and of the two along a ridge a minutia mostly has the one towards other
minutiae near by: where ridges run apart new ones begin, and end where they come together again. ``vary`` makes a second
impression of the same finger.

These fingers score against each other as real ones against each other. Against real fingers they score a little lower,
because real ones share what is not modelled here; ``STRANGERS`` makes up for that (``benchmarks/finger_realism.py``
prints how nearly) and is what belongs into a gallery that real fingers are searched in.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from enrollment.synthesis.finger_flow import draw_flow, draw_pattern, flow_angle
from matcher.compiled import kernel
from matcher.finger.parameters import FINGER_ALGORITHM
from matcher.templates import FingerTemplate

_PURPOSE_IDENTITY = 0xF3
_PURPOSE_IMPRESSION = 0xF4


@dataclasses.dataclass(frozen=True)
class FingerTemplateParameters:
    """Constants of bulk minutiae. Lengths are pixels at 500 ppi, angles radians.

    Fitted on prints of UPEK, FVC2000 DB1_B and DB4_B alone: counts, extents, densities and how directions agree with
    distance and bearing are alike there and here, then quantiles of impostor scores.

    Attributes:
        size: height and width of the image that the template stands for.
        semi_axes: medians of the vertical and horizontal half width of the contact, an ellipse about the image's
            middle; axes_sd: deviation of the logarithm of each between fingers: of sensors small and large.
        placement: deviation of the contact's middle from the pattern's, on each axis.
        density: median of minutiae in 10,000 square pixels; density_sd: deviation of its logarithm between fingers.
        count_range: minutiae a finger.
        spacing: least distance of two minutiae, a ridge period.
        angle_sd: deviation of a minutia's direction from the ridge flow.
        toward, toward_reach: log-odds, halved, by which a minutia points to another one straight along its ridge at no
            distance, and the distance at which an e-th of that is left.
        downward: the same for pointing down the finger; ``base`` below the pattern's middle there is no preference,
            and below that it is for pointing up.
        close, opposite: of two minutiae nearer than ``close`` this share has opposite directions, as the two ends of a
            short ridge or gap.
        quality: the parameters of the beta distribution of a minutia's quality, of ``most_quality``.
        rotation, shift: of an impression: largest rotation, deviation of the displacement.
        stretch: root mean square of the elastic displacement.
        drop: range of the share of minutiae that are not found again; spurious: mean share of new ones.
        impression_angle_sd: deviation of directions between impressions.
    """

    size: tuple[int, int] = (560, 400)
    semi_axes: tuple[float, float] = (150.0, 102.0)
    axes_sd: float = 0.3
    placement: float = 8.0
    density: float = 8.0
    density_sd: float = 0.2
    count_range: tuple[int, int] = (12, 60)
    spacing: float = 8.0
    angle_sd: float = 0.05
    toward: float = 0.7
    toward_reach: float = 30.0
    downward: float = 0.35
    base: float = 80.0
    close: float = 12.0
    opposite: float = 0.5
    quality: tuple[float, float] = (1.5, 0.25)
    most_quality: float = 97.0
    rotation: float = np.pi / 12
    shift: float = 14.0
    stretch: float = 2.5
    drop: tuple[float, float] = (0.10, 0.25)
    spurious: float = 0.12
    impression_angle_sd: float = 0.08


_P = FingerTemplateParameters()
STRANGERS = dataclasses.replace(_P, downward=4.0, angle_sd=0.02)
"""Directions more orderly than those of prints, in the place of whatever else real fingers have in common."""


def bulk_finger_templates(
    count: int,
    seed: int,
    *,
    first: int = 0,
    algorithm: str = FINGER_ALGORITHM,
    parameters: FingerTemplateParameters = _P,
) -> list[FingerTemplate]:
    """Minutiae sets of ``count`` different synthetic fingers.

    Args:
        count: how many, >= 0. The first templates of a longer list of one seed are those of a shorter one.
        seed: >= 0.
        first: number of the first one: those before are left out, and cost nothing.
        algorithm: the algorithm id that the templates shall carry.
        parameters: ``STRANGERS`` for those that real fingers are searched among.
    """
    constants = _constants(parameters)
    numbers = range(first, first + count)
    return [_finger((_PURPOSE_IDENTITY, seed, i), constants, parameters.size, algorithm) for i in numbers]


def vary(template: FingerTemplate, seed: int) -> FingerTemplate:
    """A second impression of the same finger.

    Displaced, turned by up to 15 degrees, stretched by some pixels; a part of the minutiae is lost, some are spurious,
    and the order is another.

    Args:
        template: 500 ppi; any algorithm, which the result carries too.
        seed: the impression, >= 0.
    """
    rng = np.random.default_rng((_PURPOSE_IMPRESSION, seed))
    n = len(template)
    middle = np.array([template.width, template.height]) / 2
    points = np.stack([template.x, template.y], axis=1) - middle
    angle = template.angle_radians + rng.normal(0.0, _P.impression_angle_sd, n)
    keep = rng.random(n) >= rng.uniform(*_P.drop)

    points = points + _stretch(points, rng)
    turn = rng.uniform(-_P.rotation, _P.rotation)
    # Counter-clockwise on the screen, where y grows downwards.
    points = points @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    points += middle + rng.normal(0.0, _P.shift, 2)
    angle = angle + turn
    quality = np.clip(template.quality + rng.normal(0.0, 8.0, n), 1, 100)

    spurious = rng.poisson(_P.spurious * n)
    low, high = (points.min(axis=0), points.max(axis=0)) if n else (middle, middle)
    points = np.concatenate([points[keep], rng.uniform(low, high, (spurious, 2))])
    angle = np.concatenate([angle[keep], rng.uniform(0.0, 2 * np.pi, spurious)])
    quality = np.concatenate([quality[keep], rng.uniform(20, 70, spurious)])
    inside = ((points >= 0) & (points <= [template.width - 1, template.height - 1])).all(axis=1)
    order = rng.permutation(np.flatnonzero(inside))[: FingerTemplate.MAX_MINUTIAE]
    size = (template.height, template.width)
    return _template(points[order], angle[order], quality[order], size, template.algorithm, template.version)


class _Constants(NamedTuple):
    """What of the parameters the kernel needs; width and height are half of the image's."""

    half_width: float
    half_height: float
    semi_axes: tuple[float, float]
    axes_sd: float
    placement: float
    density: float
    density_sd: float
    least: int
    most: int
    spacing: float
    angle_sd: float
    toward: float
    toward_reach: float
    downward: float
    base: float
    close: float
    opposite: float
    quality: tuple[float, float]
    most_quality: float


def _constants(p: FingerTemplateParameters) -> _Constants:
    named = {name: getattr(p, name) for name in _Constants._fields if hasattr(p, name)}
    return _Constants(
        half_width=p.size[1] / 2,
        half_height=p.size[0] / 2,
        least=p.count_range[0],
        most=p.count_range[1],
        **named,
    )


def _finger(seed: tuple[int, int, int], constants: _Constants, size: tuple[int, int], algorithm: str) -> FingerTemplate:
    x, y = (np.empty(constants.most, np.int16) for _ in range(2))
    angle, quality = np.empty(constants.most), np.empty(constants.most, np.uint8)
    n = _draw_finger(np.random.default_rng(seed), constants, x, y, angle, quality)
    code = FingerTemplate.encode_angle(angle[:n])
    return FingerTemplate(algorithm, 1, size[1], size[0], x[:n], y[:n], code, quality[:n])


@kernel
def _draw_finger(
    rng: np.random.Generator,
    p: _Constants,
    x: NDArray[np.int16],
    y: NDArray[np.int16],
    angle: NDArray[np.float64],
    quality: NDArray[np.uint8],
) -> int:
    """Fills in the minutiae of a new finger; returns how many there are."""
    # Within the image, whose middle is theirs.
    tall = min(p.semi_axes[0] * math.exp(rng.normal(0.0, p.axes_sd)), p.half_height - 2.0)
    wide = min(p.semi_axes[1] * math.exp(rng.normal(0.0, p.axes_sd)), p.half_width - 2.0)
    density = p.density * math.exp(rng.normal(0.0, p.density_sd))
    wanted = min(max(round(density * math.pi * tall * wide / 1e4), p.least), p.most)
    points = np.empty((wanted, 2))
    n = _scatter(wanted, tall, wide, p.spacing, rng, points)
    right, down = rng.normal(0.0, p.placement), rng.normal(0.0, p.placement)
    turning, arch = np.empty((4, 12)), np.empty(4)
    dome = draw_flow(draw_pattern(rng), rng, turning, arch)
    for i in range(n):
        ridge = flow_angle(points[i, 0] + right, -(points[i, 1] + down), turning, dome, arch)
        angle[i] = ridge + rng.normal(0.0, p.angle_sd)
    _reverse(points[:n], down, angle, p, rng)
    for i in range(n):
        share = rng.beta(p.quality[0], p.quality[1])
        quality[i] = np.uint8(np.rint(max(p.most_quality * share, 1.0)))
        x[i] = np.int16(np.rint(points[i, 0] + p.half_width))
        y[i] = np.int16(np.rint(points[i, 1] + p.half_height))
    return n


@kernel
def _scatter(
    wanted: int, tall: float, wide: float, spacing: float, rng: np.random.Generator, points: NDArray[np.float64]
) -> int:
    """Fills in ``wanted`` points, or nearly so many, in an ellipse about 0 of half widths ``tall`` and ``wide``, none
    nearer to another than ``spacing``; returns how many there are."""
    thrown = np.empty((2 * wanted, 2))
    for i in range(2 * wanted):
        thrown[i, 0] = math.sqrt(rng.random())
    for i in range(2 * wanted):
        turn = rng.uniform(0.0, 2.0 * math.pi)
        radius = thrown[i, 0]
        thrown[i, 0] = wide * radius * math.cos(turn)
        thrown[i, 1] = tall * radius * math.sin(turn)
    # A little more than the spacing: rounding to whole pixels brings points together.
    least = (spacing + 1.5) ** 2
    n = 0
    for i in range(2 * wanted):
        free = True
        for j in range(n):
            if (thrown[i, 0] - points[j, 0]) ** 2 + (thrown[i, 1] - points[j, 1]) ** 2 < least:
                free = False
        if free:
            points[n] = thrown[i]
            n += 1
            if n == wanted:
                break
    return n


@kernel
def _reverse(
    points: NDArray[np.float64], down: float, angle: NDArray[np.float64], p: _Constants, rng: np.random.Generator
) -> None:
    """Turns the minutiae round that have the direction opposite to ``angle``.

    Args:
        down: how far below the middle of its pattern the middle of the finger lies.
    """
    n = len(points)
    pull = np.zeros((n, 2))
    apart = np.empty((n, n))
    for i in range(n):
        for j in range(i + 1, n):
            right, below = points[j, 0] - points[i, 0], points[j, 1] - points[i, 1]
            distance = math.sqrt(right * right + below * below)
            apart[i, j] = distance
            weight = p.toward * math.exp(-distance / p.toward_reach) / distance
            pull[i, 0] += weight * right
            pull[i, 1] += weight * below
            pull[j, 0] -= weight * right
            pull[j, 1] -= weight * below
    turned = np.empty(n, np.bool_)
    for i in range(n):
        wish = min(max((p.base - points[i, 1] - down) / 60.0, -1.0), 1.0)
        along = pull[i, 0] * math.cos(angle[i]) - (pull[i, 1] + p.downward * wish) * math.sin(angle[i])
        turned[i] = rng.logistic(0.0, 1.0) > 2.0 * along
    # Which of the close pairs are opposite is drawn before any is made so.
    for i in range(n):
        for j in range(i + 1, n):
            if apart[i, j] < p.close:
                apart[i, j] = -1.0 if rng.random() < p.opposite else p.close
    for i in range(n):
        for j in range(i + 1, n):
            if apart[i, j] < 0.0:
                turned[j] = not turned[i]
    for i in range(n):
        if turned[i]:
            angle[i] += math.pi


def _template(
    points: NDArray[np.float64],
    angle: NDArray[np.float64],
    quality: NDArray[np.float64],
    size: tuple[int, int],
    algorithm: str,
    version: int,
) -> FingerTemplate:
    x, y = np.rint(points).astype(np.int16).T.copy()
    code = FingerTemplate.encode_angle(angle)
    return FingerTemplate(algorithm, version, size[1], size[0], x, y, code, np.rint(quality).astype(np.uint8))


def _stretch(points: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """A smooth displacement of root mean square ``stretch`` at each point: three long waves, float64[n, 2]."""
    waves = rng.normal(0.0, 2 * np.pi / 350, (2, 3))
    phases = rng.uniform(0, 2 * np.pi, 3)
    directions = rng.normal(0.0, 1.0, (3, 2))
    # A sine of amplitude a has the mean square a^2 / 2; three waves, two components.
    directions *= _P.stretch * np.sqrt(2.0) / np.linalg.norm(directions)
    return np.asarray(np.sin(points @ waves + phases) @ directions)
