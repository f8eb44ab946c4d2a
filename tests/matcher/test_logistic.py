"""Logistic regression against distributions whose ratios are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize

from matcher.logistic import cross_entropy, fit_logistic


@pytest.mark.parametrize("prior", [0.5, 0.05, 0.001])
def test_ratio_of_two_normals_is_found_at_every_prior(prior: float) -> None:
    rng = np.random.default_rng(1)
    genuine, impostor = rng.normal(3, 1, (5000, 1)), rng.normal(0, 1, (50_000, 1))
    offset, weights = fit_logistic(genuine, impostor, prior)
    assert weights[0] == pytest.approx(3.0, abs=0.3)  # ln N(x; 3, 1) / N(x; 0, 1) = 3 x - 4.5
    assert offset == pytest.approx(-4.5, abs=0.7)


def test_minimum_equals_that_of_a_general_optimiser() -> None:
    rng = np.random.default_rng(2)
    genuine = rng.normal(1, 1, (300, 2)) * [1, 20]
    impostor = rng.normal(0, 1, (3000, 2)) * [1, 20]
    offset, weights = fit_logistic(genuine, impostor, 0.1, ridge=0.0)

    def cost(beta: list[float]) -> float:
        of = [s @ np.array([beta[1], beta[2] / 20]) + beta[0] for s in (genuine, impostor)]
        return cross_entropy(of[0], of[1], 0.1)

    slow = optimize.minimize(cost, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-14}).x
    np.testing.assert_allclose([offset, weights[0], weights[1] * 20], slow, atol=1e-3)


def test_separable_scores_do_not_run_away() -> None:
    offset, weights = fit_logistic(np.full((100, 1), 9.0), np.linspace(0, 1, 1000)[:, None], 1e-3)
    assert np.isfinite(offset)
    assert 0 < weights[0] < 1e4


def test_cross_entropy_of_no_evidence_is_the_prior_s() -> None:
    prior = 0.2
    nothing = cross_entropy(np.zeros(5), np.zeros(7), prior)
    assert nothing == pytest.approx(-prior * np.log(prior) - (1 - prior) * np.log(1 - prior))
