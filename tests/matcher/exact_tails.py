"""Strangers who reach several scores at once: the probability by the definition of the copula."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import integrate, special, stats

from matcher.fusion_model import Correlations
from matcher.positions import Position


def reach_all(positions: Sequence[Position], scores: Sequence[float], strangers: Correlations) -> float:
    """-10*log10 of the probability that a stranger reaches every score, at most five of them, by quadrature.

    Two are Genz's bivariate normal; more need one correlation for all, and are integrated over their common factor.
    """
    deviates = [-float(special.ndtri_exp(-s * math.log(10) / 10)) for s in scores]
    if len(scores) == 2:
        rho = strangers.between(positions[0], positions[1])
        probability = float(
            stats.multivariate_normal.cdf(
                [-d for d in deviates], cov=[[1.0, rho], [rho, 1.0]], abseps=1e-14, releps=1e-9, maxpts=10**6
            )
        )
    else:
        (rho,) = {strangers.between(p, q) for k, p in enumerate(positions) for q in positions[:k]}

        def given(factor: float) -> float:
            share = special.ndtr((math.sqrt(rho) * factor - np.array(deviates)) / math.sqrt(1 - rho))
            return float(np.prod(share) * math.exp(-0.5 * factor**2) / math.sqrt(2 * math.pi))

        probability = float(integrate.quad(given, -8, 14, epsabs=0, epsrel=1e-9, limit=400)[0])
    return -10 * math.log10(probability)
