"""Scores of several positions and modalities to one; missing ones are normal.

Positions are taken as independent given the person, so log-likelihood ratios add (Neyman & Pearson; Nandakumar et al.,
"Likelihood ratio-based biometric score fusion", TPAMI 2008). The sum S goes back to a false match rate by the bound
that every likelihood ratio obeys, P(LR >= e^S | impostor) <= e^-S (Wald 1947): fused score = S * 10/ln(10), never
better than the truth where the ratios are calibrated. One position alone keeps its own calibrated score.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from matcher.calibration import LN10_10, Calibration


@dataclasses.dataclass(frozen=True)
class PositionScore:
    """The calibrated comparison of one position.

    Attributes:
        score: -10*log10(FMR), already corrected for the number of comparisons it is the best of.
        llr: log-likelihood ratio of ``score``.
        trusted_score, trusted_llr: the same, no higher than calibration can vouch for.
    """

    score: float
    llr: float
    trusted_score: float
    trusted_llr: float


@dataclasses.dataclass(frozen=True)
class FusedScore:
    """All positions together, on the same scales as one."""

    score: float
    llr: float
    trusted_score: float


def calibrate_position(calibration: Calibration, raw: float, comparisons: int) -> PositionScore:
    """Calibrates the best raw score out of several comparisons.

    The best of m impostor comparisons reaches a score at most m times as often as one (Bonferroni), so 10*log10(m) is
    taken off.

    Args:
        calibration: of the comparator.
        raw: the best raw score; finite.
        comparisons: how many references it is the best of, >= 1.
    """
    penalty = 10 * math.log10(comparisons)
    score = max(0.0, float(calibration.to_score(raw)) - penalty)
    llr = float(calibration.to_llr(score))
    limit = max(0.0, calibration.trusted_to - penalty)
    if score <= limit:
        return PositionScore(score, llr, score, llr)
    return PositionScore(score, llr, limit, min(llr, calibration.trusted_llr - penalty * LN10_10))


def fuse(positions: Sequence[PositionScore]) -> FusedScore:
    """Fuses the positions that are present (at least one) into one score."""
    if len(positions) == 1:
        only = positions[0]
        return FusedScore(only.score, only.llr, only.trusted_score)
    llr = math.fsum(p.llr for p in positions)
    trusted = math.fsum(p.trusted_llr for p in positions)
    return FusedScore(max(0.0, llr / LN10_10), llr, max(0.0, trusted / LN10_10))
