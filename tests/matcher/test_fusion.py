"""Fusion of log-likelihood ratios: corrections, trust, weights, and what a spoilt sample costs."""

from __future__ import annotations

import math

import numpy as np
import pytest

from matcher.fusion import (
    calibrate_position,
    calibrate_positions,
    censored_llr,
    fuse_llrs,
    modality_weights,
)
from matcher.fusion_model import Correlations
from matcher.positions import Modality, Position
from tests.matcher.people import line

CALIBRATION = line(Modality.FACE, "face-x", 0.0, 10.0, 40.0)
HANDS = (Position.RIGHT_INDEX, Position.LEFT_INDEX)


def test_best_of_many_costs_their_number() -> None:
    one = calibrate_position(CALIBRATION, 3.0, 1)
    ten = calibrate_position(CALIBRATION, 3.0, 10)
    assert one.score == pytest.approx(30.0)
    assert ten.score == pytest.approx(20.0)
    assert ten.llr < one.llr


def test_trust_is_capped() -> None:
    far = calibrate_position(CALIBRATION, 9.0, 1)
    assert far.score == pytest.approx(90.0)
    assert far.trusted_score == pytest.approx(40.0)
    # A score as rare among genuine comparisons as among impostors has a small ratio of densities, but a score beyond
    # the trusted one is worth at least what reaching that one is worth.
    assert far.trusted_llr == pytest.approx(censored_llr(CALIBRATION))
    assert far.trusted_llr < far.llr


def test_many_at_once_equal_one_by_one() -> None:
    rng = np.random.default_rng(2)
    raws, comparisons = rng.uniform(-1, 9, 300), rng.integers(1, 40, 300)
    comparisons[:100] = 1
    together = calibrate_positions(CALIBRATION, raws, comparisons)
    for number, (raw, m) in enumerate(zip(raws, comparisons, strict=True)):
        found = together.at(number)
        penalty = 10 * math.log10(m)
        score = max(0.0, float(CALIBRATION.to_score(raw)) - penalty)
        limit = max(0.0, CALIBRATION.trusted_to - penalty)
        llr = float(CALIBRATION.to_llr(score))
        reached = censored_llr(CALIBRATION) if m == 1 else float(CALIBRATION.to_llr(limit))
        expected = (score, llr, min(score, limit), llr if score < limit else reached)
        assert (found.score, found.llr, found.trusted_score, found.trusted_llr) == pytest.approx(expected)


def test_independent_positions_add_up() -> None:
    where = (*HANDS, Position.FACE)
    assert fuse_llrs(np.array([[1.0, 2.0, 4.0]]), where, Correlations())[0] == pytest.approx(7.0)


def test_same_evidence_twice_counts_once() -> None:
    related = Correlations(same_hand=1.0, other_hand=0.5)
    table = np.array([[6.0, 6.0]])
    hand = fuse_llrs(table, (Position.RIGHT_INDEX, Position.RIGHT_MIDDLE), related)
    assert hand[0] == pytest.approx(6.0)
    assert fuse_llrs(table, HANDS, related)[0] == pytest.approx(6.0 * 2 / 1.5)
    assert fuse_llrs(table, (Position.RIGHT_INDEX, Position.FACE), related)[0] == pytest.approx(12.0)


def slow_fusion(row: list[float], correlation: float) -> float:
    """By the definition, one row of one modality."""
    present = [v for v in row if not math.isnan(v)]
    n = len(present)
    return sum(present) * n / (n + n * (n - 1) * correlation) if n else 0.0


def test_fusion_equals_the_definition_with_missing_ones() -> None:
    rng = np.random.default_rng(4)
    table = rng.normal(3, 4, (300, 4))
    table[rng.random(table.shape) < 0.4] = np.nan
    where = (Position.RIGHT_THUMB, Position.RIGHT_INDEX, Position.LEFT_THUMB, Position.LEFT_INDEX)
    fast = fuse_llrs(table, where, Correlations(same_hand=0.3, other_hand=0.3))
    np.testing.assert_allclose(fast, [slow_fusion(list(map(float, row)), 0.3) for row in table], atol=1e-9)


def test_weights_are_those_of_all_positions_present() -> None:
    where = (Position.FACE, *HANDS, Position.IRIS_LEFT)
    related = Correlations(other_hand=0.25, eyes=0.5, modalities=0.9)
    table = np.random.default_rng(1).normal(2, 3, (20, 4))
    np.testing.assert_allclose(table @ modality_weights(where, related), fuse_llrs(table, where, related))


@pytest.mark.parametrize("spoilt", [0.0, -1.0, -100.0])
def test_a_spoilt_sample_costs_the_share_of_spoilt_ones(spoilt: float) -> None:
    good, bad = (calibrate_position(CALIBRATION, raw, 1) for raw in (3.5, spoilt))
    fused = fuse_llrs(np.array([[good.llr, bad.llr]]), HANDS, Correlations())[0]
    assert fused == pytest.approx(good.llr - 3.0)  # the lowest ratio of this calibration, however low the score
