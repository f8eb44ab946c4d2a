"""The fused score of score files promises rates that other people keep."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from enrollment.fused_honesty import ASKED, fit_fused_score, reached
from matcher.positions import Position

POSITIONS = (Position.FACE, Position.FACE, Position.LEFT_INDEX, Position.RIGHT_INDEX)


def drawn(seed: int, people: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores of four matchers, the two faces correlated among strangers."""
    rng = np.random.default_rng(seed)
    covariance = np.eye(4)
    covariance[0, 1] = covariance[1, 0] = 0.6
    genuine = rng.multivariate_normal([3.0] * 4, covariance, people)
    return genuine, rng.multivariate_normal([0.0] * 4, covariance, people * (people - 1))


def test_strangers_not_fitted_on_keep_the_rate() -> None:
    score = fit_fused_score(*drawn(1, 250), POSITIONS)
    strangers = drawn(2, 250)[1]
    for missing in ((), (0,), (0, 2), (0, 1, 3)):
        table = strangers.copy()
        table[:, list(missing)] = np.nan
        counts = reached(score(table))
        for asked, count in zip(ASKED, counts, strict=True):
            expected = len(table) * 10 ** (-asked / 10)
            assert 0.5 * expected - 3 * math.sqrt(expected) < count < 2 * expected + 3 * math.sqrt(expected)


def test_nothing_present_is_no_score_and_one_alone_keeps_its_own() -> None:
    score = fit_fused_score(*drawn(1, 120), POSITIONS)
    table = np.full((2, 4), np.nan)
    table[1, 2] = 3.0
    assert np.isnan(score(table)[0])
    more = np.array([[np.nan, np.nan, 3.5, np.nan]])
    assert score(more)[0] > score(table)[1] > 20.0


def test_agreeing_matchers_reach_higher_than_one() -> None:
    score = fit_fused_score(*drawn(1, 120), POSITIONS)
    alone = np.where([False, False, True, False], 3.0, np.nan)
    assert score(np.full((1, 4), 3.0))[0] > score(alone[None, :])[0] + 20.0


@pytest.mark.parametrize("count", [0, 5])
def test_counting(count: int) -> None:
    assert reached(np.array([31.0] * count + [np.nan])).tolist() == [count] * 4 + [0, 0]
