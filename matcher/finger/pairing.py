"""The fast stage of the comparison: which minutiae of two prints belong together, and how surely (LGS-R).

Steps (sources and numbers in ``parameters.ComparisonParameters``):
    1. similarity of every pair of cylinders, 1 - |a xor b| / (|a| + |b|) with |.| the root of the count of bits, 0
       where the directions differ by more than ``max_turn``; cut to ``SIMILARITY_STEPS``;
    2. greedy one-to-one assignment: the most similar pair, then the most similar of what is left, and so on;
    3. relaxation: each pair is re-weighted by how well it agrees with every other in distance, direction and radial
       angle, some times over;
    4. the n_P pairs that kept most of their similarity are averaged; the sum is divided by n_P even if there are fewer.

How it gets fast: the cylinders of one side are turned over (word by word instead of cylinder by cylinder), so that one
instruction counts the bits of many of them (``vpopcntq`` where the processor has it); a similarity carries its row and
column in its lowest bits, so that a maximum of integers finds a pair, ties included; two pairs that disagree in
distance or direction, 19 of 20 among strangers, are sorted out before any angle is computed; the three sigmoids are
read from tables. Nothing is allocated per comparison.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from matcher.compiled import kernel, popcount
from matcher.finger.cylinders import TURN
from matcher.finger.parameters import ComparisonParameters, CylinderParameters

WIDTH = 64
"""Minutiae of a print that can be compared; rows and columns of the work space."""
SIMILARITY_STEPS = 524_287
"""A similarity is a whole number of steps: 19 bits, beside 6 for its row and 6 for its column."""
TABLE = 1024
"""Steps of a sigmoid's table up to its gate; read with linear interpolation, which is right to 5e-6."""

_INDEX = WIDTH - 1
_NOTHING = 4096
_RADIANS = np.float32(2.0 * math.pi / TURN)
_PI = np.float32(math.pi)
_HALF_PI = np.float32(math.pi / 2.0)


class PairingTables(NamedTuple):
    """What the parameters come to, as the kernels read it.

    Attributes:
        roots: float32[bits + 1], square roots of counts of bits.
        turn: ``max_turn`` in 1/65536 turn.
        pairs: int64[65], n_P for each smaller count of minutiae.
        sigmoids: float32[3, TABLE + 2], from 0 to the gate.
        gates: float32[3], beyond which a factor is 0 (see ``ComparisonParameters.gate``).
        iterations, keep, min_minutiae: see ``ComparisonParameters``.
    """

    roots: NDArray[np.float32]
    turn: int
    pairs: NDArray[np.int64]
    sigmoids: NDArray[np.float32]
    gates: NDArray[np.float32]
    iterations: int
    keep: float
    min_minutiae: int


def pairing_tables(cylinders: CylinderParameters, p: ComparisonParameters) -> PairingTables:
    """The tables of some parameters; raises ValueError where more minutiae are wanted than fit the work space."""
    if cylinders.max_minutiae > WIDTH:
        raise ValueError(f"max_minutiae is {cylinders.max_minutiae}; the comparison holds {WIDTH}")
    gates = np.array([p.gate(i) for i in range(3)], np.float32)
    sigmoids = np.zeros((3, TABLE + 2))
    for i in range(3):
        d = np.linspace(0.0, float(gates[i]), TABLE + 1)
        sigmoids[i, :-1] = 1.0 / (1.0 + np.exp(-p.tau[i] * (d - p.mu[i])))
        sigmoids[i, -1] = sigmoids[i, -2]
    return PairingTables(
        np.sqrt(np.arange(cylinders.bits + 1)).astype(np.float32),
        round(p.max_turn * TURN / (2.0 * math.pi)),
        np.array([p.pairs(n) for n in range(WIDTH + 1)], np.int64),
        sigmoids.astype(np.float32),
        gates,
        p.iterations,
        p.keep,
        p.min_minutiae,
    )


class PairingSpace(NamedTuple):
    """Work space of one thread's comparisons, and what the last one found.

    The pairs found are ``row[t]``, ``column[t]`` for t below the number that ``pair_up`` returns, by falling
    similarity; ``first[t]`` is a pair's similarity, ``final[t]`` what the relaxation left of it. Arrays are WIDTH long
    unless said otherwise.
    """

    words: NDArray[np.uint64]  # [words, WIDTH]; words up to a multiple of 3, the last ones 0
    norm: NDArray[np.float32]
    directions: NDArray[np.int32]
    different: NDArray[np.int32]
    keys: NDArray[np.int32]  # [WIDTH, WIDTH]
    best: NDArray[np.int32]
    free: NDArray[np.int32]
    row: NDArray[np.int32]
    column: NDArray[np.int32]
    first: NDArray[np.float32]
    final: NDArray[np.float32]
    before: NDArray[np.float32]
    kept: NDArray[np.int32]
    ax: NDArray[np.float32]
    ay: NDArray[np.float32]
    bx: NDArray[np.float32]
    by: NDArray[np.float32]
    turn: NDArray[np.int32]
    likely: NDArray[np.int32]
    link: NDArray[np.int32]  # [2, links]
    agree: NDArray[np.float32]  # [WIDTH, WIDTH]


