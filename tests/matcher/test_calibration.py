"""Calibration: recovers a known distribution, keeps its bounds, survives its file."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matcher.calibration import LN10_10, Calibration, Calibrations, fit_calibration
from matcher.errors import InvalidInput, NotCalibrated
from matcher.positions import Modality


@pytest.fixture(scope="module")
def fitted() -> Calibration:
    rng = np.random.default_rng(5)
    return fit_calibration(
        Modality.FACE, "face-x", rng.normal(8, 2, 3000), rng.exponential(1.0, 200_000), {"data": "exponential"}
    )


def test_recovers_the_exponential(fitted: Calibration) -> None:
    # P(X >= x) = e^-x, so the score is x * 10/ln(10) as far as the data reaches (x < 12).
    for x, tolerance in ((2.0, 0.1), (5.0, 0.3), (8.0, 0.7)):
        assert float(fitted.to_score(x)) == pytest.approx(x * 10 / math.log(10), abs=tolerance)
    # Beyond, the tail is taken as heavier than it is, so that the score errs to the safe side.
    for x in (12.0, 15.0, 30.0, 1000.0):
        assert 38 < float(fitted.to_score(x)) < x * 10 / math.log(10) + 1


def test_recovers_the_shape_of_a_heavy_tail() -> None:
    rng = np.random.default_rng(7)
    shape = 0.4
    impostor = ((1 - rng.random(300_000)) ** -shape - 1) / shape
    calibration = fit_calibration(Modality.FACE, "face-x", rng.normal(200, 5, 500), impostor, {})
    assert calibration.tail_shape == pytest.approx(shape, abs=0.2)
    for x in (10.0, 50.0, 200.0):
        truth = 10 / shape * math.log10(1 + shape * x)
        assert float(calibration.to_score(x)) == pytest.approx(truth, abs=5.0)


def test_trust_follows_the_rule_of_three(fitted: Calibration) -> None:
    assert fitted.trusted_to == pytest.approx(10 * math.log10(200_000 / 3))


def test_new_impostors_keep_the_promise(fitted: Calibration) -> None:
    fresh = fitted.to_score(np.random.default_rng(6).exponential(1.0, 200_000))
    for score in (10.0, 20.0, 30.0):
        expected = 200_000 * 10 ** (-score / 10)
        assert abs((fresh >= score).sum() - expected) < 5 * math.sqrt(expected)


@given(st.lists(st.floats(-50, 200), min_size=2, max_size=20))
def test_scores_and_ratios_are_monotone_and_bounded(raws: list[float]) -> None:
    calibration = _small()
    ordered = np.sort(raws)
    scores = calibration.to_score(ordered)
    ratios = calibration.to_llr(scores)
    assert (np.diff(scores) >= -1e-9).all()
    assert (np.diff(ratios) >= -1e-9).all()
    assert (scores >= 0).all()
    assert (ratios <= scores * LN10_10 + 1e-9).all()
    assert (ratios >= math.log(0.01) - 1e-6).all()


_cache: list[Calibration] = []


def _small() -> Calibration:
    if not _cache:
        rng = np.random.default_rng(1)
        _cache.append(fit_calibration(Modality.IRIS, "iris-x", rng.normal(6, 1, 500), rng.normal(0, 1, 5000), {}))
    return _cache[0]


def test_not_comparable_stays_so(fitted: Calibration) -> None:
    assert math.isnan(float(fitted.to_score(math.nan)))
    assert math.isnan(float(fitted.to_llr(math.nan)))


def test_ties_of_strangers_get_the_score_of_the_tie() -> None:
    # A comparator that answers 0 for 95 % of strangers: a raw 0 is no evidence at all.
    rng = np.random.default_rng(2)
    impostor = np.where(rng.random(50_000) < 0.95, 0.0, rng.exponential(1.0, 50_000))
    calibration = fit_calibration(Modality.FINGER, "finger-x", rng.normal(9, 1, 500), impostor, {})
    assert float(calibration.to_score(0.0)) == 0.0
    assert float(calibration.to_score(3.0)) == pytest.approx(-10 * math.log10(0.05 * math.exp(-3)), abs=0.7)


def test_subjects_who_are_easily_mistaken_widen_the_limits() -> None:
    # Each of 60 people adds a constant of their own to all comparisons: these are far from independent.
    rng = np.random.default_rng(4)
    a, b = np.triu_indices(60, 1)
    subjects = np.repeat(np.stack([a, b], axis=1), 10, axis=0)
    own = rng.exponential(1.0, 60)
    dependent = rng.normal(0, 0.3, len(subjects)) + own[subjects].sum(axis=1)
    independent = rng.permutation(dependent)
    genuine = rng.normal(20, 1, 300)
    careless = fit_calibration(Modality.FACE, "face-x", genuine, dependent, {})
    careful = fit_calibration(Modality.FACE, "face-x", genuine, dependent, {}, subjects)
    shuffled = fit_calibration(Modality.FACE, "face-x", genuine, independent, {}, subjects)
    assert careful.about["design_effect"] > 5
    assert careful.trusted_to < shuffled.trusted_to < careless.trusted_to + 1e-9
    raws = np.linspace(0, 12, 50)
    assert (careful.to_score(raws) <= careless.to_score(raws) + 1e-9).all()
    assert (careful.to_score(raws) < careless.to_score(raws) - 1.0).any()


def test_reaching_the_trusted_score_is_worth_what_the_tail_says(fitted: Calibration) -> None:
    # Nearly no genuine comparison falls below the trusted score here: the ratio is about 1 / FMR.
    rng = np.random.default_rng(8)
    good = fit_calibration(Modality.FACE, "face-x", rng.normal(40, 1, 500), rng.exponential(1.0, 20_000), {})
    assert good.trusted_llr == pytest.approx(good.trusted_to * LN10_10 + math.log(0.99), abs=0.02)
    assert fitted.trusted_llr < fitted.trusted_to * LN10_10


def test_survives_its_file(fitted: Calibration) -> None:
    again = Calibration.from_json(fitted.to_json())
    raws = np.linspace(-3, 30, 100)
    np.testing.assert_allclose(again.to_score(raws), fitted.to_score(raws), atol=1e-3)
    np.testing.assert_allclose(again.to_llr(raws), fitted.to_llr(raws), atol=1e-3)
    assert again.about["impostor_comparisons"] == 200_000


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"artefact_version": 99}', "null"])
def test_other_files_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="calibration artefact"):
        Calibration.from_json(text)


def test_knots_must_rise(fitted: Calibration) -> None:
    broken = fitted.to_json().replace('"tail_slope": ', '"tail_slope": -')
    with pytest.raises(InvalidInput, match="positive"):
        Calibration.from_json(broken)


def test_too_little_data_is_refused() -> None:
    with pytest.raises(InvalidInput, match="1,000 impostor"):
        fit_calibration(Modality.FACE, "face-x", np.ones(100), np.ones(10), {})


def test_algorithm_without_artefact_is_refused(fitted: Calibration) -> None:
    with pytest.raises(NotCalibrated, match="face-x"):
        _ = Calibrations([fitted])["face-y"]


def test_shipped_artefacts_cover_what_ships() -> None:
    from matcher.finger.comparison import FingerComparator
    from matcher.iris.comparison import IrisComparator

    shipped = Calibrations.load()
    for algorithm in (*FingerComparator.algorithms, *IrisComparator.algorithms, "face-compact-1"):
        artefact = shipped[algorithm]
        assert artefact.trusted_to >= 25
        assert artefact.about["data"]
        assert artefact.about["impostor_comparisons"] > 50_000
