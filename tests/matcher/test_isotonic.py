"""Isotonic regression against scikit-learn, and the ratios that come of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize
from sklearn.isotonic import IsotonicRegression

from matcher.isotonic import isotonic, isotonic_llr, least_cross_entropy
from matcher.logistic import cross_entropy


@given(st.lists(st.tuples(st.floats(-100, 100), st.floats(1e-3, 100)), min_size=1, max_size=60))
def test_equals_scikit_learn(rows: list[tuple[float, float]]) -> None:
    values, weights = np.array(rows).T
    theirs = IsotonicRegression().fit_transform(np.arange(len(values)), values, sample_weight=weights)
    np.testing.assert_allclose(isotonic(values, weights), theirs, atol=1e-8)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=40), st.lists(st.integers(0, 6), min_size=1, max_size=40))
def test_ratios_equal_scikit_learn_s_at_a_prior(genuine: list[int], impostor: list[int]) -> None:
    # Many ties, as comparators that answer 0 for strangers give.
    prior = 0.01
    g, n = np.array(genuine, np.float64), np.array(impostor, np.float64)
    x = np.concatenate([g, n, [min(g.min(), n.min()) - 1, max(g.max(), n.max()) + 1]])
    y = np.concatenate([np.ones(len(g)), np.zeros(len(n)), [1.0, 0.0]])
    weight = np.where(y > 0, prior / (len(g) + 1), (1 - prior) / (len(n) + 1))
    theirs = IsotonicRegression().fit(x, y, sample_weight=weight).predict(x)
    knots, llr = isotonic_llr(g, n, prior)
    assert (np.diff(knots) > 0).all()
    expected = np.log(theirs) - np.log1p(-theirs) - math.log(prior / (1 - prior))
    np.testing.assert_allclose(np.interp(x, knots, llr), expected, atol=1e-8)


def test_finds_the_ratio_of_two_normals() -> None:
    rng = np.random.default_rng(3)
    knots, llr = isotonic_llr(rng.normal(3, 1, 20_000), rng.normal(0, 1, 200_000), 0.01)
    at = np.array([0.5, 1.5, 2.5])
    np.testing.assert_allclose(np.interp(at, knots, llr), 3 * at - 4.5, atol=0.4)


def test_ratios_are_finite_though_the_scores_separate() -> None:
    _, llr = isotonic_llr(np.full(50, 9.0), np.zeros(1000), 1e-3)
    assert np.isfinite(llr).all()
    assert llr[-1] == pytest.approx(math.log(50 * 1001 / 51), abs=0.01)  # one impostor in 1,001 beside 50 of 51


@pytest.mark.parametrize("prior", [0.5, 0.001])
def test_no_monotone_map_costs_less(prior: float) -> None:
    rng = np.random.default_rng(4)
    genuine, impostor = rng.normal(1.5, 1, 40), rng.normal(0, 1, 300)
    least = least_cross_entropy(genuine, impostor, prior)

    def cost(line: list[float]) -> float:
        return cross_entropy(line[0] + line[1] * genuine, line[0] + line[1] * impostor, prior)

    best_line = optimize.minimize(cost, [0.0, 1.0], method="Nelder-Mead").fun
    assert 0 < least < best_line
    steps = [cross_entropy(np.where(genuine > t, 2.0, -1.0), np.where(impostor > t, 2.0, -1.0), prior) for t in genuine]
    assert least <= min(steps) + 1e-12


def test_scores_that_separate_cost_nothing_at_the_least() -> None:
    assert least_cross_entropy(np.array([2.0, 3.0]), np.array([0.0, 1.0]), 0.5) == 0.0
