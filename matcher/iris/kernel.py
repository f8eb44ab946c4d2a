"""The inner loop of iris comparison, compiled by numba: population counts of XORed, masked words."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from matcher.compiled import kernel, popcount


@kernel
def _score_rows(
    probe_bits: NDArray[np.uint64],
    probe_masks: NDArray[np.uint64],
    codes: NDArray[np.uint64],
    masks: NDArray[np.uint64],
    rows: NDArray[np.int64],
    weights: NDArray[np.float64],
    scores: NDArray[np.float64],
) -> None:
    high = np.uint64(32)
    low = np.uint64(0xFFFFFFFF)
    for i in range(rows.shape[0]):
        row = rows[i]
        best = -np.inf
        if row >= 0:
            for s in range(probe_bits.shape[0]):
                # Different bits in the low half, compared bits in the high half: one sum instead of two.
                counts = np.uint64(0)
                for w in range(probe_bits.shape[1]):
                    common = probe_masks[s, w] & masks[row, w]
                    different = (probe_bits[s, w] ^ codes[row, w]) & common
                    counts += popcount(different) + (popcount(common) << high)
                compared = np.int64(counts >> high)
                score = (compared - 2 * np.int64(counts & low)) * weights[compared]
                if score > best:  # never true for NaN, the weight below the floor
                    best = score
        scores[i] = best if best > -np.inf else np.nan


def score_rows(
    probe_bits: NDArray[np.uint64],
    probe_masks: NDArray[np.uint64],
    codes: NDArray[np.uint64],
    masks: NDArray[np.uint64],
    rows: NDArray[np.int64],
    weights: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Best score over all rotations of one probe against chosen rows of a table of references. Releases the GIL.

    Args:
        probe_bits, probe_masks: uint64[rotations, words], the probe rotated in every way that counts.
        codes, masks: uint64[references, words]; bits whose mask bit is 0 do not matter.
        rows: int64[n], rows of ``codes`` to score; negative: none.
        weights: see ``IrisParameters.weights``.

    Returns:
        float64[n]; NaN where no rotation leaves enough bits to compare, and for negative rows.
    """
    scores = np.empty(len(rows), np.float64)
    _score_rows(probe_bits, probe_masks, codes, masks, rows, weights, scores)
    return scores
