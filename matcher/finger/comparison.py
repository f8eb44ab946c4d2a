"""1:1 comparison of fingerprints: bit cylinders paired and relaxed, then the prints laid upon each other.

Three files do the work: ``pairing`` (the fast stage, LGS-R), ``alignment`` (the second stage) and ``evidence`` (both
to one score). Here they are run over one pair or a list of them.

The pair is put into one order first (fewer minutiae first, then by key), so the score does not depend on who is probe.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from matcher.compiled import kernel
from matcher.errors import ModelMismatch
from matcher.finger.alignment import AlignmentTables, alignment_space, alignment_tables
from matcher.finger.cylinders import PreparedFinger, prepare_fingers
from matcher.finger.evidence import FEATURES, EvidenceTables, PairModel, measure, score
from matcher.finger.pairing import SIMILARITY_STEPS, WIDTH, PairingTables, pairing_space, pairing_tables
from matcher.finger.parameters import (
    FINGER_ALGORITHM,
    MINDTCT_ALGORITHM,
    AlignmentParameters,
    ComparisonParameters,
    CylinderParameters,
)
from matcher.finger.rows import HEAD, FingerRows, rows_of
from matcher.positions import Modality
from matcher.templates import FingerTemplate, Template


@dataclasses.dataclass(frozen=True, eq=False)
class PairDetails:
    """What a comparison found, for people to look at.

    Attributes:
        score, relaxed: of the pair, as ``compare`` and ``relaxed_rows`` give them.
        partners: int64[k, 2], minutiae of probe and reference (rows of the prepared fingers) that lie upon each other
            when the prints do; none for fewer than three minutiae on a side.
        similarity: float64[k], of the partners' cylinders, 0-1.
        turn: radians by which the probe is turned, clockwise on the screen, to lie upon the reference, -pi..pi.
        distance: root mean square distance of partners in pixels at 500 ppi; directions count too.
    """

    score: float
    relaxed: float
    partners: NDArray[np.int64]
    similarity: NDArray[np.float64]
    turn: float
    distance: float


class FingerComparator:
    """Compares fingers 1:1; thread-safe.

    Scores are 0 and more: below 1 for pairs of which the fast stage finds nothing, about 2 for the likest of a
    thousand strangers, 10 to 40 for impressions of one finger. See ``evidence`` for the scale.

    Args:
        cylinders, comparison, alignment, model: other ones than the package's, for experiments.
    """

    modality = Modality.FINGER
    algorithms: frozenset[str] = frozenset({FINGER_ALGORITHM, MINDTCT_ALGORITHM})

    def __init__(
        self,
        cylinders: CylinderParameters | None = None,
        comparison: ComparisonParameters | None = None,
        alignment: AlignmentParameters | None = None,
        model: PairModel | None = None,
    ) -> None:
        self.cylinders = cylinders or CylinderParameters()
        self.comparison = comparison or ComparisonParameters()
        self.alignment = alignment or AlignmentParameters()
        self.model = model or PairModel.load()
        self.tables = pairing_tables(self.cylinders, self.comparison)
        self._full_circle = pairing_tables(self.cylinders, dataclasses.replace(self.comparison, max_turn=math.pi))
        self._alignment = alignment_tables(self.alignment)

    def prepare(self, template: Template) -> PreparedFinger:
        """Builds the cylinders.

        Raises:
            ModelMismatch: not a finger template, or of another algorithm.
        """
        return self.prepare_many([template])[0]

    def prepare_many(self, templates: Sequence[Template]) -> list[PreparedFinger]:
        """``prepare`` of each, in one pass."""
        fingers = []
        for template in templates:
            if not isinstance(template, FingerTemplate) or template.algorithm not in self.algorithms:
                raise ModelMismatch(
                    f"a {template.modality} template of {template.algorithm!r} cannot be compared by this comparator "
                    f"({', '.join(sorted(self.algorithms))}); extract the sample again"
                )
            fingers.append(template)
        return prepare_fingers(fingers, self.cylinders)

    def compare(self, probe: PreparedFinger, reference: PreparedFinger, *, full_circle: bool = False) -> float:
        """The score of two prepared fingers; 0 where either has fewer than three minutiae.

        Args:
            probe, reference: in any order; the score is the same.
            full_circle: pair minutiae whatever their directions, for prints that may be turned by more than a quarter
                turn to each other. Strangers then score higher, by little; it takes as long.
        """
        return float(self.compare_rows(probe, rows_of([reference]), _FIRST, full_circle=full_circle)[0])

    def compare_rows(
        self, probe: PreparedFinger, rows: FingerRows, slots: NDArray[np.int64], *, full_circle: bool = False
    ) -> NDArray[np.float64]:
        """Scores, float64[n], of a probe against the fingers at ``slots`` of ``rows``; NaN where a slot is negative."""
        return self._run(probe, rows, slots, full_circle, self.model.gate)[0]

    def relaxed_rows(
        self, probe: PreparedFinger, rows: FingerRows, slots: NDArray[np.int64], *, full_circle: bool = False
    ) -> NDArray[np.float64]:
        """The same, but what the fast stage alone says: LGS-R, 0-1."""
        return self._run(probe, rows, slots, full_circle, math.inf)[1]

    def features_of_rows(
        self, probe: PreparedFinger, rows: FingerRows, slots: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """float64[n, 6]: ``evidence.FEATURES``, whether LGS-R reaches the gate or not; NaN where there are none."""
        return self._run(probe, rows, slots, False, 0.0)[2]

    def explain(self, probe: PreparedFinger, reference: PreparedFinger, *, full_circle: bool = False) -> PairDetails:
        """The score with what it rests on; the second stage runs whether the score uses it or not."""
        score = self.compare(probe, reference, full_circle=full_circle)
        swapped = (len(reference), reference.key) < (len(probe), probe.key)
        a, b = (reference, probe) if swapped else (probe, reference)
        if len(a) < self.comparison.min_minutiae:
            return PairDetails(score, 0.0, np.zeros((0, 2), np.int64), np.zeros(0), 0.0, 0.0)
        tables = self._full_circle if full_circle else self.tables
        p, space = pairing_space(self.cylinders.words), alignment_space()
        first, second = (a.bits, a.x, a.y, a.angle), (b.bits, b.x, b.y, b.angle)
        relaxed = measure(*first, *second, 0.0, tables, self._alignment, p, space, np.empty(len(FEATURES)))
        rows = np.flatnonzero(space.best_mate[: len(a)] >= 0)
        partners = np.stack([rows, space.best_mate[rows]], axis=1).astype(np.int64)
        similarity = (p.keys[partners[:, 0], partners[:, 1]] >> 12) / SIMILARITY_STEPS
        turn = math.atan2(space.best_motion[1], space.best_motion[0])
        distance = math.sqrt(space.best_measures[2] / max(space.best_measures[0], 1.0))
        if swapped:
            partners, turn = partners[:, ::-1].copy(), -turn
        return PairDetails(score, relaxed, partners, similarity, turn, distance)

    def _run(
        self, probe: PreparedFinger, rows: FingerRows, slots: NDArray[np.int64], full_circle: bool, gate: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        keep = len(slots) if gate != self.model.gate else 1
        scores, relaxed = np.empty(len(slots)), np.empty(len(slots))
        features = np.full((keep, len(FEATURES)), np.nan)
        _compare_many(
            probe.bits,
            probe.x,
            probe.y,
            probe.angle,
            np.uint64(probe.key),
            rows.words,
            rows.start,
            slots,
            # Plain tuples: numba takes 0.1 ms to find out the type of a named one.
            tuple(self._full_circle if full_circle else self.tables),
            tuple(self._alignment),
            tuple(self.model.tables),
            gate,
            scores,
            relaxed,
            features,
        )
        return scores, relaxed, features


_FIRST = np.zeros(1, np.int64)


@kernel
def _compare_many(
    bits: NDArray[np.uint64],
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    angle: NDArray[np.int16],
    key: int | np.uint64,
    all_words: NDArray[np.uint64],
    start: NDArray[np.int64],
    slots: NDArray[np.int64],
    pairing_values: tuple[Any, ...],
    alignment_values: tuple[Any, ...],
    model_values: tuple[Any, ...],
    gate: float,
    scores: NDArray[np.float64],
    relaxed: NDArray[np.float64],
    features: NDArray[np.float64],
) -> None:
    """A probe against many fingers. The features of a pair go to the row of its number, or all to one row."""
    pairing, alignment = PairingTables(*pairing_values), AlignmentTables(*alignment_values)
    model = EvidenceTables(*model_values)
    p, a = pairing_space(bits.shape[1]), alignment_space()
    n, words = bits.shape
    halves = all_words.view(np.int16)
    space_x, space_y = np.empty(WIDTH, np.float32), np.empty(WIDTH, np.float32)
    for s in range(slots.shape[0]):
        slot = slots[s]
        if slot < 0:
            scores[s] = relaxed[s] = np.nan
            continue
        begin = start[slot]
        other_key, m = all_words[begin], np.int64(all_words[begin + 1])
        if min(n, m) < pairing.min_minutiae:
            scores[s] = relaxed[s] = 0.0
            continue
        row = features[min(s, features.shape[0] - 1)]
        begin += HEAD
        end = begin + m * words
        other_bits = all_words[begin:end].reshape(m, words)
        begin = 4 * end
        for i in range(m):
            space_x[i], space_y[i] = halves[begin + i], halves[begin + m + i]
        other_x, other_y, other_angle = space_x[:m], space_y[:m], halves[begin + 2 * m : begin + 3 * m]
        if n < m or (n == m and key <= other_key):
            relaxed[s] = measure(
                bits, x, y, angle, other_bits, other_x, other_y, other_angle, gate, pairing, alignment, p, a, row
            )
        else:
            relaxed[s] = measure(
                other_bits, other_x, other_y, other_angle, bits, x, y, angle, gate, pairing, alignment, p, a, row
            )
        scores[s] = score(relaxed[s], row, model)
