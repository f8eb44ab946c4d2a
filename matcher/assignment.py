"""Pairs body parts of the probe with body parts of a subject one to one, best score first.

Several samples of one known position are one body part and count once; samples of unknown position are each their own.
Without this, two pictures of one finger would be counted as evidence twice. Where probe and subject both have samples
of unknown position in one modality, nothing tells whether two pairs show the same finger: only the best pair of that
modality counts.

A pair is the best of all pairs that share a body part with it; that is how many comparisons it is penalised for.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from matcher.compiled import kernel


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs:
    """Comparisons of samples of the probe with references, many subjects one behind the other.

    Attributes:
        subject: int64[n], ascending; what belongs together.
        raw: float64[n], finite.
        probe: int32[n], number of the sample; ties of raw scores go to the lower one, then to the encounter before,
            then to the reference before.
        position, reference_position: int32[n], numbers of ``Position``.
        unknown, reference_unknown: bool[n], whether that is an unknown one.
        modality: int32[n], a number for each.
        encounter: int32[n], number of the reference's encounter: lower ones came on record before.
        reference: int64[n], which reference: equal numbers are the same one.
    """

    subject: NDArray[np.int64]
    raw: NDArray[np.float64]
    probe: NDArray[np.int32]
    position: NDArray[np.int32]
    unknown: NDArray[np.bool_]
    reference_position: NDArray[np.int32]
    reference_unknown: NDArray[np.bool_]
    modality: NDArray[np.int32]
    encounter: NDArray[np.int32]
    reference: NDArray[np.int64]

    def take(self, rows: NDArray[Any]) -> Pairs:
        """Some of them."""
        return Pairs(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))


def assign(pairs: Pairs) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The pairs that count.

    Returns:
        int64[m], which ones: by subject, within a subject by falling score; int64[m], how many comparisons each is the
        best of.
    """
    # Numbers of positions, of samples, of references and of modalities, kept apart.
    row = np.where(pairs.unknown, 1000 + pairs.probe.astype(np.int64), pairs.position)
    column = np.where(pairs.reference_unknown, 1000 + pairs.reference, pairs.reference_position)
    order = np.lexsort((pairs.reference, pairs.encounter, pairs.probe, -pairs.raw, pairs.subject))
    chosen, tried = np.empty(len(order), np.int64), np.empty(len(order), np.int64)
    both = pairs.unknown & pairs.reference_unknown
    count = _assign(pairs.subject, row, column, both, pairs.modality, order, chosen, tried)
    return chosen[:count], tried[:count]


@kernel
def _assign(
    subject: NDArray[np.int64],
    row: NDArray[np.int64],
    column: NDArray[np.int64],
    both_unknown: NDArray[np.bool_],
    modality: NDArray[np.int32],
    order: NDArray[np.int64],
    chosen: NDArray[np.int64],
    tried: NDArray[np.int64],
) -> int:
    total, begin, n = 0, 0, order.shape[0]
    while begin < n:
        end = begin + 1
        while end < n and subject[order[end]] == subject[order[begin]]:
            end += 1
        first = total
        for k in range(begin, end):
            ambiguous = False
            for j in range(begin, end):
                other = order[j]
                if both_unknown[other] and modality[other] == modality[order[k]]:
                    ambiguous = True
            if ambiguous:
                # Marked below zero, where no position is: one body part of each side.
                row[order[k]] = column[order[k]] = -1 - modality[order[k]]
        for k in range(begin, end):
            pair = order[k]
            free = True
            for taken in chosen[first:total]:
                if row[taken] == row[pair] or column[taken] == column[pair]:
                    free = False
                    break
            if free:
                shared = 0
                for j in range(begin, end):
                    shared += row[order[j]] == row[pair] or column[order[j]] == column[pair]
                chosen[total] = pair
                tried[total] = shared
                total += 1
        begin = end
    return total
