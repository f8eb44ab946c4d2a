"""The fused tail against exact answers, plain simulation, and strangers not used."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from matcher.calibration import LN10_10
from matcher.errors import InvalidInput
from matcher.fused_tail import normal_correlation, simulate_tail
from matcher.positions import Modality
from tests.matcher.people import line

LINE = line(Modality.FACE, "face-x", 0.0, 10.0, 40.0)


def total(llrs: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(llrs.sum(axis=1), np.float64)


def test_one_position_gives_its_own_score_back() -> None:
    tail = simulate_tail([LINE], total, np.eye(1))
    for score in (5.0, 20.0, 40.0, 55.0):
        assert tail.to_score(LINE.to_llr([score]))[0] == pytest.approx(score, abs=0.4)


def test_two_independent_positions_follow_the_gamma_law() -> None:
    # Ratios of exactly the score: -ln FMR of strangers is exponential, the sum of two Gamma(2): (1 + s) exp(-s).
    tail = simulate_tail([LINE, LINE], lambda x: total(np.stack([(a - a0) / slope for a in x.T], axis=1)), np.eye(2))
    for s in (3.0, 6.0, 10.0):
        exact = -10 * math.log10((1 + s) * math.exp(-s))
        assert tail.to_score(np.array([s]))[0] == pytest.approx(exact, abs=0.4)


slope = (60.0 * LN10_10 - 1.0 + 3.0) / 60.0 / LN10_10
a0 = -3.0


def test_correlated_strangers_against_plain_simulation() -> None:
    related = np.array([[1.0, 0.5], [0.5, 1.0]])
    tail = simulate_tail([LINE, LINE], total, related)
    rng = np.random.default_rng(5)
    drawn = rng.multivariate_normal([0, 0], related, 400_000)
    share = np.array([0.5 * math.erfc(z / math.sqrt(2)) for z in drawn.ravel()]).reshape(drawn.shape)
    fused = total(LINE.to_llr(-10 * np.log10(share)))
    for asked in (10.0, 20.0, 30.0):
        passed = float((tail.to_score(fused) >= asked).mean())
        assert -10 * math.log10(passed) == pytest.approx(asked, abs=0.5)
    # Taken as independent, they would be promised too low a rate.
    apart = simulate_tail([LINE, LINE], total, np.eye(2))
    assert float((apart.to_score(fused) >= 30.0).mean()) > 2e-3


def test_score_rises_and_beyond_the_simulation_only_by_walds_bound() -> None:
    tail = simulate_tail([LINE, LINE], total, np.eye(2))
    values = np.linspace(-10, 60, 500)
    scores = tail.to_score(values)
    assert (np.diff(scores) >= 0).all()
    assert scores[-1] == pytest.approx(60 / LN10_10)


def test_correlation_is_recovered_with_ties_and_missing() -> None:
    rng = np.random.default_rng(2)
    drawn = rng.multivariate_normal([0, 0], [[1, 0.4], [0.4, 1]], 20_000)
    whole = np.floor(np.exp(drawn) * 8)
    whole[::7, 0] = np.nan
    assert normal_correlation(whole)[0, 1] == pytest.approx(0.4, abs=0.03)


def test_no_correlation_matrix_is_refused() -> None:
    with pytest.raises(InvalidInput, match="positive definite"):
        simulate_tail([LINE, LINE], total, np.array([[1.0, 2.0], [2.0, 1.0]]))
