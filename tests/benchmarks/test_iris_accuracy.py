"""Halves of a manifest of irises, and the gate that rejects a share."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.iris_accuracy import gate_of, halves, write_halves
from enrollment.evaluation.protocol import list_samples


def test_halves_are_of_sorted_subjects_and_share_none() -> None:
    rows = [{"subject_id": name, "encounter": str(e)} for e in range(2) for name in ("d", "a", "c", "e", "b")]
    first, second = halves(rows)
    assert [r["subject_id"] for r in first] == ["a", "c", "b"] * 2
    assert [r["subject_id"] for r in second] == ["d", "e"] * 2


def test_halves_are_manifests_whose_files_are_there(tmp_path: Path) -> None:
    lines = ["path,subject_id,modality,position,encounter,ppi,width,height"]
    for subject in ("s1", "s2", "s3", "s4"):
        for side in ("left", "right"):
            (tmp_path / f"{subject}-{side}.bmp").write_bytes(b"x")
            lines.append(f"{subject}-{side}.bmp,{subject},iris,{side},1,,320,240")
    manifest = tmp_path / "eyes.csv"
    manifest.write_text("\n".join(lines) + "\n")
    first, second = write_halves(manifest, tmp_path / "new" / "folder")
    assert (first.name, second.name) == ("eyes-first.csv", "eyes-second.csv")
    for path, subjects in ((first, {"s1", "s2"}), (second, {"s3", "s4"})):
        listed = list_samples(path)
        assert {s.subject_id for s in listed.samples} == subjects
        assert len(listed.samples) == 4
        assert not listed.missing


@pytest.mark.parametrize(
    ("qualities", "gate", "rejected"),
    [([], 0, 0), ([50] * 40, 50, 0), (list(range(100)), 5, 5), ([0, 0, 0, *range(10, 47)], 0, 0)],
)
def test_a_gate_rejects_at_most_the_share(qualities: list[int], gate: int, rejected: int) -> None:
    assert gate_of(qualities, 0.05) == gate
    assert sum(q < gate for q in qualities) == rejected
