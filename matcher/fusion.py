"""Log-likelihood ratios of several positions and modalities to one; missing ones are normal.

Log-likelihood ratios (LLR) of independent positions add (Neyman & Pearson; Nandakumar et al., "Likelihood ratio-based
biometric score fusion", TPAMI 2008). Positions of one modality are not independent given the person: a dry hand has
ten dry fingers. So within a modality the sum over n positions is scaled by n / sum(R), R the fitted correlation of
their evidence: the effective number of samples of Kish ("Survey Sampling", 1965). R = 0 off the diagonal leaves the
sum, R = 1 gives the mean. Modalities add.

A spoilt sample says nothing, and must not sink a person whose other samples agree. That is in the calibration: no LLR
lies below the log of the share of spoilt genuine samples, so a spoilt one costs those few nats, whatever it scores.

What a fused LLR is worth as a false match rate is in ``fused_tail``; ``fused_scores`` puts both together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from matcher.calibration import Calibration
from matcher.fusion_model import Correlations
from matcher.positions import Modality, Position


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
    return calibrate_positions(calibration, np.array([raw]), np.array([comparisons])).at(0)


@dataclasses.dataclass(frozen=True, eq=False)
class PositionScores:
    """``PositionScore`` of many comparisons in columns, float64[n] each."""

    score: NDArray[np.float64]
    llr: NDArray[np.float64]
    trusted_score: NDArray[np.float64]
    trusted_llr: NDArray[np.float64]

    def at(self, number: int) -> PositionScore:
        """One of them."""
        columns = (self.score, self.llr, self.trusted_score, self.trusted_llr)
        return PositionScore(*(float(column[number]) for column in columns))


def calibrate_positions(
    calibration: Calibration, raw: NDArray[np.float64], comparisons: NDArray[np.int64]
) -> PositionScores:
    """``calibrate_position`` of many, e.g. of all candidates of a search, at once.

    Args:
        calibration: of the comparator.
        raw: float64[n], finite.
        comparisons: int64[n], >= 1.
    """
    penalty = 10 * np.log10(comparisons)
    score = np.maximum(0.0, calibration.to_score(raw) - penalty)
    llr = calibration.to_llr(score)
    limit = np.maximum(0.0, calibration.trusted_to - penalty)
    beyond = score >= limit
    trusted = np.where(beyond, limit, score)
    # A score beyond the trusted one is worth what reaching that one is worth. The best of several is trusted less far,
    # and what reaching that is worth is not known: the ratio there is a lower bound.
    reached = np.where(comparisons == 1, censored_llr(calibration), calibration.to_llr(limit))
    trusted_llr = np.where(beyond, reached, llr)
    return PositionScores(score, np.asarray(llr, np.float64), trusted, trusted_llr)


def censored_llr(calibration: Calibration) -> float:
    """Log-likelihood ratio of "reaches ``trusted_to``", never below the ratio at that score."""
    return max(calibration.trusted_llr, float(calibration.to_llr(calibration.trusted_to)))


def modality_weights(positions: Sequence[Position], evidence: Correlations) -> NDArray[np.float64]:
    """float64[k]: what the LLR of each of k positions, all present, is multiplied with: n / sum(R) of its modality."""
    weights = np.empty(len(positions))
    for modality in {p.modality for p in positions}:
        members = [k for k, p in enumerate(positions) if p.modality is modality]
        related = related_evidence([positions[k] for k in members], evidence)
        weights[members] = len(members) / related.sum()
    return weights


def fuse_llrs(llrs: NDArray[np.float64], positions: Sequence[Position], evidence: Correlations) -> NDArray[np.float64]:
    """Fuses many comparisons of the same positions at once.

    Args:
        llrs: float64[n, k], log-likelihood ratios of k positions; NaN is missing.
        positions: which ones, k.
        evidence: fitted correlations.

    Returns:
        float64[n]; 0 where nothing is present.
    """
    total = np.zeros(len(llrs))
    for modality in Modality:
        columns = [k for k, p in enumerate(positions) if p.modality is modality]
        if columns:
            total += kish(llrs[:, columns], related_evidence([positions[k] for k in columns], evidence))
    return total


def related_evidence(positions: Sequence[Position], evidence: Correlations) -> NDArray[np.float64]:
    """float64[k, k]: correlation of the evidence of positions of one modality, 1 on the diagonal."""
    return np.array(
        [[1.0 if a == b else evidence.between(p, q) for b, q in enumerate(positions)] for a, p in enumerate(positions)]
    )


def kish(llrs: NDArray[np.float64], correlation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum over the positions present, times n / sum of their correlations."""
    mask = (~np.isnan(llrs)).astype(np.float64)
    count = mask.sum(axis=1)
    related = (mask @ correlation * mask).sum(axis=1)
    return np.asarray(np.nansum(llrs, axis=1) * count / np.maximum(related, 1.0), np.float64)
