"""From fused scores to HIT, REVIEW or NO HIT.

A search of N subjects at false positive identification rate FPIR may let each comparison pass with FMR = FPIR / N
(ISO/IEC 19795-1: FPIR = 1 - (1 - FMR)^N, about N * FMR), so the score needed is 10*log10(N / FPIR). Only the trusted
part of a score can make a HIT: where the FMR asked for lies beyond what calibration can vouch for, the verdict is at
most REVIEW.
"""

from __future__ import annotations

import dataclasses
import enum
import math

from matcher.errors import InvalidInput


class Verdict(enum.IntEnum):
    """The plain answer; numbers as ``ambis.v1.Verdict``."""

    HIT = 1
    REVIEW = 2
    NO_HIT = 3

    @property
    def label(self) -> str:
        """As people read it."""
        return self.name.replace("_", " ")


@dataclasses.dataclass(frozen=True)
class DecisionParameters:
    """What a deployment asks for."""

    target_fpir: float = 0.01
    """FPIR of a HIT: one false one in 100 searches of people who are not on record (FRTE 1:N's usual low point)."""
    review_fpir: float = 0.1
    """FPIR of what an examiner looks at: ten such searches give one candidate to look at."""
    target_fmr: float = 1e-3
    """FMR of a HIT in verification (1:1): FVC's FMR1000, and what one finger's shipped calibration can vouch for."""
    review_fmr: float = 1e-2
    """FMR of a REVIEW in verification."""

    def __post_init__(self) -> None:
        for name in ("target_fpir", "review_fpir", "target_fmr", "review_fmr"):
            value = getattr(self, name)
            if not (math.isfinite(value) and 0 < value <= 0.5):
                raise InvalidInput(f"{name} is {value:g}; it must be above 0 and at most 0.5", reason="RATE_INVALID")


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Scores (-10*log10(FMR)) from which on a candidate is a HIT, or worth a REVIEW."""

    hit: float
    review: float

    def verdict(self, score: float, trusted_score: float) -> Verdict:
        """The verdict on one candidate."""
        if trusted_score >= self.hit:
            return Verdict.HIT
        return Verdict.REVIEW if score >= self.review else Verdict.NO_HIT


def identification_thresholds(
    subjects: int, parameters: DecisionParameters, target_fpir: float | None = None
) -> Thresholds:
    """Thresholds of a search of ``subjects`` people; ``target_fpir`` (0-0.5) replaces the deployment's."""
    fpir = parameters.target_fpir if target_fpir is None else target_fpir
    if not (math.isfinite(fpir) and 1e-6 <= fpir <= 0.5):
        raise InvalidInput(
            f"target_fpir is {fpir:g}; it must be within 1e-6 and 0.5", reason="RATE_INVALID", field="target_fpir"
        )
    people = max(1, subjects)
    hit = 10 * math.log10(people / fpir)
    review = 10 * math.log10(people / max(parameters.review_fpir, fpir))
    return Thresholds(hit, max(0.0, review))


def verification_thresholds(parameters: DecisionParameters, target_fmr: float | None = None) -> Thresholds:
    """Thresholds of a 1:1 comparison; ``target_fmr`` (1e-9-0.5) replaces the deployment's."""
    fmr = parameters.target_fmr if target_fmr is None else target_fmr
    if not (math.isfinite(fmr) and 1e-9 <= fmr <= 0.5):
        raise InvalidInput(
            f"target_fmr is {fmr:g}; it must be within 1e-9 and 0.5", reason="RATE_INVALID", field="target_fmr"
        )
    return Thresholds(-10 * math.log10(fmr), -10 * math.log10(max(parameters.review_fmr, fmr)))
