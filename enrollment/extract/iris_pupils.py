"""Where pupils may be: dark round blobs, and centres that many edges point away from.

Blobs fail where a pupil melts into lashes; the vote of the gradients (after G. Loy & A. Zelinsky, "Fast Radial
Symmetry for Detecting Points of Interest", PAMI 25(8), 2003) fails where lids hide most of the rim. Together they
seldom do. Each candidate is sharpened with an integro-differential operator (J. Daugman, PAMI 15(11), 1993).
"""

from __future__ import annotations

import dataclasses
import itertools
import math

import cv2
import numpy as np
from numpy.typing import NDArray

from enrollment.extract.iris_geometry import Circle
from enrollment.extract.iris_gradients import Picture, gradients
from enrollment.extract.iris_parameters import IrisExtractionParameters
from matcher.compiled import kernel


@dataclasses.dataclass(frozen=True)
class PupilCandidate:
    """A circle that may be a pupil.

    Attributes:
        circle: where it is.
        edge: mean clipped outward gradient along it, grey levels a pixel, its top counting for less.
        share: share of the circle that grows brighter outwards, 0-1.
        score: how like a pupil it is, by itself.
        grey: mean grey level inside.
    """

    circle: Circle
    edge: float
    share: float
    score: float
    grey: float


_TURN = np.arange(48) * (2.0 * np.pi / 48)
_COS, _SIN = np.cos(_TURN).astype(np.float32), np.sin(_TURN).astype(np.float32)


def find_pupils(
    filled: NDArray[np.uint8], glints: NDArray[np.bool_], p: IrisExtractionParameters
) -> list[PupilCandidate]:
    """At most ``pupil_candidates`` candidates, the likeliest first, no two of them nearly the same circle.

    Args:
        filled: uint8[height, width], longer side at most ``coarse_side``, glints painted over.
        glints: bool[height, width], where they were.
    """
    gx, gy = _gradients_beside(filled, glints)
    half = cv2.resize(filled, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA).astype(np.uint8)
    places = _distinct(
        [(2 * x + 0.5, 2 * y + 0.5, 2 * r) for x, y, r in _dark_blobs(half, p) + _symmetric_places(half, p)]
    )
    weights = _rim_weights(p)
    found = []
    for x, y, r in places:
        x, y, r, edge, share = _refine_pupil(
            gx, gy, x, y, r, p.pupil_radius[0], p.pupil_radius[1], p.gradient_clip, _COS, _SIN, weights
        )
        circle = Circle(x, y, r)
        score, grey = _score(filled, circle, edge, share)
        found.append(PupilCandidate(circle, edge, share, score, grey))
    found.sort(key=lambda candidate: -candidate.score)
    kept: list[PupilCandidate] = []
    for candidate in found:
        if all(not _alike(candidate.circle, other.circle) for other in kept):
            kept.append(candidate)
        if len(kept) == p.pupil_candidates:
            break
    return kept


def rim(
    filled: NDArray[np.uint8], glints: NDArray[np.bool_], circle: Circle, p: IrisExtractionParameters
) -> tuple[float, float]:
    """Edge and share, as of a candidate, of any circle in a coarse picture."""
    gx, gy = _gradients_beside(filled, glints)
    edge, share = _ring(
        gx, gy, circle.x, circle.y, circle.radius, p.gradient_clip, _COS, _SIN, _rim_weights(p), -math.inf
    )
    return float(edge), float(share)


def _gradients_beside(filled: NDArray[np.uint8], glints: NDArray[np.bool_]) -> tuple[Picture, Picture]:
    """Derivatives, 0 at glints: the rim of what was painted over is nobody's edge."""
    gx, gy = gradients(filled, 1.5)
    gx[glints] = 0.0
    gy[glints] = 0.0
    return gx, gy


def _alike(one: Circle, other: Circle) -> bool:
    distance = math.hypot(one.x - other.x, one.y - other.y)
    return distance + abs(one.radius - other.radius) <= 0.25 * other.radius + 2.0


