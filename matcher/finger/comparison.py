"""1:1 comparison of fingerprints: local greedy similarity with relaxation (LGS-R) of bit cylinders.

Steps (sources and numbers in ``parameters.ComparisonParameters``):
    1. similarity of every pair of cylinders, 1 - |a xor b| / (|a| + |b|) with |.| the root of the count of bits, 0
       where the directions differ by more than a quarter turn;
    2. greedy one-to-one assignment: the most similar pair, then the most similar of what is left, and so on;
    3. relaxation: each pair is re-weighted by how well it agrees with every other in distance, direction and radial
       angle, some times over;
    4. the n_P pairs that kept most of their similarity are averaged; the sum is divided by n_P even if there are fewer.

The pair is put into one order first (fewer minutiae first, then by key), so the score does not depend on who is probe.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from matcher.compiled import kernel
from matcher.errors import ModelMismatch
from matcher.finger.cylinders import PreparedFinger, prepare_finger
from matcher.finger.pairing import PairingSpace, PairingTables, pair_up, pairing_space, pairing_tables, relaxed_score
from matcher.finger.parameters import FINGER_ALGORITHM, ComparisonParameters, CylinderParameters
from matcher.positions import Modality
from matcher.templates import FingerTemplate, Template


@dataclasses.dataclass(frozen=True, eq=False)
class FingerRows:
    """Prepared fingers one behind the other, as the batch kernel reads them.

    Attributes:
        bits: uint64[m, 6]; x, y: float32[m]; angle: int16[m]: all minutiae of all fingers (see ``PreparedFinger``).
        start, count: int64[s], int32[s], where the minutiae of each finger begin, and how many.
        key: uint64[s], see ``PreparedFinger``.
    """

    bits: NDArray[np.uint64]
    x: NDArray[np.float32]
    y: NDArray[np.float32]
    angle: NDArray[np.int16]
    start: NDArray[np.int64]
    count: NDArray[np.int32]
    key: NDArray[np.uint64]


class FingerComparator:
    """Compares fingers 1:1; thread-safe. Scores lie within 0 and 1; unrelated fingers reach about 0.03."""

    modality = Modality.FINGER
    algorithms: frozenset[str] = frozenset({FINGER_ALGORITHM})

    def __init__(
        self, cylinders: CylinderParameters | None = None, comparison: ComparisonParameters | None = None
    ) -> None:
        self.cylinders = cylinders or CylinderParameters()
        self.comparison = comparison or ComparisonParameters()
        self.tables = pairing_tables(self.cylinders, self.comparison)
        self.roots = self.tables.roots
        self.turn = self.tables.turn

    def prepare(self, template: Template) -> PreparedFinger:
        """Builds the cylinders.

        Raises:
            ModelMismatch: not a finger template, or of another algorithm.
        """
        if not isinstance(template, FingerTemplate) or template.algorithm not in self.algorithms:
            raise ModelMismatch(
                f"a {template.modality} template of {template.algorithm!r} cannot be compared by this comparator "
                f"({', '.join(sorted(self.algorithms))}); extract the sample again"
            )
        return prepare_finger(template, self.cylinders)

    def compare(self, probe: PreparedFinger, reference: PreparedFinger) -> float:
        """The score of two prepared fingers; 0 where either has fewer than three minutiae."""
        rows = FingerRows(
            reference.bits,
            reference.x,
            reference.y,
            reference.angle,
            np.zeros(1, np.int64),
            np.array([len(reference)], np.int32),
            np.array([reference.key], np.uint64),
        )
        return float(self.compare_rows(probe, rows, np.zeros(1, np.int64))[0])

    def compare_rows(self, probe: PreparedFinger, rows: FingerRows, slots: NDArray[np.int64]) -> NDArray[np.float64]:
        """Scores, float64[n], of a probe against the fingers at ``slots`` of ``rows``; NaN where a slot is negative."""
        return _compare_many(
            probe.bits,
            probe.x,
            probe.y,
            probe.angle,
            np.uint64(probe.key),
            rows.bits,
            rows.x,
            rows.y,
            rows.angle,
            rows.start,
            rows.count,
            rows.key,
            slots,
            self.tables,
            pairing_space(self.cylinders.words),
        )


@kernel
def _compare_many(
    bits: NDArray[np.uint64],
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    angle: NDArray[np.int16],
    key: int | np.uint64,
    all_bits: NDArray[np.uint64],
    all_x: NDArray[np.float32],
    all_y: NDArray[np.float32],
    all_angle: NDArray[np.int16],
    start: NDArray[np.int64],
    count: NDArray[np.int32],
    keys: NDArray[np.uint64],
    slots: NDArray[np.int64],
    tables: PairingTables,
    space: PairingSpace,
) -> NDArray[np.float64]:
    """A probe against many fingers; see ``FingerComparator.compare_rows``."""
    scores = np.empty(slots.shape[0])
    n = x.shape[0]
    for s in range(slots.shape[0]):
        slot = slots[s]
        if slot < 0:
            scores[s] = np.nan
            continue
        begin, m = start[slot], np.int64(count[slot])
        end = begin + m
        if min(n, m) < tables.min_minutiae:
            scores[s] = 0.0
            continue
        other_bits, other_x = all_bits[begin:end], all_x[begin:end]
        other_y, other_angle = all_y[begin:end], all_angle[begin:end]
        if n < m or (n == m and key <= keys[slot]):
            pairs = pair_up(bits, x, y, angle, other_bits, other_x, other_y, other_angle, tables, space)
        else:
            pairs = pair_up(other_bits, other_x, other_y, other_angle, bits, x, y, angle, tables, space)
        scores[s] = relaxed_score(pairs, tables.pairs[min(n, m)], space)
    return scores
