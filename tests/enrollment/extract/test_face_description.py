"""``pack.toml``: what is read, and that every mistake is named."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enrollment.extract.face_alignment import ARCFACE_ALIGNMENT, ARCFACE_POINTS
from enrollment.extract.face_description import read_pack_file
from matcher.errors import ModalityUnavailable
from tests.enrollment.extract.pack_folders import model_id, write_pack

FIVE = [[40.0, 50.0], [72.0, 50.0], [56.0, 70.0], [42.0, 90.0], [70.0, 90.0]]


def test_reads_what_it_says(tmp_path: Path) -> None:
    read = read_pack_file(write_pack(tmp_path, "face-acme-3", {"mean": [1.0, 2.0, 3.0], "training_data": "ACME's own"}))
    assert read.mean == (1.0, 2.0, 3.0)
    assert read.alignment is ARCFACE_ALIGNMENT
    card = read.description
    assert re.fullmatch("face-acme-3-[0-9a-f]{8}", card.algorithm)
    assert (card.dimension, card.commercial_use) == (64, True)
    assert card.training == "ACME's own"
    assert read_pack_file(write_pack(tmp_path, "face-acme-3")).description.training == "undisclosed"


def test_whatever_decides_the_templates_gives_another_id(tmp_path: Path) -> None:
    written = write_pack(tmp_path, "face-acme-3")
    alike: list[dict[str, object]] = [{}, {"licence": "other"}, {"training_data": "told"}, {"dimension": 128}]
    others: list[dict[str, object]] = [
        {"sha256": "0" * 64},
        {"mean": 0.0},
        {"mean": [127.5, 127.5, 127.0]},
        {"scale": 128.0},
        {"channel_order": "BGR"},
        {"input_size": 224},
        {"alignment_points": FIVE},
    ]
    first = model_id(written)
    assert {model_id(write_pack(tmp_path, "face-acme-3", changes)) for changes in alike} == {first}
    ids = {model_id(write_pack(tmp_path, "face-acme-3", changes)) for changes in others}
    assert len(ids | {first}) == len(others) + 1


def test_alignment_of_other_sizes_and_points(tmp_path: Path) -> None:
    larger = read_pack_file(write_pack(tmp_path, "face-acme-3", {"input_size": 224})).alignment
    assert larger.side == 224
    # The outer border of the crop stays where it is: half a pixel before the first pixel's centre.
    assert np.allclose(larger.points, 2 * ARCFACE_POINTS + 0.5)
    own = read_pack_file(write_pack(tmp_path, "face-acme-3", {"alignment_points": FIVE})).alignment
    assert own.points.tolist() == FIVE


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"name": "face-compact-1"}, "name"),
        ({"name": "face-insightface-0123456789ab"}, "name"),
        ({"name": "Face Acme"}, "name"),
        ({"name": "x" * 49}, "name"),
        ({"file": "../outside.onnx"}, "file"),
        ({"file": ""}, "file"),
        ({"file": ".."}, "file"),
        ({"file": "tiny.onnx\0x"}, "file"),
        ({"sha256": "abc"}, "sha256"),
        ({"input_size": 0}, "input_size"),
        ({"scale": 0.0}, "scale"),
        ({"scale": [1.0, 1.0, -1.0]}, "scale"),
        ({"mean": [1.0, 2.0]}, "mean"),
        ({"channel_order": "GRB"}, "channel_order"),
        ({"dimension": 5000}, "dimension"),
        ({"alignment_points": FIVE[:4]}, "alignment_points"),
        ({"alignment_points": [[50.0, 50.0]] * 5}, "alignment_points"),
        ({"alignment_points": FIVE[1::-1] + FIVE[2:]}, "alignment_points"),
        ({"licence": ""}, "licence"),
        ({"licence": None}, "licence"),
        ({"commercial_use": None}, "commercial_use"),
        ({"provenance": None}, "provenance"),
        ({"extra": 1}, "extra"),
    ],
)
def test_mistakes_name_the_entry(tmp_path: Path, changes: dict[str, object], named: str) -> None:
    with pytest.raises(ModalityUnavailable, match=named) as refused:
        read_pack_file(write_pack(tmp_path, "face-acme-3", changes))
    assert refused.value.reason == "FACE_PACK_UNUSABLE"
    assert "pack.toml" in refused.value.message


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pack.toml").write_bytes(content)
    with pytest.raises(ModalityUnavailable):
        read_pack_file(tmp_path)
