"""Where the limbus of a pupil may be: several circles, of which the caller decides late.

An integro-differential operator (J. Daugman, PAMI 15(11), 1993) over the two sides of the iris, for lids hide the rest.
The collarette, furrows and lids have edges too, and now and then stronger ones; so every radius whose edge stands out
is kept, with what tells a limbus from the others: the eyeball beyond it is brighter on a broad front, not in a line.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
from numpy.typing import NDArray

from enrollment.extract.iris_geometry import Circle
from enrollment.extract.iris_gradients import Picture, blur, gradients
from enrollment.extract.iris_parameters import IrisExtractionParameters
from matcher.compiled import kernel


@dataclasses.dataclass(frozen=True)
class LimbusHypothesis:
    """A circle that may be the limbus.

    Attributes:
        circle: where it is.
        edge: mean clipped outward gradient along its sides, grey levels a pixel.
        value: ``edge`` times the priors of ratio and centre.
        step: grey levels by which what lies beyond is brighter than what lies within, on the worse side.
    """

    circle: Circle
    edge: float
    value: float
    step: float


_SIDES = np.radians(np.linspace(-15.0, 35.0, 15))
_SIDES_COS = np.concatenate([np.cos(_SIDES), -np.cos(_SIDES)])[:, None]
_SIDES_SIN = np.concatenate([np.sin(_SIDES), np.sin(_SIDES)])[:, None]
_BANDS = np.array([0.80, 0.86, 0.92, 1.08, 1.15, 1.22])
_BESIDE = np.array([1.3, 1.4, 1.5])
"""Directions to the right and to the left, and bands about a limbus and beside a pupil, that ``_step`` looks at."""


def find_limbus(
    painted: NDArray[np.uint8], pupil: Circle, pupil_grey: float, p: IrisExtractionParameters
) -> list[LimbusHypothesis]:
    """At most ``limbus_hypotheses`` circles round a pupil, to two pixels, by falling value; empty where no edge shows.

    Args:
        painted: uint8[height, width], the coarse picture at half its size, pupil and glints painted over.
        pupil: whose limbus, in the coarse picture, as are the circles found.
        pupil_grey: its grey level.
    """
    small = pupil.scaled(0.5)
    low = max(p.iris_radius[0], 1.3 * pupil.radius)
    high = min(p.iris_radius[1], 6.0 * pupil.radius, 1.24 * max(painted.shape))
    if high - low < 3:
        return []
    gx, gy = gradients(painted, 0.5 * _sigma(pupil))
    radii = np.arange(0.5 * low, 0.5 * high + 1e-6, 1.0)
    profile = _profile(gx, gy, radii, small.x, small.y, 2.0, 1.5, *_arc(p), 2.0 * p.gradient_clip, *_priors(small, p))
    found = []
    smooth = blur(painted, 0.75)
    for k in _peaks(profile[:, 0], radii, p):
        value, edge, x, y = (float(v) for v in profile[k])
        circle = Circle(x, y, float(radii[k]))
        step = _step(smooth, small, pupil_grey, circle, p)
        found.append(LimbusHypothesis(circle.scaled(2.0), 0.5 * edge, 0.5 * value, step))
    return sorted(found, key=lambda hypothesis: -hypothesis.value)


def sharpen_limbus(
    painted: NDArray[np.uint8], pupil: Circle, limbus: Circle, p: IrisExtractionParameters
) -> tuple[Circle, float]:
    """The circle of greatest value within three pixels of a hypothesis, and its edge.

    Args:
        painted: uint8[height, width], the coarse picture, pupil and glints painted over.
        pupil, limbus: circles in it.
    """
    gx, gy = gradients(painted, _sigma(pupil))
    radii = np.arange(limbus.radius - 3.0, limbus.radius + 3.5, 1.0)
    here = _profile(gx, gy, radii, limbus.x, limbus.y, 0.0, 1.0, *_arc(p), p.gradient_clip, *_priors(pupil, p))
    best = int(np.argmax(here[:, 0]))
    if here[best, 0] <= 0:
        return limbus, 0.0
    return Circle(float(here[best, 2]), float(here[best, 3]), float(radii[best])), float(here[best, 1])


def lateral_edge(painted: NDArray[np.uint8], pupil: Circle, circle: Circle, p: IrisExtractionParameters) -> float:
    """Mean clipped outward gradient along the sides of a circle, grey levels a pixel, as of a hypothesis."""
    gx, gy = gradients(painted, _sigma(pupil))
    here = np.array([circle.radius])
    found = _profile(gx, gy, here, circle.x, circle.y, 0.0, 0.0, *_arc(p), p.gradient_clip, *_priors(pupil, p))
    return float(found[0, 1])


def _priors(pupil: Circle, p: IrisExtractionParameters) -> tuple[float, float, float, float, float, float, float]:
    """What ``_profile`` weighs an edge with."""
    return pupil.x, pupil.y, pupil.radius, p.ratio_low, p.ratio_high, p.centre_across, p.centre_down


def _sigma(pupil: Circle) -> float:
    """Smoothing of the picture that a limbus is looked for in, pixels; a limbus is softer than a pupil's rim."""
    return float(np.clip(0.1 * pupil.radius, 2.5, 4.0))


