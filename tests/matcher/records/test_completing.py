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
from matcher.threads import workers
from tests.matcher.people import face
from tests.matcher.records.test_store import encounter


class HeldShards(LocalShards):
    """Notes how many templates are checked at once; the first time only when told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: list[int] = []
        self.begun, self.go = threading.Event(), threading.Event()
        self.fault: Exception | None = None
        self.faulty: Template | None = None

    def check(self, templates: Sequence[Template]) -> list[Template | AmbisError]:
        self.counts.append(len(templates))
        self.begun.set()
        assert self.go.wait(20)
        if self.fault is not None and (self.faulty is None or self.faulty in templates):
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
    several = Completing(shards, at_work=1)
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
    monkeypatch.setattr(completing, "MOST", 7)
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


def test_a_fault_reaches_the_one_that_it_comes_with() -> None:
    shards, encounters = HeldShards(), people(4)
    shards.fault, shards.faulty = RuntimeError("out of order"), encounters[2].samples[1].template
    completed = all_at_once(shards, encounters)
    assert completed[2] is shards.fault
    assert [isinstance(one, NewEncounter) for one in completed] == [True, True, False, True]


def test_without_a_thread_to_work_each_is_told_and_the_next_are_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    several, (first, *others) = Completing(LocalShards(), at_work=1), people(6)

    def no_thread(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(workers(), "run", no_thread)
        with ThreadPoolExecutor(5) as pool:
            told = [pool.submit(several.complete, each) for each in others]
            assert all(isinstance(one.exception(), RuntimeError) for one in told)
    assert several.complete(first).subject_id == "s0"
    assert several._working == 0


def test_who_is_stopped_while_waiting_holds_up_nobody() -> None:
    shards, (first, second, third) = HeldShards(), people(3)
    several = Completing(shards, at_work=1)
    with ThreadPoolExecutor(2) as pool:
        working = pool.submit(several.complete, first)
        assert shards.begun.wait(20)
        stopped = completing._Waiting(second)
        several._waiting.append(stopped)
        several._withdraw(stopped)
        # And one whose turn it is already.
        appointed = completing._Waiting(second)
        several._waiting.append(appointed)
        shards.go.set()
        assert working.result().subject_id == "s0"
        assert appointed.turn.wait(20)
        several._withdraw(appointed)
        assert pool.submit(several.complete, third).result().subject_id == "s2"
    assert several._working == 0
