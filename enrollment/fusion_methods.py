"""Ways to fuse the scores of one comparison into one number, all fitted on the same people, for one table.

A method is a function of (genuine, impostor, positions): float64[g, k] and float64[n, k] raw scores of k matchers, NaN
where one is missing, and what each matcher compares. It returns a function from float64[m, k] to float64[m], higher for
more alike. Surveyed in Ulery et al., NIST IR 7346 (2006), and Nandakumar et al. (TPAMI 2008); ``ours`` is the fusion of
``matcher/fusion.py``, the others are for comparison only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from matcher.calibration import Calibration, CalibrationParameters, fit_calibration
from matcher.fusion import fuse_llrs
from matcher.fusion_fit import fit_correlation
from matcher.fusion_model import Correlations
from matcher.logistic import fit_logistic
from matcher.positions import Modality, Position

Scores = NDArray[np.float64]
Scorer = Callable[[Scores], Scores]
Method = Callable[[Scores, Scores, Sequence[Position]], Scorer]

SELECTION_FAR = 1e-3
"""False accept rate at which the best single matcher is chosen; at 1e-4 the training half's impostors are too few."""
TAIL = 200
"""Excesses that an exponential tail is fitted to, as ``CalibrationParameters.tail_minimum``."""
COMPONENTS = 3
"""Of the Gaussian mixtures; Nandakumar et al. find the number by minimum description length, 1 to 5."""
MIXTURE_POINTS = 4000
"""A mixture is fitted to at most so many values."""


def threshold_at_far(impostor: Scores, far: float) -> float:
    """The impostor score (or -inf) above which, strictly, lie at most ``far`` of them: ties count against a matcher."""
    allowed = math.floor(far * len(impostor) + 1e-9)
    if allowed >= len(impostor):
        return -math.inf
    place = len(impostor) - allowed - 1
    return float(np.partition(impostor, place)[place])


def gar_at_far(genuine: Scores, impostor: Scores, far: float) -> float:
    """Share of genuine scores strictly above the threshold that lets at most ``far`` of the impostors pass."""
    return float(np.mean(genuine > threshold_at_far(impostor, far)))


def best_single(genuine: Scores, impostor: Scores, positions: Sequence[Position]) -> Scorer:
    """The matcher that is best on the training people; its missing scores are never accepted."""
    rates = [gar_at_far(_never(g), _never(i), SELECTION_FAR) for g, i in zip(genuine.T, impostor.T, strict=True)]
    best = int(np.argmax(rates))
    return lambda scores: _never(scores[:, best])


def min_max_sum(genuine: Scores, impostor: Scores, positions: Sequence[Position]) -> Scorer:
    """Mean of the present scores, each brought to 0-1 by its training range (Jain, Nandakumar & Ross 2005)."""
    both = np.vstack([genuine, impostor])
    low, high = np.nanmin(both, axis=0), np.nanmax(both, axis=0)

    def score(scores: Scores) -> Scores:
        scaled = (scores - low) / (high - low)
        present = ~np.isnan(scaled)
        return np.asarray(np.where(present, scaled, 0.0).sum(axis=1) / np.maximum(present.sum(axis=1), 1))

    return score


def product_of_fmr(genuine: Scores, impostor: Scores, positions: Sequence[Position]) -> Scorer:
    """-ln of the product of false match rates, each measured, with an exponential tail (NIST IR 7346)."""
    return _summed(genuine, impostor, lambda _, i: _fmr_exponential(i))


def gaussian_mixtures(genuine: Scores, impostor: Scores, positions: Sequence[Position]) -> Scorer:
    """Sum over the matchers of log-likelihood ratios of Gaussian mixtures (Nandakumar et al., independent case)."""

    def ratio(g: Scores, i: Scores) -> Scorer:
        of_genuine, of_impostor = mixture_density(g), mixture_density(i)
        return lambda x: of_genuine(x) - of_impostor(x)

    return _summed(genuine, impostor, ratio)


