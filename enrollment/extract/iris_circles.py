"""Pupil and limbus as circles, searched together.

Every pupil candidate is followed to its limbus with the pupil painted out, so that the pupil's own edge cannot pass for
the limbus. The pair with the best joint score wins: a choice by the pupil alone takes lashes, spectacle frames and
whole irises for pupils, and a choice of the limbus by its edge alone takes the collarette.
"""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
from numpy.typing import NDArray

from enrollment.extract.iris_geometry import Circle
from enrollment.extract.iris_limbus import LimbusHypothesis, find_limbus, lateral_edge, sharpen_limbus
from enrollment.extract.iris_parameters import IrisExtractionParameters
from enrollment.extract.iris_pupils import PupilCandidate, find_pupils, rim


@dataclasses.dataclass(frozen=True)
class EyeCircles:
    """Two circles and how well they stand out.

    Attributes:
        pupil, limbus: the circles.
        pupil_edge, limbus_edge: mean clipped gradients, grey levels a pixel.
        pupil_share: share of the pupil's circle that grows brighter outwards.
        score: joint score that hypotheses were ranked by.
    """

    pupil: Circle
    limbus: Circle
    pupil_edge: float
    limbus_edge: float
    pupil_share: float
    score: float


def find_circles(
    filled: NDArray[np.uint8], glints: NDArray[np.bool_], p: IrisExtractionParameters
) -> EyeCircles | None:
    """Pupil and limbus of a coarse picture, None where nothing is dark and round or a pupil has no room.

    Args:
        filled: uint8[height, width], longer side at most ``coarse_side``, glints painted over.
        glints: bool[height, width], where they were.
    """
    if min(filled.shape) < 2.0 * p.pupil_radius[0]:
        return None
    half = cv2.resize(filled, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA).astype(np.uint8)
    eyes = []
    for pupil in find_pupils(filled, glints, p):
        if pupil.edge > 0:
            painted = paint_pupil(half, pupil.circle.scaled(0.5))
            hypotheses = find_limbus(painted, pupil.circle, pupil.grey, p)
            if hypotheses:
                eyes.append(_joined(pupil, max(hypotheses, key=lambda limbus: _likelihood(limbus, pupil, p)), p))
    if not eyes:
        return None
    best = max(eyes, key=lambda eye: eye.score)
    limbus, edge = sharpen_limbus(paint_pupil(filled, best.pupil), best.pupil, best.limbus, p)
    return dataclasses.replace(best, limbus=limbus, limbus_edge=edge)


def _likelihood(limbus: LimbusHypothesis, pupil: PupilCandidate, p: IrisExtractionParameters) -> float:
    """Of the hypotheses of one pupil: the outermost strong edge behind which the eyeball, brighter, lies."""
    bright = min(max((limbus.step - p.step_least) / (p.step_enough - p.step_least), 0.1), 1.0)
    return float(bright * limbus.value * (limbus.circle.radius / pupil.circle.radius) ** p.outward)


def _joined(pupil: PupilCandidate, limbus: LimbusHypothesis, p: IrisExtractionParameters) -> EyeCircles:
    """The pair, by its joint score: both edges, the likeness of the pupil, a limbus of plausible size with an eyeball
    beyond it."""
    radius = limbus.circle.radius
    small = math.exp(-0.5 * (math.log(radius / p.small_iris) / 0.35) ** 2) if radius < p.small_iris else 1.0
    score = small * (
        limbus.value
        + p.step_weight * min(max(limbus.step, -p.step_limit), p.step_limit)
        + 0.5 * pupil.edge * pupil.share
        + 20.0 * pupil.score
    )
    return EyeCircles(pupil.circle, limbus.circle, pupil.edge, limbus.edge, pupil.share, score)


def measure_circles(
    filled: NDArray[np.uint8], glints: NDArray[np.bool_], pupil: Circle, limbus: Circle, p: IrisExtractionParameters
) -> EyeCircles:
    """How well two circles found by other means stand out in a picture of any size, in the same units.

    Args:
        filled: uint8[height, width], glints painted over.
        glints: bool[height, width], where they were.
        pupil, limbus: circles in it.
    """
    factor = min(1.0, p.coarse_side / max(filled.shape))
    if factor < 1.0:
        size = (round(filled.shape[1] * factor), round(filled.shape[0] * factor))
        filled = np.asarray(cv2.resize(filled, size, interpolation=cv2.INTER_AREA), np.uint8)
        glints = cv2.resize(glints.astype(np.uint8), size, interpolation=cv2.INTER_AREA) > 0
        pupil, limbus = pupil.scaled(factor), limbus.scaled(factor)
    edge, share = rim(filled, glints, pupil, p)
    limbus_edge = lateral_edge(paint_pupil(filled, pupil), pupil, limbus, p)
    return EyeCircles(pupil, limbus, edge, limbus_edge, share, edge + limbus_edge)


def paint_pupil(filled: NDArray[np.uint8], pupil: Circle) -> NDArray[np.uint8]:
    """The picture with the pupil, and a margin for its edge, in the grey of the iris beside it, direction by direction.

    A disc of one grey would have an edge of its own, and that would pass for a limbus.
    """
    height, width = filled.shape
    reach = 1.2 * pupil.radius + 1.0
    x0, x1 = max(0, int(pupil.x - reach)), min(width, int(pupil.x + reach) + 2)
    y0, y1 = max(0, int(pupil.y - reach)), min(height, int(pupil.y + reach) + 2)
    painted = filled.copy()
    if x1 <= x0 or y1 <= y0:
        return painted
    ys, xs = np.mgrid[y0:y1, x0:x1].astype(np.float32)
    dx, dy = xs - pupil.x, ys - pupil.y
    distance = np.hypot(dx, dy)
    outwards = (1.05 * reach) / np.maximum(distance, 0.5)
    projected = cv2.remap(
        cv2.blur(filled, (3, 3)),
        np.asarray(pupil.x + dx * outwards, np.float32),
        np.asarray(pupil.y + dy * outwards, np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    painted[y0:y1, x0:x1] = np.where(distance < reach, projected, painted[y0:y1, x0:x1])
    return painted
