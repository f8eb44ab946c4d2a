"""Methods of fusion on scores that can be checked by hand, and GAR at FAR against a slow reference."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from enrollment.fusion_methods import (
    METHODS,
    best_single,
    fit_evidence,
    fit_positions,
    gar_at_far,
    kernel_density,
    min_max_sum,
    mixture_density,
    product_of_fmr,
    to_llrs,
)
from matcher.positions import Position

POSITIONS = (Position.FACE, Position.FACE, Position.LEFT_INDEX, Position.RIGHT_INDEX)


def slow_gar(genuine: list[float], impostor: list[float], far: float) -> float:
    """Tries every threshold."""
    best = 0.0
    for threshold in [-math.inf, *impostor, math.inf]:
        if sum(i > threshold for i in impostor) <= far * len(impostor) + 1e-9:
            best = max(best, sum(g > threshold for g in genuine) / len(genuine))
    return best


@given(
    st.lists(st.integers(-5, 5), min_size=1, max_size=12),
    st.lists(st.integers(-5, 5), min_size=1, max_size=30),
    st.sampled_from([0.0, 0.05, 0.1, 0.5, 1.0]),
)
def test_gar_equals_the_slow_search_over_thresholds(genuine: list[int], impostor: list[int], far: float) -> None:
    g, i = [float(x) for x in genuine], [float(x) for x in impostor]
    assert gar_at_far(np.array(g), np.array(i), far) == pytest.approx(slow_gar(g, i, far))


def test_gar_by_hand() -> None:
    impostor = np.arange(1000.0)
    genuine = np.array([-np.inf, 997.0, 998.0, 998.5, 2000.0])
    assert gar_at_far(genuine, impostor, 1e-3) == 0.4  # one impostor, 999, may pass
    assert gar_at_far(genuine, impostor, 0.0) == 0.2
    assert gar_at_far(genuine, impostor, 1.0) == 0.8  # never accepted is never accepted


def people(seed: int, shift: float = 3.0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Genuine and impostor scores of four matchers on scales of their own; a person's faces and fingers go together."""
    rng = np.random.default_rng(seed)
    scale, start = np.array([1.0, 10.0, 5.0, 0.1]), np.array([0.0, -50.0, 3.0, 1.0])

    def draw(count: int, mean: float) -> NDArray[np.float64]:
        shared = np.repeat(rng.normal(0, 0.7, (count, 2)), 2, axis=1)
        return np.asarray((rng.normal(mean, 0.7, (count, 4)) + shared) * scale + start, np.float64)

    return draw(400, shift), draw(30_000, 0.0)


def test_every_method_fuses_to_better_than_one() -> None:
    train, test = people(1), people(2)
    alone = [gar_at_far(g, i, 1e-3) for g, i in zip(test[0].T, test[1].T, strict=True)]
    for name, method in METHODS.items():
        scorer = method(*train, POSITIONS)
        reached = gar_at_far(scorer(test[0]), scorer(test[1]), 1e-3)
        if name == "best_single":
            assert reached == max(alone) or reached > min(alone)
        else:
            assert reached > max(alone) + 0.1, name


@pytest.mark.parametrize("name", METHODS)
def test_missing_scores_are_normal(name: str) -> None:
    genuine, impostor = people(3)
    rng = np.random.default_rng(4)
    scorer = METHODS[name](genuine, impostor, POSITIONS)
    assert np.isfinite(scorer(genuine)).all()
    for scores in (genuine, impostor):
        scores[rng.random(scores.shape) < 0.3] = np.nan
    assert not np.isnan(scorer(impostor)).any()
    refitted = METHODS[name](genuine, impostor, POSITIONS)
    assert not np.isnan(refitted(impostor)).any()


def test_min_max_by_hand() -> None:
    scorer = min_max_sum(np.array([[10.0, 4.0]]), np.array([[0.0, 0.0]]), POSITIONS[:2])
    np.testing.assert_allclose(scorer(np.array([[5.0, 4.0], [5.0, np.nan], [10.0, 4.0]])), [0.75, 0.5, 1.0])


def test_best_single_takes_the_better_one() -> None:
    genuine, impostor = np.array([[9.0, 0.0], [9.0, 1.0]]), np.array([[0.0, 9.0], [1.0, 8.0]])
    assert best_single(genuine, impostor, POSITIONS[:2])(np.array([[3.0, 7.0]]))[0] == 3.0


def test_product_of_fmr_of_exponential_scores() -> None:
    # FMR of exponential strangers is e^-x, inside the data and beyond.
    rng = np.random.default_rng(5)
    impostor = rng.exponential(1.0, (200_000, 2))
    scorer = product_of_fmr(np.ones((1, 2)), impostor, POSITIONS[:2])
    np.testing.assert_allclose(scorer(np.array([[1.0, 2.0], [4.0, 5.0], [12.0, np.nan]])), [3, 9, 12], rtol=0.12)


def test_densities_of_known_distributions() -> None:
    rng = np.random.default_rng(6)
    values = np.concatenate([rng.normal(-3, 1, 6000), rng.normal(4, 0.5, 4000)])
    at = np.array([-4.0, -3.0, 3.5, 4.0])
    exact = np.log(
        0.6 * np.exp(-0.5 * (at + 3) ** 2) / math.sqrt(2 * math.pi)
        + 0.4 * np.exp(-2 * (at - 4) ** 2) / math.sqrt(2 * math.pi) / 0.5
    )
    np.testing.assert_allclose(mixture_density(values, 2)(at), exact, atol=0.15)
    one = rng.normal(-3, 1, 20_000)
    np.testing.assert_allclose(
        kernel_density(one, -10.0, 10.0)(at[:2]), -0.5 * (at[:2] + 3) ** 2 - 0.5 * math.log(2 * math.pi), atol=0.1
    )
    grid = np.linspace(-10, 10, 4001)
    assert np.trapezoid(np.exp(kernel_density(values, -10.0, 10.0)(grid)), grid) == pytest.approx(1.0, abs=0.02)


def test_correlation_is_seen_where_there_is_some() -> None:
    genuine, impostor = people(7)
    fitted = fit_positions(genuine, impostor, POSITIONS)
    model = fit_evidence(to_llrs(fitted, genuine), to_llrs(fitted, impostor), POSITIONS)
    assert model.faces > 0.1
    assert model.other_hand > 0.1
    assert model.eyes == 0.0