def kernel_densities(genuine: Scores, impostor: Scores, positions: Sequence[Position]) -> Scorer:
    """Sum over the matchers of log-likelihood ratios of kernel densities (Dass, Nandakumar & Jain, AVBPA 2005)."""

    def ratio(g: Scores, i: Scores) -> Scorer:
        low, high = min(g.min(), i.min()), max(g.max(), i.max())
        of_genuine, of_impostor = kernel_density(g, low, high), kernel_density(i, low, high)
        return lambda x: of_genuine(x) - of_impostor(x)

    return _summed(genuine, impostor, ratio)


def logistic_regression(genuine: Scores, impostor: Scores, positions: Sequence[Position]) -> Scorer:
    """Linear logistic regression on the raw scores; a missing one is put midway between the two kinds' means."""
    midway = 0.5 * (np.nanmean(genuine, axis=0) + np.nanmean(impostor, axis=0))

    def filled(scores: Scores) -> Scores:
        return np.where(np.isnan(scores), midway, scores)

    offset, weights = fit_logistic(filled(genuine), filled(impostor), 0.5)
    return lambda scores: np.asarray(offset + filled(scores) @ weights, np.float64)


def llr_sum(genuine: Scores, impostor: Scores, positions: Sequence[Position]) -> Scorer:
    """Sum of calibrated one-dimensional log-likelihood ratios, positions independent, the fit balanced."""
    fitted = fit_positions(genuine, impostor, positions, CalibrationParameters(prior=0.5))
    return lambda scores: np.nansum(to_llrs(fitted, scores), axis=1)


def ours(genuine: Scores, impostor: Scores, positions: Sequence[Position]) -> Scorer:
    """What the matcher serves: ratios fitted at a low prior that allow for spoilt samples, fitted correlations."""
    fitted = fit_positions(genuine, impostor, positions)
    evidence = fit_evidence(to_llrs(fitted, genuine), to_llrs(fitted, impostor), positions)
    return lambda scores: fuse_llrs(to_llrs(fitted, scores), positions, evidence)


METHODS: dict[str, Method] = {
    "best_single": best_single,
    "min_max_sum": min_max_sum,
    "product_of_fmr": product_of_fmr,
    "gaussian_mixtures": gaussian_mixtures,
    "kernel_densities": kernel_densities,
    "logistic_regression": logistic_regression,
    "llr_sum": llr_sum,
    "ours": ours,
}


REFITTED = frozenset({"best_single", "logistic_regression"})
"""Methods whose fit for some of the matchers is not that for all of them with the others missing."""


def fit_positions(
    genuine: Scores,
    impostor: Scores,
    positions: Sequence[Position],
    parameters: CalibrationParameters | None = None,
    subjects: NDArray[np.int64] | None = None,
) -> list[Calibration]:
    """A calibration for each matcher; with the subjects of impostors, int64[n, 2], as cautious as those of a server."""
    return [
        fit_calibration(
            p.modality,
            f"matcher-{k}",
            _present(g),
            _present(i),
            {},
            None if subjects is None else subjects[~np.isnan(i)],
            parameters,
        )
        for k, (p, g, i) in enumerate(zip(positions, genuine.T, impostor.T, strict=True))
    ]


def to_llrs(fitted: Sequence[Calibration], scores: Scores) -> Scores:
    """Log-likelihood ratios of raw scores, column by column; NaN stays NaN."""
    return np.stack([c.to_llr(c.to_score(scores[:, k])) for k, c in enumerate(fitted)], axis=1)


def fit_evidence(genuine: Scores, impostor: Scores, positions: Sequence[Position]) -> Correlations:
    """Correlations of the evidence within each modality that has several positions, from log-likelihood ratios.

    Fingers of one hand and of two hands share one value: the sets that this serves have one finger of each hand.
    """
    found = {}
    for modality in Modality:
        columns = [k for k, p in enumerate(positions) if p.modality is modality]
        several = len(columns) > 1
        found[modality] = fit_correlation(genuine[:, columns], impostor[:, columns]) if several else 0.0
    finger = found[Modality.FINGER]
    return Correlations(finger, finger, found[Modality.IRIS], found[Modality.FACE])


