"""Does the fused score of two eyes mean what it says, for people whom neither calibration nor correlations have seen?

The only real people here who show two positions to this project's own comparators are those of MMU2, with both eyes;
fingers with fingers and with faces are checked on NIST BSSR1 (``ambis evaluate fuse``) and on virtual people
(``benchmarks/chimeric.py``). On random halves of all people with irises the calibration is fitted, on those of the half
who show two eyes the correlations; strangers of the other half who reach a fused score are counted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from enrollment.calibration.cross_check import fit_scores, random_halves
from enrollment.calibration.scores import CalibrationScores
from enrollment.evaluation.progress import ProgressCallback, no_progress
from matcher.calibration import Calibration, CalibrationParameters
from matcher.fused_tail import Ratio, strangers_tail
from matcher.fusion import calibrate_positions, fuse_llrs
from matcher.fusion_fit import fit_correlation, stranger_correlation
from matcher.fusion_model import Correlations
from matcher.positions import Modality, Position

EYES = (Position.IRIS_RIGHT, Position.IRIS_LEFT)
LEAST_PASSED = 3.0
"""A rate is quoted where at least so many strangers of one half should pass (rule of three)."""


@dataclasses.dataclass(frozen=True, eq=False)
class EyePairs:
    """Raw scores of both eyes of two captures.

    Attributes:
        raw: float64[n, 2], right and left.
        subjects: int64[n, 2], numbers of the two people as in ``CalibrationScores.by_subject``.
    """

    raw: NDArray[np.float64]
    subjects: NDArray[np.int64]

    def of(self, members: NDArray[np.bool_]) -> tuple[EyePairs, EyePairs]:
        """Genuine and impostor ones of some people alone (bool[subjects])."""
        kept = members[self.subjects].all(axis=1)
        same = self.subjects[:, 0] == self.subjects[:, 1]
        one, other = (EyePairs(self.raw[k], self.subjects[k]) for k in (kept & same, kept & ~same))
        return one, other


@dataclasses.dataclass(frozen=True)
class TwoEyesCheck:
    """Observed over asked, pooled over the halves.

    Attributes:
        people: who show two eyes; comparisons: of strangers, in a half (mean).
        asked: FMR; observed: by the fused score; vouched: by its trusted part, which makes HITs.
    """

    people: int
    comparisons: float
    asked: tuple[float, ...]
    observed: tuple[float, ...]
    vouched: tuple[float, ...]

    @property
    def failures(self) -> tuple[float, ...]:
        """Rates at which too many or too few strangers pass, or too many by the trusted part."""
        rows = zip(self.asked, self.observed, self.vouched, strict=True)
        return tuple(a for a, seen, vouched in rows if not 0.5 <= seen <= 2.0 or vouched > 2.0)


def eye_pairs(scores: CalibrationScores) -> EyePairs:
    """Every two captures in which both people show both eyes."""
    count = len(scores.samples)
    table = np.full((count, count), np.nan)
    for pairs, raw in ((scores.genuine_pairs, scores.genuine), (scores.impostor_pairs, scores.impostor)):
        table[pairs[:, 0], pairs[:, 1]] = table[pairs[:, 1], pairs[:, 0]] = raw
    found: dict[tuple[str, str], dict[Position, int]] = {}
    for number, sample in enumerate(scores.samples):
        if sample.position in EYES:
            found.setdefault((sample.subject_id, sample.encounter_id), {})[sample.position] = number
    both = np.array([[sides[eye] for eye in EYES] for sides in found.values() if len(sides) == 2], np.int64)
    first, second = np.triu_indices(len(both), 1)
    raw = np.stack([table[both[first, eye], both[second, eye]] for eye in range(2)], axis=1)
    subjects = scores.subject_of[both[:, 0]]
    known = ~np.isnan(raw).any(axis=1)
    return EyePairs(raw[known], np.stack([subjects[first], subjects[second]], axis=1)[known])


def check_two_eyes(
    scores: CalibrationScores, asked: Sequence[float], repeats: int, seed: int, progress: ProgressCallback = no_progress
) -> TwoEyesCheck:
    """Checks the fused score of two eyes; see the module."""
    whole, pairs = scores.by_subject(), eye_pairs(scores)
    levels = -10 * np.log10(np.asarray(asked, np.float64))
    counts, vouched, sizes = np.zeros(len(levels)), np.zeros(len(levels)), []
    for done, half in enumerate(random_halves(whole.subjects, repeats, seed), 1):
        fitted = fit_scores(Modality.IRIS, scores.algorithm, whole.of(half), CalibrationParameters(), {})
        genuine, impostor = pairs.of(half)
        evidence = Correlations(eyes=fit_correlation(_llrs(fitted, genuine.raw), _llrs(fitted, impostor.raw)))
        related = stranger_correlation(impostor.raw, impostor.subjects, resamples=40)
        held = pairs.of(~half)[1]
        for total, ratio, eyes, name in (
            (counts, Ratio.of(fitted), related.estimate, "llr"),
            (vouched, Ratio.censored(fitted), related.upper, "trusted_llr"),
        ):
            curve = strangers_tail(EYES, [ratio, ratio], evidence, Correlations(eyes=eyes))
            ones = np.ones(len(held.raw), np.int64)
            llrs = np.stack(
                [getattr(calibrate_positions(fitted, held.raw[:, eye], ones), name) for eye in range(2)], axis=1
            )
            reached = np.sort(curve.to_score(fuse_llrs(llrs, EYES, evidence)))
            total += len(reached) - np.searchsorted(reached, levels - 1e-9, side="left")
        sizes.append(len(held.raw))
        progress("two eyes", done, 2 * repeats)
    mean = float(np.mean(sizes))
    expected = sum(sizes) * np.asarray(asked, np.float64)
    known = [k for k, fmr in enumerate(asked) if mean * fmr >= LEAST_PASSED]
    return TwoEyesCheck(
        len(np.unique(pairs.subjects)),
        mean,
        tuple(float(asked[k]) for k in known),
        tuple(float(counts[k] / expected[k]) for k in known),
        tuple(float(vouched[k] / expected[k]) for k in known),
    )


def _llrs(fitted: Calibration, raw: NDArray[np.float64]) -> NDArray[np.float64]:
    return fitted.to_llr(fitted.to_score(raw))
