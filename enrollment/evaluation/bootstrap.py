"""Confidence intervals by bootstrap over subjects.

Comparisons that share a person are not independent, so subjects are drawn with replacement, not comparisons (ISO/IEC
19795-1, annex B; Bolle et al., "Error analysis of pattern recognition systems: the subsets bootstrap", CVIU 2004). A
subject drawn k times brings its genuine comparisons k times; an impostor comparison of subjects drawn k and m times
counts k * m times.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from enrollment.evaluation.rates import least_supported

Interval = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class BootstrapParameters:
    """How intervals are made."""

    resamples: int = 1000
    """Efron & Tibshirani, "An introduction to the bootstrap" (1993), chapter 13: 1,000 for percentile intervals."""
    confidence: float = 0.95
    seed: int = 19795


@dataclasses.dataclass(frozen=True, eq=False)
class ScoreSet:
    """Scores and whose they are.

    Attributes:
        genuine: float64[g], -inf for comparisons that failed; genuine_subjects: int64[g], numbers from 0; or
            int64[g, 2], where a comparison rests on two of those who are drawn.
        impostor: float64[n]; impostor_subjects: int64[n, 2], the two subjects (twice the same where only one counts).
        subjects: how many subjects there are.
    """

    genuine: NDArray[np.float64]
    genuine_subjects: NDArray[np.int64]
    impostor: NDArray[np.float64]
    impostor_subjects: NDArray[np.int64]
    subjects: int


@dataclasses.dataclass(frozen=True, eq=False)
class Replicates:
    """Rates of every resample: eer float64[r]; fnmr float64[r, targets]; NaN where it has no such comparison."""

    eer: NDArray[np.float64]
    fnmr: NDArray[np.float64]


def subject_weights(subjects: int, parameters: BootstrapParameters) -> NDArray[np.int64]:
    """int64[resamples, subjects]: how often each subject is drawn; always the same for the same arguments."""
    rng = np.random.default_rng(parameters.seed)
    return rng.multinomial(subjects, np.full(subjects, 1 / subjects), size=parameters.resamples)


def interval(
    replicates: NDArray[np.float64], rate: float, count: int, parameters: BootstrapParameters
) -> Interval | None:
    """Percentile interval of a rate.

    Where the count does not support the rate, the upper end is at least 3/count and the lower 0: a resample of no
    errors has none either, so the bootstrap alone would claim certainty.
    """
    known = replicates[np.isfinite(replicates)]
    if not math.isfinite(rate) or not len(known):
        return None
    tail = (1 - parameters.confidence) / 2
    low, high = (float(v) for v in np.quantile(known, [tail, 1 - tail]))
    least = least_supported(count)
    return (low, high) if rate >= least else (0.0, max(high, least))


def resample(scores: ScoreSet, targets: Sequence[float], parameters: BootstrapParameters) -> Replicates:
    """EER and FNMR at each target FMR of every resample of the subjects.

    FNMR changes only at genuine scores, so the FMR is needed at those alone: impostors are sorted into the bins between
    them once, and a resample is one weighted count. FNMR at FMR is exact; the EER is within one impostor comparison of
    ``rates.equal_error_rate``.
    """
    knots = np.unique(scores.genuine[np.isfinite(scores.genuine)])
    # Bin k holds what reaches knots[:k] only; failed genuine comparisons fall into bin 0.
    genuine_bins = np.searchsorted(knots, scores.genuine, side="right")
    order = np.argsort(scores.impostor)
    impostor_bins = np.searchsorted(knots, scores.impostor[order], side="right").astype(np.int32)
    impostors = _Drawn.of(scores.impostor_subjects[order])
    mates = scores.genuine_subjects
    genuines = _Drawn.of(mates if mates.ndim == 2 else np.stack([mates, mates], axis=1))
    asked = np.asarray(targets, np.float64)
    eer = np.full(parameters.resamples, np.nan)
    fnmr = np.full((parameters.resamples, len(asked)), np.nan)
    if not len(scores.genuine) or not len(scores.impostor):
        return Replicates(eer, fnmr)
    for k, counts in enumerate(subject_weights(scores.subjects, parameters)):
        weight = counts.astype(np.float64)
        missed = np.bincount(genuine_bins, genuines.weights(weight), minlength=len(knots) + 1).cumsum()
        passed = np.bincount(impostor_bins, impostors.weights(weight), minlength=len(knots) + 1)[::-1].cumsum()[::-1]
        if missed[-1] <= 0 or passed[0] <= 0:
            continue
        # Threshold knots[j]: bins up to j miss, bins from j + 1 pass; one threshold more above all genuine scores.
        miss_rate = missed / missed[-1]
        match_rate = np.append(passed[1:], 0.0) / passed[0]
        eer[k] = _crossing(match_rate, miss_rate)
        at = np.searchsorted(-match_rate, -(asked + 1e-12), side="left")
        fnmr[k] = miss_rate[np.minimum(at, len(miss_rate) - 1)]
    return Replicates(eer, fnmr)


@dataclasses.dataclass(frozen=True, eq=False)
class _Drawn:
    """Comparisons and the subjects that they count by: ``first`` alone where ``alone`` is true, else both."""

    first: NDArray[np.int32]
    second: NDArray[np.int32]
    alone: NDArray[np.bool_]

    @classmethod
    def of(cls, pairs: NDArray[np.int64]) -> Self:
        """Of int64[n, 2]."""
        first, second = pairs[:, 0].astype(np.int32), pairs[:, 1].astype(np.int32)
        return cls(first, second, first == second)

    def weights(self, drawn: NDArray[np.float64]) -> NDArray[np.float64]:
        """How often each comparison counts, float64[n], where subject k was drawn ``drawn[k]`` times."""
        return np.asarray(drawn[self.first] * np.where(self.alone, 1.0, drawn[self.second]), np.float64)


def _crossing(match_rate: NDArray[np.float64], miss_rate: NDArray[np.float64]) -> float:
    """EER of rates at ascending thresholds; between two of them FNMR keeps the later value while FMR falls."""
    after = int(np.argmax(match_rate <= miss_rate))
    if after == 0:
        return float(match_rate[0] + miss_rate[0]) / 2
    if match_rate[after - 1] > miss_rate[after]:
        return float(miss_rate[after])
    return float(min(match_rate[after - 1] + miss_rate[after - 1], match_rate[after - 1] + miss_rate[after])) / 2


def mean_replicates(
    values: NDArray[np.float64] | NDArray[np.bool_],
    subjects: NDArray[np.int64],
    total: int,
    parameters: BootstrapParameters,
) -> NDArray[np.float64]:
    """Means of every resample: float64[resamples, columns] of values[n, columns] that belong to subjects[n]."""
    sums = np.zeros((total, values.shape[1] + 1))
    np.add.at(sums, subjects, np.concatenate([values, np.ones((len(values), 1))], axis=1))
    drawn = subject_weights(total, parameters).astype(np.float64) @ sums
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(drawn[:, :-1] / drawn[:, -1:], np.float64)


def pair_replicates(
    hits: NDArray[np.bool_], pairs: NDArray[np.int64], total: int, parameters: BootstrapParameters
) -> NDArray[np.float64]:
    """Shares of hits among comparisons of every resample: float64[resamples, k] of hits bool[n, k] of the subjects
    pairs[n, 2]; NaN where a resample has no comparison."""
    compared = _Drawn.of(pairs)
    found = [np.flatnonzero(column) for column in hits.T]
    result = np.full((parameters.resamples, hits.shape[1]), np.nan)
    for k, counts in enumerate(subject_weights(total, parameters)):
        products = compared.weights(counts.astype(np.float64))
        if (everything := products.sum()) > 0:
            result[k] = [products[members].sum() / everything for members in found]
    return result
