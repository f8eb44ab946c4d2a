"""Comparison of verification codes in which sectors of the eye may move a little on their own; compiled by numba.

Steps for two codes:

1. Of the two the one that is less, word by word, owns the sectors, so that the score does not depend on who is asked.
2. Every rotation is compared rigidly, as the search code is.
3. At the best rotations every sector takes the move, in rows and columns, at which most bits agree, at a cost for each
   row and column (J. Thornton, M. Savvides, B. Vijaya Kumar, "A Bayesian Approach to Deformed Pattern Matching of Iris
   Images", PAMI 29(4), 2007; theirs is a field of displacements with a learnt prior, ours knows eight of them).
4. Agreements and compared bits of the sectors add up to the normalised distance.

A column of the code is one word; a code lies with its ends continued, so that a rotation is an offset.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from matcher.compiled import kernel, popcount

Words = NDArray[np.uint64]

_HIGH = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)


@kernel
def _count(bits: Words, masks: Words, other_bits: Words, other_masks: Words) -> np.uint64:
    """Differing bits (low half) and compared bits (high half) of two runs of words."""
    counts = np.uint64(0)
    for w in range(bits.shape[0]):
        common = masks[w] & other_masks[w]
        counts += popcount((bits[w] ^ other_bits[w]) & common) + (popcount(common) << _HIGH)
    return counts


@kernel
def _is_less(a: Words, b: Words) -> bool:
    """Whether the first word that differs is less in a, code before mask; uint64[2, n] each."""
    for part in range(2):
        for w in range(a.shape[1]):
            if a[part, w] != b[part, w]:
                return bool(a[part, w] < b[part, w])
    return False


@kernel
def score_deformed(
    probe: Words,
    table: Words,
    rows: NDArray[np.int64],
    max_shift: int,
    sectors: int,
    column_reach: int,
    cost: float,
    refined: int,
    floor: int,
    reference_bits: float,
    scores: NDArray[np.float64],
) -> None:
    """Scores of one probe with chosen rows of a table. Releases the GIL.

    Args:
        probe: uint64[moves, 2, padding + columns + padding], code and mask moved by -reach to reach rows, continued at
            both ends; padding = max_shift + column_reach.
        table: uint64[references, 2, columns], code and mask.
        rows: int64[n], rows of ``table``; negative: none.
        max_shift, sectors, column_reach, cost, refined: see ``IrisParameters``.
        floor: least number of compared bits.
        reference_bits: n0 of the normalised distance.
        scores: float64[n], is filled; NaN where too few bits can be compared, and for negative rows.
    """
    padding = max_shift + column_reach
    columns = table.shape[2]
    width = columns // sectors
    reach = probe.shape[0] // 2
    still = probe[reach]
    reference = np.empty((2, columns + 2 * padding), np.uint64)
    rigid = np.empty(2 * max_shift + 1)
    for i in range(rows.shape[0]):
        scores[i] = np.nan
        if rows[i] < 0:
            continue
        row = table[rows[i]]
        for part in range(2):
            reference[part, :padding] = row[part, columns - padding :]
            reference[part, padding : padding + columns] = row[part]
            reference[part, padding + columns :] = row[part, :padding]
        probe_owns = _is_less(still[:, padding : padding + columns], row)
        # The column c of the owner meets column c + t of the other one.
        for t in range(-max_shift, max_shift + 1):
            at = padding - t if probe_owns else padding + t
            both = _count(still[0, at : at + columns], still[1, at : at + columns], row[0], row[1])
            n = np.float64(both >> _HIGH)
            x = n - 2.0 * np.float64(both & _LOW)
            rigid[t + max_shift] = x * abs(x) / n if n >= floor else -np.inf
        best = -np.inf
        for _ in range(refined):
            k = int(np.argmax(rigid))
            if rigid[k] == -np.inf:
                break
            rigid[k] = -np.inf
            t = k - max_shift
            agreement, compared = 0.0, 0.0
            for sector in range(sectors):
                begin = padding + sector * width
                most, those = -np.inf, 0.0
                for r in range(-reach, reach + 1):
                    # Rows of the other one moved outwards by r: the same as the owner's moved inwards.
                    moved = probe[reach - r] if probe_owns else probe[reach + r]
                    for c in range(-column_reach, column_reach + 1):
                        p, q = (begin, begin + t + c) if probe_owns else (begin + t + c, begin)
                        both = _count(
                            moved[0, p : p + width],
                            moved[1, p : p + width],
                            reference[0, q : q + width],
                            reference[1, q : q + width],
                        )
                        n = np.float64(both >> _HIGH)
                        x = n - 2.0 * np.float64(both & _LOW) - cost * n * (abs(r) + abs(c))
                        if x > most:
                            most, those = x, n
                agreement += most
                compared += those
            if compared >= floor:
                best = max(best, agreement * abs(agreement) / compared)
        if best > -np.inf:
            root = 0.5 * math.sqrt(abs(best) / reference_bits)
            scores[i] = root if best >= 0.0 else -root
