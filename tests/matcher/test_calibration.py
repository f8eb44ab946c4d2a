"""Calibration: recovers a known distribution, keeps its bounds, survives its file."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matcher.calibration import (
    LN10_10,
    Calibration,
    CalibrationParameters,
    Calibrations,
    RatioFit,
    fit_calibration,
    fit_ratio,
)
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


@pytest.mark.parametrize("ratio", list(RatioFit))
def test_ratios_keep_their_bounds_however_fitted(ratio: RatioFit) -> None:
    rng = np.random.default_rng(11)
    genuine, impostor = rng.normal(5, 2, 800), rng.normal(0, 1, 20_000)
    calibration = fit_calibration(Modality.FACE, "face-x", genuine, impostor, {}, ratio=ratio)
    scores = np.linspace(0, 200, 500)
    ratios = calibration.to_llr(scores)
    assert calibration.about["llr_fit"] == ratio.value
    assert (np.diff(ratios) >= -1e-9).all()
    assert (ratios <= scores * LN10_10 + 1e-9).all()
    assert (ratios >= math.log(calibration.about["spoilt_share"]) - 1e-3).all()
    assert ratios[0] < -2 < 5 < ratios[250]


def test_isotonic_ratios_follow_what_is_no_line() -> None:
    # Half of the people are strangers to their own record, the others are certain: no line in the score fits that.
    rng = np.random.default_rng(12)
    impostor = rng.exponential(1.0, 50_000)
    genuine = np.concatenate([rng.exponential(1.0, 2000), rng.normal(20, 1, 2000)])
    line = fit_calibration(Modality.FACE, "face-x", genuine, impostor, {})
    steps = fit_ratio(line, genuine, impostor, CalibrationParameters(), RatioFit.ISOTONIC)
    # Up to the last impostors a genuine score is half as frequent as an impostor's.
    for score in (5.0, 10.0, 20.0):
        assert float(steps.to_llr(score)) == pytest.approx(math.log(0.5 + 0.5 * 0.25), abs=0.35)
    assert float(steps.to_llr(80.0)) > 9


def test_ratios_fitted_again_leave_the_rates_alone(fitted: Calibration) -> None:
    rng = np.random.default_rng(5)
    genuine, impostor = rng.normal(8, 2, 3000), rng.exponential(1.0, 200_000)
    again = fit_ratio(fitted, genuine, impostor, CalibrationParameters(), RatioFit.LOGISTIC)
    assert again.to_json() == fitted.to_json()


def test_samples_of_too_few_people_are_refused() -> None:
    # Three people, two of whom are mistaken for each other every time.
    subjects = np.array([[0, 1], [0, 2], [1, 2]] * 1200)
    impostor = (subjects.sum(axis=1) == 3).astype(np.float64)
    with pytest.raises(InvalidInput, match="more people"):
        fit_calibration(Modality.FACE, "face-x", np.full(200, 9.0), impostor, {}, subjects)


FIELDS = ("artefact_version", "modality", "algorithm", "raw", "score", "tail_slope", "tail_shape", "llr", "about")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(FIELDS), JSON)
def test_a_field_that_is_something_else_is_refused_or_usable(field: str, value: Any) -> None:
    text = json.dumps(json.loads(_small().to_json()) | {field: value})
    try:
        read = Calibration.from_json(text)
    except InvalidInput:
        with pytest.raises(InvalidInput, match="calibration artefact") as refused:
            Calibration.from_json(text)
        assert refused.value.reason == "CALIBRATION_INVALID"
    else:
        assert np.isfinite(read.to_llr(read.to_score(np.linspace(-10, 30, 20)))).all()


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_refused_by_name(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("calibrations")
    (folder / "mine.json").write_bytes(data)
    with pytest.raises(InvalidInput, match=r"mine\.json") as refused:
        Calibrations.load(folder)
    assert refused.value.reason == "CALIBRATION_INVALID"


@given(st.data())
def test_a_file_cut_short_is_refused(data: st.DataObject) -> None:
    text = _small().to_json()
    with pytest.raises(InvalidInput, match="calibration artefact"):
        Calibration.from_json(text[: data.draw(st.integers(0, len(text) - 1))])


def test_nesting_without_end_is_refused() -> None:
    with pytest.raises(InvalidInput, match="calibration artefact"):
        Calibration.from_json("[" * 100_000)


def test_a_folder_s_artefact_replaces_the_shipped_one(tmp_path: Path, fitted: Calibration) -> None:
    shipped = Calibrations.load()["face-compact-2"]
    mine = json.loads(fitted.to_json()) | {"algorithm": "face-compact-2"}
    (tmp_path / "any-name.json").write_text(json.dumps(mine))
    loaded = Calibrations.load(tmp_path)
    assert loaded["face-compact-2"].about["data"] == "exponential"
    assert loaded["iris-loggabor-2"] is Calibrations.load()["iris-loggabor-2"]
    assert shipped.about["data"] != "exponential"


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
    from matcher.finger.parameters import MINDTCT_ALGORITHM
    from matcher.iris.comparison import IrisComparator

    shipped = Calibrations.load()
    for algorithm in (*FingerComparator.algorithms - {MINDTCT_ALGORITHM}, *IrisComparator.algorithms, "face-compact-2"):
        artefact = shipped[algorithm]
        assert artefact.trusted_to >= 25
        assert artefact.about["data"]
        assert artefact.about["impostor_comparisons"] > 50_000


@pytest.mark.parametrize("algorithm", ["finger-leader-1", "face-compact-2", "iris-loggabor-2"])
def test_shipped_artefacts_say_how_good_they_are(algorithm: str) -> None:
    artefact = Calibrations.load()[algorithm]
    about = artefact.about
    assert {"data", "date", "fitted", "which", "subjects", "body_parts", "samples", "fit", "llr_fit"} <= about.keys()
    assert about["fit"] == json.loads(json.dumps(dataclasses.asdict(CalibrationParameters())))
    assert about["goodness"]["holds"] is True
    rates = about["goodness"]["fmr"]
    assert rates[0]["asked"] == 0.01
    supported = [r for r in rates if r["supported"]]
    assert len(supported) >= 2
    assert all(0.5 <= r["observed_over_asked"] <= 2 for r in supported)
    llr = about["goodness"]["llr"]
    assert llr["chosen"] == about["llr_fit"]
    assert 0 < llr["least_cross_entropy"] < llr["cross_entropy"][llr["chosen"]] < 0.1
    assert 0 < llr["least_cllr"] < llr["cllr"][llr["chosen"]] < 0.1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("trusted_to", 1e308),
        ("trusted_to", 80.0),
        ("trusted_llr", 1e308),
        ("trusted_llr", -5.0),
        ("score", [-500.0, 10.0]),
        ("score", [0.0, 1e308]),
        ("llr_score", [-1e308, 1e308]),
        ("llr", [-1e308, 1e308]),
    ],
)
def test_an_artefact_that_claims_what_no_data_can_show_is_refused(name: str, value: object) -> None:
    known = {
        "artefact_version": 1,
        "modality": "face",
        "algorithm": "face-x",
        "raw": [0.0, 1.0],
        "score": [0.0, 30.0],
        "tail_slope": 10.0,
        "tail_shape": 0.1,
        "trusted_to": 30.0,
        "trusted_llr": 5.0,
        "llr_score": [0.0, 60.0],
        "llr": [-3.0, 12.0],
        "about": {"impostor_comparisons": 10_000},
    }
    assert Calibration.from_json(json.dumps(known)).trusted_to == 30.0
    with pytest.raises(InvalidInput, match=name):
        Calibration.from_json(json.dumps(known | {name: value}))


def test_two_artefacts_of_one_algorithm_and_odd_files_are_refused(tmp_path: Path) -> None:
    text = next(iter(Calibrations.load())).to_json()
    (tmp_path / "one.json").write_text(text)
    assert Calibrations.load(tmp_path)
    (tmp_path / "two.json").write_text(text)
    with pytest.raises(InvalidInput, match="keep one"):
        Calibrations.load(tmp_path)
    (tmp_path / "two.json").unlink()
    (tmp_path / "three.json").mkdir()
    with pytest.raises(InvalidInput, match="regular file"):
        Calibrations.load(tmp_path)
    with pytest.raises(InvalidInput, match="no folder"):
        Calibrations.load(tmp_path / "nothing")