def _distinct(places: list[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    """Without those that refinement would lead to the same circle as an earlier one."""
    kept: list[tuple[float, float, float]] = []
    for x, y, r in places:
        if all(math.hypot(x - a, y - b) > 0.12 * c + 1.0 or abs(r - c) > 0.12 * c + 1.0 for a, b, c in kept):
            kept.append((x, y, r))
    return kept


def _rim_weights(p: IrisExtractionParameters) -> Picture:
    """float32[48], how much each direction of the rim counts (mean 1): the top less, for lids and lashes hang there."""
    up = np.clip(-_SIN, 0.0, 1.0)
    weights = 1.0 - (1.0 - p.pupil_top_weight) * np.clip((up - 0.35) / 0.4, 0.0, 1.0)
    return np.asarray(weights / weights.mean(), np.float32)


def _dark_blobs(half: NDArray[np.uint8], p: IrisExtractionParameters) -> list[tuple[float, float, float]]:
    """Centres and radii of dark blobs at several thresholds; the distance transform's core sheds attached lashes."""
    smooth = cv2.medianBlur(half, 3)
    dark = float(np.percentile(smooth[1:-1, 1:-1], 0.3))
    least, greatest = 0.5 * p.pupil_radius[0], 0.5 * p.pupil_radius[1]
    element = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    blobs: list[tuple[float, float, float]] = []
    for step in p.pupil_thresholds:
        level = int(dark + step)
        if level > 200:
            break
        binary = np.asarray(cv2.morphologyEx((smooth < level).astype(np.uint8), cv2.MORPH_OPEN, element), np.uint8)
        binary[[0, -1], :] = 0
        binary[:, [0, -1]] = 0
        count, labels, stats, _ = cv2.connectedComponentsWithStats(binary, connectivity=4)
        if count < 2 or stats[1:, cv2.CC_STAT_AREA].max() < math.pi * least**2 * 0.6:
            continue
        depth = cv2.distanceTransform(_without_holes(binary), cv2.DIST_L2, 3)
        order = np.argsort(-stats[1:, cv2.CC_STAT_AREA])[:8] + 1
        for label in order[: count - 1]:
            x0, y0, w, h, area = (int(v) for v in stats[label])
            if area < math.pi * least**2 * 0.6:
                break
            part = np.where(labels[y0 : y0 + h, x0 : x0 + w] == label, depth[y0 : y0 + h, x0 : x0 + w], 0.0)
            top = float(part.max())
            if not 0.8 * least <= top <= greatest:
                continue
            ys, xs = np.nonzero(part > 0.6 * top)
            blobs.append((x0 + float(xs.mean()), y0 + float(ys.mean()), top))
    return blobs


def _without_holes(binary: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Holes (reflections that were not bright enough to be filled) closed, by flooding the background from a corner."""
    flooded = binary.copy()
    cv2.floodFill(flooded, None, (0, 0), 2)
    return np.asarray(flooded != 2, np.uint8)


def _symmetric_places(half: NDArray[np.uint8], p: IrisExtractionParameters) -> list[tuple[float, float, float]]:
    """Peaks of the vote of the gradients, for small and for large pupils apart."""
    gx, gy = gradients(half, 1.0)
    places = []
    edges = (0.5 * p.pupil_radius[0], 9.0, 18.0, 0.5 * p.pupil_radius[1])
    for least, greatest in itertools.pairwise(edges):
        votes = cv2.GaussianBlur(_vote(gx, gy, least, greatest, p.gradient_clip), (0, 0), 1.5)
        for _ in range(p.symmetry_peaks):
            _, top, _, (x, y) = cv2.minMaxLoc(votes)
            if top <= 0:
                break
            places.append((float(x), float(y), 0.5 * (least + greatest)))
            cv2.circle(votes, (x, y), int(least) + 1, 0.0, -1)
    return places


@kernel
def _vote(gx: Picture, gy: Picture, least: float, greatest: float, clip: float) -> Picture:
    """float32[height, width]: every edge votes, by its clipped strength, for centres of dark discs it may bound."""
    height, width = gx.shape
    votes = np.zeros((height, width), np.float32)
    for y in range(height):
        for x in range(width):
            g = np.sqrt(gx[y, x] ** 2 + gy[y, x] ** 2)
            if g < 2.0:
                continue
            ux, uy = gx[y, x] / g, gy[y, x] / g
            r = least
            while r <= greatest:
                px, py = int(x - r * ux + 0.5), int(y - r * uy + 0.5)
                if 0 <= px < width and 0 <= py < height:
                    votes[py, px] += min(g, clip) / r
                r += 1.0
    return votes


@kernel
def _ring(
    gx: Picture,
    gy: Picture,
    x: float,
    y: float,
    r: float,
    clip: float,
    cos: Picture,
    sin: Picture,
    weights: Picture,
    least: float,
) -> tuple[float, float]:
    """Weighted mean of the clipped radial gradient along a circle, share of it above 0.5; outside counts as 0.

    Minus infinity and 0 where the mean, as is plain before the circle is closed, stays below ``least``.
    """
    total = 0.0
    left = float(cos.shape[0])  # of the weights
    positive = 0
    for a in range(cos.shape[0]):
        # A hundredth is far more than rounding may lose.
        if a % 8 == 0 and total + left * clip + 0.01 < least * cos.shape[0]:
            return -np.inf, 0.0
        left -= weights[a]
        px, py = int(x + r * cos[a] + 0.5), int(y + r * sin[a] + 0.5)
        if 0 <= px < gx.shape[1] and 0 <= py < gx.shape[0]:
            g = gx[py, px] * cos[a] + gy[py, px] * sin[a]
            total += weights[a] * min(max(g, -clip), clip)
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
    weights: Picture,
) -> tuple[float, float, float, float, float]:
    """The circle of strongest outward brightening near a place: x, y, radius, edge, positive share."""
    best = (x, y, r, -1e9, 0.0)
    reach = max(3, int(0.25 * r))
    for coarse in (True, False):
        cx, cy, cr = best[0], best[1], best[2]
        step = max(1, reach // 3) if coarse else 1
        span = reach if coarse else max(1, reach // 3)
        low = max(least, 0.6 * cr) if coarse else max(least, cr - 2)
        high = min(greatest, 1.5 * cr + 3) if coarse else min(greatest, cr + 2)
        for dy in range(-span, span + 1, step):
            for dx in range(-span, span + 1, step):
                radius = low
                while radius <= high:
                    edge, share = _ring(gx, gy, cx + dx, cy + dy, radius, clip, cos, sin, weights, best[3])
                    if edge > best[3]:
                        best = (cx + dx, cy + dy, radius, edge, share)
                    radius += 1.0
    return best


def _score(filled: NDArray[np.uint8], circle: Circle, edge: float, share: float) -> tuple[float, float]:
    """How like a pupil (a strong edge all round, evenly dark inside, not at the picture's rim), and its grey level."""
    height, width = filled.shape
    inside = _disc(filled, circle.x, circle.y, 0.85 * circle.radius)
    if inside.size < 20 or edge <= 0:
        return 0.0, 0.0
    off = math.hypot((circle.x - width / 2) / width, (circle.y - height / 2) / height)
    like = edge * share**2 / (4.0 + float(np.std(inside))) * math.exp(-0.5 * (off / 0.35) ** 2)
    return like, float(np.mean(inside))


def _disc(picture: NDArray[np.uint8], x: float, y: float, r: float) -> NDArray[np.uint8]:
    """The pixels of a disc, 1-d."""
    height, width = picture.shape
    x0, x1 = max(0, int(x - r)), min(width, int(x + r) + 2)
    y0, y1 = max(0, int(y - r)), min(height, int(y + r) + 2)
    dx = np.arange(x0, x1) - x
    dy = np.arange(y0, y1)[:, None] - y
    return np.asarray(picture[y0:y1, x0:x1][dx * dx + dy * dy <= r * r], np.uint8)