@kernel
def pairing_space(words: int) -> PairingSpace:
    """Fresh work space for cylinders of some uint64 words."""
    links = WIDTH * (WIDTH - 1) // 2 + 1

    return PairingSpace(
        words=np.zeros(((words + 2) // 3 * 3, WIDTH), np.uint64),
        norm=np.zeros(WIDTH, np.float32),
        directions=np.zeros(WIDTH, np.int32),
        different=np.zeros(WIDTH, np.int32),
        keys=np.zeros((WIDTH, WIDTH), np.int32),
        best=np.zeros(WIDTH, np.int32),
        free=np.zeros(WIDTH, np.int32),
        row=np.zeros(WIDTH, np.int32),
        column=np.zeros(WIDTH, np.int32),
        first=np.zeros(WIDTH, np.float32),
        final=np.zeros(WIDTH, np.float32),
        before=np.zeros(WIDTH, np.float32),
        kept=np.zeros(WIDTH, np.int32),
        ax=np.zeros(WIDTH, np.float32),
        ay=np.zeros(WIDTH, np.float32),
        bx=np.zeros(WIDTH, np.float32),
        by=np.zeros(WIDTH, np.float32),
        turn=np.zeros(WIDTH, np.int32),
        likely=np.zeros(WIDTH, np.int32),
        link=np.zeros((2, links), np.int32),
        agree=np.zeros((WIDTH, WIDTH), np.float32),
    )


@kernel
def _turn_over(
    bits: NDArray[np.uint64], angle: NDArray[np.int16], roots: NDArray[np.float32], space: PairingSpace
) -> None:
    """Lays the cylinders of one side out word by word, with the roots of their counts of bits."""
    words, norm, different = space.words, space.norm, space.different
    n = bits.shape[0]
    different[:] = 0
    for w in range(bits.shape[1]):
        for j in range(n):
            words[w, j] = bits[j, w]
        for j in range(n, WIDTH):
            words[w, j] = 0
        for j in range(WIDTH):
            different[j] += np.int32(popcount(words[w, j]))
    for j in range(WIDTH):
        norm[j] = roots[different[j]]
    for j in range(n):
        space.directions[j] = angle[j]


@kernel
def _word(cylinder: NDArray[np.uint64], w: int) -> np.uint64:
    """A word of a cylinder; 0 behind its last one."""
    return cylinder[w] if w < cylinder.shape[0] else np.uint64(0)


@kernel
def _find_similarities(
    bits: NDArray[np.uint64], angle: NDArray[np.int16], n_b: int, tables: PairingTables, space: PairingSpace
) -> None:
    """Fills keys and best with the similarities of the cylinders ``bits`` to those turned over.

    A key is the similarity, then WIDTH - 1 - row, then WIDTH - 1 - column: of equal similarities the lower row wins,
    then the lower column.
    """
    words, norm, directions, different = space.words, space.norm, space.directions, space.different
    turn = np.int32(tables.turn)
    reach = np.int32(2 * tables.turn)
    steps = np.float32(SIMILARITY_STEPS)
    width = (n_b + 15) // 16 * 16
    for i in range(bits.shape[0]):
        for j in range(width):
            different[j] = 0
        total = np.uint64(0)
        for w in range(0, words.shape[0], 3):
            u, v, z = bits[i, w], _word(bits[i], w + 1), _word(bits[i], w + 2)
            total += popcount(u) + popcount(v) + popcount(z)
            wu, wv, wz = words[w], words[w + 1], words[w + 2]
            for j in range(width):
                different[j] += np.int32(popcount(u ^ wu[j]) + popcount(v ^ wv[j]) + popcount(z ^ wz[j]))
        own = tables.roots[total]
        toward = np.int32(angle[i]) + turn
        place = np.int32(((_INDEX - i) << 6) | _INDEX)
        keys = space.keys[i]
        best = np.int32(0)
        for j in range(width):
            between = (toward - directions[j]) & np.int32(0xFFFF)
            both = own + norm[j]
            similarity = np.float32(1.0) - np.float32(math.sqrt(np.float32(different[j]))) / both
            step = np.int32(similarity * steps)
            key = (step << np.int32(12)) | (place - np.int32(j))
            usable = (between <= reach) & (both > np.float32(0.0)) & (step > np.int32(0)) & (j < n_b)
            keys[j] = key if usable else np.int32(0)
            best = max(best, keys[j])
        for j in range(width, WIDTH):
            keys[j] = 0
        space.best[i] = best


@kernel
def _assign(n_a: int, space: PairingSpace) -> int:
    """Greedy one-to-one assignment; writes row, column and first and returns the number of pairs.

    Exactly the order of sorting all keys. The best of a row is looked for again only when it comes up and its column
    is taken: until then it is an upper bound.
    """
    best, free, keys = space.best, space.free, space.keys
    for r in range(n_a, WIDTH):
        best[r] = 0
    for k in range(WIDTH):
        free[k] = -1
    pairs = 0
    scale = np.float32(1.0 / SIMILARITY_STEPS)
    while True:
        top = np.int32(0)
        for r in range(WIDTH):
            top = max(top, best[r])
        if top < _NOTHING:
            return pairs
        i, j = _INDEX - ((top >> 6) & _INDEX), _INDEX - (top & _INDEX)
        if free[j] != 0:
            space.row[pairs] = i
            space.column[pairs] = j
            space.first[pairs] = np.float32(top >> 12) * scale
            pairs += 1
            free[j] = 0
            best[i] = 0
        else:
            again = np.int32(0)
            for k in range(WIDTH):
                again = max(again, keys[i, k] & free[k])
            best[i] = again


@kernel
def _arctangent(y: np.float32, x: np.float32) -> np.float32:
    """atan2 to 3e-6, without branches (Abramowitz & Stegun 4.4.49); 0 at the origin."""
    u, v = abs(x), abs(y)
    large, small = max(u, v), min(u, v)
    ratio = small / max(large, np.float32(1e-30))
    s = ratio * ratio
    p = np.float32(0.0028662257)
    p = p * s - np.float32(0.0161657367)
    p = p * s + np.float32(0.0429096138)
    p = p * s - np.float32(0.0752896400)
    p = p * s + np.float32(0.1065626393)
    p = p * s - np.float32(0.1420889944)
    p = p * s + np.float32(0.1999355085)
    p = p * s - np.float32(0.3333314528)
    angle = ratio + ratio * s * p
    angle = _HALF_PI - angle if v > u else angle
    angle = _PI - angle if x < np.float32(0.0) else angle
    return -angle if y < np.float32(0.0) else angle


@kernel
def _agreement(pairs: int, tables: PairingTables, space: PairingSpace) -> None:
    """Fills agree[k, t]: how far pair t agrees with pair k, 0-1; not symmetric in the radial angle."""
    ax, ay, bx, by, turn = space.ax, space.ay, space.bx, space.by, space.turn
    likely = space.likely
    agree, link = space.agree, space.link
    # A little more than the gate, which the tables end at: rounding must lose nothing.
    gate_squared = tables.gates[0] * tables.gates[0] * np.float32(1.001)
    most_turned = np.int32(tables.gates[1] / _RADIANS) + np.int32(1)
    most_radial = tables.gates[2]
    for t in range(pairs):
        row = agree[t]
        for k in range(WIDTH):
            row[k] = np.float32(0.0)
    links = 0
    to, back = link[0], link[1]
    for t in range(1, pairs):
        x0, y0, u0, v0, turn0 = ax[t], ay[t], bx[t], by[t], turn[t] + np.int32(32768)
        # A loop of constant length that writes one array: LLVM makes vectors of it.
        for k in range(WIDTH):
            dx, dy, du, dv = ax[k] - x0, ay[k] - y0, bx[k] - u0, by[k] - v0
            own, other = dx * dx + dy * dy, du * du + dv * dv
            # |sqrt(own) - sqrt(other)| <= gate, without a root.
            over = own + other - gate_squared
            near = (over <= np.float32(0.0)) | (over * over <= np.float32(4.0) * own * other)
            between = abs(((turn0 - turn[k]) & np.int32(0xFFFF)) - np.int32(32768))
            likely[k] = np.int32(near & (between <= most_turned))
        for k in range(t):
            to[links] = t
            back[links] = k
            links += likely[k]
    to_apart = np.float32(TABLE) / tables.gates[0]
    to_turned = np.float32(TABLE) / tables.gates[1]
    to_radial = np.float32(TABLE) / tables.gates[2]
    two_pi = np.float32(2.0 * math.pi)
    for s in range(links):
        t, k = to[s], back[s]
        aux, auy, bux, buy = ax[k] - ax[t], ay[k] - ay[t], bx[k] - bx[t], by[k] - by[t]
        own, other = np.float32(math.sqrt(aux * aux + auy * auy)), np.float32(math.sqrt(bux * bux + buy * buy))
        d1 = abs(own - other)
        d2 = np.float32(abs(((turn[t] - turn[k] + np.int32(32768)) & np.int32(0xFFFF)) - np.int32(32768))) * _RADIANS
        # How far the line t-k is turned between the two prints; seen from t or from k it is the same angle.
        line = _arctangent(auy * bux - aux * buy, aux * bux + auy * buy)
        d3 = abs(np.float32(turn[t]) * _RADIANS - line)
        d3 = min(d3, abs(two_pi - d3))
        d3_back = abs(np.float32(turn[k]) * _RADIANS - line)
        d3_back = min(d3_back, abs(two_pi - d3_back))
        common = _factor(tables.sigmoids[0], d1 * to_apart) * _factor(tables.sigmoids[1], d2 * to_turned)
        seen = _factor(tables.sigmoids[2], d3 * to_radial) if d3 <= most_radial else np.float32(0.0)
        seen_back = _factor(tables.sigmoids[2], d3_back * to_radial) if d3_back <= most_radial else np.float32(0.0)
        agree[k, t] = common * seen
        agree[t, k] = common * seen_back


@kernel
def _factor(table: NDArray[np.float32], at: np.float32) -> np.float32:
    """The sigmoid at ``at`` steps, between two entries of its table."""
    at = min(at, np.float32(TABLE))
    step = np.int32(at)
    low, high = table[step], table[step + 1]
    return np.float32(low + (high - low) * (at - np.float32(step)))


@kernel
def pair_up(
    bits_a: NDArray[np.uint64],
    x_a: NDArray[np.float32],
    y_a: NDArray[np.float32],
    angle_a: NDArray[np.int16],
    bits_b: NDArray[np.uint64],
    x_b: NDArray[np.float32],
    y_b: NDArray[np.float32],
    angle_b: NDArray[np.int16],
    tables: PairingTables,
    space: PairingSpace,
) -> int:
    """Pairs the minutiae of two fingers, of which the first has not more; returns the number of pairs.

    The pairs are left in ``space``: row, column, first, final, and where they lie: ax, ay, bx, by in pixels, turn in
    1/65536 turn (int32, -32768..32767).
    """
    n_a, n_b = bits_a.shape[0], bits_b.shape[0]
    _turn_over(bits_b, angle_b, tables.roots, space)
    _find_similarities(bits_a, angle_a, n_b, tables, space)
    pairs = _assign(n_a, space)
    for t in range(pairs):
        i, j = space.row[t], space.column[t]
        space.ax[t], space.ay[t] = x_a[i], y_a[i]
        space.bx[t], space.by[t] = x_b[j], y_b[j]
        between = (np.int32(angle_a[i]) - np.int32(angle_b[j]) + np.int32(32768)) & np.int32(0xFFFF)
        space.turn[t] = between - np.int32(32768)
    _agreement(pairs, tables, space)
    _relax(pairs, n_a, tables, space)
    return pairs


@kernel
def _relax(pairs: int, n_a: int, tables: PairingTables, space: PairingSpace) -> None:
    """Fills final from first and agree."""
    before, after, agree = space.before, space.final, space.agree
    keep = np.float32(tables.keep)
    share = np.float32((1.0 - tables.keep) / (n_a - 1))
    for t in range(pairs, WIDTH):
        space.first[t] = np.float32(0.0)
    for t in range(WIDTH):
        after[t] = space.first[t]
    for _ in range(tables.iterations):
        for t in range(WIDTH):
            before[t] = after[t]
            after[t] = np.float32(0.0)
        for k in range(pairs):
            value, row = before[k], agree[k]
            for t in range(WIDTH):
                after[t] += row[t] * value
        for t in range(WIDTH):
            after[t] = keep * before[t] + share * after[t]


@kernel
def relaxed_score(pairs: int, n_p: int, space: PairingSpace) -> float:
    """LGS-R of the pairs in ``space``: mean of what is left of the n_p that kept most, of equal ones the most similar.

    Leaves in kept the share of its similarity that each pair kept, in 2^-20; -1 for those that count.
    """
    kept, first, final = space.kept, space.first, space.final
    for t in range(WIDTH):
        share = min(final[t] / first[t], np.float32(2000.0))
        kept[t] = np.int32(share * np.float32(1 << 20)) if t < pairs else np.int32(-1)
    total = 0.0
    for _ in range(min(n_p, pairs)):
        top = np.int32(-1)
        for t in range(WIDTH):
            top = max(top, kept[t])
        t = 0
        while kept[t] != top:
            t += 1
        total += final[t]
        kept[t] = -1
    return total / n_p
