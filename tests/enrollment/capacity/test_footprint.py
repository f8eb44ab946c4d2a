"""The plan's bytes beside what real indexes and a real store say of themselves."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from enrollment.capacity.footprint import FootprintParameters, People, images_bytes, index_memory, records_bytes
from enrollment.synthesis.face_templates import bulk_face_templates
from enrollment.synthesis.finger_templates import bulk_finger_templates
from enrollment.synthesis.iris_templates import bulk_iris_templates
from matcher.changes import EncounterEnrolled, Reference
from matcher.gallery import Gallery
from matcher.positions import Position
from matcher.records.entries import NewEncounter, NewSample, SubjectMode
from matcher.records.store import RecordStore
from matcher.templates import FingerTemplate, Template

SUBJECTS = 1024
"""As many as growing files and arrays have room for exactly."""
FINGERS = (Position.RIGHT_INDEX, Position.LEFT_INDEX, Position.RIGHT_THUMB)
EYES = (Position.IRIS_RIGHT, Position.IRIS_LEFT)

Person = list[tuple[Position, Template]]


@pytest.fixture(scope="module")
def people() -> list[Person]:
    """Three fingers, two irises and a face each; fingers with their vectors. 64 different ones, again and again."""
    count = 64
    gallery = Gallery()
    first, *others = bulk_finger_templates(len(FINGERS) * count, 3)
    made = gallery.check(first)
    gallery.apply([enrolled(1, "first", [(Position.RIGHT_INDEX, made)])])
    fingers = [made, *(gallery.check(template) for template in others)]
    irises, faces = bulk_iris_templates(2 * count, 3), bulk_face_templates(count, 3)
    some: list[Person] = [
        [
            *zip(FINGERS, fingers[len(FINGERS) * i :], strict=False),
            *zip(EYES, irises[2 * i :], strict=False),
            (Position.FACE, faces[i]),
        ]
        for i in range(count)
    ]
    return list(itertools.islice(itertools.cycle(some), SUBJECTS))


def enrolled(lsn: int, subject: str, samples: Person) -> EncounterEnrolled:
    references = tuple(Reference(100 * lsn + i, *sample) for i, sample in enumerate(samples))
    return EncounterEnrolled(lsn, subject, "1", ("default",), references)


def test_memory_is_what_a_gallery_says_of_itself_part_by_part(people: list[Person]) -> None:
    gallery = Gallery()
    gallery.apply([enrolled(i, f"MH-{i:09d}", person) for i, person in enumerate(people, 1)])
    real = {use.name: use for use in gallery.memory()}
    prints = [t for person in people for _, t in person if isinstance(t, FingerTemplate)]
    parameters = FootprintParameters(minutiae=float(np.mean([len(t.x) for t in prints])))
    uses = index_memory(People(SUBJECTS, len(FINGERS), len(EYES), 1), parameters)
    planned = {use.name: use for use in uses}
    assert set(planned) == set(real)
    for name, use in planned.items():
        # Growing arrays have between 1 and 2 times the room that is used; the plan takes the middle.
        within = 0.25 if name == "roster" or name.endswith("rows") else 0.05
        assert use.ram == pytest.approx(real[name].ram, rel=within), name
        assert use.mapped == pytest.approx(real[name].mapped, rel=within), name
    total = sum(use.ram for use in planned.values())
    assert total == pytest.approx(sum(use.ram for use in real.values()), rel=0.05)


@pytest.mark.parametrize("shown", [6, 3, 1])
def test_the_database_is_as_large_as_a_real_one(tmp_path: Path, people: list[Person], shown: int) -> None:
    """With all samples of each person, without the fingers, with the face alone."""
    store = RecordStore(tmp_path, keep_samples=False)
    for begin in range(0, SUBJECTS, 128):
        encounters = []
        for number, person in enumerate(people[begin : begin + 128], begin):
            samples = tuple(NewSample(position, template, 70) for position, template in person[-shown:])
            encounters.append(
                NewEncounter(
                    transaction_id="T-" + "0" * 32,
                    idempotency_key=f"{number:064x}",
                    request_sha256=f"{number:064x}",
                    subject_id=f"MH-{number:09d}",
                    encounter_id="1",
                    mode=SubjectMode.NEW,
                    encounter_type="arrest",
                    galleries=("default",),
                    context={"station": "12"},
                    samples=samples,
                    receipt=bytes(60 + 20 * len(samples)),
                )
            )
        store.enrol(encounters)
    store.close()
    real = (tmp_path / "records.sqlite").stat().st_size
    fingers, irises = (3, 2) if shown == 6 else (0, 2) if shown == 3 else (0, 0)
    assert records_bytes(People(SUBJECTS, fingers, irises, 1)) == pytest.approx(real, rel=0.2)


def test_twice_the_people_take_twice_as_much() -> None:
    one, two = (index_memory(People(n)) for n in (1_000_000, 2_000_000))
    for small, large in zip(one, two, strict=True):
        assert (large.ram, large.mapped) == (2 * small.ram, 2 * small.mapped)
    assert records_bytes(People(2000)) == 2 * records_bytes(People(1000))


def test_what_people_do_not_have_takes_nothing() -> None:
    assert {use.name.split()[0] for use in index_memory(People(10, fingers=0, faces=0))} == {"roster", "iris"}
    parameters = FootprintParameters(finger_image=100, iris_image=10, face_image=1)
    assert images_bytes(People(5, 2, 1, 3), parameters) == 5 * (200 + 10 + 3)


def test_ten_fingers_two_irises_and_a_face_fit_the_budget_of_the_design() -> None:
    """At most 8 kB of RAM a subject."""
    assert sum(use.ram for use in index_memory(People(1_000_000))) <= 8_000 * 1_000_000
