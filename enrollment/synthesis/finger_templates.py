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

import numpy as np
from numpy.typing import NDArray

from enrollment.synthesis.finger_flow import RidgeFlow, natural_pattern
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
    algorithm: str = FINGER_ALGORITHM,
    parameters: FingerTemplateParameters = _P,
) -> list[FingerTemplate]:
    """Minutiae sets of ``count`` different synthetic fingers.

    Args:
        count: how many, >= 0. The first templates of a longer list of one seed are those of a shorter one.
        seed: >= 0.
        algorithm: the algorithm id that the templates shall carry.
        parameters: ``STRANGERS`` for those that real fingers are searched among.
    """
    return [_finger(np.random.default_rng((_PURPOSE_IDENTITY, seed, i)), parameters, algorithm) for i in range(count)]


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


def _finger(rng: np.random.Generator, p: FingerTemplateParameters, algorithm: str) -> FingerTemplate:
    middle = np.array([p.size[1], p.size[0]]) / 2
    # Within the image, whose middle is theirs.
    axes = np.minimum(np.array(p.semi_axes) * np.exp(rng.normal(0.0, p.axes_sd, 2)), middle[::-1] - 2)
    density = p.density * np.exp(rng.normal(0.0, p.density_sd))
    wanted = int(np.clip(round(density * np.pi * axes.prod() / 1e4), *p.count_range))
    points = _scatter(wanted, axes, p.spacing, rng)
    place = points + rng.normal(0.0, p.placement, 2)
    flow = RidgeFlow.draw(natural_pattern(rng), rng)
    angle = flow.angle(place[:, 0], -place[:, 1]) + rng.normal(0.0, p.angle_sd, len(points))
    angle += np.pi * _reversed(points, np.clip((p.base - place[:, 1]) / 60, -1, 1), angle, p, rng)
    quality = np.maximum(p.most_quality * rng.beta(*p.quality, len(points)), 1)
    return _template(points + middle, angle, quality, p.size, algorithm, 1)


def _reversed(
    points: NDArray[np.float64],
    down: NDArray[np.float64],
    angle: NDArray[np.float64],
    p: FingerTemplateParameters,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Which minutiae have the direction opposite to ``angle``, bool[n]; ``down``: how far each wants to point down the
    finger, -1 to 1."""
    between = points[None] - points[:, None]
    apart = np.hypot(between[..., 0], between[..., 1])
    np.fill_diagonal(apart, np.inf)
    pull = (between * (p.toward * np.exp(-apart / p.toward_reach) / apart)[..., None]).sum(axis=1)
    pull[:, 1] += p.downward * down
    along = pull[:, 0] * np.cos(angle) - pull[:, 1] * np.sin(angle)
    reverse = rng.logistic(0.0, 1.0, len(points)) > 2 * along
    close = np.argwhere(np.triu(apart < p.close))
    for i, j in close[rng.random(len(close)) < p.opposite]:
        reverse[j] = ~reverse[i]
    return np.asarray(reverse, np.bool_)


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


def _scatter(wanted: int, axes: NDArray[np.float64], spacing: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """``wanted`` points, or nearly so many, in an ellipse about 0 of vertical and horizontal half width ``axes``, none
    nearer to another than ``spacing``: float64[n, 2]."""
    radius, turn = np.sqrt(rng.random(2 * wanted)), rng.uniform(0, 2 * np.pi, 2 * wanted)
    throw = np.stack([axes[1] * radius * np.cos(turn), axes[0] * radius * np.sin(turn)], axis=1)
    # A little more than the spacing: rounding to whole pixels brings points together.
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


def _stretch(points: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """A smooth displacement of root mean square ``stretch`` at each point: three long waves, float64[n, 2]."""
    waves = rng.normal(0.0, 2 * np.pi / 350, (2, 3))
    phases = rng.uniform(0, 2 * np.pi, 3)
    directions = rng.normal(0.0, 1.0, (3, 2))
    # A sine of amplitude a has the mean square a^2 / 2; three waves, two components.
    directions *= _P.stretch * np.sqrt(2.0) / np.linalg.norm(directions)
    return np.asarray(np.sin(points @ waves + phases) @ directions)
