"""Fusion: bounds, corrections, and the false match rate that the fused score promises."""

from __future__ import annotations

import math

import numpy as np
import pytest

from matcher.calibration import fit_calibration
from matcher.fusion import PositionScore, calibrate_position, fuse
from matcher.positions import Modality
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
