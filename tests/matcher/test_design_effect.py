"""The design effect against its definition and against a bootstrap over subjects."""

from __future__ import annotations

import numpy as np
import pytest

from matcher.design_effect import design_effect


def comparisons(seed: int, people: int = 40, samples: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Hits of all pairs of subjects, some of whom are easily mistaken."""
    rng = np.random.default_rng(seed)
    subjects = np.repeat(np.stack(np.triu_indices(people, 1), axis=1), samples, axis=0)
    own = rng.normal(0, 1, people)
    return own[subjects].sum(axis=1) + rng.normal(0, 1, len(subjects)) > 2.5, subjects


def slow(hits: np.ndarray, subjects: np.ndarray) -> float:
    """Loops over all pairs of comparisons: 3 for one pair of subjects, 1 for one subject shared."""
    excess = hits - hits.mean()
    total = 0.0
    for a in range(len(hits)):
        shared = np.array([len({*subjects[a]} & {*row}) for row in subjects.tolist()])
        size = len({*subjects[a]})
        same = np.array([{*row} == {*subjects[a]} for row in subjects.tolist()])
        factor = np.where(same, 3.0 if size == 2 else 2.0, (shared > 0).astype(float))
        total += float(excess[a] * (excess * factor).sum())
    share = float(hits.mean())
    return total / (len(hits) * share * (1 - share))


def test_equals_the_double_loop() -> None:
    hits, subjects = comparisons(1, people=9)
    assert design_effect(hits, subjects) == pytest.approx(slow(hits, subjects))


def test_order_within_a_pair_and_of_pairs_makes_no_difference() -> None:
    hits, subjects = comparisons(2)
    shuffled = np.random.default_rng(0).permutation(len(hits))
    assert design_effect(hits[shuffled], subjects[shuffled][:, ::-1]) == pytest.approx(design_effect(hits, subjects))


def test_equals_a_bootstrap_over_subjects() -> None:
    hits, subjects = comparisons(3, people=150, samples=1)
    rng = np.random.default_rng(5)
    rates = []
    for weight in rng.poisson(1.0, (3000, 150)):
        weights = weight[subjects[:, 0]] * weight[subjects[:, 1]]
        rates.append((weights @ (hits - hits.mean())) / len(hits))
    share = hits.mean()
    bootstrapped = np.var(rates) / (share * (1 - share) / len(hits))
    assert design_effect(hits, subjects) == pytest.approx(bootstrapped, rel=0.1)


def test_independent_comparisons_are_worth_themselves() -> None:
    # Every subject is in one comparison only; the bias to the safe side is a factor of 3 then.
    hits = np.random.default_rng(6).random(4000) < 0.1
    subjects = np.arange(8000).reshape(-1, 2)
    assert design_effect(hits, subjects) == pytest.approx(3.0, rel=1e-3)


def test_the_same_comparison_ten_times_is_worth_one() -> None:
    hits, subjects = comparisons(7)
    once = design_effect(hits, subjects)
    assert design_effect(np.repeat(hits, 10), np.repeat(subjects, 10, axis=0)) == pytest.approx(10 * once)


def test_two_eyes_of_one_subject_count_for_that_subject_once() -> None:
    hits, subjects = comparisons(8, people=9)
    hits, subjects = np.append(hits, True), np.append(subjects, [[4, 4]], axis=0)
    assert design_effect(hits, subjects) == pytest.approx(slow(hits, subjects))


@pytest.mark.parametrize("all_hits", [True, False])
def test_without_variation_there_is_no_effect(all_hits: bool) -> None:
    hits, subjects = comparisons(9)
    assert design_effect(np.full(len(hits), all_hits), subjects) == 1.0
