"""The inner loops of search code comparison, compiled by numba.

A score is (0.5 - HDnorm), of which the greatest over rotations counts. Where n bits are compared and x = n - 2 d more
of them agree than differ, it is the root, with its sign, of x |x| / n over the constant 4 n0. That quotient of
integers, rounded once, orders exactly: two that are not equal differ by far more than the rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from matcher.compiled import kernel
from matcher.iris.slices import LANE_WORDS, LANES, VECTOR, cgutils, compare_rotation

Words = NDArray[np.uint64]

_HIGH = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_ONE = np.uint64(1)


def _trailing_zeros(typing: Any, word: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.IntType(1)(1))

    return types.uint64(types.uint64), generate


trailing_zeros: Callable[[Any], Any] = cast("Callable[[Any], Any]", intrinsic(_trailing_zeros))
"""Number of the lowest bit set in a uint64 that is not 0; within kernels only."""


def _count_words(typing: Any, bits: Any, masks: Any, code: Any, code_mask: Any, words: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        places = [
            builder.bitcast(context.make_array(kind)(context, builder, value).data, VECTOR.as_pointer())
            for kind, value in zip(signature.args[:4], arguments[:4], strict=True)
        ]
        count = cgutils.get_or_insert_function(builder.module, ir.FunctionType(VECTOR, [VECTOR]), "llvm.ctpop.v8i64")
        total = ir.FunctionType(VECTOR.element, [VECTOR])
        add = cgutils.get_or_insert_function(builder.module, total, "llvm.vector.reduce.add.v8i64")
        counts = cgutils.alloca_once(builder, VECTOR)
        builder.store(ir.Constant(VECTOR, [0] * LANE_WORDS), counts)
        with cgutils.for_range(builder, builder.lshr(arguments[4], arguments[4].type(3))) as loop:
            bits, masks, code, code_mask = (builder.load(builder.gep(place, [loop.index]), align=8) for place in places)
            common = builder.and_(masks, code_mask)
            differing = builder.call(count, [builder.and_(builder.xor(bits, code), common)])
            compared = builder.shl(builder.call(count, [common]), ir.Constant(VECTOR, [32] * LANE_WORDS))
            builder.store(builder.add(builder.load(counts), builder.add(differing, compared)), counts)
        return builder.call(add, [builder.load(counts)])

    return types.uint64(bits, masks, code, code_mask, types.int64), generate


count_words = cast("Callable[[Words, Words, Words, Words, int], Any]", intrinsic(_count_words))
"""Differing (low half) and compared bits (high half) of codes and masks of so many words, a multiple of 8; within
kernels only."""


def _prefetch(typing: Any, row: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        fetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        with cgutils.for_range(builder, builder.lshr(builder.extract_value(array.shape, 0), VECTOR.element(3))) as loop:
            line = builder.gep(builder.bitcast(array.data, VECTOR.as_pointer()), [loop.index])
            builder.call(fetch, [builder.bitcast(line, byte), number(0), number(2), number(1)])
        return context.get_dummy_value()

    return types.void(row), generate


prefetch = cast("Callable[[Words], None]", intrinsic(_prefetch))
"""Asks for a row of words to be brought into the cache; within kernels only."""


@kernel
def _quotient(bits: Words, masks: Words, code: Words, code_mask: Words, floor: int) -> float:
    """x |x| / n of the first words of two codes; -inf where fewer than ``floor`` bits can be compared."""
    counts = count_words(bits, masks, code, code_mask, bits.shape[0])
    n = np.int64(counts >> _HIGH)
    if n < floor:
        return -np.inf
    x = n - np.int64(2) * np.int64(counts & _LOW)
    return np.float64(x * abs(x)) / np.float64(n if n else 1)


@kernel
def score_rows(
    bits: Words,
    masks: Words,
    codes: Words,
    code_masks: Words,
    rows: NDArray[np.int64],
    floor: int,
    reference_bits: float,
    scores: NDArray[np.float64],
) -> None:
    """Best score over all rotations of a probe against chosen rows of two tables. Releases the GIL.

    Args:
        bits, masks: uint64[rotations, words], the probe rotated in every way that counts.
        codes, code_masks: uint64[references, words or more]; further words are left out.
        rows: int64[n], rows of the tables.
        floor: least number of compared bits.
        reference_bits: n0 of the normalised distance.
        scores: float64[n], is filled; NaN where too few bits can be compared.
    """
    for i in range(rows.shape[0]):
        best = -np.inf
        for r in range(bits.shape[0]):
            best = max(best, _quotient(bits[r], masks[r], codes[rows[i]], code_masks[rows[i]], floor))
        root = 0.5 * math.sqrt(abs(best) / reference_bits)
        scores[i] = np.nan if best == -np.inf else (root if best >= 0.0 else -root)


@kernel
def _prune(rows: NDArray[np.int64], quotients: NDArray[np.float64], size: int, count: int) -> float:
    """Keeps the ``count`` greatest of ``size`` quotients, of equal ones the first; the least that is kept."""
    least = np.partition(quotients[:size], size - count)[size - count]
    spare = count
    for i in range(size):
        spare -= quotients[i] > least
    kept = 0
    for i in range(size):
        equal = quotients[i] == least and spare > 0
        if equal or quotients[i] > least:
            spare -= equal
            rows[kept], quotients[kept] = rows[i], quotients[i]
            kept += 1
    return float(least)


@kernel
def _list_lanes(
    passing: Words, judged: Words, wanted: Words, lanes: NDArray[np.int64], turns: Words, places: NDArray[np.int64]
) -> int:
    """Lists the lanes of a block that the second stage is to look at, ascending; how many they are.

    Args:
        passing: uint64[rotations, LANE_WORDS].
        judged, wanted: uint64[LANE_WORDS].
        lanes: int64[LANES], is filled.
        turns: uint64[LANES], gets a 1 for each rotation to look at.
    """
    rotations = passing.shape[0]
    every = (_ONE << np.uint64(rotations)) - _ONE
    size = 0
    for j in range(LANE_WORDS):
        listed = wanted[j] & ~judged[j]
        for r in range(rotations):
            listed |= passing[r, j] & wanted[j]
        left = listed
        while left:
            lanes[size] = j * 64 + np.int64(trailing_zeros(left))
            places[lanes[size]] = size
            turns[size] = np.uint64(0)
            left &= left - _ONE
            size += 1
        for r in range(rotations):
            left = passing[r, j] & listed
            while left:
                turns[places[j * 64 + np.int64(trailing_zeros(left))]] |= _ONE << np.uint64(r)
                left &= left - _ONE
        left = wanted[j] & ~judged[j]
        while left:
            turns[places[j * 64 + np.int64(trailing_zeros(left))]] = every
            left &= left - _ONE
    return size


@kernel
def _compare_rows(
    those: NDArray[np.int64],
    turns: Words,
    bits: Words,
    masks: Words,
    codes: Words,
    code_masks: Words,
    floor: int,
    count: int,
    rows: NDArray[np.int64],
    quotients: NDArray[np.float64],
    sizes: NDArray[np.int64],
    least: NDArray[np.float64],
) -> None:
    """Compares a probe with ``those`` rows at some rotations each, and adds them to its best; see ``scan_blocks``."""
    size = sizes[0]
    for i in range(those.shape[0]):
        row, left, best = those[i], turns[i], -np.inf
        while left:
            r = np.int64(trailing_zeros(left))
            left &= left - _ONE
            best = max(best, _quotient(bits[r], masks[r], codes[row], code_masks[row], floor))
        if best > least[0]:
            rows[size], quotients[size] = row, best
            size += 1
    if size + LANES > rows.shape[0]:
        least[0] = _prune(rows, quotients, size, count)
        size = count
    sizes[0] = size


@kernel
def scan_blocks(
    blocks: Words,
    wanted: Words,
    first: int,
    offsets: NDArray[np.int32],
    lengths: NDArray[np.int64],
    constants: Words,
    bits: Words,
    masks: Words,
    codes: Words,
    code_masks: Words,
    floor: int,
    count: int,
    rows: NDArray[np.int64],
    quotients: NDArray[np.float64],
    sizes: NDArray[np.int64],
) -> None:
    """Both stages of the search for several probes in one pass over blocks. Releases the GIL.

    Each block is compared with all probes while it is in cache. A reference that the first stage lets through is
    compared by the whole code at the rotations at which it did, and at all of them where it could not be judged at any.

    Args:
        blocks: uint64[blocks, bits + 1, 2, LANE_WORDS], see ``slices``.
        wanted: uint64[blocks, LANE_WORDS], 1 for each reference that may be found.
        first: row of the first reference in these blocks.
        offsets, lengths: int32[probes, rotations, n], int64[probes, rotations], see ``slices.list_planes``.
        constants: see ``slices.compare_rotation``.
        bits, masks: uint64[probes, rotations, words], the probes rotated in every way that counts.
        codes, code_masks: uint64[references, words], of all references.
        floor: least number of compared bits.
        count: how many of the best references of a probe are wanted, >= 1.
        rows, quotients: int64 and float64[probes, at least count + LANES], are filled with rows and x |x| / n of what
            was found, rows ascending: the best ``count``, and some more.
        sizes: int64[probes], how many that are.
    """
    rotations, planes = bits.shape[1], blocks.shape[1]
    passing = np.empty((rotations, LANE_WORDS), np.uint64)
    judged = np.empty(LANE_WORDS, np.uint64)
    # What the first stage let through waits for its rows, which are fetched little by little during the next one.
    waiting, turns = np.empty((2, LANES), np.int64), np.empty((2, LANES), np.uint64)
    places = np.empty(LANES, np.int64)
    here, before, of = 0, 0, 0
    least = np.full(bits.shape[0], -np.inf)
    sizes[:] = 0
    for b in range(blocks.shape[0]):
        if not wanted[b].any():
            continue
        for p in range(bits.shape[0]):
            judged[:] = np.uint64(0)
            ahead = 0
            for r in range(rotations):
                compare_rotation(blocks[b], offsets[p, r], lengths[p, r], constants, passing[r], judged)
                while ahead * rotations < before * (r + 1):
                    prefetch(codes[waiting[1 - here, ahead]])
                    prefetch(code_masks[waiting[1 - here, ahead]])
                    ahead += 1
                if p == bits.shape[0] - 1 and b + 1 < blocks.shape[0]:
                    for k in range(planes * r // rotations, planes * (r + 1) // rotations):
                        prefetch(blocks[b + 1, k, 0])
                        prefetch(blocks[b + 1, k, 1])
            size = _list_lanes(passing, judged, wanted[b], waiting[here], turns[here], places)
            for i in range(size):
                waiting[here, i] += first + b * LANES
            _compare_rows(
                waiting[1 - here, :before], turns[1 - here], bits[of], masks[of], codes, code_masks, floor, count,
                rows[of], quotients[of], sizes[of : of + 1], least[of : of + 1],
            )  # fmt: skip
            here, before, of = 1 - here, size, p
    _compare_rows(
        waiting[1 - here, :before], turns[1 - here], bits[of], masks[of], codes, code_masks, floor, count,
        rows[of], quotients[of], sizes[of : of + 1], least[of : of + 1],
    )  # fmt: skip
