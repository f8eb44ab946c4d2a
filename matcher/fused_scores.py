"""Calibrated positions of many subjects to fused scores, each on the scale of the positions that it has.

One position keeps its own score, up to ``HIGHEST_SCORE``. Several are fused to a log-likelihood ratio (``fusion``), and
its false match rate among strangers who have the same positions is looked up (``fused_tail``), so that one threshold
serves one finger, ten fingers, or a finger and a face. The trusted score is the same of ratios that end where
calibration stops to vouch for them.

Which finger of a hand, which hand and which eye it is makes no difference, so sets of positions that differ in nothing
else share a curve. Curves are made when they are first needed (a twentieth of a second for two positions, three
tenths for thirteen) and kept; the first searches after a start are slower for it.
"""

from __future__ import annotations

import dataclasses
import functools
import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from matcher.calibration import Calibrations
from matcher.fused_tail import FusedTail, Ratio, strangers_tail
from matcher.fusion import FusedScore, PositionScore, PositionScores, fuse_llrs
from matcher.fusion_model import FusionModel
from matcher.positions import Modality, Position

MAX_CURVES = 4096
"""Sets of positions whose curves are kept; each takes some ten kilobytes."""

HIGHEST_SCORE = 150.0
"""No score of a subject is higher: one false match in 1e15, beyond all data and what a HIT among a billion people at an
FPIR of 1e-6 asks for. Beyond it candidates are ranked by their log-likelihood ratios."""

Place = tuple[Position, str]
"""What a curve depends on: a position that stands for its like, and the algorithm."""


@dataclasses.dataclass(frozen=True)
class FusionMember:
    """One position of a candidate, with what was compared there."""

    position: Position
    algorithm: str
    score: PositionScore


@dataclasses.dataclass(frozen=True, eq=False)
class FusedColumns:
    """``FusedScore`` of many subjects in columns, float64[n] each."""

    score: NDArray[np.float64]
    llr: NDArray[np.float64]
    trusted_score: NDArray[np.float64]

    def at(self, number: int) -> FusedScore:
        """One of them."""
        return FusedScore(float(self.score[number]), float(self.llr[number]), float(self.trusted_score[number]))


