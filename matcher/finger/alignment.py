"""The second stage of the comparison: the prints laid upon each other, and what that says.

The pairs of the fast stage (``pairing``) that support each other give a rotation and a shift. Under it every minutia of
one print looks for its partner in the other, now by place and direction alone; the partners give a better rotation and
shift, and so on. What comes out is measured: how many partners there are among the minutiae that could have one, how
alike their cylinders are, how close they lie. (Consolidation of local matches: A. K. Jain, L. Hong, R. Bolle, "On-line
fingerprint verification", IEEE TPAMI 19 (1997) 302-314; D. Maltoni et al., "Handbook of Fingerprint Recognition",
section 4.3.)
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from matcher.compiled import kernel
from matcher.finger.cylinders import TURN
from matcher.finger.pairing import SIMILARITY_STEPS, WIDTH, PairingSpace
from matcher.finger.parameters import AlignmentParameters

_UNIT = np.float32(2.0 * math.pi / TURN)
_INDEX = WIDTH - 1
_NONE = np.int32(0x7FFFFFFF)
_SCALE = np.float32(64.0)
MEASURES = 5
"""How many numbers say what an alignment is worth: partners; the sum of their cylinders' similarities; the sum of
their squared distances (pixels; directions count too); minutiae of the first print that lie near any of the second;
minutiae of the second that lie near any of the first."""


class AlignmentTables(NamedTuple):
    """``AlignmentParameters``, as the kernels read them."""

    seeds: int
    rounds: int
    reach: float
    stretch: float
    most_reach: float
    turn: int
    radian: float
    near: float


def alignment_tables(p: AlignmentParameters) -> AlignmentTables:
    """The tables of some parameters."""
    return AlignmentTables(
        p.seeds, p.rounds, p.reach, p.stretch, p.most_reach, round(p.max_turn * TURN / (2 * math.pi)), p.radian, p.near
    )


class AlignmentSpace(NamedTuple):
    """Work space of one thread, and what the last alignment found; arrays are WIDTH long unless said otherwise.

    ``mate[i]`` is the minutia of the second print that minutia i of the first is laid upon, or -1; ``motion`` is the
    cosine, the sine and the shift (x, y) that lay the first print upon the second.
    """

    bx: NDArray[np.float32]
    by: NDArray[np.float32]
    angle: NDArray[np.int32]
    cost: NDArray[np.int32]
    squared: NDArray[np.float32]
    column: NDArray[np.int32]
    choice: NDArray[np.int32]
    near_b: NDArray[np.float32]
    inside_a: NDArray[np.int32]
    mate: NDArray[np.int32]
    best_mate: NDArray[np.int32]
    support: NDArray[np.float32]
    motion: NDArray[np.float64]  # [4]
    best_motion: NDArray[np.float64]  # [4]
    measures: NDArray[np.float64]  # [MEASURES]
    best_measures: NDArray[np.float64]


@kernel
def alignment_space() -> AlignmentSpace:
    """Fresh work space."""
    return AlignmentSpace(
        bx=np.zeros(WIDTH, np.float32),
        by=np.zeros(WIDTH, np.float32),
        angle=np.zeros(WIDTH, np.int32),
        cost=np.zeros(WIDTH, np.int32),
        squared=np.zeros(WIDTH, np.float32),
        column=np.zeros(WIDTH, np.int32),
        choice=np.zeros(WIDTH, np.int32),
        near_b=np.zeros(WIDTH, np.float32),
        inside_a=np.zeros(WIDTH, np.int32),
        mate=np.zeros(WIDTH, np.int32),
        best_mate=np.zeros(WIDTH, np.int32),
        support=np.zeros(WIDTH, np.float32),
        motion=np.zeros(4),
        best_motion=np.zeros(4),
        measures=np.zeros(MEASURES),
        best_measures=np.zeros(MEASURES),
    )


@kernel
def _load(
    x_b: NDArray[np.float32], y_b: NDArray[np.float32], angle_b: NDArray[np.int16], space: AlignmentSpace
) -> None:
    """Puts the second print into the work space; what lies behind its minutiae is far from everything."""
    n_b = x_b.shape[0]
    for j in range(n_b):
        space.bx[j], space.by[j], space.angle[j] = x_b[j], y_b[j], angle_b[j]
    for j in range(n_b, WIDTH):
        space.bx[j] = space.by[j] = np.float32(1e6)
        space.angle[j] = 0


@kernel
def _seed(seed: int, pairs: int, p: PairingSpace, space: AlignmentSpace) -> None:
    """The motion by the pairs that support pair ``seed``, weighted by how much they do."""
    support = space.support
    for t in range(pairs):
        support[t] = p.agree[t, seed] * p.final[t]
    support[seed] = p.final[seed]
    _fit(pairs, support, p.ax, p.ay, p.bx, p.by, p.turn, space.motion)


@kernel
def _fit(
    count: int,
    weight: NDArray[np.float32],
    ax: NDArray[np.float32],
    ay: NDArray[np.float32],
    bx: NDArray[np.float32],
    by: NDArray[np.float32],
    turn: NDArray[np.int32],
    motion: NDArray[np.float64],
) -> None:
    """Rotation and shift that bring a to b with least squares; each pair's difference of directions counts as well,
    as two points 20 pixels from each other would."""
    total, sax, say, sbx, sby = 0.0, 0.0, 0.0, 0.0, 0.0
    for t in range(count):
        w = weight[t]
        total += w
        sax += w * ax[t]
        say += w * ay[t]
        sbx += w * bx[t]
        sby += w * by[t]
    sax, say, sbx, sby = sax / total, say / total, sbx / total, sby / total
    along, across = 0.0, 0.0
    for t in range(count):
        w = np.float64(weight[t])
        if w > 0.0:
            dax, day, dbx, dby = ax[t] - sax, ay[t] - say, bx[t] - sbx, by[t] - sby
            # turn is the direction in a less that in b: the motion turns by minus that.
            angle = -turn[t] * (2.0 * math.pi / 65536.0)
            along += w * (dax * dbx + day * dby + 200.0 * math.cos(angle))
            across += w * (dax * dby - day * dbx + 200.0 * math.sin(angle))
    length = max(math.sqrt(along * along + across * across), 1e-12)
    cos, sin = along / length, across / length
    motion[0], motion[1] = cos, sin
    motion[2] = sbx - (cos * sax - sin * say)
    motion[3] = sby - (sin * sax + cos * say)


@kernel
def _partners(
    x_a: NDArray[np.float32],
    y_a: NDArray[np.float32],
    angle_a: NDArray[np.int16],
    n_b: int,
    centre_x: np.float32,
    centre_y: np.float32,
    p: PairingSpace,
    tables: AlignmentTables,
    space: AlignmentSpace,
) -> None:
    """Fills mate and measures under the present motion: partners are each other's closest."""
    motion, measures, mate = space.motion, space.measures, space.mate
    bx, by, angle, cost, squared = space.bx, space.by, space.angle, space.cost, space.squared
    column, choice, near_b, inside_a = space.column, space.choice, space.near_b, space.inside_a
    n_a = x_a.shape[0]
    cos, sin = np.float32(motion[0]), np.float32(motion[1])
    shift_x, shift_y = np.float32(motion[2]), np.float32(motion[3])
    turned = np.int32(round(math.atan2(motion[1], motion[0]) / _UNIT))
    most_turn = np.int32(tables.turn)
    per_unit = np.float32(tables.radian) * _UNIT
    near = np.float32(tables.near * tables.near)
    for j in range(WIDTH):
        column[j] = _NONE
        near_b[j] = np.float32(1e12)
    for i in range(n_a):
        px, py = cos * x_a[i] - sin * y_a[i] + shift_x, sin * x_a[i] + cos * y_a[i] + shift_y
        reach = np.float32(tables.reach) + np.float32(tables.stretch) * np.float32(
            math.sqrt((px - centre_x) ** 2 + (py - centre_y) ** 2)
        )
        reach = min(reach, np.float32(tables.most_reach))
        reach *= reach
        direction = np.int32(angle_a[i]) + turned + np.int32(32768)
        for j in range(WIDTH):
            dx, dy = bx[j] - px, by[j] - py
            squared[j] = dx * dx + dy * dy
        for j in range(WIDTH):
            near_b[j] = min(near_b[j], squared[j])
        inside = np.int32(0)
        for j in range(WIDTH):
            inside |= np.int32(squared[j] <= near)
        inside_a[i] = inside
        for j in range(WIDTH):
            between = abs(((direction - angle[j]) & np.int32(0xFFFF)) - np.int32(32768))
            off = np.float32(between) * per_unit
            value = np.int32(min(squared[j] + off * off, np.float32(1e5)) * _SCALE)
            usable = (squared[j] <= reach) & (between <= most_turn)
            cost[j] = ((value << np.int32(6)) | np.int32(j)) if usable else _NONE
        best = _NONE
        for j in range(WIDTH):
            best = min(best, cost[j])
        choice[i] = best
        for j in range(WIDTH):
            mine = (cost[j] | np.int32(_INDEX)) - np.int32(_INDEX - i) if cost[j] != _NONE else _NONE
            column[j] = min(column[j], mine)
    partners, similar, distance = 0.0, 0.0, 0.0
    first, second = 0.0, 0.0
    for i in range(n_a):
        mate[i] = -1
        first += inside_a[i]
        if choice[i] == _NONE:
            continue
        j = choice[i] & _INDEX
        if (column[j] & _INDEX) != i:
            continue
        mate[i] = j
        partners += 1.0
        similar += (p.keys[i, j] >> 12) / SIMILARITY_STEPS
        distance += (choice[i] >> 6) / 64.0
    for j in range(n_b):
        second += np.float64(near_b[j] <= near)
    measures[0], measures[1], measures[2] = partners, similar, distance
    measures[3], measures[4] = first, second


