"""Pupil and limbus as circles, searched together.

Dark round blobs are pupil candidates; each is sharpened with an integro-differential operator (J. Daugman, "High
Confidence Visual Recognition of Persons by a Test of Statistical Independence", PAMI 15(11), 1993) and followed to its
limbus with the pupil painted out, so that the pupil's own edge cannot pass for the limbus. The pair with the best joint
score wins: a choice by the pupil alone takes lashes, spectacle frames and whole irises for pupils.
"""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
from numpy.typing import NDArray

from enrollment.extract.iris_geometry import Circle
from enrollment.extract.iris_parameters import IrisExtractionParameters
from matcher.compiled import kernel

Picture = NDArray[np.float32]


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


def find_circles(filled: NDArray[np.uint8], p: IrisExtractionParameters) -> list[EyeCircles]:
    """Hypotheses of pupil and limbus in a coarse picture, the best first; empty where nothing is dark and round.

    Args:
        filled: uint8[height, width], longer side at most ``coarse_side``, glints painted over.
    """
    gx, gy = gradients(filled, 1.5)
    found = []
    for x, y, r in _dark_blobs(filled, p):
        refined = _refine_pupil(gx, gy, x, y, r, p.pupil_radius[0], p.pupil_radius[1], p.gradient_clip, _COS, _SIN)
        found.append((*refined, _blob_score(filled, refined, p)))
    found.sort(key=lambda f: -f[-1])
    pupils: list[tuple[float, float, float, float, float, float]] = []
    for f in found:
        if all(math.hypot(f[0] - g[0], f[1] - g[1]) + abs(f[2] - g[2]) > 0.25 * g[2] + 2.0 for g in pupils):
            pupils.append(f)
        if len(pupils) == p.pupil_candidates:
            break
    eyes = [_follow(filled, pupil, p) for pupil in pupils]
    return sorted((eye for eye in eyes if eye is not None), key=lambda eye: -eye.score)


def blur(picture: NDArray[np.uint8] | Picture, sigma: float) -> Picture:
    """float32[height, width], Gaussian-smoothed."""
    smooth = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(smooth, np.float32)


def gradients(picture: NDArray[np.uint8] | Picture, sigma: float) -> tuple[Picture, Picture]:
    """Derivatives in x and y, grey levels a pixel, float32[height, width] each, of the Gaussian-smoothed picture."""
    smooth = blur(picture, sigma)
    gx = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, ksize=1, scale=0.5)
    gy = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=1, scale=0.5)
    return np.asarray(gx, np.float32), np.asarray(gy, np.float32)


_TURN = np.arange(48) * (2.0 * np.pi / 48)
_COS, _SIN = np.cos(_TURN).astype(np.float32), np.sin(_TURN).astype(np.float32)


def _dark_blobs(filled: NDArray[np.uint8], p: IrisExtractionParameters) -> list[tuple[float, float, float]]:
    """Centres and radii of dark blobs at several thresholds; the distance transform's core sheds attached lashes."""
    smooth = cv2.medianBlur(filled, 5)
    inner = smooth[2:-2, 2:-2]
    dark = float(np.percentile(inner, 0.3))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    blobs: list[tuple[float, float, float]] = []
    previous = -1
    for step in p.pupil_thresholds:
        level = int(dark + step)
        if level == previous or level > 200:
            continue
        previous = level
        binary = np.asarray(cv2.morphologyEx((smooth < level).astype(np.uint8), cv2.MORPH_OPEN, kernel), np.uint8)
        binary[[0, -1], :] = 0
        binary[:, [0, -1]] = 0
        count, labels, stats, _ = cv2.connectedComponentsWithStats(binary, connectivity=4)
        depth = cv2.distanceTransform(_without_holes(binary), cv2.DIST_L2, 3)
        order = np.argsort(-stats[1:, cv2.CC_STAT_AREA])[:8] + 1
        for label in order[: count - 1]:
            x0, y0, w, h, area = (int(v) for v in stats[label])
            if area < math.pi * p.pupil_radius[0] ** 2 * 0.6:
                continue
            part = np.where(labels[y0 : y0 + h, x0 : x0 + w] == label, depth[y0 : y0 + h, x0 : x0 + w], 0.0)
            top = float(part.max())
            if not p.pupil_radius[0] * 0.8 <= top <= p.pupil_radius[1]:
                continue
            ys, xs = np.nonzero(part > 0.6 * top)
            blobs.append((x0 + float(xs.mean()), y0 + float(ys.mean()), top))
    return blobs