def mixture_density(values: Scores, components: int = COMPONENTS, rounds: int = 60) -> Scorer:
    """Log density of a one-dimensional Gaussian mixture, by expectation maximisation from the quantiles."""
    if len(values) > MIXTURE_POINTS:  # so many quantiles stand for the whole
        values = np.quantile(values, np.linspace(0, 1, MIXTURE_POINTS))
    lowest = 1e-3 * float(values.var())
    mean = np.quantile(values, (np.arange(components) + 0.5) / components)
    variance = np.full(components, float(values.var()))
    share = np.full(components, 1 / components)

    def parts(x: Scores) -> Scores:
        distance = (x[:, None] - mean) ** 2 / variance
        return np.asarray(np.log(share) - 0.5 * (distance + np.log(2 * math.pi * variance)), np.float64)

    for _ in range(rounds):
        logs = parts(values)
        belongs = np.exp(logs - np.logaddexp.reduce(logs, axis=1)[:, None])
        weight = belongs.sum(axis=0) + 1e-9
        share = weight / weight.sum()
        mean = belongs.T @ values / weight
        variance = np.maximum((belongs * (values[:, None] - mean) ** 2).sum(axis=0) / weight, lowest)
    return lambda x: np.asarray(np.logaddexp.reduce(parts(x), axis=1), np.float64)


def kernel_density(values: Scores, low: float, high: float, bins: int = 1024) -> Scorer:
    """Log density by Gaussian kernels of Silverman's width (1986, eq. 3.31), on a grid from ``low`` to ``high``.

    Nowhere below one score spread over the whole range: no data can show less.
    """
    quartiles = np.quantile(values, (0.25, 0.75))
    spread = min(float(values.std()), float(quartiles[1] - quartiles[0]) / 1.34) or float(values.std())
    step = (high - low) / (bins - 1)
    width = max(0.9 * spread * len(values) ** -0.2, step)
    grid = low + step * np.arange(bins)
    counts = np.bincount(np.rint((values - low) / step).astype(np.int64), minlength=bins).astype(np.float64)
    reach = np.arange(-bins + 1, bins) * step
    density = np.convolve(counts, np.exp(-0.5 * (reach / width) ** 2), "full")[bins - 1 : 2 * bins - 1]
    density /= len(values) * width * math.sqrt(2 * math.pi)
    logs = np.log(np.maximum(density, 1 / (len(values) * (high - low))))
    return lambda x: np.asarray(np.interp(x, grid, logs), np.float64)


def _fmr_exponential(impostor: Scores) -> Scorer:
    """-ln FMR: measured up to the ``TAIL``-th largest, then exponential."""
    ordered = np.sort(impostor)
    count, tail = len(ordered), min(TAIL, len(ordered) // 2)
    start = ordered[count - tail - 1]
    mean_excess = max(float(np.mean(ordered[count - tail :] - start)), 1e-9)
    knots, first = np.unique(ordered, return_index=True)
    rates = -np.log((count - first) / count)
    base = -math.log(float(np.mean(impostor > start)) or 1 / count)
    return lambda x: np.where(x > start, base + (x - start) / mean_excess, np.interp(x, knots, rates))


def _summed(genuine: Scores, impostor: Scores, fit: Callable[[Scores, Scores], Scorer]) -> Scorer:
    """The sum of one-dimensional scorers over the matchers that are present."""
    scorers = [fit(_present(g), _present(i)) for g, i in zip(genuine.T, impostor.T, strict=True)]

    def score(scores: Scores) -> Scores:
        total = np.zeros(len(scores))
        for column, scorer in zip(scores.T, scorers, strict=True):
            there = ~np.isnan(column)
            total[there] += scorer(column[there])
        return total

    return score


def _present(column: Scores) -> Scores:
    return column[~np.isnan(column)]


def _never(column: Scores) -> Scores:
    return np.where(np.isnan(column), -np.inf, column)
