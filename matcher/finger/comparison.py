"""1:1 comparison of fingerprints: local greedy similarity with relaxation (LGS-R) of bit cylinders.

Steps (sources and numbers in ``parameters.ComparisonParameters``):
    1. similarity of every pair of cylinders, 1 - |a xor b| / (|a| + |b|) with |.| the root of the count of bits, 0
       where the directions differ by more than a quarter turn;
    2. greedy one-to-one assignment: the most similar pair, then the most similar of what is left, and so on;
    3. relaxation: each pair is re-weighted by how well it agrees with every other in distance, direction and radial
       angle, some times over;
    4. the n_P pairs that kept most of their similarity are averaged; the sum is divided by n_P even if there are fewer.

The pair is put into one order first (fewer minutiae first, then by key), so the score does not depend on who is probe.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from matcher.compiled import kernel, popcount
from matcher.errors import ModelMismatch
from matcher.finger.cylinders import TURN, PreparedFinger, prepare_finger
from matcher.finger.parameters import FINGER_ALGORITHM, MINDTCT_ALGORITHM, ComparisonParameters, CylinderParameters
from matcher.positions import Modality
from matcher.templates import FingerTemplate, Template


@dataclasses.dataclass(frozen=True, eq=False)
class FingerRows:
    """Prepared fingers one behind the other, as the batch kernel reads them.

    Attributes:
        bits: uint64[m, 6]; x, y: float32[m]; angle: int16[m]: all minutiae of all fingers (see ``PreparedFinger``).
        start, count: int64[s], int32[s], where the minutiae of each finger begin, and how many.
        key: uint64[s], see ``PreparedFinger``.
    """

    bits: NDArray[np.uint64]
    x: NDArray[np.float32]
    y: NDArray[np.float32]
    angle: NDArray[np.int16]
    start: NDArray[np.int64]
    count: NDArray[np.int32]
    key: NDArray[np.uint64]


class FingerComparator:
    """Compares fingers 1:1; thread-safe. Scores lie within 0 and 1; unrelated fingers reach about 0.03."""

    modality = Modality.FINGER
    algorithms: frozenset[str] = frozenset({FINGER_ALGORITHM, MINDTCT_ALGORITHM})

    def __init__(
        self, cylinders: CylinderParameters | None = None, comparison: ComparisonParameters | None = None
    ) -> None:
        self.cylinders = cylinders or CylinderParameters()
        self.comparison = comparison or ComparisonParameters()
        p = self.comparison
        most = self.cylinders.max_minutiae
        self.roots = np.sqrt(np.arange(self.cylinders.bits + 1)).astype(np.float32)
        self._pairs = np.array([p.pairs(n) for n in range(most + 1)], np.int64)
        self._gates = np.array([p.gate(i) for i in range(3)])
        self._mu = np.array(p.mu)
        self._tau = np.array(p.tau)
        self.turn = round(p.max_turn * TURN / (2.0 * math.pi))

    def prepare(self, template: Template) -> PreparedFinger:
        """Builds the cylinders.

        Raises:
            ModelMismatch: not a finger template, or of another algorithm.
        """
        if not isinstance(template, FingerTemplate) or template.algorithm not in self.algorithms:
            raise ModelMismatch(
                f"a {template.modality} template of {template.algorithm!r} cannot be compared by this comparator "
                f"({', '.join(sorted(self.algorithms))}); extract the sample again"
            )
        return prepare_finger(template, self.cylinders)

    def compare(self, probe: PreparedFinger, reference: PreparedFinger) -> float:
        """The score of two prepared fingers; 0 where either has fewer than three minutiae."""
        rows = FingerRows(
            reference.bits,
            reference.x,
            reference.y,
            reference.angle,
            np.zeros(1, np.int64),
            np.array([len(reference)], np.int32),
            np.array([reference.key], np.uint64),
        )
        return float(self.compare_rows(probe, rows, np.zeros(1, np.int64))[0])

    def compare_rows(self, probe: PreparedFinger, rows: FingerRows, slots: NDArray[np.int64]) -> NDArray[np.float64]:
        """Scores, float64[n], of a probe against the fingers at ``slots`` of ``rows``; NaN where a slot is negative."""
        p = self.comparison
        return _compare_many(
            probe.bits,
            probe.x,
            probe.y,
            probe.angle,
            np.uint64(probe.key),
            rows.bits,
            rows.x,
            rows.y,
            rows.angle,
            rows.start,
            rows.count,
            rows.key,
            slots,
            self.roots,
            self.turn,
            self._pairs,
            self._gates,
            self._mu,
            self._tau,
            p.min_minutiae,
            p.iterations,
            p.keep,
        )


@kernel
def _similarities(
    bits_a: NDArray[np.uint64],
    angle_a: NDArray[np.int16],
    bits_b: NDArray[np.uint64],
    angle_b: NDArray[np.int16],
    roots: NDArray[np.float32],
    turn: int,
    norm: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Fills out[:n_a, :n_b] with the similarities of all pairs of cylinders. ``norm`` is scratch, float32[>= n_b]."""
    words = bits_a.shape[1]
    for j in range(bits_b.shape[0]):
        total = np.uint64(0)
        for w in range(words):
            total += popcount(bits_b[j, w])
        norm[j] = roots[total]
    for i in range(bits_a.shape[0]):
        total = np.uint64(0)
        for w in range(words):
            total += popcount(bits_a[i, w])
        own = roots[total]
        for j in range(bits_b.shape[0]):
            between = (np.int64(angle_a[i]) - np.int64(angle_b[j]) + turn) & 0xFFFF
            both = own + norm[j]
            if between > 2 * turn or both <= np.float32(0.0):
                out[i, j] = np.float32(0.0)
                continue
            different = np.uint64(0)
            for w in range(words):
                different += popcount(bits_a[i, w] ^ bits_b[j, w])
            out[i, j] = np.float32(1.0) - roots[different] / both


