"""Cohort normalisation against loops, and what it must undo."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from matcher.cohort import LEAST_SPREAD, cohort_normalise


def slow(scores: NDArray[np.float64], cohort: NDArray[np.intp]) -> NDArray[np.float64]:
    n = len(scores)
    rows = [[scores[i, j] for j in cohort if j != i and not np.isnan(scores[i, j])] for i in range(n)]
    columns = [[scores[j, i] for j in cohort if j != i and not np.isnan(scores[j, i])] for i in range(n)]
    spreads = []
    for side in (rows, columns):
        raw = [float(np.std(v)) if len(v) > 1 else np.nan for v in side]
        least = LEAST_SPREAD * float(np.sqrt(np.nanmean(np.square(raw))))
        spreads.append([max(v, least) for v in raw])
    out = np.empty_like(scores)
    for i in range(n):
        for j in range(n):
            a = (scores[i, j] - np.mean(rows[i])) / spreads[0][i]
            b = (scores[i, j] - np.mean(columns[j])) / spreads[1][j]
            out[i, j] = (a + b) / 2
    return out


def test_equals_loops_with_missing_scores() -> None:
    rng = np.random.default_rng(3)
    scores = rng.normal(5, 2, (30, 30))
    scores[rng.random(scores.shape) < 0.1] = np.nan
    scores[7] = np.where(np.isnan(scores[7]), np.nan, 4.0)  # a sample without any spread
    cohort = rng.permutation(30)[:15]
    np.testing.assert_allclose(cohort_normalise(scores, cohort), slow(scores, cohort), atol=1e-9)


def test_a_sample_that_looks_like_everybody_loses_half_of_its_lead() -> None:
    # Its own statistics see the lead and take it off; the other sample's do not: the average keeps half.
    rng = np.random.default_rng(4)
    scores = rng.normal(0, 1, (400, 400))
    lamb = scores.copy()
    lamb[350] += 6.0
    gained = cohort_normalise(lamb, np.arange(300))[350] - cohort_normalise(scores, np.arange(300))[350]
    assert np.median(gained) == pytest.approx(3.0, abs=0.1)


def test_people_outside_the_cohort_do_not_matter_to_each_other() -> None:
    rng = np.random.default_rng(5)
    scores = rng.normal(0, 1, (20, 20))
    other = scores.copy()
    other[15, 16] += 100.0
    changed = cohort_normalise(other, np.arange(10)) != cohort_normalise(scores, np.arange(10))
    assert np.argwhere(changed).tolist() == [[15, 16]]


def test_without_any_cohort_score_there_is_none() -> None:
    scores = np.random.default_rng(6).normal(0, 1, (12, 12))
    scores[:, 11] = np.nan
    out = cohort_normalise(scores, np.arange(6))
    assert np.isnan(out[:, 11]).all()
    assert not np.isnan(out[:, :11]).any()
