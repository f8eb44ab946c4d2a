"""The first look at many references: how alike a probe's cylinders are to theirs, wherever they lie.

Each minutia of the probe takes the reference's minutia whose cylinder is most similar; the n_P most similar of these
are averaged. That is Local Similarity Sort ([MCC] section 4.1) with one partner for each minutia of the probe. It knows
nothing of how the pairs lie to each other, which is what most of the fast stage's time (``pairing``) goes into, and so
takes a sixth to a tenth of it: of the references that it looks at, the best are worth the fast stage.

How it gets fast: the probe's cylinders are turned over once, word by word instead of cylinder by cylinder, and each of
the reference's is compared with sixteen of them at once as it lies in the file. A similarity is 1 - sqrt(q) with
q = |a xor b|^2 / (|a| + |b|)^2; the least q of each column is kept, so that the root is taken once a column, and the
denominators are read from a table by the count of bits.

[MCC]: see ``parameters``.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from matcher.compiled import kernel, popcount
from matcher.dot_product import prefetch
from matcher.finger.column_vectors import LANES, keep_least
from matcher.finger.cylinders import PreparedFinger
from matcher.finger.pairing import SIMILARITY_STEPS, WIDTH, PairingTables
from matcher.finger.rows import HEAD, FingerRows

_AHEAD = 2048
"""Bytes of a reference that are asked for while the one two before it is looked at: most of it."""
_INDEX = WIDTH - 1


class Looker(NamedTuple):
    """A probe made ready to look at references.

    Attributes:
        minutiae: of the probe.
        filled: of these have bits in their cylinders; the others are like nothing.
        columns: uint64[words, columns], their cylinders word by word; up to a multiple of 16 columns, the last ones 0.
        directions: int32[columns], in 1/65536 turn.
        inverse: float32[bits + 1, columns], 1 / (|a| + |b|)^2 for a reference's cylinder of so many bits.
    """

    minutiae: int
    filled: int
    columns: NDArray[np.uint64]
    directions: NDArray[np.int32]
    inverse: NDArray[np.float32]


def looker(probe: PreparedFinger, tables: PairingTables) -> Looker:
    """Makes a probe ready, in a tenth of a millisecond."""
    filled = np.flatnonzero(probe.bits.any(axis=1))
    words, n = probe.bits.shape[1], len(filled)
    width = max(LANES, -(-n // LANES) * LANES)
    columns = np.zeros((words, width), np.uint64)
    columns[:, :n] = probe.bits[filled].T
    directions = np.zeros(width, np.int32)
    directions[:n] = probe.angle[filled]
    inverse = np.ones((len(tables.roots), width), np.float32)
    _fill_inverse(probe.bits[filled], tables.roots, inverse)
    return Looker(len(probe), n, columns, directions, inverse)


def first_look(probe: Looker, tables: PairingTables, rows: FingerRows, slots: NDArray[np.int64]) -> NDArray[np.float32]:
    """float32[n], 0-1: how alike the probe is to the fingers at ``slots`` of ``rows``, none of them negative; 0 for
    too few minutiae."""
    scores = np.empty(len(slots), np.float32)
    _look(
        *probe,
        tables.turn,
        tables.pairs,
        tables.min_minutiae,
        rows.words,
        rows.start,
        slots,
        scores,
    )
    return scores


def worth_comparing(likeness: NDArray[np.float32], places: NDArray[np.int64], there: int) -> NDArray[np.float64]:
    """float64[n]: what is known of references after the first look, more being better.

    The likeness in standard deviations from the mean, and the normal score of the place by the vectors, are added: both
    scatter alike among strangers, and they err on different prints. (Rank of a sum of standardised scores: A. K. Jain,
    K. Nandakumar, A. Ross, "Score normalization in multimodal biometric systems", Pattern Recognition 38 (2005); normal
    scores: B. L. van der Waerden, 1952.)

    Args:
        likeness: of each, by ``first_look``.
        places: int64[n], 0 for the nearest by its vector.
        there: references among which these are places.
    """
    deviation = float(likeness.std(dtype=np.float64)) or 1.0
    worth: NDArray[np.float64] = (likeness - likeness.mean(dtype=np.float64)) / deviation
    worth -= special.ndtri((places + 0.5) / there)
    return worth


@kernel
def _fill_inverse(bits: NDArray[np.uint64], roots: NDArray[np.float32], inverse: NDArray[np.float32]) -> None:
    for j in range(bits.shape[0]):
        count = np.uint64(0)
        for w in range(bits.shape[1]):
            count += popcount(bits[j, w])
        for other in range(roots.shape[0]):
            both = roots[other] + roots[count]
            inverse[other, j] = np.float32(1.0) / (both * both)


@kernel
def _look(
    n: int,
    filled: int,
    columns: NDArray[np.uint64],
    directions: NDArray[np.int32],
    inverse: NDArray[np.float32],
    turn: int,
    pairs: NDArray[np.int64],
    min_minutiae: int,
    all_words: NDArray[np.uint64],
    start: NDArray[np.int64],
    slots: NDArray[np.int64],
    scores: NDArray[np.float32],
) -> None:
    width, words = columns.shape[1], inverse.shape[0] // 64
    halves, lines = all_words.view(np.int16), all_words.view(np.uint8)
    reach, most_turned = np.int32(2 * turn), np.int32(turn)
    one, steps = np.float32(1.0), np.float32(SIMILARITY_STEPS)
    least, keys = np.empty(WIDTH, np.float32), np.empty(WIDTH, np.int32)
    for s in range(slots.shape[0]):
        begin = start[slots[s]]
        if s + 2 < slots.shape[0]:
            ahead = 8 * start[slots[s + 2]]
            prefetch(lines[ahead : ahead + _AHEAD])
        m = np.int64(all_words[begin + 1])
        fewest = m if m < n else np.int64(n)
        if fewest < min_minutiae:
            scores[s] = np.float32(0.0)
            continue
        begin += HEAD
        angles = 4 * (begin + m * words) + 2 * m
        for j in range(WIDTH):
            least[j] = one
        for i in range(m):
            at = begin + i * words
            count = np.int64(0)
            for w in range(words):
                count += np.int64(popcount(all_words[at + w]))
            toward = np.int32(halves[angles + i]) + most_turned
            for block in range(0, width, LANES):
                keep_least(all_words, at, words, columns, directions, inverse, count, toward, reach, least, block)
        for j in range(WIDTH):
            # With the column in the lowest bits no two are equal.
            step = np.int32((one - np.float32(math.sqrt(least[j]))) * steps)
            key = (step << np.int32(6)) | np.int32(_INDEX - j)
            keys[j] = key if j < filled else np.int32(0)
        n_p, total = pairs[fewest], np.int64(0)
        for _ in range(n_p):
            top = np.int32(0)
            for j in range(WIDTH):
                top = max(top, keys[j])
            for j in range(WIDTH):
                keys[j] = np.int32(0) if keys[j] == top else keys[j]
            total += top >> np.int32(6)
        scores[s] = np.float32(total) / (np.float32(n_p) * steps)
