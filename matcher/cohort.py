"""Scores seen against a cohort: symmetric score normalisation.

Some samples look like everybody, others like nobody (the "lambs" and "wolves" of Doddington et al., ICSLP 1998). A
fixed set of people, the cohort, none of whom is being searched, shows which: a raw score is put against those of the
same probe with the cohort's references, and of the cohort's probes with the same reference, and the two are averaged
(S-norm: Kenny, "Bayesian speaker verification with heavy-tailed priors", Odyssey 2010; T- and Z-norm: Auckenthaler et
al., "Score normalization for text-independent speaker verification systems", Digital Signal Processing 2000).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LEAST_SPREAD = 0.3
"""A sample's spread is taken as at least this share of the usual one: a damaged sample scores nearly the same with
everybody, and must not turn a small difference into a large score."""


def cohort_normalise(scores: NDArray[np.float64], cohort: NDArray[np.intp]) -> NDArray[np.float64]:
    """Normalises a square matrix of scores against some of its own people.

    A person's own comparison with himself is left out of his statistics, so members of the cohort can be normalised
    as well as others.

    Args:
        scores: float64[n, n], probes by references, a person's genuine comparisons on the diagonal; NaN is missing.
        cohort: int[c], numbers of the cohort's people, c >= 3.

    Returns:
        float64[n, n], in standard deviations; NaN where the score is missing or a sample has no cohort score.
    """
    mate = np.eye(len(scores), dtype=bool)
    strangers = np.where(mate, np.nan, scores)
    probe_mean, probe_spread = _statistics(strangers[:, cohort])
    reference_mean, reference_spread = _statistics(strangers[cohort, :].T)
    by_probe = (scores - probe_mean[:, None]) / probe_spread[:, None]
    by_reference = (scores - reference_mean[None, :]) / reference_spread[None, :]
    return np.asarray(0.5 * (by_probe + by_reference), np.float64)


def _statistics(rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and bounded standard deviation of each row, NaN left out; NaN where fewer than two are left."""
    present = ~np.isnan(rows)
    count = present.sum(axis=1)
    known = np.where(count >= 2, count, np.nan)
    mean = np.where(present, rows, 0.0).sum(axis=1) / known
    deviation = np.where(present, rows - mean[:, None], 0.0)
    spread = np.sqrt((deviation**2).sum(axis=1) / known)
    usual = float(np.sqrt(np.nanmean(spread**2))) if np.isfinite(spread).any() else 1.0
    return mean, np.maximum(spread, LEAST_SPREAD * max(usual, 1e-12))