@kernel
def _assign(
    similarity: NDArray[np.float32],
    n_a: int,
    n_b: int,
    best: NDArray[np.float32],
    choice: NDArray[np.int64],
    free: NDArray[np.bool_],
    row: NDArray[np.int64],
    column: NDArray[np.int64],
) -> int:
    """Greedy one-to-one assignment; writes row and column of the pairs in the order taken and returns their number.

    Exactly the order of sorting all pairs by similarity (ties: lower row, then lower column): each row remembers its
    best free column, and looks again only when that one is taken.
    """
    for j in range(n_b):
        free[j] = True
    for i in range(n_a):
        best[i] = np.float32(0.0)
        choice[i] = -1
        for j in range(n_b):
            if similarity[i, j] > best[i]:
                best[i] = similarity[i, j]
                choice[i] = j
    pairs = 0
    while True:
        top = -1
        value = np.float32(0.0)
        for i in range(n_a):
            if best[i] > value:
                value = best[i]
                top = i
        if top < 0:
            return pairs
        taken = choice[top]
        row[pairs] = top
        column[pairs] = taken
        pairs += 1
        free[taken] = False
        best[top] = np.float32(0.0)
        choice[top] = -1
        for i in range(n_a):
            if choice[i] == taken:
                best[i] = np.float32(0.0)
                choice[i] = -1
                for j in range(n_b):
                    if free[j] and similarity[i, j] > best[i]:
                        best[i] = similarity[i, j]
                        choice[i] = j


@kernel
def _wrap(angle: float) -> float:
    """To -pi..pi, for angles within -3 pi..3 pi."""
    if angle > math.pi:
        return angle - 2.0 * math.pi
    if angle < -math.pi:
        return angle + 2.0 * math.pi
    return angle


