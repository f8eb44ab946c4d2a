"""Fused log-likelihood ratio to -10*log10(FMR), for the set of positions that is present.

Wald's bound, P(LR >= e^S | impostor) <= e^-S, holds whatever the positions, where the ratios are calibrated, but gives
away what is known about them. Here strangers are simulated: their scores of each position are uniform in FMR by
calibration, and joined by a Gaussian copula with the fitted correlation of strangers (Nelsen, "An Introduction to
Copulas", 2006). The tail is reached by importance sampling from shifted normals, weighted by the balance heuristic
(Veach & Guibas, SIGGRAPH 1995). Beyond the last simulated rate that enough samples support, the score stays where it
is until Wald's bound passes it.

The curve is as good as the calibrations and the correlation are: beyond a position's ``trusted_to`` so is it, and the
trusted part of a score must be taken through it separately.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from matcher.calibration import LN10_10, Calibration
from matcher.errors import InvalidInput

SAMPLES = 20_000
"""Of each shifted normal: a relative error of some per cent at every depth."""
SHIFTS = (0.0, 1.5, 3.0, 4.5, 6.0)
"""In standard deviations; 6 is a false match rate of 1e-9."""
DEEPEST = 70.0
"""Score at which the simulation is taken to end."""
TAIL_QUANTILE = 0.98
"""The correlation is taken where the highest 2 % of both meet: two matchers on one face agree more there than over all,
and it is there that thresholds lie. Further out 258 people show too few meetings."""
STEP = 0.5
"""Between knots, in score units."""


@dataclasses.dataclass(frozen=True, eq=False)
class FusedTail:
    """Knots of fused log-likelihood ratio -> score, ascending: float64[m] each."""

    llr: NDArray[np.float64]
    score: NDArray[np.float64]

    def to_score(self, llr: NDArray[np.float64]) -> NDArray[np.float64]:
        """-10*log10(FMR), >= 0, monotone; beyond the last knot only once Wald's bound passes it."""
        values = np.asarray(llr, np.float64)
        inside = np.interp(values, self.llr, self.score)
        return np.asarray(np.where(values > self.llr[-1], np.maximum(inside, values / LN10_10), inside), np.float64)


def simulate_tail(
    calibrations: Sequence[Calibration],
    fused: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    correlation: NDArray[np.float64],
    seed: int = 0,
) -> FusedTail:
    """The tail of strangers' fused ratios.

    Args:
        calibrations: of the positions present, k of them.
        fused: float64[n, k] log-likelihood ratios to float64[n] fused ones.
        correlation: float64[k, k], of strangers' normal scores (``normal_correlation``), positive definite.
        seed: of the simulation.

    Raises:
        InvalidInput: the correlation is no such matrix.
    """
    count = len(calibrations)
    try:
        root = np.linalg.cholesky(correlation)
    except np.linalg.LinAlgError:
        raise InvalidInput(
            "the correlation of strangers' scores is not positive definite", reason="FUSION_INVALID"
        ) from None
    inverse = np.linalg.inv(correlation)
    # Everything a little higher, or one position alone much higher.
    directions = [np.ones(count), *np.eye(count)] if count > 1 else [np.ones(1)]
    shifts = [np.zeros(count)] + [d * s for s in SHIFTS if s > 0 for d in directions]
    rng = np.random.default_rng(seed)
    drawn = np.concatenate([rng.standard_normal((SAMPLES, count)) @ root.T + shift for shift in shifts])
    # Density of each shifted normal over that of the unshifted one.
    ratios = np.stack([drawn @ inverse @ shift - 0.5 * shift @ inverse @ shift for shift in shifts])
    log_weight = -np.logaddexp.reduce(ratios, axis=0) + math.log(len(shifts)) - math.log(len(drawn))
    scores = -special.log_ndtr(-drawn) / LN10_10
    values = fused(np.stack([c.to_llr(scores[:, k]) for k, c in enumerate(calibrations)], axis=1))
    order = np.argsort(values)[::-1]
    rate = np.cumsum(np.exp(log_weight[order]))
    reached = -np.log10(np.clip(rate, 10 ** (-DEEPEST / 10), 1.0)) * 10
    wanted = np.arange(0.0, min(DEEPEST, float(reached[min(len(reached) - 1, 100)])), STEP)
    # The ratio from which on at most that rate of strangers passes; reached falls as ratios fall.
    llr = np.interp(wanted, reached[::-1], values[order][::-1])
    llr, first = np.unique(np.maximum.accumulate(llr), return_index=True)
    if len(llr) < 2:
        raise InvalidInput("the fused ratios do not tell scores apart", reason="FUSION_INVALID")
    return FusedTail(llr, wanted[first])


def normal_correlation(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlation of strangers' scores as normal deviates, those with a missing score left out.

    The larger of that over all (van der Waerden) and that of the upper tail, where a Gaussian copula
    understates how often high scores meet.

    Args:
        scores: float64[n, k], -10*log10(FMR) or raw; NaN is missing.

    Returns:
        float64[k, k], not below 0 off the diagonal: strangers whose scores repel each other are sampling noise.
    """
    whole = scores[~np.isnan(scores).any(axis=1)]
    ranks = np.stack([np.unique(c, return_inverse=True)[1] for c in whole.T], axis=1)
    middle = np.empty(whole.shape)
    for k in range(whole.shape[1]):
        ties = np.bincount(ranks[:, k])
        middle[:, k] = (np.cumsum(ties) - 0.5 * ties)[ranks[:, k]] / len(whole)
    found = np.maximum(np.atleast_2d(np.corrcoef(special.ndtri(middle).T)), 0.0)
    high = middle > TAIL_QUANTILE
    for a in range(len(found)):
        for b in range(a):
            share = float(np.mean(high[:, a] & high[:, b]))
            margins = float(high[:, a].mean()), float(high[:, b].mean())
            if min(margins) > 0:
                found[a, b] = found[b, a] = max(found[a, b], _tail_correlation(share, *margins))
    lowest = float(np.linalg.eigvalsh(found)[0])
    if lowest < 1e-3:  # corrected pair by pair, so shrink until it is a correlation matrix again
        found = found + (1e-3 - lowest) * np.eye(len(found))
        found /= found[0, 0]
    return np.asarray(found, np.float64)


def _tail_correlation(share: float, first: float, second: float) -> float:
    """The correlation at which two normals lie beyond their upper quantiles together as often as observed, 0-0.99."""
    limits = special.ndtri([first, second])
    low, high = 0.0, 0.99
    for _ in range(20):
        middle = 0.5 * (low + high)
        both = float(stats.multivariate_normal.cdf(limits, cov=[[1.0, middle], [middle, 1.0]]))
        low, high = (middle, high) if both < share else (low, middle)
    return 0.5 * (low + high)
