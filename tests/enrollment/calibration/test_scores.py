"""Which pairs a calibration is fitted on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from enrollment.calibration.halves import in_fit_half
from enrollment.calibration.scores import calibration_pairs, score_templates
from enrollment.evaluation.protocol import EvaluationSample
from enrollment.evaluation.templates import MadeTemplate
from matcher.errors import InvalidInput
from matcher.positions import Modality, Position
from tests.matcher.people import FACE, face


def sample(subject: str, position: Position = Position.FACE) -> EvaluationSample:
    return EvaluationSample(2, Path("x.png"), subject, "1", position, None, {})


def eyes(count: int) -> list[EvaluationSample]:
    """Left and right eyes of some subjects and, of each third, one not known."""
    listed = []
    for k in range(count):
        listed += [sample(f"s{k}", Position.IRIS_LEFT)] * 3 + [sample(f"s{k}", Position.IRIS_RIGHT)] * 2
        listed += [sample(f"s{k}", Position.IRIS_UNKNOWN)] * (k % 3 == 0)
    return listed


def pair_kind(a: EvaluationSample, b: EvaluationSample) -> str:
    if a.body_part == b.body_part:
        return "genuine"
    return "neither" if a.subject_id == b.subject_id and a.position.may_match(b.position) else "impostor"


def test_all_pairs_are_taken_where_there_is_room() -> None:
    samples = eyes(6)
    genuine, impostor, there = calibration_pairs(samples, 10**6)
    kinds: dict[str, set[tuple[int, int]]] = {"genuine": set(), "impostor": set(), "neither": set()}
    for a in range(len(samples)):
        for b in range(a + 1, len(samples)):
            kinds[pair_kind(samples[a], samples[b])].add((a, b))
    assert {tuple(p) for p in genuine.tolist()} == kinds["genuine"]
    assert {tuple(p) for p in impostor.tolist()} == kinds["impostor"]
    assert there == len(impostor)


@pytest.mark.parametrize("limit", [5000, 40_000])
def test_impostors_over_the_limit_are_drawn(limit: int) -> None:
    samples = eyes(60)
    everything = calibration_pairs(samples, 10**6)
    assert len(everything[1]) > limit
    genuine, impostor, there = calibration_pairs(samples, limit)
    assert {tuple(p) for p in genuine.tolist()} == {tuple(p) for p in everything[0].tolist()}
    assert 0.95 * limit < len(impostor) <= limit
    drawn = {tuple(p) for p in impostor.tolist()}
    assert len(drawn) == len(impostor)
    assert drawn <= {tuple(p) for p in everything[1].tolist()}
    assert there == pytest.approx(everything[2], rel=0.01)
    # From everywhere alike: the mean of the samples' numbers is that of all.
    assert impostor.mean() == pytest.approx(everything[1].mean(), rel=0.03)
    np.testing.assert_array_equal(calibration_pairs(samples, limit)[1], impostor)


def test_samples_without_a_template_are_counted_and_left_out() -> None:
    samples = [sample(f"s{k // 2}") for k in range(10)]
    made = [
        MadeTemplate(None, -1, "FACE_NOT_FOUND", "no face", 0.0, "")
        if k == 4
        else MadeTemplate(face(k // 2, 1 + k % 2), 50 + k, "", "", 0.0, "")
        for k in range(10)
    ]
    scores = score_templates(samples, made)
    assert (scores.modality, scores.algorithm) == (Modality.FACE, FACE)
    assert (len(scores.samples), scores.failures, len(scores.genuine), len(scores.impostor)) == (9, 1, 4, 32)
    assert scores.quality.tolist() == [50, 51, 52, 53, 55, 56, 57, 58, 59]
    a, b = scores.impostor_pairs[7]
    number = [k for k in range(10) if k != 4]
    ours, theirs = (face(number[k] // 2, 1 + number[k] % 2).embedding.astype(np.float64) for k in (a, b))
    assert scores.impostor[7] == pytest.approx(float(ours @ theirs), abs=1e-6)
    by_subject = scores.by_subject()
    assert by_subject.subjects == 5
    assert by_subject.impostor_subjects[7].tolist() == [number[a] // 2, number[b] // 2]


def test_no_template_at_all_is_refused_with_the_reason() -> None:
    made = [MadeTemplate(None, -1, "FACE_NOT_FOUND", "no face is to be seen", 0.0, "")]
    with pytest.raises(InvalidInput, match="no face is to be seen"):
        score_templates([sample("s")], made)


def test_the_fit_half_is_about_a_half_and_goes_by_the_name() -> None:
    names = [f"person {k}" for k in range(1000)]
    inside = [n for n in names if in_fit_half(n)]
    assert 430 < len(inside) < 570
    assert inside == [n for n in names if in_fit_half(n)]
    # Figures quoted before rest on these names' halves.
    assert [in_fit_half(n) for n in ("casia1_001", "mmu2_01", "fvc2002_DB1_B_101")] == [False, True, False]
