"""From fused scores to HIT, REVIEW or NO HIT.

1. A search of N subjects at false positive identification rate FPIR may let each comparison pass with FMR = FPIR / N
   (ISO/IEC 19795-1: FPIR = 1 - (1 - FMR)^N <= N * FMR), so the score needed is 10*log10(N / FPIR).
2. The rarer people on record are among those searched, the more of the HITs are false at any one FPIR. Of a share
   ``prior`` on record, p, and a rate TPIR at which they are found, the false share of HITs is
   (1 - p) * FPIR / ((1 - p) * FPIR + p * TPIR) (Bayes). So that HITs are right with ``hit_confidence`` c, FPIR may be
   p * (1 - c) / (c * (1 - p)) at most, with TPIR taken as 1: at a TPIR of 0.9 a tenth more of the HITs are false.
3. Only the trusted part of a score can make a HIT: where the FMR asked for lies beyond what calibration can vouch for,
   the verdict is at most REVIEW.

In verification the rate is FMR itself, and no prior applies (docs/decisions/0013-prior-limits-fpir.md).
"""

from __future__ import annotations

import dataclasses
import enum
import math
from typing import overload

import numpy as np
from numpy.typing import NDArray

from matcher.errors import InvalidInput

FPIR_RANGE = (1e-6, 0.5)
"""False positive identification rates that may be asked for."""
FMR_RANGE = (1e-9, 0.5)
"""False match rates that may be asked for in verification."""
PRIOR_RANGE = (1e-6, 1 - 1e-6)
CONFIDENCE_RANGE = (0.5, 1 - 1e-6)


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
    """What a deployment asks for.

    Raises:
        InvalidInput (RATE_INVALID): a value out of its range.
    """

    target_fpir: float = 0.01
    """FPIR of a HIT: one false one in 100 searches of people who are not on record (FRTE 1:N's usual low point)."""
    review_fpir: float = 0.1
    """FPIR of what an examiner looks at: ten such searches give one candidate to look at."""
    target_fmr: float = 1e-3
    """FMR of a HIT in verification (1:1): FVC's FMR1000, and what one finger's shipped calibration can vouch for."""
    review_fmr: float = 1e-2
    """FMR of a REVIEW in verification."""
    prior: float = 0.5
    """Share of the people searched who are on record. One half: those who are arrested are often on record already;
    with ``hit_confidence`` it leaves the usual FPIR of 1% as it is."""
    hit_confidence: float = 0.99
    """Least share of the HITs that must be right, given ``prior``."""

    def __post_init__(self) -> None:
        _check("target_fpir", self.target_fpir, FPIR_RANGE)
        _check("review_fpir", self.review_fpir, FPIR_RANGE)
        _check("target_fmr", self.target_fmr, FMR_RANGE)
        _check("review_fmr", self.review_fmr, FMR_RANGE)
        _check("prior", self.prior, PRIOR_RANGE)
        _check("hit_confidence", self.hit_confidence, CONFIDENCE_RANGE)

    @property
    def fpir_limit(self) -> float:
        """The FPIR at which a share ``hit_confidence`` of the HITs is right; above 1 where any rate would do."""
        odds = self.prior / (1 - self.prior)
        return odds * (1 - self.hit_confidence) / self.hit_confidence


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Scores (-10*log10(FMR)) from which on a candidate is a HIT, or worth a REVIEW.

    Attributes:
        hit, review: the scores.
        rate: what ``hit`` stands for: FPIR, in verification FMR.
        asked: the rate that was asked for; above ``rate`` where the prior demands a lower one.
    """

    hit: float
    review: float
    rate: float
    asked: float

    def verdict(self, score: float, trusted_score: float) -> Verdict:
        """The verdict on one candidate."""
        if reaches(trusted_score, self.hit):
            return Verdict.HIT
        return Verdict.REVIEW if score >= self.review else Verdict.NO_HIT


@overload
def reaches(trusted_score: float, hit: float) -> bool: ...
@overload
def reaches(trusted_score: NDArray[np.float64], hit: float) -> NDArray[np.bool_]: ...
def reaches(trusted_score: float | NDArray[np.float64], hit: float) -> bool | NDArray[np.bool_]:
    """Whether the trusted part of a score makes a HIT: to the tenth that scores are shown with.

    Without that, "30.0 of the 30.0 that are needed" could be no HIT. Half a tenth is 1 % of a false match rate, far
    less than any calibration knows it to.
    """
    return trusted_score >= hit - 0.05


def identification_thresholds(
    subjects: int, parameters: DecisionParameters, target_fpir: float | None = None
) -> Thresholds:
    """Thresholds of a search of ``subjects`` people.

    Args:
        subjects: how many are searched, >= 0.
        parameters: the deployment's.
        target_fpir: FPIR of a HIT, 1e-6 to 0.5, in the place of the deployment's. The prior limits it all the same;
            what then is no HIT stays a REVIEW.

    Raises:
        InvalidInput (RATE_INVALID): ``target_fpir`` out of its range.
    """
    asked = parameters.target_fpir if target_fpir is None else target_fpir
    _check("target_fpir", asked, FPIR_RANGE)
    fpir = min(asked, parameters.fpir_limit)
    people = max(1, subjects)
    hit = 10 * math.log10(people / fpir)
    review = 10 * math.log10(people / max(parameters.review_fpir, asked))
    return Thresholds(hit, review, fpir, asked)


def verification_thresholds(parameters: DecisionParameters, target_fmr: float | None = None) -> Thresholds:
    """Thresholds of a 1:1 comparison.

    Args:
        parameters: the deployment's.
        target_fmr: FMR of a HIT, 1e-9 to 0.5, in the place of the deployment's.

    Raises:
        InvalidInput (RATE_INVALID): ``target_fmr`` out of its range.
    """
    fmr = parameters.target_fmr if target_fmr is None else target_fmr
    _check("target_fmr", fmr, FMR_RANGE)
    return Thresholds(-10 * math.log10(fmr), -10 * math.log10(max(parameters.review_fmr, fmr)), fmr, fmr)


def _check(name: str, value: float, bounds: tuple[float, float]) -> None:
    """NaN lies within no bounds."""
    low, high = bounds
    if not low <= value <= high:
        raise InvalidInput(
            f"{name} is {value:.9g}; it must be within {low:g} and {high:.9g}", reason="RATE_INVALID", field=name
        )
