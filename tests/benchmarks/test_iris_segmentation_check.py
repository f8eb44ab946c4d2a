"""Marks by eye against boundaries: the measure itself, and the shipped marks' sanity."""

from __future__ import annotations

import math

import pytest

from benchmarks.iris_segmentation_check import Marks, errors, read_marks
from enrollment.extract.iris_geometry import Circle
from tests.enrollment.extract.iris_drawings import drawn_eye, known_segmentation

PUPIL, LIMBUS = Circle(160, 118, 30), Circle(162, 120, 80)


def marks(*, limbus_right: float = 242.0, pupil_top: float | None = 88.0) -> Marks:
    return Marks("drawn", "none", 130, 190, pupil_top, 148, 82, limbus_right, 120)


def test_marks_on_the_boundary_have_no_error() -> None:
    eye = known_segmentation(drawn_eye(PUPIL, LIMBUS), PUPIL, LIMBUS)
    assert errors(eye, marks()) == pytest.approx((0, 0), abs=0.003)


def test_the_furthest_mark_counts_over_the_radius() -> None:
    eye = known_segmentation(drawn_eye(PUPIL, LIMBUS), PUPIL, LIMBUS)
    assert errors(eye, marks(limbus_right=250.0))[1] == pytest.approx(8 / 84, abs=0.003)
    assert errors(eye, marks(pupil_top=80.0))[0] == pytest.approx(8 / 80, abs=0.003)
    assert errors(eye, marks(pupil_top=None))[0] == pytest.approx(0, abs=0.003)


def test_no_segmentation_is_infinitely_wrong() -> None:
    assert errors(None, marks()) == (math.inf, math.inf)


def test_the_shipped_marks_are_whole() -> None:
    shipped = read_marks()
    assert len(shipped) == len({m.path for m in shipped}) == 100
    for m in shipped:
        assert m.limbus_left < m.pupil_left < m.pupil_right < m.limbus_right
        assert 35 < m.iris_radius < 130
        assert m.pupil_top is None or m.pupil_top < m.limbus_y < m.pupil_bottom
