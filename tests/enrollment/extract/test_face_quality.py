"""Quality and advice: each fault, made on purpose, lowers the score and brings its own advice."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from enrollment.extract.face_alignment import ARCFACE_POINTS
from enrollment.extract.face_quality import FaceMeasures, Ramp, head_pose, judge, measure

GOOD = FaceMeasures(
    eye_distance=60.0,
    sharpness=0.1,
    brightness=120.0,
    contrast=120.0,
    white=0.0,
    black=0.0,
    yaw=3.0,
    pitch=-4.0,
    confidence=1.0,
    strength=1.0,
)


def textured_crop() -> NDArray[np.uint8]:
    """Not a face, but grey levels with detail at all scales: uint8[112, 112, 3]."""
    rng = np.random.default_rng(4)
    levels = np.full((112, 112), 120.0)
    for cells in (4, 8, 16, 32):
        levels += cv2.resize(rng.normal(0, 80 / cells**0.5, (cells, cells)), (112, 112), interpolation=cv2.INTER_CUBIC)
    return np.repeat(np.clip(levels, 6, 249).astype(np.uint8)[:, :, None], 3, axis=2)


def test_a_good_face_has_full_quality_and_no_advice() -> None:
    assert judge(GOOD) == (100, ())


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        ({"eye_distance": 15.0}, "closer"),
        ({"yaw": -48.0}, "face the camera"),
        ({"yaw": 48.0}, "face the camera"),
        ({"pitch": 75.0}, "face the camera"),
        ({"contrast": 30.0, "brightness": 40.0}, "more light"),
        ({"contrast": 30.0, "brightness": 220.0}, "less light"),
        ({"white": 0.4, "brightness": 230.0}, "less light"),
        ({"black": 0.4, "brightness": 20.0}, "more light"),
        ({"sharpness": 0.005}, "hold still"),
        ({"strength": 0.2}, "uncovered"),
    ],
)
def test_each_fault_has_its_advice(fault: dict[str, float], word: str) -> None:
    quality, advice = judge(dataclasses.replace(GOOD, **fault))
    assert quality < 50
    assert len(advice) == 1
    assert word in advice[0]


def test_the_worst_fault_comes_first_and_none_twice() -> None:
    bad = dataclasses.replace(GOOD, eye_distance=20.0, sharpness=0.001, contrast=25.0, white=0.45, brightness=240.0)
    quality, advice = judge(bad)
    assert quality <= 5
    assert [text.split(" ")[0] for text in advice] == ["hold", "less", "move"]


def test_blur_lowers_sharpness_but_brightness_and_contrast_do_not() -> None:
    crop = textured_crop()
    sharp = measure(crop, ARCFACE_POINTS, 1.0, 1.0)
    blurred = measure(np.asarray(cv2.GaussianBlur(crop, (0, 0), 3.0), np.uint8), ARCFACE_POINTS, 1.0, 1.0)
    flat = measure((crop // 2 + 60).astype(np.uint8), ARCFACE_POINTS, 1.0, 1.0)
    assert blurred.sharpness < 0.3 * sharp.sharpness
    assert flat.sharpness == pytest.approx(sharp.sharpness, rel=0.2)
    assert flat.contrast == pytest.approx(sharp.contrast / 2, abs=2)


def test_exposure_is_measured() -> None:
    white = np.full((112, 112, 3), 255, np.uint8)
    assert measure(white, ARCFACE_POINTS, 1.0, 1.0).white == 1.0
    assert measure(np.zeros_like(white), ARCFACE_POINTS, 1.0, 1.0).black == 1.0
    assert judge(measure(np.zeros_like(white), ARCFACE_POINTS, 1.0, 1.0))[0] == 0


def test_pose_is_zero_for_a_frontal_face_and_free_of_roll_and_size() -> None:
    assert head_pose(ARCFACE_POINTS) == pytest.approx((0.0, 0.0), abs=1.5)
    for angle in (-0.6, 0.3):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        assert head_pose(3.3 * ARCFACE_POINTS @ turn.T + 100) == pytest.approx(head_pose(ARCFACE_POINTS), abs=1e-6)


@pytest.mark.parametrize("degrees", [-35, -15, 15, 35])
def test_pose_follows_a_turned_head(degrees: int) -> None:
    """Five points in space, with the nose before the plane of the others, turned and projected."""
    flat = ARCFACE_POINTS - ARCFACE_POINTS[:2].mean(axis=0)
    flat[2, 0] = 0.0
    depth = np.array([0.0, 0.0, 0.55 * 35.24, 0.0, 0.0])
    angle = np.radians(degrees)
    turned = np.column_stack([flat[:, 0] * np.cos(angle) + depth * np.sin(angle), flat[:, 1]])
    yaw, _ = head_pose(turned)
    assert yaw == pytest.approx(degrees, abs=3)
    nodded = np.column_stack([flat[:, 0], flat[:, 1] * np.cos(angle) + depth * np.sin(angle)])
    _, pitch = head_pose(nodded)
    assert pitch * degrees > 0
    assert abs(pitch) == pytest.approx(abs(degrees), abs=12)


def test_ramps_go_both_ways() -> None:
    assert [Ramp(10, 20)(v) for v in (5, 10, 15, 20, 30)] == [0, 0, 0.5, 1, 1]
    assert [Ramp(20, 10)(v) for v in (5, 10, 15, 20, 30)] == [1, 1, 0.5, 0, 0]
