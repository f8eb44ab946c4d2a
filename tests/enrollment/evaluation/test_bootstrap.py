"""Resampled rates against resamples written out comparison by comparison."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from enrollment.evaluation import rates
from enrollment.evaluation.bootstrap import (
    BootstrapParameters,
    ScoreSet,
    interval,
    mean_replicates,
    pair_replicates,
    resample,
    subject_weights,
)

FEW = BootstrapParameters(resamples=20)


def score_set(seed: int = 0, subjects: int = 12, digits: int = 1) -> ScoreSet:
    rng = np.random.default_rng(seed)
    whose = np.repeat(np.arange(subjects), 6)
    genuine = np.round(rng.normal(2, 1, len(whose)), digits)
    genuine[::17] = -math.inf
    first, second = np.triu_indices(subjects, 1)
    pairs = np.stack([np.tile(first, 5), np.tile(second, 5)], axis=1)
    pairs[:7, 1] = pairs[:7, 0]  # two fingers of one person
    return ScoreSet(genuine, whose, np.round(rng.normal(0, 1, len(pairs)), digits), pairs, subjects)


def written_out(scores: ScoreSet, weight: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Every comparison as often as the resample holds it."""
    genuine = np.repeat(scores.genuine, weight[scores.genuine_subjects])
    first, second = scores.impostor_subjects.T
    times = np.where(first == second, weight[first], weight[first] * weight[second])
    return genuine, np.repeat(scores.impostor, times)


@pytest.mark.parametrize("seed", range(3))
def test_fnmr_of_a_resample_is_that_of_its_comparisons(seed: int) -> None:
    scores, targets = score_set(seed), [0.3, 0.1, 0.02]
    replicates = resample(scores, targets, FEW)
    for k, weight in enumerate(subject_weights(scores.subjects, FEW)):
        genuine, impostor = written_out(scores, weight)
        expected = [rates.fnmr_at_fmr(genuine, impostor, t) for t in targets]
        np.testing.assert_allclose(replicates.fnmr[k], expected)


@pytest.mark.parametrize("seed", range(3))
def test_eer_of_a_resample_is_close_to_that_of_its_comparisons(seed: int) -> None:
    scores = score_set(seed, subjects=40, digits=6)
    replicates = resample(scores, [], FEW)
    for k, weight in enumerate(subject_weights(scores.subjects, FEW)):
        genuine, impostor = written_out(scores, weight)
        # A comparison of two subjects drawn often is there many times at one score.
        assert replicates.eer[k] == pytest.approx(rates.equal_error_rate(genuine, impostor), abs=0.005)


def test_a_genuine_comparison_of_two_counts_by_both() -> None:
    scores = score_set()
    both = np.stack([scores.genuine_subjects, (scores.genuine_subjects + np.arange(72) % 3) % 12], axis=1)
    replicates = resample(dataclasses.replace(scores, genuine_subjects=both), [0.1], FEW)
    for k, weight in enumerate(subject_weights(scores.subjects, FEW)):
        first, second = both.T
        genuine = np.repeat(scores.genuine, np.where(first == second, weight[first], weight[first] * weight[second]))
        _, impostor = written_out(scores, weight)
        assert replicates.fnmr[k, 0] == pytest.approx(rates.fnmr_at_fmr(genuine, impostor, 0.1))
    alone = np.stack([scores.genuine_subjects, scores.genuine_subjects], axis=1)
    same = resample(dataclasses.replace(scores, genuine_subjects=alone), [0.1], FEW)
    np.testing.assert_array_equal(same.fnmr, resample(scores, [0.1], FEW).fnmr)


def test_shares_of_a_resample() -> None:
    scores = score_set()
    hits = scores.impostor[:, None] >= np.array([0.0, 1.5])
    replicates = pair_replicates(hits, scores.impostor_subjects, scores.subjects, FEW)
    means = mean_replicates(scores.genuine[:, None] < 1, scores.genuine_subjects, scores.subjects, FEW)
    for k, weight in enumerate(subject_weights(scores.subjects, FEW)):
        genuine, impostor = written_out(scores, weight)
        np.testing.assert_allclose(replicates[k], [(impostor >= t).mean() for t in (0.0, 1.5)])
        assert means[k, 0] == pytest.approx((genuine < 1).mean())


def test_subjects_not_comparisons_make_the_interval_wide() -> None:
    """Twenty people, one of them never recognised in 100 attempts each: as good as 20 trials, not 2,000."""
    people = np.repeat(np.arange(20), 100)
    failed = (people == 0).astype(np.float64)[:, None]
    p = BootstrapParameters()
    found = interval(mean_replicates(failed, people, 20, p)[:, 0], 0.05, 2000, p)
    assert found is not None
    low, high = found
    assert low == 0.0
    assert 0.10 <= high <= 0.20


def test_no_error_is_no_certainty() -> None:
    p = BootstrapParameters()
    assert interval(np.zeros(p.resamples), 0.0, 1000, p) == (0.0, 0.003)
    assert interval(np.full(p.resamples, np.nan), 0.1, 1000, p) is None


def test_the_same_arguments_give_the_same_resamples() -> None:
    first, second = (resample(score_set(), [0.1], FEW) for _ in range(2))
    np.testing.assert_array_equal(first.fnmr, second.fnmr)
    other = resample(score_set(), [0.1], BootstrapParameters(resamples=20, seed=1))
    assert not np.array_equal(first.fnmr, other.fnmr)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    p = BootstrapParameters(resamples=200)
    covered = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        people = np.repeat(np.arange(60), 5)
        errors = rng.random(300) < np.repeat(rng.beta(1, 4, 60), 5)  # the truth is 0.2; people differ
        found = interval(mean_replicates(errors[:, None], people, 60, p)[:, 0], float(errors.mean()), 300, p)
        assert found is not None
        covered += found[0] <= 0.2 <= found[1]
    assert 86 <= covered <= 100
