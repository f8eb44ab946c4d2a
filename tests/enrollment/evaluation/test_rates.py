"""Rates against hand-counted ones, and against scikit-learn and pyeer on the same scores."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyeer.cmc_stats import get_cmc_curve
from pyeer.eer_stats import calculate_roc, get_eer_values
from sklearn.metrics import det_curve, roc_curve

from enrollment.evaluation import rates

GENUINE = [9.0, 8.0, 7.0, 3.0, -math.inf]
IMPOSTOR = [6.0, 4.0, 3.0, 2.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]


def drawn(seed: int, genuine: int, impostor: int, steps: int | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Overlapping normal scores; with ``steps`` rounded so that there are many ties."""
    rng = np.random.default_rng(seed)
    g, i = rng.normal(2.0, 1.0, genuine), rng.normal(0.0, 1.0, impostor)
    return (g, i) if steps is None else (np.round(g * steps) / steps, np.round(i * steps) / steps)


def test_rates_counted_by_hand() -> None:
    assert rates.rates_at(GENUINE, IMPOSTOR, 3.0) == (0.3, 0.2)  # 6, 4, 3 match; only the failed one does not
    assert rates.rates_at(GENUINE, IMPOSTOR, 3.5) == (0.2, 0.4)
    assert rates.fnmr_at_fmr(GENUINE, IMPOSTOR, 0.3) == 0.2
    assert rates.fnmr_at_fmr(GENUINE, IMPOSTOR, 0.2) == 0.4  # a threshold of 3 would let 3 of 10 pass
    assert rates.fnmr_at_fmr(GENUINE, IMPOSTOR, 0.05) == 0.4  # nothing may pass: just above 6


def test_equal_error_rate_by_hand() -> None:
    # Thresholds 2, 3, 4: FMR .4 .3 .2, FNMR .2 .2 .4; the rates cross between 3 and 4, and 3 has the lower sum.
    assert rates.equal_error_rate(GENUINE, IMPOSTOR) == pytest.approx(0.25)
    assert rates.equal_error_rate([5.0, 6.0], [1.0, 2.0]) == 0.0
    assert rates.equal_error_rate([1.0, 2.0], [5.0, 6.0]) == 1.0
    assert math.isnan(rates.equal_error_rate([], [1.0]))


def test_a_failure_is_missed_at_every_threshold() -> None:
    for threshold in (-1e300, 0.0, 5.0):
        assert rates.rates_at([-math.inf, 9.0], [0.0], threshold)[1] >= 0.5


@pytest.mark.parametrize("steps", [None, 4])
@pytest.mark.parametrize("seed", range(5))
def test_equal_error_rate_is_that_of_pyeer(seed: int, steps: int | None) -> None:
    genuine, impostor = drawn(seed, 301, 2003, steps)
    _, fmr, fnmr = calculate_roc(genuine, impostor)
    assert rates.equal_error_rate(genuine, impostor) == pytest.approx(get_eer_values(fmr, fnmr)[3], abs=1e-12)


@pytest.mark.parametrize("steps", [None, 4])
@pytest.mark.parametrize("seed", range(5))
def test_fnmr_at_fmr_is_that_of_scikit_learn(seed: int, steps: int | None) -> None:
    genuine, impostor = drawn(seed, 300, 2000, steps)
    labels = np.r_[np.ones(300), np.zeros(2000)]
    fmr, match_rate, _ = roc_curve(labels, np.r_[genuine, impostor], drop_intermediate=False)
    for target in (0.5, 0.1, 0.01, 0.0017, 0.0005):
        expected = 1 - match_rate[fmr <= target + 1e-12].max()
        assert rates.fnmr_at_fmr(genuine, impostor, target) == pytest.approx(expected, abs=1e-12)


def test_rates_are_those_of_the_det_curve_of_scikit_learn() -> None:
    genuine, impostor = drawn(7, 100, 400, 8)
    fmr, fnmr, thresholds = det_curve(np.r_[np.ones(100), np.zeros(400)], np.r_[genuine, impostor])
    finite = np.isfinite(thresholds)
    ours = [rates.rates_at(genuine, impostor, t) for t in thresholds[finite]]
    np.testing.assert_allclose(ours, np.stack([fmr[finite], fnmr[finite]], axis=1), atol=1e-12)


