"""Which of several faces is meant: the largest, the one asked for, or nobody knows."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrollment.extract.face_choice import chosen_face, found_faces, most_prominent_first
from enrollment.extract.face_pack import FaceBox
from matcher.errors import FaceUndecided
from matcher.service.extraction import SEARCH, FaceChoice, SampleUse

ENROL = SampleUse(enrols=True)


def square(x: float, y: float, side: float) -> FaceBox:
    return FaceBox(x - side / 2, y - side / 2, x + side / 2, y + side / 2, 1.0)


def test_the_largest_is_first_and_of_those_about_as_large_the_most_central() -> None:
    central, corner, small = square(300, 200, 120), square(80, 80, 140), square(320, 230, 40)
    for boxes in itertools.permutations([central, corner, small]):
        assert most_prominent_first(boxes, 600, 400) == [central, corner, small]
    giant = square(80, 80, 240)
    assert most_prominent_first([central, giant], 600, 400) == [giant, central]


@given(st.lists(st.tuples(st.floats(0, 600), st.floats(0, 400), st.floats(1, 300)), max_size=8))
def test_every_face_is_listed_once_and_none_is_twice_as_large_as_one_before_it(
    places: list[tuple[float, float, float]],
) -> None:
    boxes = [square(*place) for place in places]
    ordered = most_prominent_first(boxes, 600, 400)
    assert {id(b) for b in ordered} == {id(b) for b in boxes}
    for first, second in itertools.combinations(ordered, 2):
        assert second.width**2 <= 2.0 * first.width**2 * (1 + 1e-9)


def test_an_enrolment_of_several_faces_needs_to_say_which() -> None:
    boxes = [square(300, 200, 120), square(80, 80, 60)]
    assert chosen_face(boxes, SEARCH) == 0
    assert chosen_face(boxes[:1], ENROL) == 0
    with pytest.raises(FaceUndecided, match=r"shows 2 faces.*1: \(240, 140\) to \(360, 260\)") as caught:
        chosen_face(boxes, ENROL)
    assert caught.value.reason == "SEVERAL_FACES"
    assert caught.value.faces == found_faces(boxes)
    assert [f.taken for f in found_faces(boxes, 1)] == [False, True]


@pytest.mark.parametrize("enrols", [True, False])
def test_a_face_is_chosen_by_number_or_box(enrols: bool) -> None:
    boxes = [square(300, 200, 120), square(80, 80, 60)]

    def choose(number: int | None = None, box: tuple[float, float, float, float] | None = None) -> int:
        return chosen_face(boxes, SampleUse(enrols=enrols, face=FaceChoice(number, box)))

    assert [choose(number=n) for n in (1, 2)] == [0, 1]
    assert choose(box=(50, 50, 110, 110)) == 1
    assert choose(box=(260, 130, 390, 280)) == 0
    for number in (0, 3):
        with pytest.raises(FaceUndecided, match="Found: 1:") as caught:
            choose(number=number)
        assert caught.value.reason == "FACE_CHOICE_INVALID"
    for box in ((500.0, 300.0, 590.0, 390.0), (0.0, 0.0, 600.0, 400.0)):
        with pytest.raises(FaceUndecided, match="no face lies in the box"):
            choose(box=box)
