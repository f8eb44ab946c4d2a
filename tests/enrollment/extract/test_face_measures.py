"""What is measured of a face, on drawings whose measures are known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from enrollment.extract.face_alignment import ARCFACE_POINTS
from enrollment.extract.face_measures import FaceMeasures, clutter, eye_opening, head_pose, measure, mouth_gap
from enrollment.extract.face_pack import FaceBox, FaceEmbedding
from enrollment.extract.face_quality import judge

BOX = FaceBox(0, 0, 112, 112, 0.75)
EMBEDDING = FaceEmbedding(np.full(4, 0.5, np.float32), 0.5, 0.25)


def textured_crop() -> NDArray[np.uint8]:
    """Not a face, but grey levels with detail at all scales: uint8[112, 112, 3]."""
    rng = np.random.default_rng(4)
    levels = np.full((112, 112), 120.0)
    for cells in (4, 8, 16, 32):
        levels += cv2.resize(rng.normal(0, 80 / cells**0.5, (cells, cells)), (112, 112), interpolation=cv2.INTER_CUBIC)
    return np.repeat(np.clip(levels, 6, 249).astype(np.uint8)[:, :, None], 3, axis=2)


def measured(crop: NDArray[np.uint8]) -> FaceMeasures:
    """The crop as the whole picture."""
    return measure(crop, crop, ARCFACE_POINTS, None, BOX, EMBEDDING, 2)


def drawn_landmarks() -> NDArray[np.float64]:
    """68 points of which eyes and inner lips are set: eyes 40 apart, 20 wide, 5 open, lips 8 apart."""
    points = np.zeros((68, 2))
    for corner, x in ((36, 0.0), (42, 40.0)):
        points[corner : corner + 6] = [[x, 0], [x + 7, -2.5], [x + 13, -2.5], [x + 20, 0], [x + 13, 2.5], [x + 7, 2.5]]
    points[[61, 62, 63]] = [[20, 46], [30, 46], [40, 46]]
    points[[67, 66, 65]] = [[20, 54], [30, 54], [40, 54]]
    return points


def test_mouth_and_eyes_are_measured_whatever_size_and_roll() -> None:
    for angle, scale in ((0.0, 1.0), (0.4, 3.0), (np.pi, 0.5)):
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        points = drawn_landmarks() @ turn.T + 200
        assert mouth_gap(points) == pytest.approx(0.2)
        assert eye_opening(points) == pytest.approx(0.25)
    points = drawn_landmarks()
    points[[43, 44]] = points[[47, 46]]
    assert eye_opening(points) == 0, "the eye less open counts"


def test_what_others_found_is_passed_on() -> None:
    measures = measured(textured_crop())
    assert (measures.confidence, measures.strength, measures.agreement, measures.faces) == (0.75, 0.5, 0.25, 2)
    assert (measures.mouth, measures.eyes) == (None, None)
    assert measures.eye_distance == pytest.approx(35.24, abs=0.01)
    assert measures.roll == pytest.approx(0.0, abs=0.5)


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_roll_is_that_of_the_eyes(quarters: int) -> None:
    angle = np.pi / 2 * quarters
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    crop = textured_crop()
    roll = measure(crop, crop, ARCFACE_POINTS @ turn.T + 200, None, BOX, EMBEDDING).roll
    assert (roll - 90 * quarters + 180) % 360 - 180 == pytest.approx(0, abs=0.5)


def test_clutter_is_what_surrounds_the_head_and_not_the_head() -> None:
    plain = np.full((400, 400, 3), 120, np.uint8)
    points = ARCFACE_POINTS + 140
    assert clutter(plain, points) == 0
    striped = plain.copy()
    striped[:, ::12] = 250
    head_only = plain.copy()
    head_only[165:225, 170:220] = striped[165:225, 170:220]
    assert clutter(striped, points) > 10
    assert clutter(head_only, points) == 0
    assert clutter(plain[145:245, 145:245], points - 145) == 0, "the edge of a tight picture is no clutter"


def test_blur_lowers_sharpness_but_brightness_and_contrast_do_not() -> None:
    crop = textured_crop()
    sharp = measured(crop)
    blurred = measured(np.asarray(cv2.GaussianBlur(crop, (0, 0), 3.0), np.uint8))
    flat = measured((crop // 2 + 60).astype(np.uint8))
    assert blurred.sharpness < 0.3 * sharp.sharpness
    assert flat.sharpness == pytest.approx(sharp.sharpness, rel=0.2)
    assert flat.contrast == pytest.approx(sharp.contrast / 2, abs=2)


def test_exposure_is_measured() -> None:
    white = np.full((112, 112, 3), 255, np.uint8)
    assert measured(white).white == 1.0
    assert measured(np.zeros_like(white)).black == 1.0
    assert judge(measured(np.zeros_like(white))).score == 0


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
