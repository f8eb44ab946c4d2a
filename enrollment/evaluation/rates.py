"""Error rates of sets of comparison scores: FMR, FNMR, EER, FNMR at FMR, DET; and what the counts support.

A comparison matches when its score is at or above the threshold. A comparison that could not take place for want of a
template, or that the comparator calls not comparable, has the score -inf: it never matches (ISO/IEC 19795-1,
generalised false rejection). The same functions serve identification, where the genuine score is the mate's
and the impostor score the best of a search of somebody who is not in the gallery: FNMR reads FNIR, FMR reads FPIR.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

RULE_OF_THREE = 3.0
"""No error in n independent trials: with 95 % confidence the rate is below 3/n (ISO/IEC 19795-1:2006, annex B.1.1)."""


def least_supported(count: int) -> float:
    """The least rate that ``count`` comparisons support, 3/count and at most 1; 1 where there are none."""
    return min(1.0, RULE_OF_THREE / count) if count else 1.0


def is_supported(rate: float, count: int) -> bool:
    """Whether ``count`` comparisons support a rate (a fraction)."""
    return count > 0 and rate * count >= RULE_OF_THREE - 1e-9


def supported_or_none(rate: float, count: int) -> float | None:
    """The rate, or None where the count of comparisons does not support it (or it is NaN)."""
    return float(rate) if math.isfinite(rate) and is_supported(rate, count) else None


def rates_at(genuine: ArrayLike, impostor: ArrayLike, threshold: float) -> tuple[float, float]:
    """(FMR, FNMR) of a threshold; NaN where there are no comparisons of the kind."""
    g, i = np.asarray(genuine, np.float64), np.asarray(impostor, np.float64)
    fmr = float(np.mean(i >= threshold)) if len(i) else math.nan
    return fmr, float(np.mean(g < threshold)) if len(g) else math.nan


def threshold_at_fmr(impostor: ArrayLike, fmr: float) -> float:
    """The least score that may be asked for so that at most a share ``fmr`` of the impostors match.

    Just above the impostor score that may no longer pass; -inf where all may pass.
    """
    ascending = np.sort(np.asarray(impostor, np.float64))
    allowed = math.floor(fmr * len(ascending) + 1e-9)
    if allowed >= len(ascending):
        return -math.inf
    return float(np.nextafter(ascending[len(ascending) - 1 - allowed], math.inf))


def fnmr_at_fmr(genuine: ArrayLike, impostor: ArrayLike, fmr: float) -> float:
    """The least FNMR at which the FMR is no more than asked; NaN without genuine or impostor scores."""
    if not len(np.asarray(genuine)) or not len(np.asarray(impostor)):
        return math.nan
    return rates_at(genuine, impostor, threshold_at_fmr(impostor, fmr))[1]


def equal_error_rate(genuine: ArrayLike, impostor: ArrayLike) -> float:
    """The equal error rate as FVC defines it; NaN without genuine or impostor scores.

    Between the last threshold (among all scores) where FMR > FNMR and the first where FMR <= FNMR, the one of the lower
    sum is taken, and there the mean of the two rates (Maio et al., "FVC2000: fingerprint verification competition",
    TPAMI 2002, section 4).
    """
    g, i = np.sort(np.asarray(genuine, np.float64)), np.sort(np.asarray(impostor, np.float64))
    if not len(g) or not len(i):
        return math.nan
    thresholds = np.unique(np.concatenate([g[np.isfinite(g)], i, [np.nextafter(max(g[-1], i[-1]), math.inf)]]))
    fnmr = np.searchsorted(g, thresholds, side="left") / len(g)
    fmr = (len(i) - np.searchsorted(i, thresholds, side="left")) / len(i)
    after = int(np.argmax(fmr <= fnmr))
    before = after - 1 if after and fmr[after] != fnmr[after] else after
    sums = fmr[[before, after]] + fnmr[[before, after]]
    return float(sums.min() / 2)


def det_targets(impostors: int, per_decade: int = 10) -> list[float]:
    """False match rates at which a DET curve is drawn: logarithmic steps from 0.5 down to what the count supports."""
    least = least_supported(impostors)
    count = max(0, math.floor(per_decade * math.log10(0.5 / least) + 1e-9))
    return [0.5 * 10 ** (-k / per_decade) for k in range(count + 1)] if least <= 0.5 else []


def hit_rates(ranks: ArrayLike, highest: int) -> NDArray[np.float64]:
    """The CMC: share of mated searches whose mate stands at rank 1..k, for k = 1..highest.

    Args:
        ranks: float[n], 1 for the best candidate; inf where the mate was not found.
    """
    found = np.asarray(ranks, np.float64)
    if not len(found):
        return np.full(highest, math.nan)
    return np.asarray((found[:, None] <= np.arange(1, highest + 1)).mean(axis=0), np.float64)


def discard_curve(genuine: ArrayLike, quality: ArrayLike, threshold: float, shares: Sequence[float]) -> list[float]:
    """FNMR at a fixed threshold after the genuine comparisons of the lowest quality are discarded.

    Grother & Tabassi, "Performance of biometric quality measures" (TPAMI 2007). Comparisons of equal quality are taken
    away in proportion, so that the order of the input has no effect.

    Args:
        genuine: float[n], scores; quality: float[n], of the worse of the two samples.
        shares: fractions discarded, 0 <= share < 1.
    """
    g, q = np.asarray(genuine, np.float64), np.asarray(quality, np.float64)
    if not len(g):
        return [math.nan for _ in shares]
    levels, level = np.unique(q, return_inverse=True)
    size = np.bincount(level, minlength=len(levels)).astype(np.float64)
    errors = np.bincount(level, weights=g < threshold, minlength=len(levels))
    curve = []
    for share in shares:
        gone = np.clip(share * len(g) - (np.cumsum(size) - size), 0.0, size)
        kept = size - gone
        curve.append(float((errors * kept / size).sum() / kept.sum()))
    return curve