@kernel
def _score(
    bits_a: NDArray[np.uint64],
    x_a: NDArray[np.float32],
    y_a: NDArray[np.float32],
    angle_a: NDArray[np.int16],
    bits_b: NDArray[np.uint64],
    x_b: NDArray[np.float32],
    y_b: NDArray[np.float32],
    angle_b: NDArray[np.int16],
    roots: NDArray[np.float32],
    turn: int,
    n_p: int,
    gates: NDArray[np.float64],
    mu: NDArray[np.float64],
    tau: NDArray[np.float64],
    iterations: int,
    keep: float,
    similarity: NDArray[np.float32],
    vectors: NDArray[np.float64],
    singles: NDArray[np.float32],
    places: NDArray[np.int64],
    free: NDArray[np.bool_],
    link: NDArray[np.int32],
    weight: NDArray[np.float64],
) -> float:
    """The score of two fingers of which the first has not more minutiae. The last seven arguments are scratch."""
    n_a, n_b = bits_a.shape[0], bits_b.shape[0]
    _similarities(bits_a, angle_a, bits_b, angle_b, roots, turn, singles[0], similarity)
    row, column = places[0], places[1]
    pairs = _assign(similarity, n_a, n_b, singles[1], places[2], free, row, column)
    first, current, following = vectors[0], vectors[1], vectors[2]
    turns = vectors[3]
    unit = 2.0 * math.pi / 65536.0
    for t in range(pairs):
        first[t] = similarity[row[t], column[t]]
        current[t] = first[t]
        between = (np.int64(angle_a[row[t]]) - np.int64(angle_b[column[t]]) + 32768) & 0xFFFF
        turns[t] = (between - 32768) * unit
    links = 0
    for t in range(pairs):
        for k in range(t):
            ax = np.float64(x_a[row[k]]) - x_a[row[t]]
            ay = np.float64(y_a[row[k]]) - y_a[row[t]]
            bx = np.float64(x_b[column[k]]) - x_b[column[t]]
            by = np.float64(y_b[column[k]]) - y_b[column[t]]
            d1 = abs(math.sqrt(ax * ax + ay * ay) - math.sqrt(bx * bx + by * by))
            if d1 > gates[0]:
                continue
            d2 = abs(_wrap(turns[t] - turns[k]))
            if d2 > gates[1]:
                continue
            # How far the line t-k is turned between the two prints; seen from t or from k it is the same angle.
            line = math.atan2(ay * bx - ax * by, ax * bx + ay * by)
            d3 = abs(_wrap(turns[t] - line))
            d3_back = abs(_wrap(turns[k] - line))
            common = 1.0 / ((1.0 + math.exp(-tau[0] * (d1 - mu[0]))) * (1.0 + math.exp(-tau[1] * (d2 - mu[1]))))
            if d3 <= gates[2]:
                link[links, 0], link[links, 1] = t, k
                weight[links] = common / (1.0 + math.exp(-tau[2] * (d3 - mu[2])))
                links += 1
            if d3_back <= gates[2]:
                link[links, 0], link[links, 1] = k, t
                weight[links] = common / (1.0 + math.exp(-tau[2] * (d3_back - mu[2])))
                links += 1
    share = (1.0 - keep) / (n_a - 1)
    for _ in range(iterations):
        for t in range(pairs):
            following[t] = keep * current[t]
        for s in range(links):
            following[link[s, 0]] += share * weight[s] * current[link[s, 1]]
        current, following = following, current
    efficiency = following
    for t in range(pairs):
        efficiency[t] = current[t] / first[t]
    total = 0.0
    for _ in range(min(n_p, pairs)):
        top = 0
        for t in range(1, pairs):
            if efficiency[t] > efficiency[top]:
                top = t
        total += current[top]
        efficiency[top] = -1.0
    return total / n_p


@kernel
def _compare_many(
    bits: NDArray[np.uint64],
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    angle: NDArray[np.int16],
    key: int | np.uint64,
    all_bits: NDArray[np.uint64],
    all_x: NDArray[np.float32],
    all_y: NDArray[np.float32],
    all_angle: NDArray[np.int16],
    start: NDArray[np.int64],
    count: NDArray[np.int32],
    keys: NDArray[np.uint64],
    slots: NDArray[np.int64],
    roots: NDArray[np.float32],
    turn: int,
    pairs: NDArray[np.int64],
    gates: NDArray[np.float64],
    mu: NDArray[np.float64],
    tau: NDArray[np.float64],
    min_minutiae: int,
    iterations: int,
    keep: float,
) -> NDArray[np.float64]:
    """A probe against many fingers; see ``FingerComparator.compare_rows``."""
    most = pairs.shape[0] - 1
    similarity = np.empty((most, most), np.float32)
    vectors = np.empty((4, most))
    singles = np.empty((2, most), np.float32)
    places = np.empty((3, most), np.int64)
    free = np.empty(most, np.bool_)
    link = np.empty((most * most, 2), np.int32)
    weight = np.empty(most * most)
    scores = np.empty(slots.shape[0])
    n = x.shape[0]
    for s in range(slots.shape[0]):
        slot = slots[s]
        if slot < 0:
            scores[s] = np.nan
            continue
        begin, m = start[slot], np.int64(count[slot])
        end = begin + m
        if min(n, m) < min_minutiae:
            scores[s] = 0.0
            continue
        n_p = pairs[min(n, m)]
        other_bits, other_x = all_bits[begin:end], all_x[begin:end]
        other_y, other_angle = all_y[begin:end], all_angle[begin:end]
        if n < m or (n == m and key <= keys[slot]):
            scores[s] = _score(
                bits, x, y, angle, other_bits, other_x, other_y, other_angle,
                roots, turn, n_p, gates, mu, tau, iterations, keep,
                similarity, vectors, singles, places, free, link, weight,
            )  # fmt: skip
        else:
            scores[s] = _score(
                other_bits, other_x, other_y, other_angle, bits, x, y, angle,
                roots, turn, n_p, gates, mu, tau, iterations, keep,
                similarity, vectors, singles, places, free, link, weight,
            )  # fmt: skip
    return scores
