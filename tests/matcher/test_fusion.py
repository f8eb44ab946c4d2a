"""Fusion: bounds, corrections, and the false match rate that the fused score promises."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from matcher.calibration import fit_calibration
from matcher.errors import InvalidInput
from matcher.fusion import (
    FusionModel,
    PositionScore,
    calibrate_position,
    calibrate_positions,
    fit_correlation,
    fuse,
    fuse_correlated,
    fuse_llrs,
)
from matcher.positions import Modality, Position
from tests.matcher.people import line

CALIBRATION = line(Modality.FACE, "face-x", 0.0, 10.0, 40.0)


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
    assert far.trusted_llr < far.llr


def test_two_positions_beyond_trust_are_trusted_for_more_than_one() -> None:
    # A score as rare among genuine comparisons as among impostors has a small ratio of densities, but a score beyond
    # the trusted one is worth at least what reaching that one is worth.
    far = calibrate_position(CALIBRATION, 9.0, 1)
    assert fuse([far, far]).trusted_score > 1.5 * far.trusted_score
    assert far.trusted_llr == pytest.approx(CALIBRATION.trusted_llr)


def test_many_at_once_equal_one_by_one() -> None:
    rng = np.random.default_rng(2)
    raws, comparisons = rng.uniform(-1, 9, 300), rng.integers(1, 40, 300)
    for raw, m, found in zip(raws, comparisons, calibrate_positions(CALIBRATION, raws, comparisons), strict=True):
        penalty = 10 * math.log10(m)
        score = max(0.0, float(CALIBRATION.to_score(raw)) - penalty)
        limit = max(0.0, CALIBRATION.trusted_to - penalty)
        llr = float(CALIBRATION.to_llr(score))
        beyond = min(llr, CALIBRATION.trusted_llr - penalty * math.log(10) / 10)
        expected = (score, llr, min(score, limit), llr if score <= limit else beyond)
        assert (found.score, found.llr, found.trusted_score, found.trusted_llr) == pytest.approx(expected)


def test_one_position_keeps_its_score() -> None:
    only = calibrate_position(CALIBRATION, 3.3, 1)
    assert fuse([only]).score == only.score
    assert fuse([only]).trusted_score == only.trusted_score


def test_agreeing_positions_add_up_and_a_spoilt_one_does_not_sink() -> None:
    good = calibrate_position(CALIBRATION, 3.5, 1)
    bad = calibrate_position(CALIBRATION, -1.0, 1)
    assert fuse([good, good]).score > 1.5 * good.score
    assert good.score - 22 < fuse([good, bad]).score < good.score
    assert fuse([bad, bad]).score == 0.0


def test_fused_strangers_keep_the_promised_rate() -> None:
    # Two independent comparators: strangers who reach a fused score of s are at most 10^(-s/10) of all.
    rng = np.random.default_rng(3)
    count = 40_000
    fitted = fit_calibration(
        Modality.FACE, "face-x", rng.normal(5, 1.2, 4000), rng.normal(0, 1, 400_000), {"data": "normal"}
    )
    scores = fitted.to_score(rng.normal(0, 1, (count, 2)))
    ratios = fitted.to_llr(scores)
    fused = np.array(
        [
            fuse([PositionScore(s, r, s, r) for s, r in zip(*row, strict=True)]).score
            for row in zip(scores, ratios, strict=True)
        ]
    )
    for score in (5.0, 10.0, 15.0, 20.0, 25.0):
        allowed = count * 10 ** (-score / 10)
        assert (fused >= score).sum() <= allowed + 3 * math.sqrt(allowed) + 3


def test_without_correlation_named_positions_add_up() -> None:
    scores = [calibrate_position(CALIBRATION, raw, 1) for raw in (3.5, 1.0, 2.0)]
    where = (Position.RIGHT_INDEX, Position.LEFT_INDEX, Position.FACE)
    assert fuse(scores, where).llr == pytest.approx(fuse(scores).llr)


def test_same_evidence_twice_counts_once() -> None:
    score = calibrate_position(CALIBRATION, 3.5, 1)
    model = FusionModel(same_hand=1.0, other_hand=0.5)
    hand = fuse([score, score], (Position.RIGHT_INDEX, Position.RIGHT_MIDDLE), model)
    hands = fuse([score, score], (Position.RIGHT_INDEX, Position.LEFT_INDEX), model)
    assert hand.llr == pytest.approx(score.llr)
    assert hands.llr == pytest.approx(score.llr * 2 / 1.5)
    assert fuse([score, score], (Position.RIGHT_INDEX, Position.FACE), model).llr == pytest.approx(2 * score.llr)


def test_one_spoilt_finger_costs_a_bounded_few_nats() -> None:
    model = FusionModel(same_hand=0.5, other_hand=0.5, spoilt=0.02)
    where = (Position.RIGHT_INDEX, Position.LEFT_INDEX)
    for bad in (0.0, -5.0, -50.0):
        fused = fuse_llrs(np.array([[12.0, bad]]), where, model)[0]
        assert fused >= 12.0 + math.log(0.02 / 2)
    assert fuse_llrs(np.array([[12.0, 12.0]]), where, model)[0] > 12.0


def slow_fusion(row: list[float], correlation: float, spoilt: float) -> float:
    """By the definition, one row at a time."""

    def kish(values: list[float]) -> float:
        n = len(values)
        return sum(values) * n / (n + n * (n - 1) * correlation) if n else 0.0

    present = [v for v in row if not math.isnan(v)]
    if len(present) < 2:
        return kish(present)
    ratio = (1 - spoilt) * math.exp(kish(present))
    for k in range(len(present)):
        ratio += spoilt / len(present) * math.exp(kish(present[:k] + present[k + 1 :]))
    return math.log(ratio)


def test_fusion_equals_the_definition_with_missing_ones() -> None:
    rng = np.random.default_rng(4)
    table = rng.normal(3, 4, (300, 4))
    table[rng.random(table.shape) < 0.4] = np.nan
    related = np.full((4, 4), 0.3) + 0.7 * np.eye(4)
    fast = fuse_correlated(table, related, 0.05)
    np.testing.assert_allclose(fast, [slow_fusion(list(map(float, row)), 0.3, 0.05) for row in table], atol=1e-9)


def test_correlation_is_found_where_it_is() -> None:
    # Two matchers that see the same noise: fused as one. Two that do not: added.
    rng = np.random.default_rng(8)
    mean = 3.0  # sd 1 for both kinds: the ratio of a score x is mean * x - mean**2 / 2
    genuine, impostor = rng.normal(mean, 1, (4000, 2)), rng.normal(0, 1, (40_000, 2))

    def ratios(scores: NDArray[np.float64]) -> NDArray[np.float64]:
        return mean * scores - mean**2 / 2

    assert fit_correlation(ratios(genuine), ratios(impostor), 0.0) <= 0.05
    twice, other = genuine[:, [0, 0]], impostor[:, [0, 0]]
    assert fit_correlation(ratios(twice), ratios(other), 0.0) >= 0.95


def test_model_survives_json_and_refuses_nonsense() -> None:
    model = FusionModel(0.4, 0.3, 0.5, 0.2, 0.01)
    assert FusionModel.from_json(model.to_json()) == model
    for text in (
        "",
        "[]",
        "{}",
        '{"fusion_version": 9}',
        '{"fusion_version": 1, "eyes": 2}',
        '{"fusion_version": 1, "x": 0}',
    ):
        with pytest.raises(InvalidInput):
            FusionModel.from_json(text)


def test_hands_are_told_apart() -> None:
    model = FusionModel(same_hand=0.4, other_hand=0.2, eyes=0.3, faces=0.1)
    assert model.correlation(Position.RIGHT_THUMB, Position.RIGHT_LITTLE) == 0.4
    assert model.correlation(Position.LEFT_THUMB, Position.LEFT_LITTLE) == 0.4
    assert model.correlation(Position.RIGHT_LITTLE, Position.LEFT_THUMB) == 0.2
    assert model.correlation(Position.FINGER_UNKNOWN, Position.LEFT_THUMB) == 0.4
    assert model.correlation(Position.IRIS_LEFT, Position.IRIS_RIGHT) == 0.3
    assert model.correlation(Position.IRIS_LEFT, Position.FACE) == 0.0
