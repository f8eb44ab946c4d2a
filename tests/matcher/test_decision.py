"""Decision: worked examples."""

from __future__ import annotations

import math

import pytest

from matcher.decision import (
    DecisionParameters,
    Thresholds,
    Verdict,
    identification_thresholds,
    verification_thresholds,
)
from matcher.errors import InvalidInput


def test_threshold_follows_gallery_and_rate() -> None:
    # 2 million people at FPIR 1 % ask for FMR 5e-9: a score of 83.
    assert identification_thresholds(2_000_000, DecisionParameters()).hit == pytest.approx(83.01, abs=0.01)
    assert identification_thresholds(1000, DecisionParameters()).hit == pytest.approx(50.0)
    assert identification_thresholds(1000, DecisionParameters()).review == pytest.approx(40.0)
    assert identification_thresholds(1000, DecisionParameters(), 0.001).hit == pytest.approx(60.0)


def test_empty_gallery_has_thresholds() -> None:
    assert identification_thresholds(0, DecisionParameters()).hit == pytest.approx(20.0)


def test_a_lax_request_is_never_laxer_in_review_than_in_hit() -> None:
    t = identification_thresholds(100, DecisionParameters(), 0.4)
    assert t.review <= t.hit


def test_only_trusted_score_makes_a_hit() -> None:
    t = Thresholds(hit=50.0, review=40.0)
    assert t.verdict(60.0, 55.0) is Verdict.HIT
    assert t.verdict(60.0, 45.0) is Verdict.REVIEW
    assert t.verdict(60.0, 10.0) is Verdict.REVIEW
    assert t.verdict(45.0, 45.0) is Verdict.REVIEW
    assert t.verdict(39.9, 39.9) is Verdict.NO_HIT


def test_verification() -> None:
    t = verification_thresholds(DecisionParameters())
    assert t.hit == pytest.approx(30.0)
    assert t.review == pytest.approx(20.0)
    assert verification_thresholds(DecisionParameters(), 1e-6).hit == pytest.approx(60.0)


@pytest.mark.parametrize("rate", [0.0, -1.0, 0.6, math.nan, math.inf])
def test_impossible_rates_are_refused(rate: float) -> None:
    with pytest.raises(InvalidInput):
        identification_thresholds(10, DecisionParameters(), rate)
    with pytest.raises(InvalidInput):
        verification_thresholds(DecisionParameters(), rate)
    with pytest.raises(InvalidInput):
        DecisionParameters(target_fpir=rate)
