"""Encounters made ready to be stored: all that wait at once, each as if it were alone."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from enrollment.synthesis.finger_templates import bulk_finger_templates
from matcher.errors import AmbisError, TemplateInvalid
from matcher.finger.vector import VectorModel
from matcher.positions import Position
from matcher.records import completing
from matcher.records.completing import Completing
from matcher.records.entries import NewEncounter, NewSample
from matcher.shards.local import LocalShards
from matcher.templates import FingerTemplate, Template
from tests.matcher.people import face
from tests.matcher.records.test_store import encounter


class HeldShards(LocalShards):
    """Notes how many templates are checked at once; the first time only when told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: list[int] = []
        self.begun, self.go = threading.Event(), threading.Event()
        self.fault: Exception | None = None

    def check(self, templates: Sequence[Template]) -> list[Template | AmbisError]:
        self.counts.append(len(templates))
        self.begun.set()
        assert self.go.wait(20)
        if self.fault is not None and len(self.counts) == 2:
            raise self.fault
        return super().check(templates)


def people(count: int) -> list[NewEncounter]:
    fingers = bulk_finger_templates(count, 5)
    return [
        dataclasses.replace(
            encounter(f"s{i}"),
            samples=(NewSample(Position.RIGHT_INDEX, finger), NewSample(Position.FACE, face(i))),
        )
        for i, finger in enumerate(fingers)
    ]


def all_at_once(shards: HeldShards, encounters: Sequence[NewEncounter]) -> list[NewEncounter | BaseException]:
    """What becomes of the encounters, of which all but the first wait until that is done."""
    several = Completing(shards)
    with ThreadPoolExecutor(len(encounters)) as pool:
        first = pool.submit(several.complete, encounters[0])
        assert shards.begun.wait(20)
        others = [pool.submit(several.complete, each) for each in encounters[1:]]
        while len(several._waiting) < len(others):
            threading.Event().wait(0.001)
        shards.go.set()
        made = [(one.exception(), one) for one in (first, *others)]
    return [one.result() if error is None else error for error, one in made]


def test_those_that_wait_are_made_ready_together_and_each_gets_its_own() -> None:
    shards, encounters = HeldShards(), people(9)
    completed = all_at_once(shards, encounters)
    assert shards.counts == [2, 16]
    for before, after in zip(encounters, completed, strict=True):
        assert isinstance(after, NewEncounter)
        assert after.subject_id == before.subject_id
        finger, own = after.samples[0].template, before.samples[0].template
        assert isinstance(finger, FingerTemplate)
        assert isinstance(own, FingerTemplate)
        assert finger.vector_model == VectorModel.load().number
        assert finger.x.tolist() == own.x.tolist()
        assert after.samples[1] == before.samples[1]


def test_no_more_are_taken_at_once_than_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completing, "MOST", 3)
    shards = HeldShards()
    completed = all_at_once(shards, people(9))
    assert shards.counts == [2, 6, 6, 4]
    assert all(isinstance(one, NewEncounter) for one in completed)


def test_what_is_wrong_with_one_is_told_to_that_one_alone() -> None:
    encounters = people(5)
    whole = bulk_finger_templates(1, 6)[0]
    none = dataclasses.replace(whole, x=whole.x[:0], y=whole.y[:0], angle=whole.angle[:0], quality=whole.quality[:0])
    bad = (encounters[2].samples[1], NewSample(Position.LEFT_INDEX, none))
    encounters[2] = dataclasses.replace(encounters[2], samples=bad)
    completed = all_at_once(HeldShards(), encounters)
    assert isinstance(completed[2], TemplateInvalid)
    assert [isinstance(one, NewEncounter) for one in completed] == [True, True, False, True, True]


def test_a_fault_reaches_all_that_were_taken_and_the_next_work_on() -> None:
    shards = HeldShards()
    shards.fault = RuntimeError("out of order")
    completed = all_at_once(shards, people(4))
    assert isinstance(completed[0], NewEncounter)
    assert completed[1:] == [shards.fault] * 3
    several = Completing(shards)
    assert several.complete(people(1)[0]).subject_id == "s0"
