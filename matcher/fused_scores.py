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

from matcher.calibration import Calibrations
from matcher.fused_tail import FusedTail, Ratio, strangers_tail
from matcher.fusion import FusedScore, PositionScore, fuse_llrs
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
        result: list[FusedScore | None] = [None] * len(subjects)
        alike: dict[tuple[Place, ...], list[tuple[int, list[FusionMember]]]] = {}
        for number, members in enumerate(subjects):
            if len(members) == 1:
                only = members[0].score
                result[number] = FusedScore(
                    min(only.score, HIGHEST_SCORE), only.llr, min(only.trusted_score, HIGHEST_SCORE)
                )
                continue
            mirrored = _is_mirrored(members)
            placed = sorted(((_place(m, mirrored), m) for m in members), key=lambda pair: pair[0])
            places = tuple(place for place, _ in placed)
            alike.setdefault(places, []).append((number, [m for _, m in placed]))
        for places, found in alike.items():
            positions = [position for position, _ in places]
            curve, vouched = self._curve(places)
            llrs, trusted = (
                fuse_llrs(
                    np.array([[getattr(m.score, name) for m in members] for _, members in found], np.float64),
                    positions,
                    self._model.evidence,
                )
                for name in ("llr", "trusted_llr")
            )
            scores = np.minimum(curve.to_score(llrs), HIGHEST_SCORE)
            trusted_scores = np.minimum(scores, vouched.to_score(trusted))
            rows = zip(found, scores.tolist(), llrs.tolist(), trusted_scores.tolist(), strict=True)
            for (number, _), score, llr, trusted_score in rows:
                result[number] = FusedScore(score, llr, trusted_score)
        return [fused for fused in result if fused is not None]

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


def _is_mirrored(members: Sequence[FusionMember]) -> bool:
    """Whether more fingers are of the left hand than of the right."""
    known = [m.position for m in members if m.position.modality is Modality.FINGER and not m.position.is_unknown]
    return 2 * sum(p.is_left_finger for p in known) > len(known)


def _place(member: FusionMember, mirrored: bool) -> Place:
    position = member.position
    if position.modality is Modality.FINGER and not position.is_unknown:
        left = position.is_left_finger is not mirrored
        position = Position.LEFT_INDEX if left else Position.RIGHT_INDEX
    elif position.modality is Modality.IRIS:
        position = Position.IRIS_RIGHT
    return position, member.algorithm
