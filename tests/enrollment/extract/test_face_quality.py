"""Quality and advice: each fault, made on purpose, lowers the score and brings its own advice."""

from __future__ import annotations

import dataclasses

import pytest

from enrollment.extract.face_measures import FaceMeasures
from enrollment.extract.face_quality import Ramp, judge

GOOD = FaceMeasures(
    eye_distance=60.0,
    yaw=3.0,
    pitch=-4.0,
    roll=2.0,
    sharpness=0.1,
    brightness=120.0,
    contrast=120.0,
    white=0.0,
    black=0.0,
    clutter=3.0,
    mouth=0.05,
    eyes=0.3,
    faces=1,
    confidence=1.0,
    strength=1.0,
    agreement=1.0,
)


def test_a_good_face_has_full_quality_and_no_advice() -> None:
    quality = judge(GOOD)
    assert (quality.score, quality.advice) == (100, ())
    assert {c.score for c in quality.components} == {100}
    assert len({c.name for c in quality.components}) == len(quality.components) == 15
    assert all(c.unit for c in quality.components)


SPOILS: list[tuple[dict[str, float], str, str]] = [
    ({"eye_distance": 15.0}, "inter_eye_distance", "closer"),
    ({"contrast": 30.0, "brightness": 60.0}, "dynamic_range", "too dark"),
    ({"contrast": 30.0, "brightness": 210.0}, "dynamic_range", "too bright"),
    ({"white": 0.4, "brightness": 200.0}, "clipping", "too bright"),
    ({"black": 0.4, "brightness": 60.0}, "clipping", "too dark"),
    ({"sharpness": 0.005}, "sharpness", "hold still"),
    ({"strength": 0.2}, "recognisability", "uncovered"),
    ({"agreement": 0.2}, "consistency", "uncovered"),
]
GUIDES: list[tuple[dict[str, float], str, str]] = [
    ({"yaw": -48.0}, "yaw", "turn towards the camera"),
    ({"yaw": 48.0}, "yaw", "turn towards the camera"),
    ({"pitch": 75.0}, "pitch", "height of the eyes"),
    ({"roll": -90.0}, "roll", "upright"),
    ({"brightness": 45.0}, "exposure", "too dark"),
    ({"brightness": 230.0}, "exposure", "too bright"),
    ({"clutter": 25.0}, "background_clutter", "plain wall"),
    ({"mouth": 0.4}, "mouth_closed", "close the mouth"),
    ({"eyes": 0.1}, "eyes_open", "open the eyes"),
    ({"faces": 3}, "faces", "one person"),
    ({"confidence": 0.0}, "detection", "whole face"),
]


@pytest.mark.parametrize(("fault", "component", "word"), SPOILS + GUIDES)
def test_each_fault_has_its_component_and_advice(fault: dict[str, float], component: str, word: str) -> None:
    quality = judge(dataclasses.replace(GOOD, **fault))  # type: ignore[arg-type]
    assert {c.name for c in quality.components if c.score < 50} == {component}
    assert len(quality.advice) == 1
    assert word in quality.advice[0]
    assert (quality.score < 50) == ((fault, component, word) in SPOILS), "only what spoils a picture counts"


def test_the_worst_fault_comes_first_and_none_twice() -> None:
    bad = dataclasses.replace(GOOD, eye_distance=20.0, sharpness=0.001, contrast=25.0, white=0.45)
    quality = judge(bad)
    assert quality.score <= 5
    assert [text.split(" ")[0] for text in quality.advice] == ["hold", "too", "move"]


def test_a_pack_without_landmarks_has_no_opinion_on_mouth_and_eyes() -> None:
    names = {c.name for c in judge(dataclasses.replace(GOOD, mouth=None, eyes=None)).components}
    assert len(names) == 13
    assert not names & {"mouth_closed", "eyes_open"}


def test_ramps_go_both_ways() -> None:
    assert [Ramp(10, 20)(v) for v in (5, 10, 15, 20, 30)] == [0, 0, 0.5, 1, 1]
    assert [Ramp(20, 10)(v) for v in (5, 10, 15, 20, 30)] == [1, 1, 0.5, 0, 0]
