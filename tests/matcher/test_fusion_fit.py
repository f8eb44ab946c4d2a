"""Correlations that are fitted are those that were put in."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from matcher.fusion_fit import fit_correlation, stranger_correlation

MEAN = 3.0
"""Between genuine and impostor scores of sd 1; the ratio of a score x is then MEAN * x - MEAN**2 / 2."""


def ratios(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    return MEAN * scores - MEAN**2 / 2


def test_evidence_that_is_the_same_and_that_is_not() -> None:
    # Two matchers that see the same noise: fused as one. Two that do not: added.
    rng = np.random.default_rng(8)
    genuine, impostor = rng.normal(MEAN, 1, (4000, 2)), rng.normal(0, 1, (40_000, 2))
    assert fit_correlation(ratios(genuine), ratios(impostor)) <= 0.05
    twice, other = genuine[:, [0, 0]], impostor[:, [0, 0]]
    assert fit_correlation(ratios(twice), ratios(other)) >= 0.95


def pairs_of(people: int) -> NDArray[np.int64]:
    return np.stack(np.nonzero(~np.eye(people, dtype=bool)), axis=1).astype(np.int64)


def test_strangers_correlation_with_ties_and_missing() -> None:
    rng = np.random.default_rng(2)
    subjects = pairs_of(142)
    drawn = rng.multivariate_normal([0, 0], [[1, 0.4], [0.4, 1]], len(subjects))
    scores = np.floor(np.exp(drawn) * 8)
    scores[::7, 0] = np.nan
    found = stranger_correlation(scores, subjects, resamples=20)
    assert found.estimate == pytest.approx(0.4, abs=0.03)
    assert found.estimate <= found.upper < 0.5


def test_people_who_resemble_everybody_widen_the_limit() -> None:
    rng = np.random.default_rng(3)
    people = 60
    subjects = pairs_of(people)
    own = rng.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], people)
    noise = rng.normal(0, 1, (len(subjects), 2))
    found = stranger_correlation(noise + own[subjects[:, 0]] + own[subjects[:, 1]], subjects, resamples=40)
    free = stranger_correlation(rng.normal(0, 1, (len(subjects), 2)), subjects, resamples=40)
    assert found.upper - found.estimate > 2 * (free.upper - free.estimate)


def test_strangers_whose_scores_repel_each_other_count_as_independent() -> None:
    drawn = np.random.default_rng(1).multivariate_normal([0, 0], [[1, -0.5], [-0.5, 1]], 3540)
    assert stranger_correlation(drawn, pairs_of(60), resamples=5).estimate == 0.0
