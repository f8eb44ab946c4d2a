"""What people read in a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from ambis.v1 import common_pb2, enrollment_service_pb2, identification_service_pb2, status_service_pb2
from enrollment import tables


def printed(result: identification_service_pb2.IdentifyResult) -> str:
    stream = io.StringIO()
    tables.show(tables.identification(result), Console(file=stream, width=80))
    return stream.getvalue()


def answer(**fields: object) -> identification_service_pb2.IdentifyResult:
    """An answer as long as two million people make it."""
    result = identification_service_pb2.IdentifyResult(
        verdict=common_pb2.VERDICT_HIT,
        explanation="a sentence " * 30,
        hit_threshold=102.94,
        review_threshold=73.01,
        gallery_size=2_000_000,
        **fields,  # type: ignore[arg-type]
    )
    candidate = result.candidates.add(rank=1, subject_id="MH-2019-0044710", score=195.2, verdict=1)
    for position in range(2, 12):
        candidate.evidence.add(reference_position=position, score=19.5)
    return result


def test_answer_fits_a_terminal_and_its_lines_stay_whole() -> None:
    text = printed(answer(score_gap=144.2))
    assert max(map(len, text.splitlines())) <= 80
    for line in (
        "2,000,000 people searched; HIT from 102.9, REVIEW from 73.0",
        "first ahead of the next by 144.2",
        "scores are -10 log10 of the false match rate: 10 more is ten times rarer",
    ):
        assert line in text


def test_status_of_two_million_people_fits_a_terminal() -> None:
    people = 2_000_000
    report = status_service_pb2.GetStatusResponse(
        version="0.1.0",
        lsn=people,
        searchable_lsn=people,
        subjects=people,
        encounters=people,
        resident_bytes=11 << 30,
        threads=2,
        searches_waiting=3,
        search_paths={"face": "one probe by numba (31 ms a million against 44 ms of FAISS), batches by onnxruntime"},
    )
    for name, ram, mapped in (("roster", 430, 0), ("finger vectors", 4880, 0), ("finger minutiae", 80, 28_000)):
        report.memory.add(part=name, ram_bytes=ram * people, mapped_bytes=mapped * people)
    stream = io.StringIO()
    tables.show(tables.status(report), Console(file=stream, width=80))
    text = stream.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    shown = [[cell.strip() for cell in line.split("│")] for line in text.splitlines() if "│" in line]
    assert ["finger vectors", "9.1 GiB", "4,880 B", "", ""] in shown
    assert ["finger minutiae", "153 MiB", "80 B", "52.2 GiB", "28,000 B"] in shown
    assert ["in all", "10.0 GiB", "5,390 B", "52.2 GiB", "28,000 B"] in shown
    assert "11.0 GiB resident in all; 2 computing threads; 3 searches waiting" in text
    assert "face: one probe by numba" in text


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (1023, "1,023 B"), (1024, "1.0 KiB"), (150 << 20, "150 MiB"), (5 << 40, "5,120 GiB")],
)
def test_sizes(count: int, shown: str) -> None:
    assert tables.size(count) == shown


def test_a_subject_shows_what_is_known_of_the_person() -> None:
    record = enrollment_service_pb2.Subject(subject_id="MH-1")
    record.encounters.add(encounter_id="1", sex=common_pb2.SEX_FEMALE, birth_year=1984)
    record.encounters.add(encounter_id="2", birth_year=1985)
    stream = io.StringIO()
    tables.show(tables.subject(record), Console(file=stream, width=80))
    assert "female, 1984" in stream.getvalue()
    assert "│ 1985 " in stream.getvalue()


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({}, ""),
        ({"score_gap": 0.0}, "first ahead of the next by 0.0"),
        ({"score_gap": -2.3}, "another one scores 2.3 more than the first"),
    ],
)
def test_gap(fields: dict[str, object], shown: str) -> None:
    text = printed(answer(**fields))
    assert shown in text
    assert ("the first" in text or "first ahead" in text) is bool(shown)


def test_one_person_is_not_people() -> None:
    assert "1 person searched;" in printed(
        identification_service_pb2.IdentifyResult(verdict=common_pb2.VERDICT_NO_HIT, gallery_size=1)
    )
