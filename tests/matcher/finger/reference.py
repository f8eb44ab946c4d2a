"""The slow and obvious way: cylinders and LGS-R written from the paper's formulas, without numba or shortcuts."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from matcher.finger.parameters import ComparisonParameters, CylinderParameters
from matcher.templates import FingerTemplate


def difference(a: float, b: float) -> float:
    """a - b as an angle of -pi..pi."""
    return math.remainder(a - b, 2.0 * math.pi)


def minutiae(template: FingerTemplate, p: CylinderParameters) -> list[tuple[float, float, float]]:
    """(x, y, theta) of the best minutiae in the frame with y down, in the template's order."""
    ranked = sorted(range(len(template)), key=lambda i: (-int(template.quality[i]), i))
    chosen = sorted(ranked[: p.max_minutiae])
    theta = -template.angle_radians
    return [(float(template.x[i]), float(template.y[i]), float(theta[i])) for i in chosen]


def cylinder(m: int, points: list[tuple[float, float, float]], p: CylinderParameters) -> NDArray[np.bool_]:
    """bool[layers, cells, cells] of minutia ``m``: [MCC] equations 1-11 and the bit version."""
    mx, my, mt = points[m]
    bits = np.zeros((p.layers, p.cells, p.cells), np.bool_)
    side = 2.0 * p.radius / p.cells
    height = 2.0 * math.pi / p.layers
    for i in range(p.cells):
        for j in range(p.cells):
            u, v = (i + 1 - (p.cells + 1) / 2) * side, (j + 1 - (p.cells + 1) / 2) * side
            x, y = mx + math.cos(mt) * u - math.sin(mt) * v, my + math.sin(mt) * u + math.cos(mt) * v
            if math.hypot(u, v) > p.radius:
                continue
            for k in range(p.layers):
                centre = -math.pi + (k + 0.5) * height
                total = 0.0
                for t, (tx, ty, tt) in enumerate(points):
                    d = math.hypot(tx - x, ty - y)
                    if t == m or d > 3.0 * p.sigma_s:
                        continue
                    spatial = math.exp(-d * d / (2 * p.sigma_s**2)) / (p.sigma_s * math.sqrt(2 * math.pi))
                    alpha = difference(centre, difference(mt, tt))
                    upper, lower = alpha + height / 2, alpha - height / 2
                    scale = p.sigma_d * math.sqrt(2)
                    total += spatial * 0.5 * (math.erf(upper / scale) - math.erf(lower / scale))
                bits[k, i, j] = total > p.threshold
    return bits


def similarity(a: NDArray[np.bool_], b: NDArray[np.bool_], turn: float, p: ComparisonParameters) -> float:
    """Similarity of two cylinders whose minutiae differ by ``turn`` in direction: float32, cut to 1/524287."""
    both = np.sqrt(np.float32(a.sum())) + np.sqrt(np.float32(b.sum()))
    if abs(turn) > p.max_turn or both == 0:
        return 0.0
    different = np.sqrt(np.float32((a ^ b).sum()))
    exact = np.float32(np.float32(1.0) - different / both)
    return int(np.float32(exact * np.float32(524287))) / 524287


def score(
    points_a: list[tuple[float, float, float]],
    cylinders_a: list[NDArray[np.bool_]],
    points_b: list[tuple[float, float, float]],
    cylinders_b: list[NDArray[np.bool_]],
    p: ComparisonParameters,
) -> float:
    """LGS-R of two prints."""
    n_a, n_b = len(points_a), len(points_b)
    fewest = min(n_a, n_b)
    if fewest < p.min_minutiae:
        return 0.0
    table = [
        (similarity(cylinders_a[i], cylinders_b[j], difference(points_a[i][2], points_b[j][2]), p), i, j)
        for i in range(n_a)
        for j in range(n_b)
    ]
    pairs: list[tuple[int, int]] = []
    first: list[float] = []
    for value, i, j in sorted(table, key=lambda entry: (-entry[0], entry[1], entry[2])):
        if value > 0 and all(i != r and j != c for r, c in pairs):
            pairs.append((i, j))
            first.append(float(value))

    def factor(which: int, d: float) -> float:
        value = 1.0 / (1.0 + math.exp(-p.tau[which] * (d - p.mu[which])))
        return value if value >= p.floor else 0.0

    def compatibility(t: int, k: int) -> float:
        (ax, ay, at), (bx, by, bt) = points_a[pairs[t][0]], points_b[pairs[t][1]]
        (cx, cy, ct), (dx, dy, dt) = points_a[pairs[k][0]], points_b[pairs[k][1]]
        d1 = abs(math.hypot(cx - ax, cy - ay) - math.hypot(dx - bx, dy - by))
        d2 = abs(difference(difference(at, ct), difference(bt, dt)))
        radial_a = difference(at, math.atan2(cy - ay, cx - ax))
        radial_b = difference(bt, math.atan2(dy - by, dx - bx))
        return factor(0, d1) * factor(1, d2) * factor(2, abs(difference(radial_a, radial_b)))

    n = len(pairs)
    rho = [[compatibility(t, k) if t != k else 0.0 for k in range(n)] for t in range(n)]
    current = list(first)
    for _ in range(p.iterations):
        current = [
            p.keep * current[t] + (1 - p.keep) * sum(rho[t][k] * current[k] for k in range(n)) / (fewest - 1)
            for t in range(n)
        ]
    n_p = p.pairs(fewest)
    # What a pair kept is cut to 2^-20; of pairs that kept the same, the more similar ones come first.
    best = sorted(range(n), key=lambda t: -int(current[t] / first[t] * 2**20))[:n_p]
    return sum(current[t] for t in best) / n_p
