"""Would likelihood ratios be better if they knew the quality of the samples?

    python -m benchmarks.quality_effect

On random halves of the real subjects: ratios fitted with and without the lower quality of a pair's two samples,
compared by their cross entropy at the prior on the other halves. The interval is a bootstrap over subjects. Where a
modality has several manifests each is measured by itself as well: quality may tell two data sets apart, and genuine
pairs are never of two.
"""

from __future__ import annotations

import enrollment.threads  # noqa: F401  # isort: skip

import argparse
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.real_data import is_real, manifests
from enrollment.calibration.cross_check import fit_scores, random_halves
from enrollment.calibration.scores import CalibrationScores, score_manifests
from enrollment.evaluation.progress import progress_bar
from enrollment.settings import load_settings
from matcher.calibration import LN10_10, Calibration, CalibrationParameters
from matcher.logistic import fit_logistic
from matcher.positions import Modality

SEED = 7346
RESAMPLES = 1000
Floats = NDArray[np.float64]
Ratios = Callable[[Floats, Floats], Floats]
"""Scores and qualities to log-likelihood ratios."""


def with_terms(genuine: Floats, impostor: Floats, p: CalibrationParameters, terms: Ratios) -> Ratios:
    """Logistic regression on terms of score and quality (float64[n, 2] each), between the bounds of every ratio."""
    spoilt = max(p.spoilt_minimum, float(np.mean(genuine[:, 0] < p.spoilt_score)))
    offset, weights = fit_logistic(terms(*genuine.T), terms(*impostor.T), p.prior)
    return lambda score, quality: _bounded(offset + terms(score, quality) @ weights, score, np.full(len(score), spoilt))


def with_spoilt_shares(genuine: Floats, impostor: Floats, p: CalibrationParameters) -> Ratios:
    """Logistic regression on the score alone, the share of spoilt samples by thirds of quality."""
    offset, weights = fit_logistic(genuine[:, :1], impostor[:, :1], p.prior)
    edges = np.quantile(genuine[:, 1], [1 / 3, 2 / 3])
    third = np.searchsorted(edges, genuine[:, 1], side="right")
    spoilt = genuine[:, 0] < p.spoilt_score
    found = np.bincount(third, spoilt, 3) / np.maximum(1, np.bincount(third, minlength=3))
    shares = np.maximum(p.spoilt_minimum, found)
    return lambda score, quality: _bounded(
        offset + weights[0] * score, score, shares[np.searchsorted(edges, quality, side="right")]
    )


def _bounded(ratio: Floats, score: Floats, spoilt: Floats) -> Floats:
    return np.asarray(np.minimum(np.logaddexp(np.log(spoilt), np.log1p(-spoilt) + ratio), score * LN10_10), np.float64)


FITS: dict[str, Callable[[Floats, Floats, CalibrationParameters], Ratios]] = {
    "score and quality": lambda g, n, p: with_terms(g, n, p, lambda s, q: np.stack([s, q], axis=1)),
    "and their product": lambda g, n, p: with_terms(g, n, p, lambda s, q: np.stack([s, q, s * q], axis=1)),
    "spoilt share by quality": with_spoilt_shares,
}


def gains(scores: CalibrationScores, repeats: int, seed: int) -> dict[str, tuple[float, float, float]]:
    """Cross entropy saved by each fit, as a share of that without quality: mean, and its 95 % interval."""
    whole, p = scores.by_subject(), CalibrationParameters()
    quality_g = scores.quality[scores.genuine_pairs].min(axis=1)
    quality_n = scores.quality[scores.impostor_pairs].min(axis=1)
    people = whole.subjects
    # Sums over comparisons of a subject, or of a pair of subjects, of the cost without quality and of what each saves.
    of_genuine = np.zeros((len(FITS) + 2, people))
    of_impostor = np.zeros((len(FITS) + 2, people, people))
    odds = math.log(p.prior / (1 - p.prior))
    for half in random_halves(people, repeats, seed):
        used = half[whole.genuine_subjects], half[whole.impostor_subjects].all(axis=1)
        held = ~half[whole.genuine_subjects], (~half)[whole.impostor_subjects].all(axis=1)
        fitted: Calibration = fit_scores(scores.modality, scores.algorithm, whole.of(half), p, {})
        known = np.stack([fitted.to_score(whole.genuine), quality_g], axis=1)
        strange = np.stack([fitted.to_score(whole.impostor), quality_n], axis=1)
        ways: list[Ratios] = [lambda s, _: fitted.to_llr(s)]  # noqa: B023  # used within the turn
        ways += [make(known[used[0]], strange[used[1]], p) for make in FITS.values()]
        subjects, pairs = whole.genuine_subjects[held[0]], whole.impostor_subjects[held[1]]
        for k, way in enumerate(ways):
            missed = np.logaddexp(0.0, -(way(*known[held[0]].T) + odds))
            passed = np.logaddexp(0.0, way(*strange[held[1]].T) + odds)
            of_genuine[k] += np.bincount(subjects, missed, people)
            of_impostor[k] += _pair_sums(pairs, passed, people)
        of_genuine[-1] += np.bincount(subjects, minlength=people)
        of_impostor[-1] += _pair_sums(pairs, np.ones(len(pairs)), people)
    rng = np.random.default_rng(seed)
    drawn = np.concatenate(
        [np.ones((1, people)), rng.multinomial(people, np.full(people, 1 / people), RESAMPLES).astype(np.float64)]
    )
    missed = drawn @ of_genuine.T
    passed = np.stack([np.einsum("ri,ri->r", drawn @ table, drawn) for table in of_impostor], axis=1)
    cost = p.prior * missed[:, :-1] / missed[:, -1:] + (1 - p.prior) * passed[:, :-1] / passed[:, -1:]
    saved = 1 - cost[:, 1:] / cost[:, :1]
    low, high = np.quantile(saved[1:], [0.025, 0.975], axis=0)
    return {name: (saved[0, k], low[k], high[k]) for k, name in enumerate(FITS)}


def _pair_sums(pairs: NDArray[np.int64], values: Floats, people: int) -> Floats:
    sums = np.bincount(pairs[:, 0] * people + pairs[:, 1], values, people * people)
    return sums.reshape(people, people).astype(np.float64)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modality", choices=[m.value for m in Modality], action="append")
    parser.add_argument("--repeats", type=int, default=5, help="cuts into halves, each used both ways")
    parser.add_argument("--seed", type=int, default=SEED, help="of the cuts and of the bootstrap")
    arguments = parser.parse_args()
    table = Table(show_edge=False)
    for name in ("data", "ratios from", "cost saved", "95 %"):
        table.add_column(name)
    for modality in map(Modality, arguments.modality or [m.value for m in Modality]):
        listed = manifests(modality)
        for used in [listed, *([one] for one in listed if len(listed) > 1)]:
            with progress_bar(quiet=False) as progress:
                scores = score_manifests(used, modality, load_settings(), keep=is_real, processes=2, progress=progress)
            data = modality.value if used == listed else f"{modality}, {used[0].stem}"
            for name, (mean, low, high) in gains(scores, arguments.repeats, arguments.seed).items():
                table.add_row(data, name, f"{100 * mean:+.1f} %", f"{100 * low:+.1f} to {100 * high:+.1f} %")
    Console().print(table)


if __name__ == "__main__":
    main()
