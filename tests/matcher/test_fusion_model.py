"""The fusion model: which correlation is asked for, and the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from matcher.errors import InvalidInput
from matcher.fusion_model import Correlations, FusionModel
from matcher.positions import Position

MODEL = FusionModel(
    Correlations(0.4, 0.3, 0.5, 0.2),
    Correlations(0.2, 0.1, 0.1, 0.6, 0.05),
    Correlations(0.3, 0.2, 0.1, 0.7, 0.1),
    {"data": "none"},
)


def test_hands_are_told_apart() -> None:
    related = Correlations(same_hand=0.4, other_hand=0.2, eyes=0.3, faces=0.1, modalities=0.05)
    assert related.between(Position.RIGHT_THUMB, Position.RIGHT_LITTLE) == 0.4
    assert related.between(Position.LEFT_THUMB, Position.LEFT_LITTLE) == 0.4
    assert related.between(Position.RIGHT_LITTLE, Position.LEFT_THUMB) == 0.2
    assert related.between(Position.FINGER_UNKNOWN, Position.LEFT_THUMB) == 0.4
    assert related.between(Position.IRIS_LEFT, Position.IRIS_RIGHT) == 0.3
    assert related.between(Position.FACE, Position.FACE) == 0.1
    assert related.between(Position.IRIS_LEFT, Position.FACE) == 0.05


def test_model_survives_json() -> None:
    assert FusionModel.from_json(MODEL.to_json()) == MODEL
    assert FusionModel.from_json(FusionModel().to_json()) == FusionModel()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"fusion_version": 9}',
        MODEL.to_json().replace('"eyes": 0.5', '"eyes": 2'),
        MODEL.to_json().replace('"eyes": 0.5', '"eyes": NaN'),
        MODEL.to_json().replace('"eyes": 0.5', '"ears": 0.5'),
        MODEL.to_json().replace('"strangers": {', '"strangers": 3, "x": {'),
        MODEL.to_json().replace('"eyes": 0.5,', ""),
        MODEL.to_json().replace('"modalities": 0.1', '"modalities": 0.01'),
        json.dumps(json.loads(MODEL.to_json()) | {"strangers": {}}),
        "[" * 100_000,
        MODEL.to_json().replace('"eyes": 0.5', '"eyes": 1e999'),
    ],
)
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="fusion model"):
        FusionModel.from_json(text)


def test_a_deployments_model_replaces_the_shipped_one(tmp_path: Path) -> None:
    shipped = FusionModel.load()
    assert FusionModel.load(tmp_path) == shipped
    (tmp_path / "fusion_model.json").write_text(MODEL.to_json())
    assert FusionModel.load(tmp_path) == MODEL


@pytest.mark.parametrize("content", [b"{}", b"\xff\xfe", b"[" * 100_000])
def test_a_file_that_is_no_model_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "fusion_model.json").write_bytes(content)
    with pytest.raises(InvalidInput, match=r"fusion_model\.json"):
        FusionModel.load(tmp_path)


def test_the_shipped_model_is_fitted_and_its_limits_lie_above_its_estimates() -> None:
    shipped = FusionModel.load()
    assert {"data", "date", "made_by"} <= shipped.about.keys()
    for name in ("same_hand", "other_hand", "eyes", "faces", "modalities"):
        assert 0 < getattr(shipped.strangers, name) <= getattr(shipped.strangers_limit, name) < 1
    assert shipped.strangers.same_hand >= shipped.strangers.other_hand >= shipped.strangers.modalities
