"""The slow and obvious way: cylinders and LGS-R written from the paper's formulas, without numba or shortcuts; then the
second stage, step by step in whole numbers and float64."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
from numpy.typing import NDArray

from matcher.finger.cylinders import PreparedFinger
from matcher.finger.evidence import PairModel
from matcher.finger.parameters import AlignmentParameters, ComparisonParameters, CylinderParameters
from matcher.templates import FingerTemplate


def contributions(finger: PreparedFinger, p: CylinderParameters) -> NDArray[np.float64]:
    """float64[n, bits]: [MCC] equation 4 in the order and with the roundings in which calibrations were fitted."""
    n, cells, layers = len(finger), p.cells, p.layers
    x, y = finger.x.astype(np.float64).tolist(), finger.y.astype(np.float64).tolist()
    theta = (finger.angle.astype(np.float64) * (2.0 * math.pi / 65536)).tolist()
    result = np.zeros((n, cells * cells * layers))
    side, layer = 2.0 * p.radius / cells, 2.0 * math.pi / layers
    reach, scale = 3.0 * p.sigma_s, 1.0 / (p.sigma_d * math.sqrt(2.0))
    peak = 1.0 / (p.sigma_s * math.sqrt(2.0 * math.pi))
    for m in range(n):
        cos, sin = math.cos(theta[m]), math.sin(theta[m])
        for i, j in itertools.product(range(cells), range(cells)):
            u, v = (i - 0.5 * (cells - 1)) * side, (j - 0.5 * (cells - 1)) * side
            if u * u + v * v > p.radius * p.radius:
                continue
            cx, cy = x[m] + cos * u - sin * v, y[m] + sin * u + cos * v
            for t in range(n):
                dx, dy = x[t] - cx, y[t] - cy
                d2 = dx * dx + dy * dy
                if t == m or d2 > reach * reach:
                    continue
                spatial = peak * math.exp(-d2 / (2.0 * p.sigma_s * p.sigma_s))
                for k in range(layers):
                    a = -math.pi + (k + 0.5) * layer - (theta[m] - theta[t])
                    a -= 2.0 * math.pi * math.floor((a + math.pi) / (2.0 * math.pi))
                    directional = 0.5 * (math.erf((a + 0.5 * layer) * scale) - math.erf((a - 0.5 * layer) * scale))
                    result[m, (k * cells + i) * cells + j] += spatial * directional
    return result


def sums_of_residuals(
    described: NDArray[np.float32], middle: NDArray[np.float32], reduce: NDArray[np.float32],
    words: NDArray[np.float32], nearest: int, softness: float,
) -> NDArray[np.float32]:  # fmt: skip
    """Steps 2 and 3 of ``vector`` in float32, whole arrays at a time, as when the vectors on record were made."""
    reduced = (described - middle) @ reduce
    squares = np.einsum("wd,wd->w", words, words)
    distance = np.einsum("nd,nd->n", reduced, reduced)[:, None] - 2.0 * (reduced @ words.T) + squares
    near = np.argpartition(distance, nearest - 1, axis=1)[:, :nearest]
    chosen = np.take_along_axis(distance, near, axis=1)
    share = np.exp(-(chosen - chosen.min(axis=1, keepdims=True)) / softness)
    weight = np.zeros_like(distance)
    np.put_along_axis(weight, near, share / share.sum(axis=1, keepdims=True), axis=1)
    sums = weight.T @ reduced - weight.sum(axis=0)[:, None] * words
    sums = np.sign(sums) * np.sqrt(np.abs(sums))
    sums /= np.sqrt(np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12))
    flat = sums.ravel()
    return np.asarray(flat / max(float(np.linalg.norm(flat)), 1e-12), np.float32)


Points = list[tuple[float, float, float]]
"""(x, y, theta) of minutiae, y down."""


def difference(a: float, b: float) -> float:
    """a - b as an angle of -pi..pi."""
    return math.remainder(a - b, 2.0 * math.pi)


def minutiae(template: FingerTemplate, p: CylinderParameters) -> Points:
    """(x, y, theta) of the best minutiae in the frame with y down, in the template's order."""
    ranked = sorted(range(len(template)), key=lambda i: (-int(template.quality[i]), i))
    chosen = sorted(ranked[: p.max_minutiae])
    theta = -template.angle_radians
    return [(float(template.x[i]), float(template.y[i]), float(theta[i])) for i in chosen]