@kernel
def align(
    x_a: NDArray[np.float32],
    y_a: NDArray[np.float32],
    angle_a: NDArray[np.int16],
    x_b: NDArray[np.float32],
    y_b: NDArray[np.float32],
    angle_b: NDArray[np.int16],
    pairs: int,
    p: PairingSpace,
    tables: AlignmentTables,
    space: AlignmentSpace,
) -> None:
    """Lays the first print upon the second; ``pairs`` and ``p`` are what ``pairing.pair_up`` found for them.

    The best of some seeds by the sum of the partners' similarities is left in best_mate, best_motion, best_measures.
    """
    n_a, n_b = x_a.shape[0], x_b.shape[0]
    _load(x_b, y_b, angle_b, space)
    mate, best_measures = space.mate, space.best_measures
    for i in range(WIDTH):
        space.best_mate[i] = -1
    best_measures[:] = 0.0
    best_measures[1] = -1.0
    kept = np.float32(np.inf)
    last = -1
    for _ in range(min(tables.seeds, pairs)):
        # The next pair by what the relaxation left of it.
        seed, value = -1, np.float32(-1.0)
        for t in range(pairs):
            later = p.final[t] < kept or (p.final[t] == kept and t > last)
            if later and p.final[t] > value:
                seed, value = t, p.final[t]
        if seed < 0:
            break
        kept, last = value, seed
        _seed(seed, pairs, p, space)
        for r in range(tables.rounds):
            _partners(x_a, y_a, angle_a, n_b, p.bx[seed], p.by[seed], p, tables, space)
            if r + 1 < tables.rounds and space.measures[0] >= 2.0:
                _refit(n_a, x_a, y_a, angle_a, space)
        if space.measures[1] > best_measures[1]:
            best_measures[:] = space.measures
            space.best_motion[:] = space.motion
            space.best_mate[:] = mate


