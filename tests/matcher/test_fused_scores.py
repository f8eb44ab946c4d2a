"""Fused scores: one alone keeps its own, several follow their curve, and alike sets share it."""

from __future__ import annotations

import numpy as np
import pytest

from matcher.calibration import Calibrations
from matcher.errors import NotCalibrated
from matcher.fused_scores import HIGHEST_SCORE, FusedScores, FusionMember
from matcher.fused_tail import Ratio, strangers_tail
from matcher.fusion import calibrate_position, fuse_llrs
from matcher.fusion_model import Correlations, FusionModel
from matcher.positions import Modality, Position
from tests.matcher.people import line

FINGER = line(Modality.FINGER, "finger-x", 0.0, 10.0, 25.0)
FACE = line(Modality.FACE, "face-x", 0.0, 10.0, 40.0)
IRIS = line(Modality.IRIS, "iris-x", 0.0, 10.0, 40.0)
MODEL = FusionModel(
    Correlations(same_hand=0.3, other_hand=0.1, eyes=0.2),
    Correlations(same_hand=0.3, other_hand=0.2, eyes=0.1, modalities=0.05),
    Correlations(same_hand=0.4, other_hand=0.3, eyes=0.2, modalities=0.1),
)


def fused() -> FusedScores:
    return FusedScores(Calibrations([FINGER, FACE, IRIS]), MODEL)


def member(position: Position, raw: float, comparisons: int = 1) -> FusionMember:
    calibration = {Modality.FINGER: FINGER, Modality.FACE: FACE, Modality.IRIS: IRIS}[position.modality]
    return FusionMember(position, calibration.algorithm, calibrate_position(calibration, raw, comparisons))


def test_one_position_keeps_its_score() -> None:
    only = member(Position.FACE, 3.3)
    (found,) = fused().fuse([[only]])
    assert (found.score, found.llr, found.trusted_score) == (
        only.score.score,
        only.score.llr,
        only.score.trusted_score,
    )


def test_no_score_is_higher_than_the_highest_but_ratios_still_rank() -> None:
    one, two = fused().fuse(
        [[member(Position.FACE, 30.0)], [member(Position.FACE, 30.0), member(Position.LEFT_INDEX, 30.0)]]
    )
    assert one.score == two.score == HIGHEST_SCORE
    assert two.llr > one.llr
    assert one.trusted_score == FACE.trusted_to


def test_every_subject_has_the_curve_of_its_own_positions() -> None:
    rng = np.random.default_rng(0)
    sets = [
        (Position.FACE, Position.LEFT_INDEX),
        (Position.LEFT_INDEX, Position.RIGHT_INDEX),
        (Position.FACE,),
        (Position.IRIS_LEFT, Position.FACE, Position.IRIS_RIGHT),
    ]
    subjects = [[member(p, float(rng.uniform(0, 6))) for p in sets[k % len(sets)]] for k in range(40)]
    for members, found in zip(subjects, fused().fuse(subjects), strict=True):
        if len(members) == 1:
            assert found.score == members[0].score.score
            continue
        positions = [m.position for m in members]
        ratios = {"finger-x": Ratio.of(FINGER), "face-x": Ratio.of(FACE), "iris-x": Ratio.of(IRIS)}
        tail = strangers_tail(positions, [ratios[m.algorithm] for m in members], MODEL.evidence, MODEL.strangers)
        llr = fuse_llrs(np.array([[m.score.llr for m in members]]), positions, MODEL.evidence)
        assert found.llr == pytest.approx(llr[0])
        assert found.score == pytest.approx(tail.to_score(llr)[0], abs=1e-6)
        assert found.trusted_score <= found.score


def test_order_and_like_positions_make_no_difference() -> None:
    one = [member(Position.LEFT_INDEX, 2.0), member(Position.RIGHT_THUMB, 1.0), member(Position.FACE, 3.0)]
    other = [member(Position.FACE, 3.0), member(Position.RIGHT_LITTLE, 1.0), member(Position.LEFT_RING, 2.0)]
    mirror = [member(Position.RIGHT_RING, 2.0), member(Position.FACE, 3.0), member(Position.LEFT_INDEX, 1.0)]
    assert len(set(fused().fuse([one, other, mirror]))) == 1


def test_mirrored_hands_share_a_curve_of_their_own() -> None:
    right = [member(Position(p), 1.0 + p / 10) for p in (1, 2, 7)]
    left = [member(Position(p), 1.0 + q / 10) for p, q in ((6, 1), (8, 2), (3, 7))]
    apart = [member(Position(p), 1.0 + q / 10) for p, q in ((6, 1), (1, 2), (3, 7))]
    found = fused().fuse([right, left, apart])
    assert found[0].score == pytest.approx(found[1].score, abs=1e-9)
    together = [member(Position(p), 1.0 + q / 10) for p, q in ((1, 1), (2, 2), (3, 7))]
    assert fused().fuse([together])[0].score < found[0].score


def test_agreeing_positions_add_up_and_a_spoilt_one_does_not_sink() -> None:
    good, bad = member(Position.LEFT_INDEX, 2.4), member(Position.RIGHT_INDEX, -1.0)
    alone, both, spoilt, nothing = fused().fuse(
        [[good], [good, member(Position.RIGHT_INDEX, 2.4)], [good, bad], [bad, member(Position.LEFT_INDEX, -1.0)]]
    )
    assert both.score > alone.score + 8
    assert alone.score - 13 < spoilt.score < alone.score
    assert nothing.score < 0.5


def test_trust_of_several_goes_beyond_that_of_one_but_not_beyond_their_sum() -> None:
    far = [member(Position.FACE, 50.0), member(Position.LEFT_INDEX, 50.0)]
    (found,) = fused().fuse([far])
    assert 40.0 + 15.0 < found.trusted_score <= 40.0 + 25.0
    assert found.trusted_score < found.score


def test_the_best_of_several_is_trusted_less() -> None:
    single, best = fused().fuse(
        [
            [member(Position.FACE, 50.0), member(Position.LEFT_INDEX, 50.0)],
            [member(Position.FACE, 50.0), member(Position.LEFT_INDEX, 50.0, comparisons=8)],
        ]
    )
    assert best.trusted_score < single.trusted_score


def test_an_algorithm_without_artefact_is_refused() -> None:
    stranger = FusionMember(Position.RIGHT_INDEX, "finger-y", member(Position.LEFT_INDEX, 1.0).score)
    with pytest.raises(NotCalibrated, match="finger-y"):
        fused().fuse([[member(Position.LEFT_INDEX, 1.0), stranger]])


def test_nobody_is_no_error() -> None:
    assert fused().fuse([]) == []