class FusedScores:
    """Fusion with the artefacts of one server; thread-safe.

    Args:
        calibrations: an artefact for every algorithm in use.
        model: fitted correlations.
    """

    def __init__(self, calibrations: Calibrations, model: FusionModel) -> None:
        self._model = model
        self._curves: dict[tuple[Place, ...], tuple[FusedTail, FusedTail]] = {}
        self._making = threading.Lock()
        self._ratio = functools.cache(lambda algorithm: Ratio.of(calibrations[algorithm]))
        self._censored = functools.cache(lambda algorithm: Ratio.censored(calibrations[algorithm]))

    def fuse(self, subjects: Sequence[Sequence[FusionMember]]) -> list[FusedScore]:
        """Fuses the positions of each subject, at least one.

        Raises:
            NotCalibrated: an algorithm has no artefact.
        """
        members = [member for subject in subjects for member in subject]
        if not members:
            return []
        algorithms = tuple(sorted({member.algorithm for member in members}))
        names = ("score", "llr", "trusted_score", "trusted_llr")
        columns = ([getattr(m.score, name) for m in members] for name in names)
        fused = self.fuse_columns(
            np.repeat(np.arange(len(subjects)), [len(subject) for subject in subjects]),
            np.array([member.position for member in members], np.int32),
            np.array([algorithms.index(member.algorithm) for member in members], np.int32),
            algorithms,
            PositionScores(*(np.array(column, np.float64) for column in columns)),
        )
        return [fused.at(number) for number in range(len(subjects))]

    def fuse_columns(
        self,
        subject: NDArray[np.int64],
        position: NDArray[np.int32],
        algorithm: NDArray[np.int32],
        algorithms: Sequence[str],
        scores: PositionScores,
    ) -> FusedColumns:
        """The same of many comparisons in columns.

        Args:
            subject: int64[n], whose each is; ascending from 0 on without a gap.
            position: int32[n], numbers of ``Position``; of a subject no two are one body part.
            algorithm: int32[n], which of ``algorithms``.
            scores: n.

        Raises:
            NotCalibrated: an algorithm has no artefact.
        """
        starts = np.flatnonzero(np.diff(subject, prepend=-1))
        counts = np.diff(starts, append=len(subject))
        result = FusedColumns(*(np.empty(len(starts)) for _ in range(3)))
        for count in np.unique(counts):
            of = np.flatnonzero(counts == count)
            rows = starts[of][:, None] + np.arange(count)
            if count == 1:
                rows = rows[:, 0]
                result.score[of] = np.minimum(scores.score[rows], HIGHEST_SCORE)
                result.llr[of] = scores.llr[rows]
                result.trusted_score[of] = np.minimum(scores.trusted_score[rows], HIGHEST_SCORE)
                continue
            codes = position[rows].astype(np.int64) * len(algorithms) + algorithm[rows]
            order = np.argsort(codes, axis=1, kind="stable")
            rows, codes = np.take_along_axis(rows, order, 1), np.take_along_axis(codes, order, 1)
            kinds, kind = np.unique(codes, axis=0, return_inverse=True)
            for number, members in enumerate(kinds.tolist()):
                alike = kind.reshape(-1) == number
                there = [(Position(code // len(algorithms)), algorithms[code % len(algorithms)]) for code in members]
                self._fuse_alike(there, rows[alike], of[alike], scores, result)
        return result

    def _fuse_alike(
        self,
        there: Sequence[Place],
        rows: NDArray[np.int64],
        subjects: NDArray[np.int64],
        scores: PositionScores,
        result: FusedColumns,
    ) -> None:
        """Subjects with the same positions: rows int64[n, k] of ``scores``, where ``there`` says what the k are."""
        mirrored = _is_mirrored([position for position, _ in there])
        placed = [_place(position, algorithm, mirrored) for position, algorithm in there]
        order = sorted(range(len(placed)), key=lambda k: placed[k])
        rows = rows[:, order]
        places = tuple(placed[k] for k in order)
        positions = [position for position, _ in places]
        curve, vouched = self._curve(places)
        llrs, trusted = (
            fuse_llrs(column[rows], positions, self._model.evidence) for column in (scores.llr, scores.trusted_llr)
        )
        reached = np.minimum(curve.to_score(llrs), HIGHEST_SCORE)
        result.score[subjects] = reached
        result.llr[subjects] = llrs
        result.trusted_score[subjects] = np.minimum(reached, vouched.to_score(trusted))

    def _curve(self, places: tuple[Place, ...]) -> tuple[FusedTail, FusedTail]:
        """Kept, or made once, however many searches ask for it at the same time."""
        found = self._curves.get(places)
        if found is None:
            with self._making:
                found = self._curves.get(places)
                if found is None:
                    if len(self._curves) >= MAX_CURVES:
                        self._curves.clear()
                    found = self._curves[places] = self._make_curves(places)
        return found

    def _make_curves(self, places: tuple[Place, ...]) -> tuple[FusedTail, FusedTail]:
        """Of the whole ratios and of the trusted ones."""
        positions = [position for position, _ in places]
        model = self._model
        whole, vouched = (
            strangers_tail(positions, [ratio(algorithm) for _, algorithm in places], model.evidence, strangers)
            for ratio, strangers in ((self._ratio, model.strangers), (self._censored, model.strangers_limit))
        )
        return whole, vouched


def _is_mirrored(positions: Sequence[Position]) -> bool:
    """Whether more fingers are of the left hand than of the right."""
    known = [p for p in positions if p.modality is Modality.FINGER and not p.is_unknown]
    return 2 * sum(p.is_left_finger for p in known) > len(known)


def _place(position: Position, algorithm: str, mirrored: bool) -> Place:
    if position.modality is Modality.FINGER and not position.is_unknown:
        left = position.is_left_finger is not mirrored
        position = Position.LEFT_INDEX if left else Position.RIGHT_INDEX
    elif position.modality is Modality.IRIS:
        position = Position.IRIS_RIGHT
    return position, algorithm
