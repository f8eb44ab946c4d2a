"""Scores of several positions and modalities to one; missing ones are normal.

Log-likelihood ratios of independent positions add (Neyman & Pearson; Nandakumar et al., "Likelihood ratio-based
biometric score fusion", TPAMI 2008). Positions of one modality are not independent given the person: a dry hand has
ten dry fingers. So within a modality:

1. The sum over n positions is scaled by n / sum(R), R the fitted correlation of their evidence: the effective number
   of samples of Kish ("Survey Sampling", 1965). R = 0 leaves the sum, R = 1 the mean.
2. The ratio is a mixture of two hypotheses: all samples are what they should be, or one of them, any, is spoilt and
   says nothing. A mixture of likelihood ratios is a likelihood ratio, so what holds for those holds for it, and a good
   finger beside a bad one costs a few nats at most.

Modalities add. The sum S goes back to a false match rate by the bound that every likelihood ratio obeys,
P(LR >= e^S | impostor) <= e^-S (Wald 1947): fused score = S * 10/ln(10), never better than the truth where the ratios
are calibrated. One position alone keeps its own calibrated score. ``fused_tail`` gives a sharper rate where the
correlation of impostors is known.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from matcher.calibration import LN10_10, Calibration
from matcher.errors import InvalidInput
from matcher.logistic import cross_entropy
from matcher.positions import Modality, Position

FUSION_VERSION = 1


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


@dataclasses.dataclass(frozen=True)
class FusionModel:
    """Fitted correlations of the evidence of two positions, each 0 (independent) to 1 (the same twice).

    The defaults take positions as independent; a fit (``fit_correlation``) replaces them.
    """

    same_hand: float = 0.0
    """Two fingers of one hand."""
    other_hand: float = 0.0
    """Two fingers of different hands; a finger that is not known counts as of one hand with all."""
    eyes: float = 0.0
    """The two eyes."""
    faces: float = 0.0
    """Two comparisons of faces (two matchers, or two pictures)."""
    spoilt: float = 0.0
    """Prior probability that one of the samples of a modality is spoilt and says nothing; 0 leaves the mixture out."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and 0.0 <= value <= (0.5 if field.name == "spoilt" else 1.0)):
                raise InvalidInput(
                    f"fusion model: {field.name} is {value:g}; correlations must be within 0 and 1, spoilt within 0 "
                    "and 0.5",
                    reason="FUSION_INVALID",
                )

    def correlation(self, one: Position, other: Position) -> float:
        """Of the evidence of two samples of one modality; 0 for samples of two modalities."""
        if one.modality is not other.modality:
            return 0.0
        if one.modality is Modality.FACE:
            return self.faces
        if one.modality is Modality.IRIS:
            return self.eyes
        unknown = one.is_unknown or other.is_unknown
        same = unknown or (one < Position.LEFT_THUMB) is (other < Position.LEFT_THUMB)
        return max(self.same_hand, self.other_hand) if unknown else self.same_hand if same else self.other_hand

    def to_json(self) -> str:
        """The model's text."""
        return json.dumps({"fusion_version": FUSION_VERSION, **dataclasses.asdict(self)}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> FusionModel:
        """Reads a model; raises InvalidInput (FUSION_INVALID) where it is no such thing."""
        try:
            data = json.loads(text)
            if data.pop("fusion_version") != FUSION_VERSION:
                raise ValueError("another version")
            return cls(**{str(k): float(v) for k, v in data.items()})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InvalidInput(f"this is no fusion model that can be used ({error})", reason="FUSION_INVALID") from None


INDEPENDENT = FusionModel()


def calibrate_position(calibration: Calibration, raw: float, comparisons: int) -> PositionScore:
    """Calibrates the best raw score out of several comparisons.

    The best of m impostor comparisons reaches a score at most m times as often as one (Bonferroni), so 10*log10(m) is
    taken off.

    Args:
        calibration: of the comparator.
        raw: the best raw score; finite.
        comparisons: how many references it is the best of, >= 1.
    """
    (only,) = calibrate_positions(calibration, np.array([raw]), np.array([comparisons]))
    return only


def calibrate_positions(
    calibration: Calibration, raw: NDArray[np.float64], comparisons: NDArray[np.int64]
) -> list[PositionScore]:
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
    beyond = score > limit
    trusted = np.where(beyond, limit, score)
    trusted_llr = np.where(beyond, np.minimum(llr, calibration.trusted_llr - penalty * LN10_10), llr)
    columns = (column.tolist() for column in (score, llr, trusted, trusted_llr))
    return [PositionScore(*row) for row in zip(*columns, strict=True)]


def fuse(
    scores: Sequence[PositionScore], positions: Sequence[Position] = (), model: FusionModel = INDEPENDENT
) -> FusedScore:
    """Fuses the positions that are present (at least one) into one score.

    Args:
        scores: of each position.
        positions: which ones they are, in the same order; without them they are taken as independent.
        model: fitted correlations.

    Raises:
        InvalidInput: scores and positions differ in number.
    """
    if len(scores) == 1:
        only = scores[0]
        return FusedScore(only.score, only.llr, only.trusted_score)
    if positions:
        if len(positions) != len(scores):
            raise InvalidInput(f"{len(scores)} scores of {len(positions)} positions", reason="FUSION_INVALID")
        table = np.array([[s.llr for s in scores], [s.trusted_llr for s in scores]])
        llr, trusted = map(float, fuse_llrs(table, positions, model))
    else:
        llr = math.fsum(s.llr for s in scores)
        trusted = math.fsum(s.trusted_llr for s in scores)
    return FusedScore(max(0.0, llr / LN10_10), llr, max(0.0, trusted / LN10_10))


def fuse_llrs(llrs: NDArray[np.float64], positions: Sequence[Position], model: FusionModel) -> NDArray[np.float64]:
    """Fuses many comparisons of the same positions at once.

    Args:
        llrs: float64[n, k], log-likelihood ratios of k positions; NaN is missing.
        positions: which ones, k.
        model: fitted correlations.

    Returns:
        float64[n]; 0 where nothing is present.
    """
    total = np.zeros(len(llrs))
    for modality in Modality:
        columns = [k for k, p in enumerate(positions) if p.modality is modality]
        if columns:
            named = [positions[k] for k in columns]
            related = np.array(
                [[1.0 if a == b else model.correlation(p, q) for b, q in enumerate(named)] for a, p in enumerate(named)]
            )
            total += fuse_correlated(llrs[:, columns], related, model.spoilt)
    return total


def fuse_correlated(llrs: NDArray[np.float64], correlation: NDArray[np.float64], spoilt: float) -> NDArray[np.float64]:
    """Fuses positions of one modality.

    Args:
        llrs: float64[n, k]; NaN is missing.
        correlation: float64[k, k] of their evidence, 1 on the diagonal, all >= 0.
        spoilt: prior probability that one of the samples present says nothing, 0-0.5.
    """
    present = ~np.isnan(llrs)
    values = np.where(present, llrs, 0.0)
    every = _kish(values, present, correlation)
    count = present.sum(axis=1)
    if spoilt == 0.0 or llrs.shape[1] < 2:
        return every
    # One of the n samples present is spoilt, each with probability 1/n.
    parts = [every + math.log1p(-spoilt)]
    for left_out in range(llrs.shape[1]):
        kept = present.copy()
        kept[:, left_out] = False
        rest = _kish(values, kept, correlation) + math.log(spoilt) - np.log(np.maximum(count, 1))
        parts.append(np.where(present[:, left_out], rest, -np.inf))
    mixed = np.asarray(np.logaddexp.reduce(np.stack(parts), axis=0), np.float64)
    return np.where(count >= 2, mixed, every)


def _kish(
    values: NDArray[np.float64], present: NDArray[np.bool_], correlation: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Sum over the positions present, times n / sum of their correlations."""
    mask = present.astype(np.float64)
    count = mask.sum(axis=1)
    related = np.einsum("ij,jk,ik->i", mask, correlation, mask)
    return np.asarray((values * mask).sum(axis=1) * count / np.maximum(related, 1.0), np.float64)


def fit_correlation(
    genuine: NDArray[np.float64], impostor: NDArray[np.float64], spoilt: float, prior: float = 1e-3
) -> float:
    """The correlation, 0-1, that makes the fused ratios of some positions of one modality best calibrated.

    The one whose cross entropy at ``prior`` is lowest (``logistic.cross_entropy``), of 0, 0.05, ... 1.

    Args:
        genuine, impostor: float64[g, k], float64[n, k], log-likelihood ratios of people not used in calibration or, at
            a small cost in honesty, of the same; NaN is missing.
        spoilt: as in the model.
    """
    width = genuine.shape[1]
    grid = np.linspace(0.0, 1.0, 21)
    costs = []
    for value in grid:
        related = np.full((width, width), value)
        np.fill_diagonal(related, 1.0)
        costs.append(
            cross_entropy(fuse_correlated(genuine, related, spoilt), fuse_correlated(impostor, related, spoilt), prior)
        )
    return float(grid[int(np.argmin(costs))])
