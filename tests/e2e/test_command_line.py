"""The command line against a real server process: what bureau and field unit do, and what programs read."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

from enrollment.demo_faces import PEOPLE, group_photo
from tests.e2e.conftest import Ambis, png
from tests.enrollment.extract.face_samples import needs_compact_pack

Samples = Callable[[int, int], bytes]


def test_the_main_job(ambis: Ambis, finger: Samples, eye: Samples, tmp_path: Path) -> None:
    for name, data in {
        "a1": finger(11, 1),
        "a2": finger(11, 2),
        "stranger": finger(99, 1),
        "e1": eye(11, 1),
        "e2": eye(11, 2),
    }.items():
        (tmp_path / name).write_bytes(data)
    made = ambis("enroll", "cli-1", "--finger", "right_index=a1", "--iris", "left=e1", "--type", "arrest", "--json")
    assert made.returncode == 0, made.stderr + made.stdout
    result = json.loads(made.stdout)
    assert result["subject_id"] == "cli-1"
    assert all(s["used"] and 0 < s["quality"] <= 100 for s in result["samples"])

    hit = ambis("identify", "--finger", "right_index=a2", "--json")
    assert hit.returncode == 0, hit.stderr + hit.stdout
    found = json.loads(hit.stdout)
    assert found["verdict"] == "VERDICT_HIT"
    assert found["candidates"][0]["subject_id"] == "cli-1"
    assert ambis("identify", "--iris", "e2").returncode == 0
    assert ambis("identify", "--finger", "stranger").returncode == 4

    table = ambis("identify", "--finger", "right_index=a2", "--iris", "left=e2")
    assert table.returncode == 0
    assert "HIT" in table.stdout
    assert "cli-1" in table.stdout
    assert max(map(len, table.stdout.splitlines())) <= 80

    assert ambis("verify", "cli-1", "--finger", "right_index=a2").returncode == 0
    assert ambis("verify", "cli-1", "--finger", "right_index=stranger").returncode == 4

    shown = ambis("subject", "show", "cli-1", "--json")
    assert [s["position"] for s in json.loads(shown.stdout)["encounters"][0]["samples"]] == [
        "POSITION_RIGHT_INDEX",
        "POSITION_IRIS_LEFT",
    ]
    assert "right_index" in ambis("subject", "show", "cli-1").stdout
    duplicate = ambis("enroll", "cli-1", "--finger", "a1")
    assert duplicate.returncode == 1
    assert "on record already" in duplicate.stderr
    assert ambis("enroll", "cli-1", "--finger", "right_index=a2", "--add").returncode == 0
    assert ambis("subject", "delete", "cli-1", "--yes").returncode == 0
    gone = ambis("identify", "--finger", "right_index=a2", "--json")
    assert gone.returncode == 4
    assert "cli-1" not in gone.stdout
    assert ambis("subject", "show", "cli-1").returncode != 0


def test_bulk_load_with_a_bad_file(ambis: Ambis, finger: Samples, tmp_path: Path) -> None:
    rows = ["path,subject_id,modality,position,encounter,ppi"]
    for i in range(4):
        (tmp_path / f"{i}.png").write_bytes(finger(200 + i, 1))
        rows.append(f"{i}.png,bulk-{i},finger,right_thumb,1,500")
    (tmp_path / "text.png").write_text("this is no image")
    rows.append("text.png,bulk-bad,finger,right_thumb,1,500")
    (tmp_path / "load.csv").write_text("\n".join(rows))
    first = ambis("bulk-enroll", "load.csv", "--json", "--gallery", "bulk")
    assert first.returncode == 5, first.stderr
    summary = json.loads(first.stdout)
    assert (summary["enrolled"], summary["rejected"]) == (4, 1)
    with (tmp_path / summary["rejects_file"]).open() as file:
        (row,) = csv.DictReader(file)
    assert (row["subject_id"], row["reason"], row["line"]) == ("bulk-bad", "IMAGE_UNREADABLE", "6")
    again = ambis("bulk-enroll", "load.csv", "--gallery", "bulk")
    assert "0 enrolled, 4 were on record already, 1 rejected" in again.stdout
    (tmp_path / "probe").write_bytes(finger(202, 2))
    found = json.loads(ambis("identify", "--finger", "probe", "--gallery", "bulk", "--json").stdout)
    assert found["candidates"][0]["subject_id"] == "bulk-2"
    assert found["gallery_size"] == "4"
    assert found["score_gap"] > 10
    table = ambis("identify", "--finger", "probe", "--gallery", "bulk", "--candidates", 1)
    assert f"first ahead of the next by {found['score_gap']:.1f}" in table.stdout
    assert max(map(len, table.stdout.splitlines())) <= 80


def test_restricted_searches(ambis: Ambis, finger: Samples, tmp_path: Path) -> None:
    rows = ["path,subject_id,modality,position,sex,birth_year"]
    for i, person in enumerate(("female,1984", "male,1990", ",")):
        (tmp_path / f"{i}.png").write_bytes(finger(400 + i, 1))
        rows.append(f"{i}.png,known-{i},finger,left_ring,{person}")
    (tmp_path / "known.csv").write_text("\n".join(rows))
    loaded = ambis("bulk-enroll", "known.csv", "--gallery", "known", "--type", "restricted")
    assert loaded.returncode == 0, loaded.stderr
    (tmp_path / "probe").write_bytes(finger(400, 2))
    search = ("identify", "--finger", "left_ring=probe", "--gallery", "known", "--json")
    for restriction, people in (
        (("--sex", "f", "--born", "1980-1985", "--type", "restricted"), ["known-0", "known-2"]),
        (("--born", "-1984"), ["known-0", "known-2"]),
        (("--sex", "male", "--sex", "other"), ["known-1", "known-2"]),
    ):
        answer = ambis(*search, *restriction)
        assert answer.returncode in (0, 3, 4), answer.stderr
        found = json.loads(answer.stdout)
        assert sorted(c["subject_id"] for c in found["candidates"]) == people
        assert found["gallery_size"] == str(len(people))
    (kept,) = json.loads(ambis("subject", "show", "known-0", "--json").stdout)["encounters"]
    assert (kept["sex"], kept["birth_year"]) == ("SEX_FEMALE", 1984)
    assert "1984" in ambis("subject", "show", "known-0").stdout
    misspelt = ambis(*search, "--type", "restrited")
    assert misspelt.returncode == 1
    assert json.loads(misspelt.stdout)["reason"] == "ENCOUNTER_TYPE_NOT_FOUND"
    backwards = ambis(*search, "--born", "1990-1980")
    assert "give the earlier year" in json.loads(backwards.stdout)["error"]


def test_status(ambis: Ambis) -> None:
    report = json.loads(ambis("status", "--json").stdout)
    assert {m["modality"] for m in report["modalities"]} == {"finger", "face", "iris"}
    assert set(report["search_paths"]) == {"finger", "face", "iris"}
    assert int(report["resident_bytes"]) > 0
    table = ambis("status").stdout
    assert "Modality" in table
    assert "roster" in table
    assert max(map(len, table.splitlines())) <= 80


def test_mistakes_are_explained(ambis: Ambis, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    nothing = ambis("identify")
    assert nothing.returncode == 2
    assert "at least one sample" in nothing.stderr
    toe = ambis("identify", "--finger", "toe=x")
    assert toe.returncode == 2
    assert "right_index" in toe.stderr
    missing = ambis("identify", "--finger", "no-such-file", "--json")
    assert missing.returncode == 2
    assert "no-such-file" in json.loads(missing.stdout)["error"]
    nobody = ambis("subject", "show", "nobody", "--json")
    assert nobody.returncode == 1
    assert json.loads(nobody.stdout)["reason"] == "SUBJECT_NOT_FOUND"


def test_no_server(tmp_path: Path) -> None:
    import os
    import subprocess
    import sys

    away = subprocess.run(
        [sys.executable, "-m", "enrollment.cli", "status", "--server", "127.0.0.1:1"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "AMBIS_TIMEOUT": "1"},
    )
    assert away.returncode == 1
    assert "ambis serve" in away.stderr


@needs_compact_pack
def test_which_of_several_faces(ambis: Ambis, tmp_path: Path) -> None:
    (tmp_path / "group.png").write_bytes(png(group_photo().pixels))
    refused = ambis("enroll", "group-2", "--face", "group.png", "--json")
    assert refused.returncode == 2
    failure = json.loads(refused.stdout)
    assert failure["reason"] == "SEVERAL_FACES"
    assert len(failure["faces"]) == PEOPLE
    assert "2: (" in ambis("enroll", "group-2", "--face", "group.png").stderr

    box = ",".join(map(str, failure["faces"][1]))
    made = ambis("enroll", "group-2", "--face", "group.png", "--which-face", box, "--json")
    assert made.returncode == 0, made.stderr + made.stdout
    (report,) = json.loads(made.stdout)["samples"]
    assert [f["taken"] for f in report["faces"]] == [n == 1 for n in range(PEOPLE)]
    assert {"inter_eye_distance", "yaw", "sharpness"} <= {c["name"] for c in report["components"]}
    found = json.loads(ambis("identify", "--face", "group.png", "--which-face", "2", "--json").stdout)
    assert found["candidates"][0]["subject_id"] == "group-2"
    other = json.loads(ambis("verify", "group-2", "--face", "group.png", "--which-face", "1", "--json").stdout)
    assert other["candidate"]["score"] < found["candidates"][0]["score"] - 20
    assert ambis("identify", "--face", "group.png", "--which-face", "7").returncode == 2
    unclear = ambis("identify", "--face", "group.png", "--which-face", "1", "--which-face", "2")
    assert unclear.returncode == 2
    assert "one for each picture" in unclear.stderr
    assert ambis("subject", "delete", "group-2", "--yes").returncode == 0
