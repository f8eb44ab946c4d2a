"""Minutiae to bit cylinders (see ``parameters.CylinderParameters`` for the source).

A cylinder stands on each minutia, turned to its direction, and holds for each cell (place within 70 pixels, direction
relative to the minutia's) one bit: whether neighbouring minutiae contribute more than a threshold there. Two cylinders
are compared by a popcount, whatever the rotation and shift of the two impressions.

Frame: pixels at 500 ppi with y DOWN. ``FingerTemplate.angle`` is counter-clockwise with y UP, so the direction used
here is minus that angle; angles are kept as int16 in 1/65536 turn, where a difference wraps around by itself.

How it gets fast: the directional part of a contribution depends on the difference of two directions alone and is read
from a table of polynomials, and so is the spatial one, as the product of two Gaussians along the sides of the base;
both are right to 1e-13 for the parameters that ship. A cell that comes out within 1e-12 of the threshold, or a
neighbour within 1e-9 of the end of a cell's reach, is decided by the formula as it is written in the paper, so that
every bit is the formula's.

No per-cell validity mask is kept: cells outside the base hold 0, and so do all that are 28 pixels (three sigma) from
any minutia, so that [MCC]'s convex hull with its margin of 50 would change nothing. A mask of 8 bytes a minutia bought
0.3 points of FNMR at FMR 0.1 % in a prototype and made the comparison 2.3 times slower.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from matcher.compiled import kernel
from matcher.finger.cell_vectors import (
    DEGREE,
    NEAR,
    above,
    add_multiple,
    close,
    eight_polynomials,
    near_cells,
    near_polynomials,
)
from matcher.finger.parameters import CylinderParameters
from matcher.templates import FingerTemplate

TURN = 65536.0
"""Angle units in a full turn."""
CELLS = 8
"""Cells along the diameter of a cylinder that can be built: those of a layer are the bits of a word."""
LAYERS = 8
"""Most layers."""
STEPS = 256
"""Polynomials of the directional part a layer, on each of which it is smooth, and of the spatial part a cell."""
_HALF = 0.5 * (CELLS - 1)
_RECORD = 6 * CELLS + 2 * LAYERS
_BEFORE = 1
"""Of the ``NEAR`` cells along an axis that a neighbour may contribute to, those before the one that it lies behind the
middle of."""
_N = TypeVar("_N", bound=np.generic)


@dataclasses.dataclass(frozen=True, eq=False)
class PreparedFinger:
    """What comparisons of a finger template need; read-only.

    Attributes:
        algorithm: of the template.
        bits: uint64[n, 6], one cylinder a minutia, cell (layer, row, column) at bit (layer * 8 + row) * 8 + column.
        x, y: float32[n], pixels at 500 ppi, y down.
        angle: int16[n], direction in 1/65536 turn, clockwise on the screen (y down).
        key: hash of the above; orders a pair so that the comparison is symmetric.
    """

    algorithm: str
    bits: NDArray[np.uint64]
    x: NDArray[np.float32]
    y: NDArray[np.float32]
    angle: NDArray[np.int16]
    key: int

    def __len__(self) -> int:
        return len(self.x)


class CylinderTables(NamedTuple):
    """What the parameters come to, as the kernels read it.

    Attributes:
        directional: float64[STEPS * (DEGREE + 1) * LAYERS], polynomials, the constant last: of a difference of
            directions (the cylinder's minus the neighbour's) within one layer's height, the part of the contribution to
            each layer ([MCC] equations 9-11); 0 behind the last one. A larger difference by whole layers gives the same
            to others.
        base: of 64 bits, the cells whose middle lies within the radius, by rows.
        gaussian: float64[STEPS * (DEGREE + 1) * 4], polynomials in the same form: of how far a neighbour lies behind
            the middle of a cell, in sides of a cell, below 1, the root of the Gaussian of equation 8 along one axis, at
            the cell before, that cell, and the two behind it. Their product along two axes is that of equation 8.
        places: float64[CELLS], the middles of cells from the cylinder's axis.
        radius, layers, sigma_s, sigma_d, threshold: see ``CylinderParameters``.
    """

    directional: NDArray[np.float64]
    gaussian: NDArray[np.float64]
    places: NDArray[np.float64]
    base: np.uint64
    radius: float
    layers: int
    sigma_s: float
    sigma_d: float
    threshold: float


@functools.cache
def cylinder_tables(p: CylinderParameters) -> CylinderTables:
    """The tables of some parameters; raises ValueError for cells and layers that the kernels cannot build."""
    side = 2.0 * p.radius / p.cells
    if p.layers > LAYERS or p.cells != CELLS or 3.0 * p.sigma_s >= (_BEFORE + 1) * side:
        raise ValueError(
            f"cylinders of {p.cells} cells by {p.layers} layers, with a Gaussian that reaches over "
            f"{3.0 * p.sigma_s / side:.1f} cells; {CELLS} by up to {LAYERS}, over less than {_BEFORE + 1}, can be built"
        )
    # A step ends where the circle does for a layer, so that no polynomial goes over that bend.
    nodes = np.cos(np.pi * (np.arange(DEGREE + 1) + 0.5) / (DEGREE + 1))
    values = np.zeros((STEPS, DEGREE + 1, LAYERS))
    _fill_directional(values, nodes, p.layers, p.sigma_d)
    directional = np.linalg.solve(np.vander(nodes), values)
    steps = (np.arange(STEPS)[:, None] + 0.5 + 0.5 * nodes) / STEPS
    apart = (steps[:, :, None] + _BEFORE - np.arange(NEAR)) * side
    roots = np.exp(-apart * apart / (2.0 * p.sigma_s**2)) / math.sqrt(p.sigma_s * math.sqrt(2.0 * math.pi))
    gaussian: NDArray[np.float64] = np.linalg.solve(np.vander(nodes), roots)
    places: NDArray[np.float64] = (np.arange(p.cells, dtype=np.float64) - _HALF) * side
    inside = places[:, None] * places[:, None] + places * places <= p.radius * p.radius
    return CylinderTables(
        directional.ravel(),
        gaussian.ravel(),
        places,
        np.packbits(inside, bitorder="little").view(np.uint64)[0],
        p.radius,
        p.layers,
        p.sigma_s,
        p.sigma_d,
        p.threshold,
    )


def prepare_finger(template: FingerTemplate, parameters: CylinderParameters | None = None) -> PreparedFinger:
    """Builds the cylinders of the template's best minutiae; works for any number of them, also none."""
    return prepare_fingers([template], parameters)[0]


