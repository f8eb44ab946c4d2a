"""Prepared fingers one behind the other, each in one piece of memory, as they lie in an index's mapped file.

A finger in uint64 words: its key, its number n of minutiae, its cylinders (n times 6), then n int16 each of x, y and
angle, filled up to a whole word. Whoever looks at a finger touches one place of the file, one page or two, and not one
in each of seven columns.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from matcher.compiled import kernel
from matcher.finger.cylinders import PreparedFinger

HEAD = 2
"""Words before a finger's cylinders."""


@dataclasses.dataclass(frozen=True, eq=False)
class FingerRows:
    """Fingers as the batch kernel reads them.

    Attributes:
        words: uint64[m], see the module.
        start: int64[rows], where each finger begins.
    """

    words: NDArray[np.uint64]
    start: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.start)

    def ends(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64[n]: where some fingers end, without a look at them."""
        after = rows + 1
        there = after < len(self.start)
        return np.where(there, self.start[np.where(there, after, 0)], len(self.words))


def row_words(minutiae: int, cylinder_words: int) -> int:
    """How many words a finger of so many minutiae takes."""
    return HEAD + minutiae * cylinder_words + (3 * minutiae + 3) // 4


def rows_of(fingers: Sequence[PreparedFinger]) -> FingerRows:
    """Prepared fingers one behind the other."""
    sizes = np.array([row_words(*finger.bits.shape) for finger in fingers], np.int64)
    starts = np.cumsum(sizes) - sizes
    words = np.empty(int(sizes.sum()), np.uint64)
    for finger, start, size in zip(fingers, starts.tolist(), sizes.tolist(), strict=True):
        _lay_out(finger.bits, finger.x, finger.y, finger.angle, np.uint64(finger.key), words[start : start + size])
    return FingerRows(words, starts)


@kernel
def copy_rows(
    words: NDArray[np.uint64], starts: NDArray[np.int64], sizes: NDArray[np.int64], out: NDArray[np.uint64]
) -> None:
    """Copies pieces of ``words`` one behind the other."""
    at = 0
    for i in range(starts.shape[0]):
        for k in range(sizes[i]):
            out[at + k] = words[starts[i] + k]
        at += sizes[i]


@kernel
def _lay_out(
    bits: NDArray[np.uint64],
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    angle: NDArray[np.int16],
    key: int | np.uint64,
    out: NDArray[np.uint64],
) -> None:
    n, words = bits.shape
    out[0] = key
    out[1] = n
    for i in range(n):
        for w in range(words):
            out[HEAD + i * words + w] = bits[i, w]
    out[HEAD + n * words :] = 0
    halves = out[HEAD + n * words :].view(np.int16)
    for i in range(n):
        # Whole pixels, as the template has them.
        halves[i] = np.int16(x[i])
        halves[n + i] = np.int16(y[i])
        halves[2 * n + i] = angle[i]
