"""The inner loops of iris comparison, compiled by numba: population counts of XORed, masked words.

Every loop finds, over rotations, the greatest of x |x| / n, where n bits are compared and x = n - 2 d is how many more
of them agree than differ. That is (0.5 - HDnorm)^2 with its sign, times the constant 4 n0; comparing products of
integers instead of quotients is exact, so that every way to compute a score gives the same bits.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from matcher.compiled import kernel, popcount

LANES = 64
"""References of a block: as many as a loop goes over with the probe's words in registers and the block in cache."""

CHUNK = 8
"""Words that ``_count`` takes at a time: 16 registers of 512 bits hold them and their masks."""

Words = NDArray[np.uint64]

_HIGH = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_NOTHING = -1e300


@kernel
def _score(square: float, compared: float, reference_bits: float) -> float:
    """0.5 - HDnorm from x |x| and n; NaN where no rotation could be compared."""
    if square == _NOTHING:
        return np.nan
    root = 0.5 * math.sqrt(abs(square) / compared / reference_bits)
    return root if square >= 0.0 else -root


@kernel
def _count(bits: Words, masks: Words, block_bits: Words, block_masks: Words, counts: Words) -> None:
    """Adds to counts[lane] the differing bits (low half) and the compared bits (high half) of eight words.

    Args:
        bits, masks: uint64[8] of the probe.
        block_bits, block_masks: uint64[8, LANES] of the references.
    """
    p0, p1, p2, p3, p4, p5, p6, p7 = bits[0], bits[1], bits[2], bits[3], bits[4], bits[5], bits[6], bits[7]
    q0, q1, q2, q3, q4, q5, q6, q7 = masks[0], masks[1], masks[2], masks[3], masks[4], masks[5], masks[6], masks[7]
    b, c = block_bits, block_masks
    b0, b1, b2, b3, b4, b5, b6, b7 = b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]
    c0, c1, c2, c3, c4, c5, c6, c7 = c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]
    # Written out: LLVM makes vectors along the lanes only of a loop that holds no other.
    for j in range(LANES):
        m0, m1, m2, m3 = q0 & c0[j], q1 & c1[j], q2 & c2[j], q3 & c3[j]
        m4, m5, m6, m7 = q4 & c4[j], q5 & c5[j], q6 & c6[j], q7 & c7[j]
        different = popcount((p0 ^ b0[j]) & m0) + popcount((p1 ^ b1[j]) & m1)
        different += popcount((p2 ^ b2[j]) & m2) + popcount((p3 ^ b3[j]) & m3)
        different += popcount((p4 ^ b4[j]) & m4) + popcount((p5 ^ b5[j]) & m5)
        different += popcount((p6 ^ b6[j]) & m6) + popcount((p7 ^ b7[j]) & m7)
        compared = popcount(m0) + popcount(m1) + popcount(m2) + popcount(m3)
        compared += popcount(m4) + popcount(m5) + popcount(m6) + popcount(m7)
        counts[j] += different + (compared << _HIGH)


@kernel
def _keep_best(counts: Words, floor: int, square: NDArray[np.float64], compared: NDArray[np.float64]) -> None:
    """Takes a rotation's counts into the best of each lane, and clears them."""
    for j in range(LANES):
        both = counts[j]
        counts[j] = np.uint64(0)
        n = np.int64(both >> _HIGH)
        x = n - np.int64(2) * np.int64(both & _LOW)
        own, of = np.float64(x * abs(x)), np.float64(n)
        better = (own * compared[j] > square[j] * of) & (n >= floor)
        square[j] = own if better else square[j]
        compared[j] = of if better else compared[j]


@kernel
def _score_block(
    bits: Words,
    masks: Words,
    block: Words,
    floor: int,
    reference_bits: float,
    counts: Words,
    square: NDArray[np.float64],
    compared: NDArray[np.float64],
    scores: NDArray[np.float64],
) -> None:
    """scores[lane], float64[LANES], of a block uint64[2, words, LANES]: codes, then masks."""
    for j in range(LANES):
        square[j] = _NOTHING
        compared[j] = 1.0
    for s in range(bits.shape[0]):
        for w in range(0, bits.shape[1], CHUNK):
            _count(bits[s, w : w + CHUNK], masks[s, w : w + CHUNK], block[0, w:], block[1, w:], counts)
        _keep_best(counts, floor, square, compared)
    for j in range(LANES):
        scores[j] = _score(square[j], compared[j], reference_bits)


@kernel
def score_blocks(
    bits: Words,
    masks: Words,
    blocks: Words,
    wanted: NDArray[np.bool_],
    floor: int,
    reference_bits: float,
    scores: NDArray[np.float64],
) -> None:
    """Best score over all rotations of a probe against references that lie in blocks. Releases the GIL.

    Args:
        bits, masks: uint64[rotations, words], the probe rotated in every way that counts; words a multiple of 8.
        blocks: uint64[blocks, 2, words, LANES], codes and masks of the references, masked bits of no account.
        wanted: bool[blocks * LANES]; blocks of which no reference is wanted are left out.
        floor: least number of compared bits.
        reference_bits: n0 of the normalised distance.
        scores: float64[blocks * LANES], is filled: NaN where too few bits can be compared, -inf where not wanted.
    """
    counts = np.zeros(LANES, np.uint64)
    square, compared = np.empty(LANES), np.empty(LANES)
    for b in range(blocks.shape[0]):
        here, of = wanted[b * LANES : (b + 1) * LANES], scores[b * LANES : (b + 1) * LANES]
        if here.any():
            _score_block(bits, masks, blocks[b], floor, reference_bits, counts, square, compared, of)
        for j in range(LANES):
            of[j] = of[j] if here[j] else -np.inf


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
        bits, masks: uint64[rotations, words], as for ``score_blocks``.
        codes, code_masks: uint64[references, words].
        rows: int64[n], rows of the tables.
        floor, reference_bits: as for ``score_blocks``.
        scores: float64[n], is filled; NaN where too few bits can be compared.
    """
    words = bits.shape[1]
    block = np.zeros((2, words, LANES), np.uint64)
    counts = np.zeros(LANES, np.uint64)
    square, compared, of = np.empty(LANES), np.empty(LANES), np.empty(LANES)
    for start in range(0, rows.shape[0], LANES):
        size = min(LANES, rows.shape[0] - start)
        for j in range(size):
            code, mask = codes[rows[start + j]], code_masks[rows[start + j]]
            for w in range(words):
                block[0, w, j] = code[w]
                block[1, w, j] = mask[w]
        _score_block(bits, masks, block, floor, reference_bits, counts, square, compared, of)
        for j in range(size):
            scores[start + j] = of[j]
