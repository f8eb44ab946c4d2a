"""The fused tail against exact laws, plain simulation, and finer integration."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import special, stats

from matcher.calibration import LN10_10, Calibration
from matcher.fused_tail import FusedTail, Ratio, TailParameters, strangers_tail
from matcher.fusion import censored_llr, fuse_llrs
from matcher.fusion_model import Correlations
from matcher.positions import Modality, Position
from tests.matcher.exact_tails import reach_all
from tests.matcher.people import line

FACE = line(Modality.FACE, "face-x", 0.0, 10.0, 40.0)
FINGER = line(Modality.FINGER, "finger-x", 0.0, 10.0, 25.0)
EVIDENCE = Correlations(same_hand=0.3, other_hand=0.1, eyes=0.2, faces=0.5)
STRANGERS = Correlations(same_hand=0.45, other_hand=0.25, eyes=0.15, faces=0.6, modalities=0.1)
ALL = tuple(p for p in Position if not p.is_unknown)
BY_MODALITY = {Modality.FINGER: FINGER, Modality.FACE: FACE, Modality.IRIS: FACE}

EXACT = Ratio(np.array([0.0, 1000.0]), np.array([0.0, 1000.0]) * LN10_10)
"""Ratios of exactly the score: strangers' are exponential, and the sum of k of them has the law Gamma(k)."""


def simulated(
    positions: tuple[Position, ...], llr: list[NDArray[np.float64]], evidence: Correlations
) -> NDArray[np.float64]:
    return fuse_llrs(np.stack(llr, axis=1), positions, evidence)


def strangers(positions: tuple[Position, ...], related: Correlations, count: int) -> NDArray[np.float64]:
    """Scores of ``count`` strangers at each position, drawn one by one from the copula."""
    matrix = [
        [1.0 if a == b else related.between(p, q) for b, q in enumerate(positions)] for a, p in enumerate(positions)
    ]
    drawn = np.random.default_rng(5).multivariate_normal(np.zeros(len(positions)), matrix, count)
    return np.asarray(-special.log_ndtr(-drawn) / LN10_10, np.float64)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_independent_positions_follow_the_gamma_law(count: int) -> None:
    places = (Position.FACE, Position.IRIS_LEFT, Position.LEFT_INDEX, Position.RIGHT_INDEX)[:count]
    tail = strangers_tail(places, [EXACT] * count, Correlations(), Correlations())
    for s in (3.0, 6.0, 10.0, 20.0, 28.0):
        exact = -10 * float(stats.gamma.logsf(s, count)) / math.log(10)
        # On the cautious side by at most a step of 0.05 nats a position.
        assert exact - 0.25 * (1 + count) < tail.to_score(np.array([s]))[0] <= exact + 0.01


@pytest.mark.parametrize(
    "places",
    [
        (Position.RIGHT_INDEX, Position.LEFT_INDEX),
        (Position.RIGHT_INDEX, Position.RIGHT_THUMB, Position.LEFT_INDEX, Position.FACE),
        (Position.IRIS_LEFT, Position.IRIS_RIGHT, Position.FACE),
        (Position.FINGER_UNKNOWN, Position.LEFT_INDEX, Position.RIGHT_INDEX),
    ],
)
@pytest.mark.parametrize("censored", [False, True])
def test_correlated_strangers_against_plain_simulation(places: tuple[Position, ...], censored: bool) -> None:
    fitted = [FINGER if p.modality is Modality.FINGER else FACE for p in places]
    made = {id(c): Ratio.censored(c) if censored else Ratio.of(c) for c in (FINGER, FACE)}
    tail = strangers_tail(places, [made[id(c)] for c in fitted], EVIDENCE, STRANGERS)
    scores = strangers(places, STRANGERS, 400_000)

    def ratio(calibration: Calibration, score: NDArray[np.float64]) -> NDArray[np.float64]:
        plain = calibration.to_llr(score)
        return np.where(censored & (score >= calibration.trusted_to), censored_llr(calibration), plain)

    fused = simulated(places, [ratio(c, scores[:, k]) for k, c in enumerate(fitted)], EVIDENCE)
    reached = tail.to_score(fused)
    for asked in (10.0, 20.0, 30.0):
        # The lowest score asked or above that strangers can have: a censored ratio leaves gaps.
        promised = float(reached[reached >= asked].min()) if (reached >= asked).any() else asked
        expected = len(fused) * 10 ** (-promised / 10)
        passed = int((reached >= asked).sum())
        # Censored, strangers crowd at a few values, and what lies a rounding below one is not promised its score.
        least = 0.6 if censored else 0.8
        assert least * expected - 3 * math.sqrt(expected) <= passed <= 1.06 * expected + 3 * math.sqrt(expected)


def test_taken_as_independent_they_would_be_promised_too_low_a_rate() -> None:
    places = (Position.RIGHT_INDEX, Position.RIGHT_THUMB)
    fused = simulated(places, list(FINGER.to_llr(strangers(places, STRANGERS, 400_000)).T), EVIDENCE)
    apart = strangers_tail(places, [Ratio.of(FINGER)] * 2, EVIDENCE, Correlations())
    assert float((apart.to_score(fused) >= 30.0).mean()) > 2e-3


