"""Iris templates for the tests of this folder, and the slow, obvious comparisons that the fast ones must equal.

A table is bool[columns, bits of a column], columns in their natural order.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from matcher.iris.parameters import ALGORITHM, PARAMETERS, VERSION, CodeParameters, IrisParameters
from matcher.templates import IrisCode, IrisTemplate, spread_columns

Table = NDArray[np.bool_]

SPREAD = spread_columns(PARAMETERS.search.columns)
NATURAL = np.arange(PARAMETERS.verification.columns)


def pack(table: Table, order: NDArray[np.int64] = SPREAD) -> NDArray[np.uint64]:
    """A table to words, column after column in the given order, first bit lowest."""
    return np.packbits(table[order].reshape(-1), bitorder="little").view("<u8").astype(np.uint64)


def unpack(words: NDArray[np.uint64], order: NDArray[np.int64] = SPREAD) -> Table:
    """Words to a table."""
    bits = np.unpackbits(words.astype("<u8").view(np.uint8), bitorder="little").astype(bool)
    table = np.empty((len(order), bits.size // len(order)), bool)
    table[order] = bits.reshape(len(order), -1)
    return table


def template(search: tuple[Table, Table], verification: tuple[Table, Table]) -> IrisTemplate:
    """Bits and mask of both codes to a template; masked bits are cleared."""
    codes = [
        IrisCode(pack(bits & mask, order), pack(mask, order))
        for (bits, mask), order in ((search, SPREAD), (verification, NATURAL))
    ]
    return IrisTemplate(ALGORITHM, VERSION, PARAMETERS.search.columns, *codes)


def tables(iris: IrisTemplate) -> tuple[tuple[Table, Table], tuple[Table, Table]]:
    """What ``template`` was made of."""
    return (
        (unpack(iris.search.bits), unpack(iris.search.mask)),
        (unpack(iris.verification.bits, NATURAL), unpack(iris.verification.mask, NATURAL)),
    )


def changed(iris: IrisTemplate, change: Callable[[Table, Table], tuple[Table, Table]]) -> IrisTemplate:
    """The template with ``change`` done to bits and mask of both codes."""
    search, verification = tables(iris)
    return template(change(*search), change(*verification))


def turned(iris: IrisTemplate, shift: int) -> IrisTemplate:
    """The template turned by ``shift`` columns."""
    return changed(iris, lambda bits, mask: (np.roll(bits, shift, axis=0), np.roll(mask, shift, axis=0)))


def random_template(rng: np.random.Generator, valid: float = 0.8) -> IrisTemplate:
    """Independent bits, a share ``valid`` of them comparable; neighbouring columns are masked together."""

    def code(p: CodeParameters) -> tuple[Table, Table]:
        shape = (p.columns, p.column_bits)
        blocks = np.repeat(rng.random((shape[0] // 4, shape[1])) < valid, 4, axis=0)
        return rng.random(shape) < 0.5, blocks

    return template(code(PARAMETERS.search), code(PARAMETERS.verification))


def second_capture(first: IrisTemplate, rng: np.random.Generator, shift: int, flips: float = 0.2) -> IrisTemplate:
    """The same eye again: turned by ``shift`` columns, a share ``flips`` of its bits changed, more of it masked."""
    return changed(
        turned(first, shift),
        lambda bits, mask: (bits ^ (rng.random(bits.shape) < flips), mask & (rng.random(bits.shape) < 0.9)),
    )


@functools.lru_cache(maxsize=4096)
def reference_counts(
    a: IrisTemplate, b: IrisTemplate, columns: int = PARAMETERS.search.columns
) -> list[tuple[int, int]]:
    """For each rotation how many more bits of the search codes agree than differ, and how many are compared.

    Args:
        columns: how many columns, in their spread order, are compared: those of the prefix, or all.
    """
    (bits, mask), (other_bits, other_mask) = tables(a)[0], tables(b)[0]
    compared = SPREAD[:columns]
    counts = []
    for shift in range(-PARAMETERS.max_shift, PARAMETERS.max_shift + 1):
        common = (np.roll(mask, shift, axis=0) & other_mask)[compared]
        differing = (np.roll(bits, shift, axis=0) ^ other_bits)[compared]
        n = int(common.sum())
        counts.append((n - 2 * int((differing & common).sum()), n))
    return counts


def reference_search_score(a: IrisTemplate, b: IrisTemplate, columns: int = PARAMETERS.search.columns) -> float:
    """0.5 - HDnorm of search codes, least HDnorm over the rotations, by the definition; NaN below the floor.

    Args:
        columns: see ``reference_counts``.
    """
    part = columns / PARAMETERS.search.columns
    least = PARAMETERS.search.floor * part * PARAMETERS.search.bits
    best = max((x * abs(x) / n for x, n in reference_counts(a, b, columns) if n >= least), default=-math.inf)
    return _score(best, round(part * PARAMETERS.search.reference_bits))


def reference_score(a: IrisTemplate, b: IrisTemplate, p: IrisParameters = PARAMETERS) -> float:
    """The score of verification codes by the steps that ``matcher.iris.deformation`` lists; NaN below the floor."""
    owner, other = (a, b) if _words(a) < _words(b) else (b, a)
    bits, mask = tables(owner)[1]
    least = p.verification.floor * p.verification.bits
    quotients = {}
    for t in range(-p.max_shift, p.max_shift + 1):
        x, n = _agreement(bits, mask, *_moved(other, 0, t))
        if n >= least:
            quotients[t] = x * abs(x) / n
    best = -math.inf
    for t in sorted(quotients, key=lambda t: (-quotients[t], t))[: p.refined]:
        agreement, compared = 0.0, 0
        for columns in np.split(NATURAL, p.sectors):
            moves = []
            for r in range(-p.row_reach, p.row_reach + 1):
                for c in range(-p.column_reach, p.column_reach + 1):
                    other_bits, other_mask = _moved(other, r, t + c)
                    x, n = _agreement(bits[columns], mask[columns], other_bits[columns], other_mask[columns])
                    moves.append((x - p.deformation_cost * n * (abs(r) + abs(c)), n))
            most, those = max(moves, key=lambda move: move[0])
            agreement += most
            compared += those
        if compared >= least:
            best = max(best, agreement * abs(agreement) / compared)
    return _score(best, p.verification.reference_bits)


def _words(iris: IrisTemplate) -> list[int]:
    return [*iris.verification.bits.tolist(), *iris.verification.mask.tolist()]


def _moved(iris: IrisTemplate, rows: int, columns: int) -> tuple[Table, Table]:
    """Verification bits and mask: what stands in column c + columns comes to column c, ``rows`` rows further out."""
    p = PARAMETERS.verification
    moved = []
    for table in tables(iris)[1]:
        cube = np.roll(table, -columns, axis=0).reshape(p.columns, p.filters, p.rows, 2)
        shifted = np.zeros_like(cube)
        for row in range(p.rows):
            if 0 <= row - rows < p.rows:
                shifted[:, :, row] = cube[:, :, row - rows]
        moved.append(shifted.reshape(p.columns, -1))
    return moved[0], moved[1]


def _agreement(bits: Table, mask: Table, other_bits: Table, other_mask: Table) -> tuple[int, int]:
    """How many more bits agree than differ, and how many are compared."""
    common = mask & other_mask
    n = int(common.sum())
    return n - 2 * int(((bits ^ other_bits) & common).sum()), n


def _score(quotient: float, reference_bits: int) -> float:
    """0.5 - HDnorm = sign(x) * 0.5 * sqrt(x^2 / n / n0), from x |x| / n, x more of n bits agreeing than differing."""
    if quotient == -math.inf:
        return math.nan
    return math.copysign(0.5 * math.sqrt(abs(quotient) / reference_bits), quotient)
