"""Pairs counted by hand, and rows that are in no rate."""

from __future__ import annotations

from pathlib import Path

import pytest

from enrollment.evaluation.protocol import (
    EvaluationSample,
    Impostors,
    list_samples,
    make_pairs,
    only_modality,
)
from matcher.errors import InvalidInput
from matcher.positions import Modality, Position


def sample(subject: str, position: Position = Position.FINGER_UNKNOWN) -> EvaluationSample:
    return EvaluationSample(2, Path("x.png"), subject, "1", position, None, {"sensor": "a"})


def test_the_counts_of_an_fvc_set() -> None:
    """FVC set B: 10 fingers x 8 impressions are 280 genuine and 45 impostor comparisons."""
    samples = [sample(f"f{i}") for i in range(10) for _ in range(8)]
    pairs = make_pairs(samples, Impostors.FIRST)
    assert (len(pairs.genuine), len(pairs.impostor)) == (280, 45)
    assert {int(i) % 8 for i in pairs.impostor.ravel()} == {0}
    assert len(make_pairs(samples, Impostors.ALL).impostor) == 80 * 79 // 2 - 280


def test_pairs_equal_those_of_two_loops() -> None:
    positions = [Position.LEFT_INDEX, Position.RIGHT_INDEX, Position.FINGER_UNKNOWN]
    samples = [sample(f"s{(i * 7) % 4}", positions[(i * 5) % 3]) for i in range(30)]
    genuine, impostor, ambiguous = set(), set(), 0
    for i, a in enumerate(samples):
        for j, b in enumerate(samples[i + 1 :], i + 1):
            if a.body_part == b.body_part:
                genuine.add((i, j))
            elif a.subject_id == b.subject_id and a.position.may_match(b.position):
                ambiguous += 1
            else:
                impostor.add((i, j))
    pairs = make_pairs(samples, Impostors.ALL)
    assert {tuple(p) for p in pairs.genuine.tolist()} == genuine
    assert {tuple(p) for p in pairs.impostor.tolist()} == impostor
    assert pairs.ambiguous == ambiguous > 0


def test_manifest_rows(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    (tmp_path / "m.csv").write_text(
        "path,subject_id,modality,position,encounter,sensor\n"
        "a.png,s1,finger,right_index,1,old\n"
        "gone.png,s1,finger,right_index,2,new\n"
        "a.png,s2,finger,elbow,1,new\n"
        "a.png,s3,face,,1,\n"
    )
    listed = list_samples(tmp_path / "m.csv")
    assert [(s.line, s.subject_id, s.columns["sensor"]) for s in listed.samples] == [(2, "s1", "old"), (5, "s3", "")]
    assert [s.line for s in listed.missing] == [3]
    assert [(r.line, r.reason) for r in listed.bad_rows] == [(4, "POSITION_UNKNOWN")]
    with pytest.raises(InvalidInput, match="mixes face, finger"):
        only_modality(listed.samples)
    assert only_modality(list_samples(tmp_path / "m.csv", Modality.FACE).samples) is Modality.FACE
    with pytest.raises(InvalidInput, match="no sample of modality iris"):
        list_samples(tmp_path / "m.csv", Modality.IRIS)