def _without_holes(binary: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Holes (reflections that were not bright enough to be filled) closed, by flooding the background from a corner."""
    flooded = binary.copy()
    cv2.floodFill(flooded, None, (0, 0), 2)
    return np.asarray(flooded != 2, np.uint8)


@kernel
def _ring(
    gx: Picture, gy: Picture, x: float, y: float, r: float, clip: float, cos: Picture, sin: Picture
) -> tuple[float, float]:
    """Mean clipped radial gradient along a circle, and the share of it that is positive; outside counts as 0."""
    total = 0.0
    positive = 0
    for a in range(cos.shape[0]):
        px, py = int(x + r * cos[a] + 0.5), int(y + r * sin[a] + 0.5)
        if 0 <= px < gx.shape[1] and 0 <= py < gx.shape[0]:
            g = gx[py, px] * cos[a] + gy[py, px] * sin[a]
            total += min(max(g, -clip), clip)
            positive += g > 0.5
    return total / cos.shape[0], positive / cos.shape[0]


@kernel
def _refine_pupil(
    gx: Picture,
    gy: Picture,
    x: float,
    y: float,
    r: float,
    least: float,
    greatest: float,
    clip: float,
    cos: Picture,
    sin: Picture,
) -> tuple[float, float, float, float, float]:
    """The circle of strongest outward brightening near a blob: x, y, radius, edge, positive share."""
    best = (x, y, r, -1e9, 0.0)
    reach = max(3, int(0.25 * r))
    for coarse in (True, False):
        cx, cy, cr = best[0], best[1], best[2]
        step = max(1, reach // 3) if coarse else 1
        span = reach if coarse else max(1, reach // 3)
        low = max(least, 0.8 * cr) if coarse else max(least, cr - 2)
        high = min(greatest, 1.5 * cr + 3) if coarse else min(greatest, cr + 2)
        for dy in range(-span, span + 1, step):
            for dx in range(-span, span + 1, step):
                radius = low
                while radius <= high:
                    edge, share = _ring(gx, gy, cx + dx, cy + dy, radius, clip, cos, sin)
                    if edge > best[3]:
                        best = (cx + dx, cy + dy, radius, edge, share)
                    radius += 1.0
    return best


def _blob_score(
    filled: NDArray[np.uint8], pupil: tuple[float, float, float, float, float], p: IrisExtractionParameters
) -> float:
    """How like a pupil: a strong edge all round, evenly dark inside, not at the picture's rim."""
    x, y, r, edge, share = pupil
    height, width = filled.shape
    inside = _disc(filled, x, y, 0.85 * r)
    if inside.size < 20 or edge <= 0:
        return 0.0
    spread = float(np.std(inside))
    off = math.hypot((x - width / 2) / width, (y - height / 2) / height)
    return edge * share**2 / (4.0 + spread) * math.exp(-0.5 * (off / 0.35) ** 2)


def _disc(picture: NDArray[np.uint8], x: float, y: float, r: float) -> NDArray[np.uint8]:
    """The pixels of a disc, 1-d."""
    height, width = picture.shape
    x0, x1 = max(0, int(x - r)), min(width, int(x + r) + 2)
    y0, y1 = max(0, int(y - r)), min(height, int(y + r) + 2)
    ys, xs = np.mgrid[y0:y1, x0:x1]
    return np.asarray(picture[y0:y1, x0:x1][(xs - x) ** 2 + (ys - y) ** 2 <= r * r], np.uint8)


def _follow(
    filled: NDArray[np.uint8], pupil: tuple[float, float, float, float, float, float], p: IrisExtractionParameters
) -> EyeCircles | None:
    """The best limbus round a pupil, and the joint score of the two."""
    x, y, r, edge, share, blob = pupil
    low = max(p.iris_radius[0], 1.3 * r)
    high = min(p.iris_radius[1], 6.0 * r, 0.62 * max(filled.shape))
    if high - low < 3 or edge <= 0:
        return None
    limbus_x, limbus_y, limbus_r, limbus_edge, value = _search_limbus(
        *gradients(paint_pupil(filled, Circle(x, y, r)), float(np.clip(0.1 * r, 2.5, 4.0))), x, y, r, low, high, p
    )
    if limbus_edge <= 0:
        return None
    small = math.exp(-0.5 * (math.log(limbus_r / p.small_iris) / 0.35) ** 2) if limbus_r < p.small_iris else 1.0
    score = small * (value + 0.5 * edge * share + 20.0 * blob)
    return EyeCircles(Circle(x, y, r), Circle(limbus_x, limbus_y, limbus_r), edge, limbus_edge, share, score)


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


def _search_limbus(
    gx: Picture, gy: Picture, x: float, y: float, r: float, low: float, high: float, p: IrisExtractionParameters
) -> tuple[float, float, float, float, float]:
    arc = np.radians(np.linspace(-p.lateral_up, p.lateral_down, 25))
    cos, sin = np.cos(arc).astype(np.float32), np.sin(arc).astype(np.float32)
    constants = (p.gradient_clip, p.ratio_low, p.ratio_high, p.centre_across * r, p.centre_down * r)
    best = _limbus_kernel(gx, gy, x, y, r, x, y, 0.75 * r, 0.45 * r, 3.0, low, high, 2.0, cos, sin, *constants)
    return _limbus_kernel(
        gx, gy, x, y, r, best[0], best[1], 3.0, 3.0, 1.0, max(low, best[2] - 3), best[2] + 3, 1.0, cos, sin, *constants
    )


@kernel
def _limbus_kernel(
    gx: Picture,
    gy: Picture,
    pupil_x: float,
    pupil_y: float,
    pupil_r: float,
    x: float,
    y: float,
    span_x: float,
    span_y: float,
    step: float,
    low: float,
    high: float,
    step_r: float,
    cos: Picture,
    sin: Picture,
    clip: float,
    ratio_low: float,
    ratio_high: float,
    spread_x: float,
    spread_y: float,
) -> tuple[float, float, float, float, float]:
    """Greatest lateral edge times priors over centres near (x, y) and radii: x, y, radius, edge, edge times priors."""
    best = (x, y, low, 0.0, 0.0)
    height, width = gx.shape
    angles = cos.shape[0]
    ny, nx = int(span_y / step), int(span_x / step)
    for iy in range(-ny, ny + 1):
        cy = y + iy * step
        for ix in range(-nx, nx + 1):
            cx = x + ix * step
            offset = ((cx - pupil_x) / spread_x) ** 2 + ((cy - pupil_y) / spread_y) ** 2
            prior_centre = np.exp(-0.5 * offset)
            radius = low
            while radius <= high:
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
                ratio = radius / pupil_r
                prior = prior_centre
                if ratio < ratio_low:
                    prior *= np.exp(-0.5 * (np.log(ratio / ratio_low) / 0.1) ** 2)
                elif ratio > ratio_high:
                    prior *= np.exp(-0.5 * (np.log(ratio / ratio_high) / 0.15) ** 2)
                if edge * prior > best[4]:
                    best = (cx, cy, radius, edge, edge * prior)
                radius += step_r
    return best