def _arc(p: IrisExtractionParameters) -> tuple[Picture, Picture]:
    """Cosines and sines, float32[25] each, of the directions of the right side."""
    arc = np.radians(np.linspace(-p.lateral_up, p.lateral_down, 25))
    return np.cos(arc).astype(np.float32), np.sin(arc).astype(np.float32)


def _peaks(values: NDArray[np.float64], radii: NDArray[np.float64], p: IrisExtractionParameters) -> list[int]:
    """Indices of the greatest values, each the greatest within a tenth of its radius."""
    kept: list[int] = []
    least = p.limbus_share * float(values.max(initial=0.0))
    for k in np.argsort(-values):
        if values[k] <= least or len(kept) == p.limbus_hypotheses:
            break
        near = np.abs(radii - radii[k]) <= 0.1 * radii[k]
        if values[k] >= values[near].max():
            kept.append(int(k))
    return kept


def _step(smooth: Picture, pupil: Circle, pupil_grey: float, circle: Circle, p: IrisExtractionParameters) -> float:
    """How much brighter it is beyond a circle than within, grey levels, on the side where that is less.

    What lies within must be iris: by how much it is brighter than the iris beside the pupil, beyond what a collarette
    explains (``collarette_contrast`` of the iris' contrast to the pupil), is taken off.
    """
    bands, beside = circle.radius * _BANDS, pupil.radius * _BESIDE
    x = np.concatenate([circle.x + _SIDES_COS * bands, pupil.x + _SIDES_COS * beside], axis=1).astype(np.float32)
    y = np.concatenate([circle.y + _SIDES_SIN * bands, pupil.y + _SIDES_SIN * beside], axis=1).astype(np.float32)
    grey = cv2.remap(smooth, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    within, beyond, iris = (grey[:, k : k + 3].mean(axis=1).reshape(2, -1) for k in (0, 3, 6))
    # Sorted, and the middle taken: of so few values much faster than a median.
    middle = np.sort(np.stack([iris, within - iris, beyond - within]), axis=2)[:, :, iris.shape[1] // 2]
    explained = p.collarette_contrast * np.maximum(middle[0] - pupil_grey, 0.0)
    return float(np.min(middle[2] - np.maximum(middle[1] - explained, 0.0)))


@kernel
def _profile(
    gx: Picture,
    gy: Picture,
    radii: NDArray[np.float64],
    x: float,
    y: float,
    spread: float,
    step: float,
    cos: Picture,
    sin: Picture,
    clip: float,
    pupil_x: float,
    pupil_y: float,
    pupil_r: float,
    ratio_low: float,
    ratio_high: float,
    centre_across: float,
    centre_down: float,
) -> NDArray[np.float64]:
    """float64[radii, 4]: for each radius the greatest edge times priors, that edge, and x and y of its centre.

    Centres are tried on a grid of ``step`` round (x, y), as far as ``spread`` standard deviations of the prior, and at
    least three steps.
    """
    height, width = gx.shape
    angles = cos.shape[0]
    found = np.zeros((radii.shape[0], 4))
    for k in range(radii.shape[0]):
        radius = radii[k]
        ratio = radius / pupil_r
        prior_ratio = 1.0
        if ratio < ratio_low:
            prior_ratio = np.exp(-0.5 * (np.log(ratio / ratio_low) / 0.1) ** 2)
        elif ratio > ratio_high:
            prior_ratio = np.exp(-0.5 * (np.log(ratio / ratio_high) / 0.15) ** 2)
        sigma_x, sigma_y = centre_across * radius, centre_down * radius
        nx = ny = 0
        if step > 0:
            nx, ny = max(3, int(spread * sigma_x / step)), max(3, int(spread * sigma_y / step))
        for iy in range(-ny, ny + 1):
            cy = y + iy * step
            for ix in range(-nx, nx + 1):
                cx = x + ix * step
                offset = ((cx - pupil_x) / sigma_x) ** 2 + ((cy - pupil_y) / sigma_y) ** 2
                prior = prior_ratio * np.exp(-0.5 * offset)
                if prior * clip <= found[k, 0]:
                    continue
                right = left = 0.0
                n_right = n_left = 0
                for a in range(angles):
                    py = int(cy + radius * sin[a] + 0.5)
                    if not 0 <= py < height:
                        continue
                    px = int(cx + radius * cos[a] + 0.5)
                    if 0 <= px < width:
                        g = gx[py, px] * cos[a] + gy[py, px] * sin[a]
                        right += min(max(g, -clip), clip)
                        n_right += 1
                    px = int(cx - radius * cos[a] + 0.5)
                    if 0 <= px < width:
                        g = -gx[py, px] * cos[a] + gy[py, px] * sin[a]
                        left += min(max(g, -clip), clip)
                        n_left += 1
                right = right / n_right if 2 * n_right >= angles else 0.0
                left = left / n_left if 2 * n_left >= angles else 0.0
                edge = 0.3 * (right + left) + 0.4 * min(right, left)
                if edge * prior > found[k, 0]:
                    found[k, 0], found[k, 1], found[k, 2], found[k, 3] = edge * prior, edge, cx, cy
    return found
