"""Fits the correlations of a fusion model: of the evidence of people on record, and of strangers."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from matcher.fusion import kish
from matcher.logistic import cross_entropy

TAIL_QUANTILE = 0.98
"""The correlation is taken where the highest 2 % of both meet: two matchers on one face agree more there than over all,
and it is there that thresholds lie. Further out some hundred people show too few meetings."""


def fit_correlation(genuine: NDArray[np.float64], impostor: NDArray[np.float64], prior: float = 1e-3) -> float:
    """The correlation of evidence, 0-1, that makes the fused ratios of positions of one modality best calibrated.

    The one whose cross entropy at ``prior`` is lowest (``logistic.cross_entropy``), of 0, 0.05, ... 1.

    Args:
        genuine, impostor: float64[g, k], float64[n, k], log-likelihood ratios of people not used in calibration or, at
            a small cost in honesty, of the same; NaN is missing.
    """
    width = genuine.shape[1]
    grid = np.linspace(0.0, 1.0, 21)
    costs = []
    for value in grid:
        related = np.full((width, width), value)
        np.fill_diagonal(related, 1.0)
        costs.append(cross_entropy(kish(genuine, related), kish(impostor, related), prior))
    return float(grid[int(np.argmin(costs))])


@dataclasses.dataclass(frozen=True)
class StrangerCorrelation:
    """Correlation of strangers' scores at two positions, 0-1: the estimate, and its upper limit over subjects."""

    estimate: float
    upper: float


def stranger_correlation(
    scores: NDArray[np.float64],
    subjects: NDArray[np.int64],
    resamples: int = 100,
    confidence: float = 0.9,
    seed: int = 0,
) -> StrangerCorrelation:
    """How often strangers who look alike at one position do so at another.

    The larger of the correlation of normal deviates over all (van der Waerden) and that of the upper tail, where a
    Gaussian copula understates how often high scores meet. Comparisons that share a person are not independent, so the
    limit is by bootstrap over subjects (ISO/IEC 19795-1, annex B).

    Args:
        scores: float64[n, 2], raw or calibrated, of comparisons of different people at both positions; NaN is missing.
        subjects: int64[n, 2], numbers (from 0) of the two people of each comparison.
        resamples: of the subjects; without any the upper limit is the estimate.
        confidence: one-sided, of the upper limit.
        seed: of the resamples.
    """
    present = ~np.isnan(scores).any(axis=1)
    whole, people = scores[present], subjects[present]
    levels = np.stack([_mid_ranks(column) for column in whole.T], axis=1)
    deviates = special.ndtri(levels)
    high = levels > TAIL_QUANTILE
    margins = float(high[:, 0].mean()), float(high[:, 1].mean())
    both = high[:, 0] & high[:, 1]
    curve = _meeting_curve(*margins) if min(margins) > 0 else None

    def correlation(weights: NDArray[np.float64]) -> float:
        share = weights / weights.sum()
        centred = deviates - share @ deviates
        overall = float(share @ (centred[:, 0] * centred[:, 1])) / float(np.sqrt(np.prod(share @ centred**2)))
        tail = 0.0 if curve is None else float(np.interp(share @ both, curve[0], curve[1]))
        return min(max(overall, tail, 0.0), 1.0)

    rng = np.random.default_rng(seed)
    count = int(people.max()) + 1
    found = []
    for _ in range(resamples):
        drawn = np.bincount(rng.integers(0, count, count), minlength=count).astype(np.float64)
        found.append(correlation(drawn[people[:, 0]] * drawn[people[:, 1]]))
    estimate = correlation(np.ones(len(whole)))
    upper = float(np.quantile(found, confidence)) if found else estimate
    return StrangerCorrelation(estimate, max(estimate, upper))


def _mid_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of values below each, half of its ties included: 0-1, neither reached."""
    ranks = np.unique(values, return_inverse=True)[1]
    ties = np.bincount(ranks)
    return np.asarray((np.cumsum(ties) - 0.5 * ties)[ranks] / len(values), np.float64)


def _meeting_curve(first: float, second: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How often two normals lie beyond their upper quantiles together, ascending, at correlations of 0-0.99."""
    limits = special.ndtri([first, second])
    grid = np.linspace(0.0, 0.99, 34)
    shares = [float(stats.multivariate_normal.cdf(limits, cov=[[1.0, rho], [rho, 1.0]])) for rho in grid]
    return np.maximum.accumulate(shares), grid