def cylinder(m: int, points: Points, p: CylinderParameters) -> NDArray[np.bool_]:
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


def first_look(a: PreparedFinger, b: PreparedFinger, p: ComparisonParameters) -> float:
    """For each minutia of ``a`` the similarity of the likest cylinder of ``b``; the mean of the n_P largest, all in
    float32 and cut to 2^-19 as ``matcher.finger.first_look`` cuts it."""
    fewest = min(len(a), len(b))
    if fewest < p.min_minutiae:
        return 0.0
    bits = [np.unpackbits(f.bits.view(np.uint8), axis=1) for f in (a, b)]
    one = np.float32(1.0)
    likest = []
    for cylinder, angle in zip(bits[0], a.angle.tolist(), strict=True):
        least = one
        for other, toward in zip(bits[1], b.angle.tolist(), strict=True):
            turned = abs((toward - angle + 32768) % 65536 - 32768) * (2.0 * math.pi / 65536)
            if turned > p.max_turn or not cylinder.any():
                continue
            both = np.float32(math.sqrt(cylinder.sum())) + np.float32(math.sqrt(other.sum()))
            q = np.float32(int((cylinder ^ other).sum())) * (one / (both * both))
            least = min(least, q)
        likest.append(int((one - np.sqrt(least)) * np.float32(524287)))
    n_p = p.pairs(fewest)
    return float(np.float32(sum(sorted(likest)[-n_p:])) / (np.float32(n_p) * np.float32(524287)))


@dataclasses.dataclass
class Pairing:
    """What the fast stage finds: the pairs in the order they were made, their similarities, what the relaxation left,
    how far pair t agrees with pair k (rho[t][k]), all similarities, and LGS-R."""

    pairs: list[tuple[int, int]]
    first: list[float]
    final: list[float]
    rho: list[list[float]]
    similarities: dict[tuple[int, int], float]
    score: float


def score(
    points_a: Points,
    cylinders_a: list[NDArray[np.bool_]],
    points_b: Points,
    cylinders_b: list[NDArray[np.bool_]],
    p: ComparisonParameters,
) -> float:
    """LGS-R of two prints."""
    if min(len(points_a), len(points_b)) < p.min_minutiae:
        return 0.0
    return pairing(points_a, cylinders_a, points_b, cylinders_b, p).score


def pairing(
    points_a: Points,
    cylinders_a: list[NDArray[np.bool_]],
    points_b: Points,
    cylinders_b: list[NDArray[np.bool_]],
    p: ComparisonParameters,
) -> Pairing:
    """The fast stage."""
    n_a, n_b = len(points_a), len(points_b)
    fewest = min(n_a, n_b)
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
    similarities = {(i, j): value for value, i, j in table}
    return Pairing(pairs, first, current, rho, similarities, sum(current[t] for t in best) / n_p)


@dataclasses.dataclass
class Alignment:
    """Partners (minutia of the first print -> of the second) and the measures of ``alignment.MEASURES``."""

    mate: dict[int, int]
    measures: tuple[float, float, float, float, float]