def test_hit_rates_are_those_of_pyeer() -> None:
    scores = np.random.default_rng(3).normal(size=(40, 25))
    scores[np.arange(40), np.arange(40) % 25] += 1.5
    ranks = [1 + int((row > row[k % 25]).sum()) for k, row in enumerate(scores)]
    searches = {
        str(k): ([str(k % 25)], sorted(((str(j), s) for j, s in enumerate(row)), key=lambda c: -c[1]))
        for k, row in enumerate(scores)
    }
    np.testing.assert_allclose(rates.hit_rates(ranks, 20), get_cmc_curve(searches, 20))


def test_a_mate_that_is_no_candidate_is_never_hit() -> None:
    assert rates.hit_rates([1, 3, math.inf, 1], 4).tolist() == [0.5, 0.5, 0.75, 0.75]


def test_rule_of_three() -> None:
    assert rates.is_supported(0.001, 3000)
    assert not rates.is_supported(0.001, 2999)
    assert rates.supported_or_none(0.002, 1000) is None
    assert rates.supported_or_none(0.003, 1000) == 0.003
    assert rates.supported_or_none(math.nan, 1000) is None
    assert rates.supported_or_none(0.0, 0) is None
    assert min(rates.det_targets(3000)) >= 0.001
    assert rates.det_targets(5) == []


def test_discarding_takes_the_worst_first_and_ties_in_proportion() -> None:
    genuine, quality = [0.0, 9.0, 0.0, 9.0], [10.0, 50.0, 50.0, 90.0]
    assert rates.discard_curve(genuine, quality, 5.0, [0.0, 0.25]) == [0.5, pytest.approx(1 / 3)]
    # Half gone: the worst, and half of each of the two of quality 50.
    assert rates.discard_curve(genuine, quality, 5.0, [0.5]) == [pytest.approx(0.25)]


@given(
    st.lists(st.integers(-5, 5), min_size=1, max_size=30),
    st.lists(st.integers(-5, 5), min_size=1, max_size=30),
    st.floats(0.0, 1.0),
)
def test_the_threshold_is_the_least_that_keeps_the_rate(genuine: list[int], impostor: list[int], asked: float) -> None:
    threshold = rates.threshold_at_fmr(impostor, asked)
    if math.isfinite(threshold):
        assert rates.rates_at(genuine, impostor, threshold)[0] <= asked + 1e-9
        below = np.nextafter(threshold, -math.inf)
        assert rates.rates_at(genuine, impostor, float(below))[0] > asked
    else:
        assert asked >= 1 - 1e-9


@pytest.mark.parametrize("steps", [None, 4])
def test_points_of_the_curve_are_those_of_pyeer(steps: int | None) -> None:
    """FNMR at FMR, at the targets of a DET curve, against pyeer's ROC of the same scores."""
    genuine, impostor = drawn(11, 301, 2003, steps)
    _, fmr, fnmr = (np.asarray(v, np.float64) for v in calculate_roc(genuine, impostor))
    for target in rates.det_targets(2003):
        expected = fnmr[fmr <= target + 1e-12].min()
        assert rates.fnmr_at_fmr(genuine, impostor, target) == pytest.approx(expected, abs=1e-12)


def test_fnir_at_fpir_counted_search_by_search() -> None:
    """Mates' scores and the best scores of strangers' searches, against a loop over all thresholds."""
    rng = np.random.default_rng(12)
    mates = np.where(rng.random(80) < 0.1, -math.inf, np.round(rng.normal(4, 2, 80), 1))
    best_of_strangers = np.round(rng.normal(0, 1, 120), 1)
    for asked in (0.1, 0.05, 0.01):
        least = 1.0
        for threshold in [*np.unique(np.r_[mates, best_of_strangers]), 99.0]:
            alarms = sum(1 for score in best_of_strangers if score >= threshold) / 120
            missed = sum(1 for score in mates if score < threshold) / 80
            if alarms <= asked:
                least = min(least, missed)
        assert rates.fnmr_at_fmr(mates, best_of_strangers, asked) == pytest.approx(least)