@pytest.mark.parametrize(
    "places",
    [
        (Position.RIGHT_INDEX, Position.LEFT_INDEX),
        (Position.LEFT_INDEX, Position.FACE),
        (Position.IRIS_LEFT, Position.IRIS_RIGHT),
        (Position.RIGHT_THUMB, Position.RIGHT_INDEX, Position.RIGHT_MIDDLE),
        (Position.RIGHT_THUMB, Position.RIGHT_INDEX, Position.RIGHT_MIDDLE, Position.RIGHT_RING),
        tuple(Position(k) for k in range(1, 6)),
    ],
)
@pytest.mark.parametrize("moved", [0.0, 0.007, 0.013, 0.02, 0.024, 0.031, 0.045])
def test_what_lies_beyond_trust_is_as_rare_as_all_reaching_it(places: tuple[Position, ...], moved: float) -> None:
    """Wherever the value of what lies beyond trust falls between the steps."""
    fitted = {m: dataclasses.replace(c, trusted_llr=c.trusted_llr + moved) for m, c in BY_MODALITY.items()}
    made = [Ratio.censored(fitted[p.modality]) for p in places]
    tail = strangers_tail(places, made, EVIDENCE, STRANGERS)
    together = np.array([[censored_llr(fitted[p.modality]) for p in places]])
    exact = reach_all(places, [fitted[p.modality].trusted_to for p in places], STRANGERS)
    found = tail.to_score(fuse_llrs(together, places, EVIDENCE))[0]
    assert exact - 0.1 * len(places) < found <= exact + 0.02
    assert tail.to_score(np.array([1e6]))[0] <= exact + 0.02


def test_one_alone_is_trusted_as_far_as_it_is() -> None:
    one = strangers_tail((Position.LEFT_INDEX,), [Ratio.censored(FINGER)], Correlations(), Correlations())
    assert FINGER.trusted_to - 0.2 < one.to_score(np.array([1e6]))[0] <= FINGER.trusted_to + 1e-6


def test_strong_evidence_of_thirteen_positions_does_not_turn_into_none() -> None:
    made = {m: Ratio.of(c) for m, c in BY_MODALITY.items()}
    tail = strangers_tail(ALL, [made[p.modality] for p in ALL], Correlations(), STRANGERS)
    at = np.array([-60.0, 0.0, 20.0, 60.0, 200.0, 400.0, 500.0, 1e4])
    scores = tail.to_score(at)
    assert (np.diff(scores) >= 0).all()
    assert scores[-1] == scores[-2] > 120.0
    assert math.copysign(1.0, scores[0]) == 1.0


def test_thirteen_positions_stay_finite_and_ascend() -> None:
    made = {m: Ratio.of(c) for m, c in ((Modality.FINGER, FINGER), (Modality.FACE, FACE), (Modality.IRIS, FACE))}
    tail = strangers_tail(ALL, [made[p.modality] for p in ALL], EVIDENCE, STRANGERS)
    assert len(ALL) == 13
    assert (np.diff(tail.llr) > 0).all()
    assert (np.diff(tail.score) >= 0).all()
    assert np.isfinite(tail.score).all()
    assert tail.score[-1] > 120.0


@given(st.lists(st.floats(-100, 500), min_size=2, max_size=30))
@settings(max_examples=50, deadline=None)
def test_scores_never_fall_with_the_ratio(values: list[float]) -> None:
    ordered = np.sort(values)
    scores = TWO.to_score(ordered)
    assert (np.diff(scores) >= 0).all()
    assert (scores >= 0).all()


TWO: FusedTail = strangers_tail(
    (Position.FACE, Position.LEFT_INDEX), [Ratio.of(FACE), Ratio.of(FINGER)], EVIDENCE, STRANGERS
)


def test_finer_integration_moves_no_score_by_more_than_a_step() -> None:
    places = (Position.RIGHT_INDEX, Position.RIGHT_THUMB, Position.LEFT_INDEX, Position.FACE)
    made = [Ratio.of(FINGER)] * 3 + [Ratio.of(FACE)]
    coarse = strangers_tail(places, made, EVIDENCE, STRANGERS)
    parameters = TailParameters()
    fine = strangers_tail(
        places,
        made,
        EVIDENCE,
        STRANGERS,
        dataclasses.replace(parameters, step=parameters.step / 2, node=parameters.node / 2),
    )
    at = np.linspace(-5, 40, 200)
    apart = fine.to_score(at) - coarse.to_score(at)
    assert apart.min() > -0.02  # the coarser one is the more cautious
    assert apart.max() < 0.3


def test_other_tilts_give_the_same_rates() -> None:
    places = (Position.RIGHT_INDEX, Position.RIGHT_THUMB, Position.FACE)
    made = [Ratio.of(FINGER)] * 2 + [Ratio.of(FACE)]
    few = strangers_tail(places, made, EVIDENCE, STRANGERS)
    many = dataclasses.replace(TailParameters(), tilts=tuple(np.arange(0, 0.8, 0.1).tolist()))
    at = np.linspace(-5, 35, 200)
    other = strangers_tail(places, made, EVIDENCE, STRANGERS, many)
    assert np.abs(few.to_score(at) - other.to_score(at)).max() < 0.3


@pytest.mark.parametrize("tiny", [1e-300, 1e-33, 1e-12, 1e-7])
def test_correlations_that_are_almost_nothing_are_nothing(tiny: float) -> None:
    places = (Position.RIGHT_INDEX, Position.LEFT_INDEX)
    made = [Ratio.of(FINGER)] * 2
    some = strangers_tail(places, made, Correlations(), Correlations(tiny, tiny, tiny, tiny, tiny))
    none = strangers_tail(places, made, Correlations(), Correlations())
    at = np.linspace(-5, 20, 50)
    np.testing.assert_allclose(some.to_score(at), none.to_score(at), atol=0.05)
