"""Manifests: grouping, bad rows, broken files."""

from __future__ import annotations

from pathlib import Path

import pytest

from enrollment.manifest import read_manifest
from matcher.errors import InvalidInput
from matcher.filters import Sex
from matcher.positions import Position
from matcher.service.extraction import FaceChoice


def manifest(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "m.csv"
    path.write_text(text)
    return path


def test_rows_of_one_encounter_belong_together_wherever_they_stand(tmp_path: Path) -> None:
    found = read_manifest(
        manifest(
            tmp_path,
            "path,subject_id,modality,position,encounter,ppi,width,height,station\n"
            "a.png,s1,finger,right_index,1,500,10,10,12\n"
            "b.png,s2,face,frontal,1,,10,10,\n"
            "c.png,s1,iris,left,1,,10,10,13\n"
            "d.png,s1,finger,unknown,2,1000,10,10,\n",
        )
    )
    assert not found.bad_rows
    shape = [
        (e.subject_id, e.encounter_id, [(s.path.name, s.position, s.ppi, s.line) for s in e.samples], dict(e.context))
        for e in found.encounters
    ]
    assert shape == [
        (
            "s1",
            "1",
            [("a.png", Position.RIGHT_INDEX, 500.0, 2), ("c.png", Position.IRIS_LEFT, None, 4)],
            {"station": "12"},
        ),
        ("s2", "1", [("b.png", Position.FACE, None, 3)], {}),
        ("s1", "2", [("d.png", Position.FINGER_UNKNOWN, 1000.0, 5)], {}),
    ]
    assert found.encounters[0].samples[0].path == tmp_path / "a.png"


def test_sex_and_year_of_birth_of_an_encounter_may_stand_in_any_of_its_rows(tmp_path: Path) -> None:
    found = read_manifest(
        manifest(
            tmp_path,
            "path,subject_id,modality,sex,birth_year\n"
            "a.png,s1,face,,1984\n"
            "b.png,s1,face,F,\n"
            "c.png,s2,face,,\n"
            "d.png,s3,face,x,\n"
            "e.png,s4,face,m,84\n"
            "f.png,s1,face,male,\n"
            "g.png,s1,face,female,1985\n",
        )
    )
    assert [(e.subject_id, e.sex, e.birth_year, len(e.samples)) for e in found.encounters] == [
        ("s1", Sex.FEMALE, 1984, 2),
        ("s2", Sex.UNKNOWN, 0, 1),
    ]
    assert [(b.line, b.reason) for b in found.bad_rows] == [
        (5, "SEX_INVALID"),
        (6, "BIRTH_YEAR_INVALID"),
        (7, "PERSON_CONTRADICTED"),
        (8, "PERSON_CONTRADICTED"),
    ]
    assert ("s1", "1") in found.incomplete


def test_bad_rows_are_listed_with_reasons(tmp_path: Path) -> None:
    found = read_manifest(
        manifest(
            tmp_path,
            "path,subject_id,modality,position,encounter,ppi\n"
            ",s1,face,,1,\n"
            "a.png,,face,,1,\n"
            "a.png,s1,toe,left,1,\n"
            "a.png,s1,finger,seventh,1,\n"
            "a.png,s1,finger,unknown,1,many\n"
            "a.png,s1\n"
            "good.png,s1,face,,,\n",
        )
    )
    assert [(b.line, b.reason) for b in found.bad_rows] == [
        (2, "ROW_INCOMPLETE"),
        (3, "ROW_INCOMPLETE"),
        (4, "POSITION_UNKNOWN"),
        (5, "POSITION_UNKNOWN"),
        (6, "PPI_INVALID"),
        (7, "ROW_INCOMPLETE"),
    ]
    assert [(e.subject_id, e.encounter_id) for e in found.encounters] == [("s1", "1")]


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "path,subject_id\nx,y\n", 'path,subject_id,modality\n"x,y,z\n'])
def test_files_that_are_no_manifest(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_manifest(manifest(tmp_path, text))
    assert refused.value.reason == "MANIFEST_INVALID"


def test_missing_and_binary_files(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_manifest(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)))
    with pytest.raises(InvalidInput, match=r"no CSV|no column"):
        read_manifest(tmp_path / "binary.csv")


def test_which_face_is_meant(tmp_path: Path) -> None:
    found = read_manifest(
        manifest(
            tmp_path,
            "path,subject_id,modality,face\n"
            'a.png,s1,face,2\nb.png,s2,face,"10,20,30.5,40"\nc.png,s3,face,\nd.png,s4,face,left one\n'
            'e.png,s5,face,"1,2,3"\n',
        )
    )
    chosen = [e.samples[0].face for e in found.encounters]
    assert chosen == [FaceChoice(number=2), FaceChoice(box=(10.0, 20.0, 30.5, 40.0)), None]
    assert all(not e.context for e in found.encounters)
    assert [(row.path, row.reason) for row in found.bad_rows] == [
        ("d.png", "FACE_CHOICE_INVALID"),
        ("e.png", "FACE_CHOICE_INVALID"),
    ]


def test_a_box_without_quotation_marks_is_no_face_number(tmp_path: Path) -> None:
    found = read_manifest(
        manifest(
            tmp_path,
            "path,subject_id,modality,face\n"
            "a.png,s1,face,1,200,300,400\n"
            'b.png,s2,face,"1,200,300,400"\n'
            "c.png,s3,face,2,,\n",
        )
    )
    assert [(b.line, b.reason) for b in found.bad_rows] == [(2, "ROW_TOO_LONG")]
    assert found.incomplete == {("s1", "1")}
    assert [(e.subject_id, e.samples[0].face) for e in found.encounters] == [
        ("s2", FaceChoice(box=(1.0, 200.0, 300.0, 400.0))),
        ("s3", FaceChoice(number=2)),
    ]
