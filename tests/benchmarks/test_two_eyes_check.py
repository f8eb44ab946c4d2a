"""The check of two eyes, on made-up scores whose truth is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.two_eyes_check import EYES, check_two_eyes, eye_pairs
from enrollment.calibration.scores import CalibrationScores
from enrollment.evaluation.protocol import EvaluationSample, Impostors, make_pairs
from matcher.positions import Modality

PEOPLE, CAPTURES = 80, 4
ASKED = (1e-1, 1e-2, 1e-3, 1e-6)


def made_up(correlation: float) -> CalibrationScores:
    """Captures of both eyes; strangers' scores of the two eyes have a correlation."""
    samples = [
        EvaluationSample(0, Path("none"), f"person-{k}", f"{c}", eye, None, {})
        for k in range(PEOPLE)
        for c in range(CAPTURES)
        for eye in EYES
    ]
    pairs = make_pairs(samples, Impostors.ALL)
    rng = np.random.default_rng(3)
    captures = PEOPLE * CAPTURES
    # One number for two captures whatever the eye, so that both eyes share it.
    shared = rng.standard_normal((captures, captures))
    capture = np.arange(len(samples)) // 2

    def scores(which: NDArray[np.int64], mean: float) -> NDArray[np.float64]:
        common = shared[capture[which[:, 0]], capture[which[:, 1]]]
        own = rng.standard_normal(len(which))
        return np.asarray(mean + np.sqrt(correlation) * common + np.sqrt(1 - correlation) * own, np.float64)

    return CalibrationScores(
        Modality.IRIS,
        "iris-made-up",
        samples,
        np.full(len(samples), 50.0),
        pairs.genuine,
        scores(pairs.genuine, 5.0),
        pairs.impostor,
        scores(pairs.impostor, 0.0),
        0,
        0,
        0,
        len(pairs.impostor),
    )


def test_both_eyes_of_every_two_captures_are_found() -> None:
    scores = made_up(0.3)
    pairs = eye_pairs(scores)
    captures = PEOPLE * CAPTURES
    assert len(pairs.raw) == captures * (captures - 1) // 2
    strangers = pairs.raw[pairs.subjects[:, 0] != pairs.subjects[:, 1]]
    assert np.corrcoef(strangers.T)[0, 1] == pytest.approx(0.3, abs=0.03)


def test_strangers_pass_as_often_as_asked_and_rates_beyond_the_data_are_left_out() -> None:
    found = check_two_eyes(made_up(0.3), ASKED, 1, 0)
    assert found.people == PEOPLE
    assert found.asked == ASKED[:3]
    assert found.failures == ()
    assert 0.6 < found.observed[1] < 1.3
    assert found.vouched[1] <= found.observed[1] + 0.1
