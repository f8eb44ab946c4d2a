"""The check of calibrations: what makes it fail, and its parts."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from benchmarks import calibrate_check
from benchmarks.calibrate_check import ModalityCheck, check, part_ratios, result_table, two_sets
from benchmarks.real_data import RealSample, dataset, is_real
from enrollment.calibration.cross_check import CrossCheck, LevelCheck, RatioCheck
from enrollment.calibration.scores import CalibrationScores
from enrollment.evaluation.protocol import EvaluationSample
from matcher.calibration import RatioFit
from matcher.positions import Modality, Position
from tests.enrollment.calibration.strangers import people


def level(ratio: float, supported: bool = True) -> LevelCheck:
    return LevelCheck(1e-3, ratio * 1e-3, 10, ratio, 0.1, 30.0, supported)


def found(*levels: LevelCheck) -> ModalityCheck:
    ratios = RatioCheck(1e-3, dict.fromkeys(RatioFit, 0.1), dict.fromkeys(RatioFit, 0.1), 0.05, 0.05, 0.0, 0.1)
    ones = tuple(1.0 for _ in levels)
    counts = tuple(1 for _ in levels)
    return ModalityCheck(
        Modality.FACE, "face-x", 9, CrossCheck(2, 900.0, 3.0, levels, ratios), ones, counts, 5, 20.0, {}
    )


@pytest.mark.parametrize(("ratio", "fails"), [(0.49, True), (0.5, False), (1.0, False), (2.0, False), (2.01, True)])
def test_a_factor_of_two_either_way_is_the_limit(ratio: float, fails: bool) -> None:
    assert bool(found(level(1.0), level(ratio)).checked.failures) is fails


def test_what_the_data_does_not_support_fails_nothing() -> None:
    assert found(level(1.0), level(9.0, supported=False)).checked.failures == ()


def fingers() -> CalibrationScores:
    """80 fingers of two sets; those of one set resemble each other."""
    scores = people()
    samples = [
        EvaluationSample(2, Path(f"set{k % 2}") / "x.png", f"f{k}", "1", Position.FINGER_UNKNOWN, None, {})
        for k in range(scores.subjects)
    ]
    one_set = (scores.impostor_subjects % 2).sum(axis=1) != 1
    pairs = np.stack([scores.genuine_subjects, scores.genuine_subjects], axis=1)
    return CalibrationScores(
        Modality.FINGER,
        "finger-x",
        samples,
        np.full(len(samples), 50.0),
        pairs,
        scores.genuine,
        scores.impostor_subjects,
        scores.impostor + 0.5 * one_set,
        0,
        0,
        0,
        len(scores.impostor),
    )


def test_pairs_of_one_set_and_of_two_are_told_apart() -> None:
    scores = fingers()
    crossed = two_sets(scores)
    assert [dataset(s.path) for s in scores.samples[:2]] == ["set0", "set1"]
    assert crossed.tolist() == ((scores.impostor_pairs % 2).sum(axis=1) == 1).tolist()
    result = check(scores, repeats=2, seed=1)
    assert result.parts["one set"][0] > 1.3 > 0.7 > result.parts["two sets"][0]
    everything = part_ratios(scores.by_subject(), np.ones(len(crossed), np.bool_), [0.01], 2, 1)
    assert everything == pytest.approx((result.checked.levels[0].ratio,))


def test_table_fits_and_json_is_whole() -> None:
    result = check(fingers(), repeats=2, seed=1)
    console = Console(width=80, record=True)
    console.print(result_table(result))
    assert all(len(line) <= 80 for line in console.export_text().splitlines())
    told = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert told["one_half"]["count"] == list(result.one_half_counts)
    assert len(told["fmr"]) == len(told["one_half"]["observed_over_asked"]) == len(told["parts"]["one set"])


@pytest.mark.parametrize("honest", [True, False])
def test_the_exit_code_says_whether_it_holds(
    honest: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = found(level(1.0 if honest else 3.0))
    monkeypatch.setattr(calibrate_check, "real_scores", lambda *_arguments, **_options: None)
    monkeypatch.setattr(calibrate_check, "check", lambda *_arguments: outcome)
    monkeypatch.setattr("sys.argv", ["check", "--json", "--modality", "face"])
    with pytest.raises(SystemExit) as ended:
        calibrate_check.main()
    assert ended.value.code == (0 if honest else 1)
    assert json.loads(capsys.readouterr().out)["failed"] is not honest


def test_synthetic_sets_are_known_by_their_subjects() -> None:
    made = RealSample(Path("fvc2002_DB4_B/1.png"), "fvc2002_DB4_B_101", "1", Position.FINGER_UNKNOWN, None)
    real = dataclasses.replace(made, path=Path("face/lfw/A_B/1.jpg"), subject_id="lfw_A_B")
    assert (made.is_synthetic, made.dataset) == (True, "fvc2002_DB4_B")
    assert (real.is_synthetic, real.dataset) == (False, "lfw")
    assert is_real("fvc2002_DB1_B_101")
