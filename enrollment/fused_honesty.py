"""The fused score of comparisons from score files, as the matcher makes it, and whether it means what it says.

A calibration of each position, fitted correlations, and the curve of the positions that are present. False match rates
asked for are put against those observed on people not fitted on.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from enrollment.fusion_methods import Scorer, Scores, fit_evidence, fit_positions, to_llrs
from matcher.fused_tail import FusedTail, Ratio, strangers_tail
from matcher.fusion import fuse_llrs
from matcher.fusion_fit import stranger_correlation
from matcher.fusion_model import Correlations
from matcher.positions import Modality, Position

ASKED = (10.0, 20.0, 25.0, 30.0, 35.0, 40.0)
"""-10*log10(FMR) asked for: 1e-1 to 1e-4."""


def fit_fused_score(genuine: Scores, impostor: Scores, positions: Sequence[Position]) -> Scorer:
    """Raw scores to fused -10*log10(FMR); a ``fusion_methods.Method``.

    Args:
        genuine, impostor: float64[g, k], float64[n, k], raw scores of k matchers; NaN is missing.
        positions: what each matcher compares.

    Returns:
        A function from float64[m, k] to float64[m]; NaN where every matcher is missing.
    """
    fitted = fit_positions(genuine, impostor, positions)
    evidence = fit_evidence(to_llrs(fitted, genuine), to_llrs(fitted, impostor), positions)
    strangers = _fit_strangers(impostor, positions)
    ratios = [Ratio.of(c) for c in fitted]

    @functools.cache
    def curve(columns: tuple[int, ...]) -> FusedTail:
        return strangers_tail([positions[k] for k in columns], [ratios[k] for k in columns], evidence, strangers)

    def score(scores: Scores) -> Scores:
        present = ~np.isnan(scores)
        result = np.full(len(scores), np.nan)
        llrs = to_llrs(fitted, scores)
        patterns, which = np.unique(present, axis=0, return_inverse=True)
        for number, pattern in enumerate(patterns):
            rows, columns = which == number, np.flatnonzero(pattern).tolist()
            if len(columns) == 1:
                (only,) = columns
                result[rows] = fitted[only].to_score(scores[rows, only])
            elif len(columns) > 1:
                places = [positions[k] for k in columns]
                result[rows] = curve(tuple(columns)).to_score(fuse_llrs(llrs[np.ix_(rows, columns)], places, evidence))
        return result

    return score


def reached(scores: Scores) -> NDArray[np.int64]:
    """int64[len(ASKED)]: how many fused scores reach each score asked for."""
    return np.array([int((scores >= asked).sum()) for asked in ASKED], np.int64)


def _fit_strangers(impostor: Scores, positions: Sequence[Position]) -> Correlations:
    """Estimates from the pairs of matchers that there are; means where several pairs stand for one correlation."""
    nobody = np.zeros((len(impostor), 2), np.int64)  # estimates need no subjects
    found: dict[str, list[float]] = {}
    for a in range(len(positions)):
        for b in range(a):
            name = _kind(positions[a], positions[b])
            related = stranger_correlation(impostor[:, [a, b]], nobody, resamples=0)
            found.setdefault(name, []).append(related.estimate)
    mean = {name: float(np.mean(values)) for name, values in found.items()}
    return Correlations(**{"same_hand": mean.get("other_hand", 0.0), **mean})


def _kind(one: Position, other: Position) -> str:
    """The field of ``Correlations`` that two positions belong to."""
    if one.modality is not other.modality:
        return "modalities"
    if one.modality is Modality.FINGER:
        right = {one < Position.LEFT_THUMB, other < Position.LEFT_THUMB}
        return "same_hand" if len(right) == 1 else "other_hand"
    return "faces" if one.modality is Modality.FACE else "eyes"
