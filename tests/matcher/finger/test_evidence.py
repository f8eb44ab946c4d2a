"""The model of the second stage: its file, and that nothing which speaks for a match lowers a score."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matcher.errors import InvalidInput
from matcher.finger.evidence import FEATURES, PairModel, score

MODEL = PairModel.load()
VALUES = st.lists(st.floats(-20, 5), min_size=len(FEATURES), max_size=len(FEATURES))


@settings(deadline=None)
@given(VALUES, st.integers(0, len(FEATURES) - 1), st.floats(0, 10))
def test_scores_never_fall_when_a_feature_rises(values: list[float], which: int, more: float) -> None:
    features = np.array(values)
    before = score(0.5, features, MODEL.tables)
    features[which] += more
    assert 1.0 <= before <= score(0.5, features, MODEL.tables)


@settings(deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), VALUES)
def test_scores_never_fall_across_the_gate(one: float, other: float, values: list[float]) -> None:
    low, high = sorted((one, other))
    features = np.array(values)
    assert 0.0 <= score(low, features, MODEL.tables) <= score(high, features, MODEL.tables)


def test_the_score_is_its_formula() -> None:
    features = np.array([-2.0, -1.5, 2.0, 0.5, -4.0, 0.4])
    evidence = MODEL.offset + float(MODEL.weights @ features)
    assert score(MODEL.gate, features, MODEL.tables) == pytest.approx(1 + math.log(1 + math.exp(evidence)))
    assert score(MODEL.gate / 2, features, MODEL.tables) == pytest.approx(0.5)


def test_a_model_survives_its_file() -> None:
    again = PairModel.from_json(MODEL.to_json())
    assert again.to_json() == MODEL.to_json()
    assert np.array_equal(again.weights, MODEL.weights)
    assert (again.offset, again.gate) == (MODEL.offset, MODEL.gate)


def test_the_card_says_what_it_was_fitted_on() -> None:
    for key in ("data", "made_by", "algorithm", "fingers", "prints", "seed", "limits"):
        assert MODEL.about[key]


@pytest.mark.parametrize(
    "change",
    [
        {"model_version": 99},
        {"weights": {"log_relaxed": 1.0}},
        {"weights": dict.fromkeys(FEATURES, -1.0)},
        {"weights": dict.fromkeys(FEATURES, float("nan"))},
        {"gate": 0.0},
        {"gate": "high"},
    ],
)
def test_spoilt_files_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(InvalidInput) as caught:
        PairModel.from_json(json.dumps({**json.loads(MODEL.to_json()), **change}))
    assert caught.value.reason == "MODEL_INVALID"


def test_text_that_is_no_model_is_refused() -> None:
    for text in ("", "[]", "{}", "null"):
        with pytest.raises(InvalidInput):
            PairModel.from_json(text)


def test_weights_must_not_be_negative() -> None:
    with pytest.raises(InvalidInput, match="negative"):
        dataclasses.replace(MODEL, weights=MODEL.weights - 100.0)
