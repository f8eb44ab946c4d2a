"""The fused score of comparisons from score files, as the matcher makes it, and whether it means what it says.

A calibration of each position, fitted correlations, and the curve of the positions that are present. False match rates
asked for are put against those observed on people not fitted on.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from enrollment.fusion_methods import Scores, fit_evidence, fit_positions, to_llrs
from matcher.fused_tail import FusedTail, Ratio, strangers_tail
from matcher.fusion import calibrate_positions, fuse_llrs
from matcher.fusion_fit import StrangerCorrelation, stranger_correlation
from matcher.fusion_model import Correlations, relation
from matcher.positions import Position

ASKED = (10.0, 20.0, 25.0, 30.0, 35.0, 40.0)
"""-10*log10(FMR) asked for: 1e-1 to 1e-4."""


class FusedScorer:
    """Raw scores to fused -10*log10(FMR), as a server answers them; a ``fusion_methods.Scorer``.

    Args:
        genuine, impostor: float64[g, k], float64[g * (g - 1), k], raw scores of k matchers of all pairs of g people,
            row by row; NaN is missing.
        positions: what each matcher compares.
    """

    def __init__(self, genuine: Scores, impostor: Scores, positions: Sequence[Position]) -> None:
        subjects = np.stack(np.nonzero(~np.eye(len(genuine), dtype=bool)), axis=1).astype(np.int64)
        self._positions = positions
        self._fitted = fit_positions(genuine, impostor, positions, subjects=subjects)
        self._evidence = fit_evidence(to_llrs(self._fitted, genuine), to_llrs(self._fitted, impostor), positions)
        self._strangers, self._limit = _fit_strangers(impostor, subjects, positions)
        self._curve = functools.cache(self._make_curve)

    def __call__(self, scores: Scores) -> Scores:
        """float64[m, k] to float64[m]; NaN where every matcher is missing."""
        return self._fused(scores, trusted=False)

    def trusted(self, scores: Scores) -> Scores:
        """The same of what calibration vouches for, the part that makes a HIT."""
        return self._fused(scores, trusted=True)

    def _fused(self, scores: Scores, *, trusted: bool) -> Scores:
        present = ~np.isnan(scores)
        result = np.full(len(scores), np.nan)
        patterns, which = np.unique(present, axis=0, return_inverse=True)
        for number, pattern in enumerate(patterns):
            rows, columns = which == number, tuple(np.flatnonzero(pattern).tolist())
            if columns:
                result[rows] = self._of_pattern(scores[np.ix_(rows, columns)], columns, trusted=trusted)
        return result

    def _of_pattern(self, scores: Scores, columns: tuple[int, ...], *, trusted: bool) -> Scores:
        # One comparison each, so nothing is taken off for the best of several.
        ones = np.ones(len(scores), np.int64)
        found = [calibrate_positions(self._fitted[k], scores[:, n], ones) for n, k in enumerate(columns)]
        if len(columns) == 1:
            return found[0].trusted_score if trusted else found[0].score
        llrs = np.stack([column.trusted_llr if trusted else column.llr for column in found], axis=1)
        places = [self._positions[k] for k in columns]
        return self._curve(columns, trusted=trusted).to_score(fuse_llrs(llrs, places, self._evidence))

    def _make_curve(self, columns: tuple[int, ...], *, trusted: bool) -> FusedTail:
        ratios = [(Ratio.censored if trusted else Ratio.of)(self._fitted[k]) for k in columns]
        strangers = self._limit if trusted else self._strangers
        return strangers_tail([self._positions[k] for k in columns], ratios, self._evidence, strangers)


def reached(scores: Scores) -> NDArray[np.int64]:
    """int64[len(ASKED)]: how many fused scores reach each score asked for."""
    return np.array([int((scores >= asked).sum()) for asked in ASKED], np.int64)


def _fit_strangers(
    impostor: Scores, subjects: NDArray[np.int64], positions: Sequence[Position]
) -> tuple[Correlations, Correlations]:
    """Estimates and upper limits; of several pairs of matchers that stand for one, the mean and the highest."""
    found: dict[str, list[StrangerCorrelation]] = {}
    for a in range(len(positions)):
        for b in range(a):
            related = stranger_correlation(impostor[:, [a, b]], subjects, resamples=40)
            found.setdefault(relation(positions[a], positions[b]), []).append(related)
    mean = {name: float(np.mean([c.estimate for c in several])) for name, several in found.items()}
    upper = {name: max(c.upper for c in several) for name, several in found.items()}
    estimate, limit = ({"same_hand": one.get("other_hand", 0.0), **one} for one in (mean, upper))
    return Correlations(**estimate), Correlations(**limit)
