"""Isotonic regression, and log-likelihood ratios from scores by it.

The best that any monotone map of scores to ratios can do on given comparisons is found by pooling adjacent violators
(Ayer et al., Annals of Mathematical Statistics 1955; Brümmer & du Preez, "The PAV algorithm optimizes binary proper
scoring rules", 2013). It says how far a calibration is from the best possible, and is itself a calibration where the
data is plenty.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from matcher.logistic import cross_entropy


def isotonic(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The non-decreasing sequence nearest to ``values`` in weighted least squares.

    Args:
        values: float64[n], in the order in which the fit must not fall.
        weights: float64[n], > 0.
    """
    # Neighbours that do not rise end in one block whatever else there is: most of the work, without a loop.
    starts = np.flatnonzero(np.concatenate([[True], np.diff(values) > 0])) if len(values) else np.empty(0, np.int64)
    weight = np.add.reduceat(weights, starts) if len(starts) else np.empty(0)
    mean = np.add.reduceat(values * weights, starts) / weight if len(starts) else np.empty(0)
    means: list[float] = []
    sizes: list[float] = []
    counts: list[int] = []
    for value, size in zip(mean.tolist(), weight.tolist(), strict=True):
        count = 1
        while means and means[-1] >= value:
            total = sizes[-1] + size
            value = (means.pop() * sizes[-1] + value * size) / total
            sizes.pop()
            size, count = total, count + counts.pop()
        means.append(value)
        sizes.append(size)
        counts.append(count)
    lengths = np.diff(np.append(starts, len(values)))
    return np.repeat(np.repeat(np.array(means), counts), lengths)


def isotonic_llr(
    genuine: NDArray[np.float64], impostor: NDArray[np.float64], prior: float, cautious: bool = True
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Knots of score -> log-likelihood ratio: a step for each block of the regression.

    Args:
        genuine, impostor: float64[g], float64[n], scores of both kinds; finite.
        prior: probability of a match that the two kinds stand for, 0-1.
        cautious: adds one genuine comparison below and one impostor comparison above all others (Laplace's rule), so
            that the ratios are finite. Without it those beyond the last of either kind are infinite.

    Returns:
        float64[k], float64[k]: scores, ascending, and ratios, not falling. A step's two ends are two knots; between the
        last impostor's score and whatever lies above, the ratio stands still.
    """
    scores = np.concatenate([genuine, impostor])
    low, high = float(scores.min()), float(scores.max())
    g, n = len(genuine) + cautious, len(impostor) + cautious
    if cautious:
        scores = np.concatenate([scores, [low - 1.0, high + 1.0]])
    levels, at = np.unique(scores, return_inverse=True)
    is_genuine = np.concatenate([np.ones(len(genuine)), np.zeros(len(impostor))])
    if cautious:
        is_genuine = np.concatenate([is_genuine, [1.0, 0.0]])
    weight = np.where(is_genuine > 0, prior / g, (1 - prior) / n)
    total = np.bincount(at, weight).astype(np.float64)
    share = np.bincount(at, weight * is_genuine) / total
    fitted = isotonic(share, total)
    first = np.flatnonzero(np.concatenate([[True], np.diff(fitted) > 0]))
    last = np.append(first[1:] - 1, len(fitted) - 1)
    odds = math.log(prior / (1 - prior))
    with np.errstate(divide="ignore"):
        llr = np.log(fitted[first]) - np.log1p(-fitted[first]) - odds
    both = np.stack([levels[first], levels[last]], axis=1).ravel()
    knots, kept = np.unique(both, return_index=True)
    return knots, np.repeat(llr, 2)[kept]


def least_cross_entropy(genuine: NDArray[np.float64], impostor: NDArray[np.float64], prior: float) -> float:
    """The least ``logistic.cross_entropy`` that a monotone map of these scores could have: what is lost although the
    calibration were perfect (Cllr-min, at a prior)."""
    knots, llr = isotonic_llr(genuine, impostor, prior, cautious=False)
    at = [llr[np.searchsorted(knots, s)] for s in (genuine, impostor)]
    return cross_entropy(at[0], at[1], prior)
