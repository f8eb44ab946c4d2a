"""Synthetic people and searches of them: the same by number, half of them of people on record, honestly counted."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ambis.v1 import identification_service_pb2
from benchmarks.suites.load import Load, LoadAnswer, LoadSearch, make_searches
from benchmarks.suites.synthetic_people import TEN_FINGERS, TWO_FINGERS, SyntheticPeople, subject_id
from benchmarks.suites.test_multimodal_load import check, search_work, slope
from benchmarks.suites.test_records import enrolments, new_encounter
from matcher.decision import Verdict
from matcher.finger.index import FingerIndex
from matcher.positions import Modality, Position
from matcher.templates import FingerTemplate, template_from_bytes

PEOPLE = SyntheticPeople(3)


def test_people_are_the_same_by_number() -> None:
    assert PEOPLE.templates(2, 2) == PEOPLE.templates(0, 4)[2:]
    assert PEOPLE.templates(0, 2) != SyntheticPeople(4).templates(0, 2)
    assert PEOPLE.captures(1, 1, 9) == PEOPLE.captures(0, 2, 9)[1:]
    (first, *_), *_ = PEOPLE.templates(0, 1)
    (again, *_), *_ = PEOPLE.captures(0, 1, 9)
    assert first != again


def test_a_person_has_a_template_of_every_position_and_no_two_are_the_same() -> None:
    people = SyntheticPeople(3, TEN_FINGERS)
    assert len(TEN_FINGERS) == 13
    (templates,) = people.templates(0, 1)
    assert [t.modality for t in templates] == [p.modality for p in TEN_FINGERS]
    assert len(set(templates)) == 13


def test_changes_hold_what_enrolling_computes() -> None:
    (change,) = PEOPLE.changes(5, 1)
    assert (change.lsn, change.subject_id) == (6, subject_id(5))
    assert [r.position for r in change.references] == list(TWO_FINGERS)
    index = FingerIndex()
    for reference, template in zip(change.references[:2], PEOPLE.templates(5, 1)[0][:2], strict=True):
        (completed,) = index.complete([template], [index.check(template)])
        assert isinstance(reference.template, FingerTemplate)
        assert isinstance(completed, FingerTemplate)
        assert reference.template.vector_model == completed.vector_model
        # Made many at once: the last bit of a matrix product may be another.
        assert abs(reference.template.vector.astype(int) - completed.vector.astype(int)).max() <= 1


def test_records_and_requests_say_the_same_of_a_person() -> None:
    (request,), (change,) = enrolments(PEOPLE, 7, 1), PEOPLE.changes(7, 1)
    record = new_encounter(change)
    assert request.encounter.subject_id == record.subject_id == subject_id(7)
    assert request.idempotency_key == record.idempotency_key
    sent = [Position(sample.position) for sample in request.encounter.samples]
    assert sent == [sample.position for sample in record.samples]


def test_half_of_the_searches_have_a_mate_and_a_quarter_unknown_fingers() -> None:
    searches = make_searches(PEOPLE, 40, 32, 1)
    assert sum(bool(s.mate) for s in searches) == 16
    assert len({s.mate for s in searches if s.mate}) == 16
    assert {s.mate for s in searches if s.mate} <= {subject_id(n) for n in range(40)}
    assert sum(s.unknown_fingers for s in searches) == 8
    assert sum(s.unknown_fingers and bool(s.mate) for s in searches) == 4
    for search in searches:
        message = identification_service_pb2.Search.FromString(search.message)
        positions = [Position(sample.position) for sample in message.samples]
        fingers = [p for p in positions if p.modality is Modality.FINGER]
        expected = [Position.FINGER_UNKNOWN] * 2 if search.unknown_fingers else list(TWO_FINGERS[:2])
        assert fingers == expected
        assert positions[2:] == list(TWO_FINGERS[2:])
        assert all(template_from_bytes(sample.template.data) for sample in message.samples)


def test_too_few_people_for_so_many_mates_are_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        make_searches(PEOPLE, 3, 20, 1)


SEARCHES = [LoadSearch(b"", "a", False), LoadSearch(b"", "", True)]


def answers(best: str = "a", verdict: Verdict = Verdict.NO_HIT, error: str = "") -> Load:
    found = [LoadAnswer(0, 0.0, 1.0, int(Verdict.HIT), best), LoadAnswer(1, 1.0, 3.0, int(verdict), "b", error)]
    return Load(1, 4.0, found)


def test_right_answers_are_counted() -> None:
    said = check(answers(), SEARCHES)
    assert (said["mated"], said["first"], said["hits"], said["strangers"], said["false_hits"]) == (1, 1, 1, 1, 0)
    assert (said["p50_known"], said["p50_unknown"]) == (1.0, 3.0)
    assert answers().percentile(50) == 1.0
    assert answers().percentile(99) == 3.0
    assert answers().rate == 0.5


def test_a_search_that_a_busy_server_gives_up_is_counted_where_there_are_others() -> None:
    busy = dataclasses.replace(answers(error="DEADLINE_EXCEEDED"), clients=8)
    said = check(busy, SEARCHES)
    assert (said["given_up"], said["mated"], said["strangers"]) == (1, 1, 0)
    assert busy.percentile(99) == 3.0
    assert busy.rate == 0.25


@pytest.mark.parametrize(
    ("load", "why"),
    [
        (answers(best="c"), "not first"),
        (answers(verdict=Verdict.HIT), "were a HIT"),
        (answers(error="DEADLINE_EXCEEDED"), "DEADLINE"),
        (dataclasses.replace(answers(error="INTERNAL"), clients=8), "INTERNAL"),
    ],
)
def test_a_wrong_answer_fails_the_benchmark(load: Load, why: str) -> None:
    with pytest.raises(AssertionError, match=why):
        check(load, SEARCHES)


def test_the_work_of_a_search_grows_with_the_gallery() -> None:
    one, ten = search_work(1000), search_work(10_000)
    assert ten.read_bytes == 10 * one.read_bytes
    # Two vectors of 480, 512 of a face, two eyes' first stages with their masks.
    assert one.read_bytes == 1000 * (960 + 512 + 2 * 2 * 8 * 8)
    assert one.int8_products == 1000 * (2.5 * 480 + 512)


def test_a_slope_is_that_of_the_line() -> None:
    assert slope(np.array([1.0, 2.0, 4.0]), [10.0, 13.0, 19.0]) == pytest.approx(3.0)
