"""The one writer: acknowledged means searchable, many threads share a commit, faults are never hidden."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from matcher.changes import Change, OwnedReference, Reference
from matcher.errors import AlreadyExists, AmbisError, InvalidInput, ModelMismatch, StorageFailure, Unavailable
from matcher.found_subjects import FoundSubjects
from matcher.gallery_view import GallerySearch
from matcher.positions import Modality, Position
from matcher.records.committer import Committer
from matcher.records.entries import NewSample
from matcher.records.store import RecordStore
from matcher.shards.local import LocalShards
from matcher.templates import FaceTemplate, Template
from tests.matcher.people import FACE, face, face_probe, iris
from tests.matcher.records.test_store import encounter


def found(shards: LocalShards, number: int) -> list[str]:
    (subjects,) = shards.search([GallerySearch((face_probe(number),))]).subjects
    assert isinstance(subjects, FoundSubjects)
    return [s.subject_id for s in subjects]


def test_acknowledged_is_searchable(tmp_path: Path) -> None:
    store, shards = RecordStore(tmp_path), LocalShards()
    committer = Committer(store, shards)
    receipt = committer.enrol(encounter("a"))
    assert shards.applied_lsn >= receipt.lsn
    assert found(shards, 1) == ["a"]
    assert committer.wait_for(receipt.lsn, 0.0)
    assert not committer.wait_for(receipt.lsn + 1, 0.01)
    committer.delete_subject("a", "t")
    assert found(shards, 1) == []
    committer.close()
    store.close()


def test_many_threads(tmp_path: Path) -> None:
    store, shards = RecordStore(tmp_path), LocalShards(2)
    committer = Committer(store, shards)
    with ThreadPoolExecutor(16) as pool:
        receipts = list(pool.map(lambda i: committer.enrol(encounter(f"s{i}")), range(200)))
    assert sorted(r.lsn for r in receipts) == list(range(1, 201))
    assert shards.subjects() == 200
    with pytest.raises(AlreadyExists):
        committer.enrol(encounter("s0", "2"))
    committer.close()
    store.close()


def test_restart_rebuilds_the_indexes(tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    committer = Committer(store, LocalShards())
    for i in range(5):
        committer.enrol(encounter(f"s{i}"))
    last = committer.delete_subject("s3", "t").lsn
    committer.close()
    store.close()
    store, shards = RecordStore(tmp_path), LocalShards(2)
    committer = Committer(store, shards)
    assert shards.applied_lsn == last
    assert shards.subjects() == 4
    committer.close()
    store.close()


@pytest.mark.parametrize(
    ("error", "told"), [(StorageFailure("free disk space"), "^free disk space$"), (ValueError("odd"), "odd.*backup")]
)
def test_records_that_cannot_be_indexed_at_start_are_told(tmp_path: Path, error: Exception, told: str) -> None:
    class FailingShards(LocalShards):
        def apply(self, changes: Sequence[Change], lsn: int) -> None:
            raise error

    store = RecordStore(tmp_path)
    committer = Committer(store, LocalShards())
    committer.enrol(encounter("a"))
    committer.close()
    with pytest.raises(StorageFailure, match=told):
        Committer(store, FailingShards())
    store.close()


def test_closed_committer_refuses(tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    committer = Committer(store, LocalShards())
    committer.close()
    with pytest.raises(Unavailable, match="stopping"):
        committer.enrol(encounter("a"))
    store.close()


def test_templates_of_another_model_are_refused(tmp_path: Path) -> None:
    store, shards = RecordStore(tmp_path), LocalShards()
    committer = Committer(store, shards)
    sample = NewSample(Position.FACE, face(2, algorithm="face-other-1"))
    other = dataclasses.replace(encounter("b"), samples=(sample,))
    committer.enrol(encounter("a"))
    with pytest.raises(ModelMismatch, match="face-test-1"):
        committer.enrol(other)
    assert not store.has_subject("b")
    committer.delete_subject("a", "t")
    committer.enrol(other)  # nobody is left whom it could not be compared with
    committer.close()
    store.close()


@pytest.mark.parametrize(
    "spoilt",
    [
        FaceTemplate(FACE, 1, np.eye(1, 64, dtype=np.float32)[0]),
        dataclasses.replace(iris(1), version=2),
        dataclasses.replace(iris(1), columns=64),
        FaceTemplate("iris-loggabor-2", 1, np.eye(1, 64, dtype=np.float32)[0]),
    ],
)
def test_what_the_indexes_could_not_take_is_refused_before_it_is_written(tmp_path: Path, spoilt: Template) -> None:
    store, shards = RecordStore(tmp_path), LocalShards()
    committer = Committer(store, shards)
    committer.enrol(encounter("a"))
    good = NewSample(Position.IRIS_LEFT, iris(3))
    committer.enrol(dataclasses.replace(encounter("eye"), samples=(good,)))
    bad = dataclasses.replace(encounter("b"), samples=(good, NewSample(Position.FACE, spoilt)))
    with pytest.raises((ModelMismatch, InvalidInput)):
        committer.enrol(bad)
    assert not committer.fault
    assert not store.has_subject("b")
    assert committer.enrol(encounter("c")).lsn == 3
    committer.close()
    store.close()
    store = RecordStore(tmp_path)
    Committer(store, LocalShards()).close()  # and the next start is not stopped by it
    store.close()


def test_lengths_are_checked_within_the_very_first_group(tmp_path: Path) -> None:
    store, shards = RecordStore(tmp_path), LocalShards()
    committer = Committer(store, shards)

    def one(number: int) -> str:
        length = 64 if number % 2 else 128
        template = FaceTemplate(FACE, 1, np.eye(1, length, dtype=np.float32)[0])
        try:
            committer.enrol(dataclasses.replace(encounter(f"s{number}"), samples=(NewSample(Position.FACE, template),)))
        except ModelMismatch:
            return "refused"
        return "enrolled"

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(one, range(40)))
    assert not committer.fault
    assert outcomes[0::2].count("enrolled") in (0, 20)
    assert outcomes[1::2].count("enrolled") == 20 - outcomes[0::2].count("enrolled")
    committer.close()
    store.close()


class BrokenShards(LocalShards):
    """Applies nothing once told so."""

    broken = False

    def apply(self, changes: Sequence[Change], lsn: int) -> None:
        if self.broken and changes:
            raise RuntimeError("no memory")
        super().apply(changes, lsn)


def test_an_index_that_cannot_follow_is_a_fault_and_not_a_missed_hit(tmp_path: Path) -> None:
    store, shards = RecordStore(tmp_path), BrokenShards()
    told: list[bool] = []
    committer = Committer(store, shards, on_fault=lambda: told.append(True))
    committer.enrol(encounter("a"))
    shards.broken = True
    with pytest.raises(Unavailable, match="rebuilds the indexes"):
        committer.enrol(encounter("b"))
    assert committer.fault
    assert told == [True]
    with pytest.raises(Unavailable):
        committer.enrol(encounter("c"))
    committer.close()
    store.close()
    # The record was written; after the restart it is searchable.
    store, whole = RecordStore(tmp_path), LocalShards()
    Committer(store, whole).close()
    assert whole.subjects() == 2
    store.close()


class FullShards(LocalShards):
    def apply(self, changes: Sequence[Change], lsn: int) -> None:
        raise StorageFailure("no room; free disk space", reason="DISK_FULL")


def test_a_start_on_a_full_disk_asks_for_room_and_not_for_a_backup(tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    committer = Committer(store, LocalShards())
    committer.enrol(encounter("a"))
    committer.close()
    with pytest.raises(StorageFailure) as refused:
        Committer(store, FullShards())
    assert (refused.value.reason, refused.value.message) == ("DISK_FULL", "no room; free disk space")
    store.close()


def test_closing_while_threads_enrol_answers_everybody(tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    committer = Committer(store, LocalShards())
    outcomes: list[str] = []
    lock = threading.Lock()

    def work(start: int) -> None:
        for i in range(start, start + 50):
            try:
                committer.enrol(encounter(f"s{i}"))
                word = "enrolled"
            except Unavailable:
                word = "refused"
            with lock:
                outcomes.append(word)

    threads = [threading.Thread(target=work, args=(1000 * k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    committer.close()
    for thread in threads:
        thread.join(timeout=30)
        assert not thread.is_alive()
    assert len(outcomes) == 400
    assert outcomes.count("enrolled") == store.counts()[0]
    store.close()


class ReservedShards(LocalShards):
    """Has no room once told so."""

    full = False

    def reserve(self, samples: Sequence[tuple[str, Position, Template]]) -> None:
        if self.full:
            raise StorageFailure("no room; free disk space", reason="DISK_FULL")
        super().reserve(samples)


def test_a_full_disk_refuses_enrolments_before_they_are_written_and_nothing_else(tmp_path: Path) -> None:
    store, shards = RecordStore(tmp_path), ReservedShards()
    committer = Committer(store, shards)
    committer.enrol(encounter("a"))
    shards.full = True
    with pytest.raises(StorageFailure, match="free disk space"):
        committer.enrol(encounter("b"))
    assert not committer.fault
    assert store.counts()[0] == shards.subjects() == 1
    shards.full = False
    committer.enrol(encounter("b"))
    assert store.counts()[0] == shards.subjects() == 2
    committer.close()
    store.close()


class WatchedShards(LocalShards):
    """Notes which threads check templates."""

    def __init__(self) -> None:
        super().__init__()
        self.checked_by: list[str] = []

    def check(self, templates: Sequence[Template]) -> list[Template | AmbisError]:
        self.checked_by.append(threading.current_thread().name)
        return super().check(templates)


def test_only_the_first_of_a_kind_is_checked_on_the_writing_thread(tmp_path: Path) -> None:
    store, shards = RecordStore(tmp_path), WatchedShards()
    committer = Committer(store, shards)
    committer.enrol(encounter("a"))
    assert shards.checked_by.count("committer") == 1
    for number in range(5):
        committer.enrol(encounter(f"s{number}"))
    assert shards.checked_by.count("committer") == 1
    assert len(shards.checked_by) == 7
    committer.close()
    store.close()


def test_a_template_that_was_checked_before_a_change_of_model_is_refused_after_it(tmp_path: Path) -> None:
    store, shards = RecordStore(tmp_path), WatchedShards()
    committer = Committer(store, shards)
    committer.enrol(encounter("a"))
    of_next_model = OwnedReference("a", "1", Reference(1, Position.FACE, face(1, algorithm="face-next-1")))
    begun, go = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        assert go.wait(20)

    with ThreadPoolExecutor(3) as pool:
        held = pool.submit(committer.run, hold)
        assert begun.wait(20)
        checked = len(shards.checked_by)
        late = pool.submit(committer.enrol, encounter("b"))
        while len(shards.checked_by) == checked or committer.waiting == 0:
            assert not late.done()
        # Straight to the shards, as the switch of a model does on the writing thread.
        shards.replace(Modality.FACE, "face-next-1", [[of_next_model]], lambda: 2)
        go.set()
        held.result(20)
        with pytest.raises(ModelMismatch, match="face-next-1"):
            late.result(20)
    assert not store.has_subject("b")
    assert not committer.fault
    committer.close()
    store.close()
