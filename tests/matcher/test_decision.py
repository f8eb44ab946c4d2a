"""Decision: worked examples, and what must hold of all thresholds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matcher.decision import (
    DecisionParameters,
    Thresholds,
    Verdict,
    identification_thresholds,
    reaches,
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
    t = Thresholds(hit=50.0, review=40.0, rate=0.01, asked=0.01)
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
    with pytest.raises(InvalidInput, match=r"target_fpir is .* must be within 1e-06 and 0.5"):
        identification_thresholds(10, DecisionParameters(), rate)
    with pytest.raises(InvalidInput, match=r"target_fmr is .* must be within 1e-09 and 0.5"):
        verification_thresholds(DecisionParameters(), rate)
    with pytest.raises(InvalidInput):
        DecisionParameters(target_fpir=rate)


def test_the_edges_of_the_rates_are_allowed_and_what_lies_beyond_is_not() -> None:
    assert identification_thresholds(1, DecisionParameters(), 1e-6).hit == pytest.approx(60.0)
    assert identification_thresholds(1, DecisionParameters(), 0.5).review == pytest.approx(10 * math.log10(2))
    assert verification_thresholds(DecisionParameters(), 1e-9).hit == pytest.approx(90.0)
    with pytest.raises(InvalidInput):
        identification_thresholds(1, DecisionParameters(), 0.99e-6)
    with pytest.raises(InvalidInput):
        verification_thresholds(DecisionParameters(), 0.99e-9)


@pytest.mark.parametrize("prior", [0.0, 1.0, 0.99e-6, 1 - 0.99e-6, -0.1, math.nan, math.inf])
def test_impossible_priors_are_refused(prior: float) -> None:
    with pytest.raises(InvalidInput, match=r"prior is .* must be within 1e-06 and 0.999999") as refused:
        DecisionParameters(prior=prior)
    assert (refused.value.reason, refused.value.field) == ("RATE_INVALID", "prior")


@pytest.mark.parametrize("confidence", [0.0, 0.499, 1.0, math.nan])
def test_impossible_confidences_are_refused(confidence: float) -> None:
    with pytest.raises(InvalidInput, match=r"hit_confidence is .* must be within 0.5 and 0.999999"):
        DecisionParameters(hit_confidence=confidence)


def test_prior_of_one_half_leaves_one_per_cent_as_it_is() -> None:
    parameters = DecisionParameters()
    assert parameters.fpir_limit == pytest.approx(1 / 99)
    t = identification_thresholds(1000, parameters)
    assert (t.rate, t.asked) == (0.01, 0.01)
    assert t.hit == pytest.approx(50.0)


def test_where_few_are_on_record_a_hit_needs_more() -> None:
    # One in 100 on record: of 99,000 searches of strangers 10.1 may hit, for 1,000 of people on record.
    parameters = DecisionParameters(prior=0.01)
    assert 99_000 * parameters.fpir_limit == pytest.approx(0.01 / 0.99 * 1000)
    t = identification_thresholds(1000, parameters)
    assert t.rate == parameters.fpir_limit
    assert t.hit == pytest.approx(50.0 + 10 * math.log10(99 * 0.99))
    assert t.review == pytest.approx(40.0)


def test_a_request_cannot_go_round_the_prior_but_may_ask_for_less() -> None:
    lax = identification_thresholds(100, DecisionParameters(), 0.2)
    assert lax.rate == pytest.approx(1 / 99)
    assert lax.asked == 0.2
    assert lax.verdict(score=30.0, trusted_score=30.0) is Verdict.REVIEW
    assert lax.review == pytest.approx(10 * math.log10(100 / 0.2))
    strict = identification_thresholds(100, DecisionParameters(prior=0.01), 1e-6)
    assert strict.rate == 1e-6
    assert strict.hit == pytest.approx(80.0)


def test_prior_leaves_verification_alone() -> None:
    assert verification_thresholds(DecisionParameters(prior=1e-6)) == verification_thresholds(DecisionParameters())


RATES = st.floats(1e-6, 0.5)
PRIORS = st.floats(1e-6, 1 - 1e-6)
CONFIDENCES = st.floats(0.5, 1 - 1e-6)
SIZES = st.integers(0, 10**10)


def pair(values: st.SearchStrategy[float]) -> st.SearchStrategy[list[float]]:
    """Two values in ascending order."""
    return st.lists(values, min_size=2, max_size=2).map(sorted)


@given(st.lists(SIZES, min_size=2, max_size=2).map(sorted), RATES, RATES, PRIORS, CONFIDENCES)
def test_more_people_never_need_less(
    sizes: list[int], target: float, review: float, prior: float, confidence: float
) -> None:
    parameters = DecisionParameters(target, review, prior=prior, hit_confidence=confidence)
    few, many = (identification_thresholds(n, parameters) for n in sizes)
    assert few.hit <= many.hit
    assert few.review <= many.review


@given(SIZES, pair(RATES), PRIORS, CONFIDENCES)
def test_a_laxer_rate_never_needs_more(n: int, rates: list[float], prior: float, confidence: float) -> None:
    parameters = DecisionParameters(prior=prior, hit_confidence=confidence)
    strict, lax = (identification_thresholds(n, parameters, rate) for rate in rates)
    assert strict.hit >= lax.hit
    assert strict.review >= lax.review


@given(SIZES, RATES, pair(PRIORS), pair(CONFIDENCES))
def test_rarer_people_and_surer_hits_never_need_less(
    n: int, rate: float, priors: list[float], confidences: list[float]
) -> None:
    def hit(prior: float, confidence: float) -> float:
        return identification_thresholds(n, DecisionParameters(prior=prior, hit_confidence=confidence), rate).hit

    assert hit(priors[0], confidences[0]) >= hit(priors[1], confidences[0])
    assert hit(priors[0], confidences[0]) <= hit(priors[0], confidences[1])


@given(SIZES, RATES, RATES, PRIORS, CONFIDENCES)
def test_hits_are_right_as_often_as_promised_and_review_stays_below(
    n: int, target: float, review: float, prior: float, confidence: float
) -> None:
    t = identification_thresholds(n, DecisionParameters(target, review, prior=prior, hit_confidence=confidence))
    fpir = max(1, n) * 10 ** (-t.hit / 10)
    right = prior / (prior + (1 - prior) * fpir)
    assert right >= confidence - 1e-9
    assert fpir <= target * (1 + 1e-9)
    assert math.isfinite(t.hit)
    assert 0 < t.review <= t.hit + 1e-9


def test_a_trusted_score_that_is_shown_as_the_threshold_reaches_it() -> None:
    assert reaches(29.951, 30.0)
    assert not reaches(29.949, 30.0)
    t = verification_thresholds(DecisionParameters())
    assert t.verdict(80.0, t.hit - 0.04) is Verdict.HIT
    assert t.verdict(80.0, t.hit - 0.06) is Verdict.REVIEW
