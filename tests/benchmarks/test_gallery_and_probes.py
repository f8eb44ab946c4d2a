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


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", ["x", *map(str, words)])
    main()


HEAD = "path,subject_id,modality\n"


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        (None, [], "cannot be read"),
        ("folder", [], "cannot be read"),
        ("path,subject_id\n0.png,s", [], "no column modality"),
        (HEAD.encode() + b"0.png,\xff,face", [], "no CSV file"),
        (HEAD + "0.png,,face", [], "lists no sample of modality face"),
        (HEAD + "0.png,s,face", [], "0 for probes"),
        (HEAD + "0.png,s,face", ["--paths", "("], "no regular expression"),
        (HEAD + "0.png,s,face", ["--seed", "-1"], "--seed must be at least 0"),
        (HEAD + "0.png,s,face", ["--left-out", "nan"], "--left-out must be"),
        (HEAD + "0.png,s,face\n0.png,t,face", ["--out", "0.png/new"], "Not a directory"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    content: str | bytes | None,
    options: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("0.png").write_text("x")
    if content == "folder":
        Path("m.csv").mkdir()
    elif content is not None:
        Path("m.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "m.csv", "--modality", "face", "--out", "new", *options)
    assert ended.value.code == 2
    assert words in capsys.readouterr().err
    assert not Path("new").exists()


def test_rows_that_cannot_be_used_are_left_out_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("0.png").write_text("x")
    rows = ["0.png,s,face", "0.png,t,face,9", "0.png,,face,8", "none.png,u,face,7"]
    Path("m.csv").write_text("path,subject_id,modality,year\n" + "\n".join(rows))
    run(monkeypatch, "m.csv", "--modality", "face", "--out", "new")
    assert "left out: 1 rows whose file is missing, 1 unusable rows" in capsys.readouterr().out
    with Path("new/all.csv").open(newline="") as file:
        assert [(r["subject_id"], r["year"]) for r in csv.DictReader(file)] == [("s", ""), ("t", "9")]


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