def partners(
    points_a: Points,
    points_b: Points,
    turn: float,
    shift: tuple[float, float],
    centre: tuple[float, float],
    found: Pairing,
    p: AlignmentParameters,
) -> Alignment:
    """Who is whose closest when the first print is turned and shifted."""
    costs: dict[tuple[int, int], int] = {}
    inside_a, inside_b = set(), set()
    for i, (x, y, theta) in enumerate(points_a):
        u = math.cos(turn) * x - math.sin(turn) * y + shift[0]
        v = math.sin(turn) * x + math.cos(turn) * y + shift[1]
        reach = min(p.reach + p.stretch * math.dist((u, v), centre), p.most_reach)
        for j, (bx, by, other) in enumerate(points_b):
            d = math.dist((u, v), (bx, by))
            off = abs(difference(theta + turn, other))
            if d <= p.near:
                inside_a.add(i)
                inside_b.add(j)
            if d <= reach and off <= p.max_turn:
                costs[i, j] = int((d * d + (p.radian * off) ** 2) * 64)
    mate = {}
    for (i, j), cost in costs.items():
        in_row = min((c, k) for (r, k), c in costs.items() if r == i)
        in_column = min((c, r) for (r, k), c in costs.items() if k == j)
        if in_row == (cost, j) and in_column == (cost, i):
            mate[i] = j
    similar = sum(found.similarities[pair] for pair in mate.items())
    distance = sum(costs[pair] / 64 for pair in mate.items())
    return Alignment(mate, (len(mate), similar, distance, len(inside_a), len(inside_b)))


def motion(
    pairs: list[tuple[tuple[float, float], tuple[float, float]]], weights: list[float], extra: complex
) -> tuple[float, tuple[float, float]]:
    """Rotation and shift from a to b with least squares, in complex numbers; ``extra`` pulls the rotation."""
    w = np.array(weights)
    a = np.array([complex(*pair[0]) for pair in pairs])
    b = np.array([complex(*pair[1]) for pair in pairs])
    mean_a, mean_b = (w @ a) / w.sum(), (w @ b) / w.sum()
    turn = complex(w @ ((b - mean_b) * np.conj(a - mean_a)) + extra)
    turn /= abs(turn)
    shift = mean_b - turn * mean_a
    return math.atan2(turn.imag, turn.real), (shift.real, shift.imag)


def align(points_a: Points, points_b: Points, found: Pairing, p: AlignmentParameters) -> Alignment:
    """The best of some alignments."""
    best = Alignment({}, (0.0, -1.0, 0.0, 0.0, 0.0))
    n = len(found.pairs)
    places = [(points_a[i][:2], points_b[j][:2]) for i, j in found.pairs]
    for seed in sorted(range(n), key=lambda t: (-found.final[t], t))[: p.seeds]:
        support = [found.final[t] * (1.0 if t == seed else found.rho[seed][t]) for t in range(n)]
        turns = [points_b[j][2] - points_a[i][2] for i, j in found.pairs]
        pull = sum(w * 200.0 * complex(math.cos(t), math.sin(t)) for w, t in zip(support, turns, strict=True))
        turn, shift = motion(places, support, pull)
        for r in range(p.rounds):
            one = partners(points_a, points_b, turn, shift, points_b[found.pairs[seed][1]][:2], found, p)
            if r + 1 < p.rounds and len(one.mate) >= 2:
                matched = [(points_a[i][:2], points_b[j][:2]) for i, j in sorted(one.mate.items())]
                turn, shift = motion(matched, [1.0] * len(matched), 50.0 * complex(math.cos(turn), math.sin(turn)))
        if one.measures[1] > best.measures[1]:
            best = one
    return best


def features(found: Pairing, laid: Alignment) -> list[float]:
    """``evidence.FEATURES``."""
    count, similar, distance, inside_a, inside_b = laid.measures
    kept = sum(laid.mate.get(i) == j for i, j in found.pairs)
    return [
        math.log(max(found.score, 0.005)),
        math.log(max([0.005, *found.final])),
        math.log(1 + similar) if similar > 0 else 0.0,
        count / max(0.5 * (inside_a + inside_b), 1.0),
        -math.sqrt(distance / max(count, 1)),
        kept / max(len(found.pairs), 1),
    ]


def whole_score(found: Pairing, values: list[float], model: PairModel) -> float:
    """The score that leaves the comparator."""
    if found.score < model.gate:
        return found.score / model.gate
    evidence = model.offset + sum(w * v for w, v in zip(model.weights.tolist(), values, strict=True))
    return 1.0 + math.log(1.0 + math.exp(evidence))
