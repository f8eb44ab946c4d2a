"""Manifests split into a gallery and probes."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest

from benchmarks.gallery_and_probes import main, split

ROWS = [{"subject_id": f"s{k // 3}", "encounter": str(k % 3)} for k in range(60)]


def test_strangers_are_searched_once_and_others_with_all_later_encounters() -> None:
    gallery, probes = split(ROWS, 0.25, 7)
    enrolled = {r["subject_id"] for r in gallery}
    assert len(gallery) == len(enrolled) == 15
    assert {r["encounter"] for r in gallery} == {"0"}
    mated = [r for r in probes if r["subject_id"] in enrolled]
    strangers = [r for r in probes if r["subject_id"] not in enrolled]
    assert (len(mated), {r["encounter"] for r in mated}) == (30, {"1", "2"})
    assert (len(strangers), {r["encounter"] for r in strangers}) == (5, {"0"})
    assert split(ROWS, 0.25, 7) == (gallery, probes)
    assert split(ROWS, 0.25, 8) != (gallery, probes)


def test_files_are_found_from_where_the_manifests_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data" / "old").mkdir(parents=True)
    lines = ["path,subject_id,modality,position,encounter"]
    for k in range(8):
        (tmp_path / "data" / "old" / f"{k}.png").write_text("x")
        lines.append(f"old/{k}.png,s{k // 2},{'face' if k else 'iris'},,{k % 2}")
    (tmp_path / "data" / "m.csv").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["x", "data/m.csv", "--modality", "face", "--out", "new"])
    main()
    for name, count in (("gallery", 2), ("all", 7)):
        with (tmp_path / "new" / f"{name}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == count
        assert all((tmp_path / "new" / r["path"]).is_file() and r["dataset"] == "old" for r in rows)