@kernel
def _refit(
    n_a: int,
    x_a: NDArray[np.float32],
    y_a: NDArray[np.float32],
    angle_a: NDArray[np.int16],
    space: AlignmentSpace,
) -> None:
    """The motion by the partners."""
    mate, motion = space.mate, space.motion
    total, sax, say, sbx, sby = 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(n_a):
        j = mate[i]
        if j >= 0:
            total += 1.0
            sax += x_a[i]
            say += y_a[i]
            sbx += space.bx[j]
            sby += space.by[j]
    sax, say, sbx, sby = sax / total, say / total, sbx / total, sby / total
    along, across = 0.0, 0.0
    for i in range(n_a):
        j = mate[i]
        if j >= 0:
            dax, day, dbx, dby = x_a[i] - sax, y_a[i] - say, space.bx[j] - sbx, space.by[j] - sby
            along += dax * dbx + day * dby
            across += dax * dby - day * dbx
    # Directions have little to say beside many places, but two partners in one place say nothing else.
    along += 50.0 * motion[0]
    across += 50.0 * motion[1]
    length = max(math.sqrt(along * along + across * across), 1e-12)
    cos, sin = along / length, across / length
    motion[0], motion[1] = cos, sin
    motion[2] = sbx - (cos * sax - sin * say)
    motion[3] = sby - (sin * sax + cos * say)
