"""The check on people left out: its counts against a loop, and that it notices a calibration that is not honest."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from enrollment.calibration import cross_check as module
from enrollment.calibration.cross_check import (
    RatioCheck,
    cross_check,
    fit_scores,
    observed_counts,
    random_halves,
)
from enrollment.calibration.scores import SubjectScores
from matcher.calibration import Calibration, CalibrationParameters, RatioFit
from matcher.errors import InvalidInput
from matcher.positions import Modality
from tests.enrollment.calibration.strangers import people

QUICK = CalibrationParameters(resamples=40)


def test_half_of_the_subjects_keeps_its_own_comparisons_alone() -> None:
    scores = people(subjects=7, samples=2)
    members = np.array([True, False, True, True, False, False, True])
    part = scores.of(members)
    assert part.subjects == 4
    old = np.flatnonzero(members)
    rows = [
        (value, tuple(pair))
        for value, pair in zip(scores.impostor, scores.impostor_subjects.tolist(), strict=True)
        if members[pair].all()
    ]
    assert [r[0] for r in rows] == part.impostor.tolist()
    assert [r[1] for r in rows] == [tuple(old[list(pair)].tolist()) for pair in part.impostor_subjects.tolist()]
    assert part.genuine.tolist() == scores.genuine[members[scores.genuine_subjects]].tolist()


def test_halves_are_disjoint_complete_and_always_the_same() -> None:
    halves = list(random_halves(11, 3, seed=4))
    assert len(halves) == 6
    for one, other in zip(halves[::2], halves[1::2], strict=True):
        assert (one ^ other).all()
        assert one.sum() == 5
    again = list(random_halves(11, 3, seed=4))
    assert all((a == b).all() for a, b in zip(halves, again, strict=True))
    assert any((halves[0] != h).any() for h in halves[2::2])


def test_rates_equal_a_count_by_hand() -> None:
    scores = people()
    asked = (1e-2, 1e-3)
    checked = cross_check(scores, parameters=QUICK, repeats=2, seed=9, levels=asked)
    reached, expected = np.zeros(2), np.zeros(2)
    for half in random_halves(scores.subjects, 2, 9):
        fitted = fit_scores(Modality.FACE, "x", scores.of(half), QUICK, {})
        for value, pair in zip(scores.impostor, scores.impostor_subjects, strict=True):
            if not half[pair].any():
                reached += float(fitted.to_score(value)) >= -10 * np.log10(asked)
                expected += asked
    assert [level.count for level in checked.levels] == reached.tolist()
    np.testing.assert_allclose([level.ratio for level in checked.levels], reached / expected)


def test_an_honest_fit_is_found_honest() -> None:
    checked = cross_check(people(subjects=120), parameters=QUICK, repeats=3)
    assert [level.asked for level in checked.levels][:3] == [1e-2, 3e-3, 1e-3]
    assert all(0.5 <= level.ratio <= 1.6 for level in checked.levels if level.supported)
    assert any(level.supported for level in checked.levels)
    assert checked.to_json()["holds"] is True


def test_a_fit_that_promises_too_much_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def boastful(*arguments: object, **options: object) -> Calibration:
        honest: Calibration = fit_scores(*arguments, **options)  # type: ignore[arg-type]
        return dataclasses.replace(honest, score=honest.score + 5.0)

    monkeypatch.setattr(module, "fit_scores", boastful)
    checked = cross_check(people(subjects=120), parameters=QUICK, repeats=2)
    assert all(level.ratio > 2 for level in checked.levels if level.supported)
    assert checked.failures == tuple(level.asked for level in checked.levels if level.supported) != ()
    assert checked.to_json()["holds"] is False


def test_levels_end_where_the_comparisons_do() -> None:
    checked = cross_check(people(), parameters=QUICK, repeats=2)
    assert all(level.expected >= 3 for level in checked.levels)
    following = module.LEVELS[len(checked.levels)]
    assert following * checked.comparisons < 3
    supported = [level.asked * checked.comparisons / checked.design_effect >= 3 for level in checked.levels]
    assert [level.supported for level in checked.levels] == supported


def test_likelihood_ratios_are_compared_with_the_best_possible() -> None:
    r = cross_check(people(own=0.5, seed=3), parameters=QUICK, repeats=3).ratios
    for fit in RatioFit:
        assert 0 < r.least_cross_entropy <= r.cross_entropy[fit] < 1
        assert 0 < r.least_cllr <= r.cllr[fit] < 1


@pytest.mark.parametrize(
    ("advantage", "error", "chosen"),
    [(-0.1, 0.05, RatioFit.LOGISTIC), (0.04, 0.05, RatioFit.LOGISTIC), (0.06, 0.05, RatioFit.ISOTONIC)],
)
def test_isotonic_must_be_better_by_more_than_its_uncertainty(advantage: float, error: float, chosen: RatioFit) -> None:
    assert RatioCheck(1e-3, {}, {}, 0.0, 0.0, advantage, error).chosen is chosen


def test_isotonic_is_chosen_where_no_line_fits() -> None:
    # All genuine scores lie where 3 impostors in 1,000 do: beyond, higher means no more.
    scores = people(subjects=200, own=0.0)
    near = np.random.default_rng(8).normal(2.75, 0.02, len(scores.genuine))
    checked = cross_check(dataclasses.replace(scores, genuine=near), parameters=QUICK, repeats=2)
    assert checked.ratios.chosen is RatioFit.ISOTONIC


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        (people(subjects=12, samples=10), "12 subjects of 20"),
        (people(subjects=150, samples=2), "150 genuine comparisons of 400"),
        (people(subjects=20, samples=7), "9,310 impostor comparisons of 10,000"),
    ],
)
def test_too_little_data_is_refused_with_what_is_needed(scores: SubjectScores, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as refused:
        cross_check(scores, parameters=QUICK)
    assert refused.value.reason == "CALIBRATION_DATA"


def test_genuine_comparisons_of_one_subject_alone_are_refused() -> None:
    scores = people()
    alone = dataclasses.replace(scores, genuine_subjects=np.zeros(len(scores.genuine), np.int64))
    alone = dataclasses.replace(alone, genuine=np.full(len(alone.genuine_subjects), 7.0))
    with pytest.raises(InvalidInput, match="too little data to check"):
        cross_check(alone, parameters=QUICK)


def test_scores_reached_are_counted_as_they_compare() -> None:
    fitted = fit_scores(Modality.FACE, "x", people(), QUICK, {})
    raws = np.linspace(-2, 6, 300)
    asked = (0.5, 1e-2, 1e-3, 1e-6)
    counts = [int((fitted.to_score(raws) >= -10 * np.log10(a) - 1e-9).sum()) for a in asked]
    assert observed_counts(fitted, raws, asked).tolist() == counts