def prepare_fingers(
    templates: Sequence[FingerTemplate], parameters: CylinderParameters | None = None
) -> list[PreparedFinger]:
    """The same of many templates in one pass, which costs half as much; their arrays are pieces of common ones."""
    if not templates:
        return []
    p = parameters or CylinderParameters()
    used = [used_minutiae(template, p) for template in templates]
    x = _joined([template.x for template in templates], used, np.float32)
    y = _joined([template.y for template in templates], used, np.float32)
    angle = (0 - _joined([template.angle for template in templates], used, np.uint16)).view(np.int16)
    ends = np.cumsum([len(numbers) for numbers in used], dtype=np.int64)
    bits = build_cylinders(x, y, angle, p, ends)
    for array in (bits, x, y, angle):
        array.setflags(write=False)
    prepared, begin = [], 0
    for template, end in zip(templates, ends.tolist(), strict=True):
        own = bits[begin:end], x[begin:end], y[begin:end], angle[begin:end]
        digest = hashlib.blake2b(b"".join(array.tobytes() for array in own), digest_size=8).digest()
        prepared.append(PreparedFinger(template.algorithm, *own, int.from_bytes(digest, "little")))
        begin = end
    return prepared


def used_minutiae(template: FingerTemplate, p: CylinderParameters) -> NDArray[np.int64]:
    """Numbers of the template's minutiae that are compared, ascending: those of the highest quality."""
    if len(template) <= p.max_minutiae:
        return np.arange(len(template), dtype=np.int64)
    # A stable order of ties: the template's own.
    return np.sort(np.argsort(-template.quality.astype(np.int16), kind="stable")[: p.max_minutiae])


