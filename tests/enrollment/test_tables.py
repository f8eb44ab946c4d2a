"""What people read in a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from ambis.v1 import common_pb2, identification_service_pb2
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
