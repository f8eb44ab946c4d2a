"""Positions: codes of the standard, names that people write, and which positions may show the same part."""

from __future__ import annotations

import itertools

import pytest

from matcher.errors import InvalidInput
from matcher.positions import Modality, Position


def test_codes_are_those_of_ansi_nist() -> None:
    """Table 12 of ANSI/NIST-ITL for fingers; eye labels 1 right, 2 left behind 30."""
    fingers = ["right_thumb", "right_index", "right_middle", "right_ring", "right_little"]
    fingers += [name.replace("right", "left") for name in fingers]
    assert [Position(code).label for code in range(1, 11)] == fingers
    assert (Position.FACE, Position.IRIS_RIGHT, Position.IRIS_LEFT) == (20, 31, 32)


@pytest.mark.parametrize("position", list(Position))
def test_every_label_parses_to_its_position_in_any_spelling(position: Position) -> None:
    for text in (
        position.label,
        position.name,
        f"  {position.label.replace('_', ' ')} ",
        position.label.replace("_", "-"),
    ):
        assert Position.parse(text) is position
        assert Position.parse(text, position.modality.upper()) is position


@pytest.mark.parametrize(
    ("text", "modality", "expected"),
    [
        ("", "face", Position.FACE),
        ("frontal", "face", Position.FACE),
        ("Frontal", " Face ", Position.FACE),
        ("unknown", "face", Position.FACE),
        ("unknown", "finger", Position.FINGER_UNKNOWN),
        ("", "finger", Position.FINGER_UNKNOWN),
        ("left", "iris", Position.IRIS_LEFT),
        ("right", "iris", Position.IRIS_RIGHT),
        ("", "iris", Position.IRIS_UNKNOWN),
    ],
)
def test_short_words_of_manifests(text: str, modality: str, expected: Position) -> None:
    assert Position.parse(text, modality) is expected


@pytest.mark.parametrize(
    ("text", "modality"),
    [
        ("", ""),
        ("left", ""),
        ("left", "finger"),
        ("frontal", "iris"),
        ("sixth_finger", ""),
        ("right_index", "iris"),
        ("iris_left", "finger"),
        ("face", "gait"),
        ("1", ""),
        ("RIGHT_INDEX\x00", ""),
    ],
)
def test_what_names_no_position_is_refused_with_the_names_there_are(text: str, modality: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Position.parse(text, modality)
    assert caught.value.reason == "POSITION_UNKNOWN"
    assert caught.value.field == "position"
    known = [p for p in Position if p.modality == modality] or list(Position)
    for position in known:
        assert position.label in caught.value.message


def test_modalities() -> None:
    by_modality = {m: [p for p in Position if p.modality is m] for m in Modality}
    assert [len(by_modality[m]) for m in (Modality.FINGER, Modality.FACE, Modality.IRIS)] == [11, 1, 3]
    assert [p for p in Position if p.is_unknown] == [Position.FINGER_UNKNOWN, Position.IRIS_UNKNOWN]


def test_which_positions_may_match() -> None:
    for a, b in itertools.product(Position, repeat=2):
        same_modality = a.label.split("_")[0] == b.label.split("_")[0] == "iris" or a is b or (a < 20 and b < 20)
        expected = same_modality and (a == b or 11 in (a, b) or 30 in (a, b))
        assert a.may_match(b) == expected, (a, b)
        assert a.may_match(b) == b.may_match(a)