def build_cylinders(
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    angle: NDArray[np.int16],
    p: CylinderParameters,
    ends: NDArray[np.int64] | None = None,
) -> NDArray[np.uint64]:
    """uint64[n, words]: the cylinders of n minutiae (pixels, y down; directions in 1/65536 turn, in the same frame).

    Args:
        ends: int64[fingers], where each of several fingers ends that lie one behind the other; None for a single one.
    """
    bits = np.zeros((len(x), p.words), np.uint64)
    _fill(x, y, angle, _one(x) if ends is None else ends, tuple(cylinder_tables(p)), bits, np.empty((0, p.bits)))
    return bits


def cell_contributions(
    x: NDArray[np.float32], y: NDArray[np.float32], angle: NDArray[np.int16], p: CylinderParameters
) -> NDArray[np.float64]:
    """float64[n, bits]: what neighbouring minutiae contribute to each cell ([MCC] equation 4), 0 outside the base."""
    sums = np.empty((len(x), p.bits))
    _fill(x, y, angle, _one(x), tuple(cylinder_tables(p)), np.zeros((len(x), p.words), np.uint64), sums)
    return sums


def _one(x: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.array([len(x)], np.int64)


def _joined(columns: Sequence[NDArray[Any]], used: Sequence[NDArray[np.int64]], dtype: type[_N]) -> NDArray[_N]:
    """The used numbers of some columns, one behind the other."""
    kept = [c if len(c) == len(u) else c[u] for c, u in zip(columns, used, strict=True)]
    return np.concatenate(kept).astype(dtype)


@kernel
def _fill_directional(values: NDArray[np.float64], nodes: NDArray[np.float64], layers: int, sigma_d: float) -> None:
    for step in range(values.shape[0]):
        for i in range(nodes.shape[0]):
            turn = (step + 0.5 + 0.5 * nodes[i]) * (2.0 * math.pi / (layers * STEPS))
            for k in range(layers):
                values[step, i, k] = _directional(turn, k, layers, sigma_d)


@kernel
def _directional(turn: float, k: int, layers: int, sigma_d: float) -> float:
    """[MCC] eq. 9-11: the Gaussian of the directions' difference, integrated over the height of layer ``k``."""
    layer = 2.0 * math.pi / layers
    scale = 1.0 / (sigma_d * math.sqrt(2.0))
    a = -math.pi + (k + 0.5) * layer - turn
    a -= 2.0 * math.pi * math.floor((a + math.pi) / (2.0 * math.pi))
    integral: float = math.erf((a + 0.5 * layer) * scale) - math.erf((a - 0.5 * layer) * scale)
    return 0.5 * integral


@kernel
def _distance_squared(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    m: int,
    t: int,
    cos: float,
    sin: float,
    u: float,
    v: float,
) -> float:
    """From minutia ``t`` to the middle of the cell at (u, v) of the cylinder ``m``."""
    dx, dy = x[t] - (x[m] + cos * u - sin * v), y[t] - (y[m] + sin * u + cos * v)
    d2: float = dx * dx + dy * dy
    return d2


@kernel
def _contribution(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    theta: NDArray[np.float64],
    m: int,
    cell: int,
    k: int,
    p: CylinderTables,
) -> float:
    """[MCC] equation 4 as it is written, of one cell."""
    reach = 3.0 * p.sigma_s
    peak = 1.0 / (p.sigma_s * math.sqrt(2.0 * math.pi))
    side = 2.0 * p.radius / CELLS
    cos, sin = math.cos(theta[m]), math.sin(theta[m])
    u, v = (cell // CELLS - _HALF) * side, (cell % CELLS - _HALF) * side
    total = 0.0
    for t in range(x.shape[0]):
        if t != m:
            d2 = _distance_squared(x, y, m, t, cos, sin, u, v)
            if d2 <= reach * reach:
                spatial = peak * math.exp(-d2 / (2.0 * p.sigma_s * p.sigma_s))
                total += spatial * _directional(theta[m] - theta[t], k, p.layers, p.sigma_d)
    return total


class CylinderSpace(NamedTuple):
    """Work space for the fingers of a call.

    Attributes:
        sums: float64[most minutiae * bits], the contributions to the cells of each cylinder of a finger.
        number: int64[most minutiae], neighbours of one minutia.
        place: float64[2 most minutiae], where each of them is in the frame of its cylinder.
        near: float64[64 most minutiae], of each of them the Gaussians at the rows of cells (24 numbers, 0 where it is
            far away), at the columns (24), and what it adds to layers, twice (16).
        begin: int64[3 most minutiae], where in that the first row, column and layer of the cylinder are.
        row: float64[8], what a neighbour adds to cells of a row.
    """

    sums: NDArray[np.float64]
    number: NDArray[np.int64]
    place: NDArray[np.float64]
    near: NDArray[np.float64]
    begin: NDArray[np.int64]
    row: NDArray[np.float64]


@kernel
def cylinder_space(ends: NDArray[np.int64], p: CylinderTables) -> CylinderSpace:
    """Fresh work space for fingers one behind the other, each of which ends at one of ``ends``."""
    most, begin = 0, 0
    for end in ends:
        most, begin = max(most, end - begin), end
    return CylinderSpace(
        sums=np.empty(most * p.layers * CELLS * CELLS),
        number=np.empty(most, np.int64),
        place=np.empty(2 * most),
        near=np.zeros(_RECORD * most),
        begin=np.empty(3 * most, np.int64),
        row=np.zeros(CELLS),
    )


@kernel
def sum_cells(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    theta: NDArray[np.float64],
    angle: NDArray[np.int16],
    p: CylinderTables,
    space: CylinderSpace,
) -> None:
    """Fills ``space.sums`` with the contributions to the cells of each of a finger's cylinders; those outside of their
    base are 0.

    Args:
        theta: the directions in radians.
    """
    # Arrays by names of their own, once a finger: numba counts references wherever one is taken out of a tuple.
    directional, gaussians, places, layers = p.directional, p.gaussian, p.places, p.layers
    sums, number, place, near, begins, row = space.sums, space.number, space.place, space.near, space.begin, space.row
    reach = 3.0 * p.sigma_s
    reach2 = reach * reach
    furthest = (p.radius + reach) ** 2
    cells = 1.0 / (2.0 * p.radius / CELLS)
    bits = layers * CELLS * CELLS
    count = x.shape[0]
    sums[: count * bits] = 0.0
    for m in range(count):
        cos, sin = math.cos(theta[m]), math.sin(theta[m])
        neighbours = 0
        for t in range(count):
            dx, dy = x[t] - x[m], y[t] - y[m]
            # Without a branch, which would be guessed wrong half of the time.
            number[neighbours] = t
            neighbours += int(t != m and dx * dx + dy * dy <= furthest)
        # What depends on a neighbour alone, of all of them before any is read: a processor waits where it reads at
        # once, and askew, what it has just written.
        for n in range(neighbours):
            t = number[n]
            dx, dy = x[t] - x[m], y[t] - y[m]
            own, other = cos * dx + sin * dy, cos * dy - sin * dx
            place[2 * n], place[2 * n + 1] = own, other
            begin = n * _RECORD + CELLS
            step, within, whole = _step(own * cells + _HALF)
            near_polynomials(gaussians, step, within, near, begin)
            begins[3 * n] = begin + _BEFORE - whole
            begin += 3 * CELLS
            step, within, whole = _step(other * cells + _HALF)
            near_polynomials(gaussians, step, within, near, begin)
            begins[3 * n + 1] = begin + _BEFORE - whole
            begin += 2 * CELLS
            at = ((np.int64(angle[m]) - np.int64(angle[t])) & 0xFFFF) * layers * STEPS
            turn, within = at >> 16, (at & 0xFFFF) * (2.0 / TURN) - 1.0
            eight_polynomials(directional, (turn & (STEPS - 1)) * (DEGREE + 1) * LAYERS, within, near, begin)
            # The layers once more from there, so that any of them may come first.
            for k in range(layers):
                near[begin + layers + k] = near[begin + k]
            begins[3 * n + 2] = begin + layers - turn // STEPS
        for n in range(neighbours):
            own, other = place[2 * n], place[2 * n + 1]
            first_row, first_column, first_layer = begins[3 * n], begins[3 * n + 1], begins[3 * n + 2]
            # A little more, so that rounding loses none.
            i0 = max(0, math.ceil((own - reach) * cells + _HALF - 1e-6))
            i1 = min(CELLS, math.floor((own + reach) * cells + _HALF + 1e-6) + 1)
            for i in range(i0, i1):
                a = own - places[i]
                gaussian, base = near[first_row + i], p.base >> np.uint64(i * CELLS)
                borders = near_cells(places, other, a * a, reach2, near, first_column, gaussian, base, row)
                if borders != 0:
                    for j in range(CELLS):
                        if (borders >> np.uint64(j)) & np.uint64(1):
                            d2 = _distance_squared(x, y, m, number[n], cos, sin, places[i], places[j])
                            row[j] = gaussian * near[first_column + j] if d2 <= reach2 else 0.0
                for k in range(layers):
                    add_multiple(sums, m * bits + (k * CELLS + i) * CELLS, near[first_layer + k], row)
        for k in range(layers):
            begin = m * bits + k * CELLS * CELLS
            if close(sums, begin, p.threshold) != 0:
                for c in range(CELLS * CELLS):
                    if abs(sums[begin + c] - p.threshold) < 1e-12:
                        sums[begin + c] = _contribution(x, y, theta, m, c, k, p)


@kernel
def _step(at: float) -> tuple[int, float, int]:
    """Of a place, counted in cells: where the polynomials of its step within the cell are, where in that step it is (-1
    to 1), and the cell."""
    whole = math.floor(at)
    steps = (at - whole) * STEPS
    step = min(int(steps), STEPS - 1)
    return step * (DEGREE + 1) * NEAR, 2.0 * (steps - step) - 1.0, int(whole)


@kernel
def _fill(
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    angle: NDArray[np.int16],
    ends: NDArray[np.int64],
    tables: tuple[Any, ...],
    bits: NDArray[np.uint64],
    contributions: NDArray[np.float64],
) -> None:
    """Bits of the cylinders of fingers one behind the other, each of which ends at one of ``ends``; and the
    contributions, where there are rows for them."""
    p = CylinderTables(*tables)
    space = cylinder_space(ends, p)
    wide_x, wide_y, theta = x.astype(np.float64), y.astype(np.float64), radians(angle)
    begin = 0
    for end in ends:
        sum_cells(wide_x[begin:end], wide_y[begin:end], theta[begin:end], angle[begin:end], p, space)
        for m in range(end - begin):
            for k in range(p.layers):
                at = (m * p.layers + k) * CELLS * CELLS
                bits[begin + m, k] = above(space.sums, at, p.threshold)
                if contributions.shape[0] > 0:
                    for c in range(CELLS * CELLS):
                        contributions[begin + m, k * CELLS * CELLS + c] = space.sums[at + c]
        begin = end


@kernel
def radians(angle: NDArray[np.int16]) -> NDArray[np.float64]:
    """Of directions in 1/65536 turn."""
    return angle.astype(np.float64) * (2.0 * math.pi / TURN)
