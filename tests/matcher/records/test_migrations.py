"""The records of a change of model: nothing of it is seen before the switch, all of it after, at any restart."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from matcher.changes import Change, EncounterEnrolled
from matcher.errors import ModelMismatch
from matcher.positions import Modality, Position
from matcher.records.entries import NewEncounter, NewSample, StoredSample, SubjectMode, Successor
from matcher.records.store import RecordStore
from tests.matcher.people import FACE, IRIS, face, iris

NEXT, THIRD = "face-next-1", "face-third-1"


def person(number: int, encounter: str = "1", algorithm: str = FACE, *, kept: bool = True) -> NewEncounter:
    data = f"face {number} {encounter}".encode() if kept else None
    return NewEncounter(
        transaction_id="t",
        idempotency_key=f"key-{number}-{encounter}",
        request_sha256="d",
        subject_id=f"p{number}",
        encounter_id=encounter,
        mode=SubjectMode.ANY,
        encounter_type="",
        galleries=("default",),
        context={},
        samples=(
            NewSample(Position.FACE, face(number, algorithm=algorithm), 50, "image/png", data, (1.0, 2.0, 3.0, 4.5)),
            NewSample(Position.IRIS_LEFT, iris(number), 60, "image/png", f"iris {number}".encode()),
        ),
    )


def opened(tmp_path: Path, count: int = 3) -> RecordStore:
    store = RecordStore(tmp_path)
    store.enrol([person(i) for i in range(count)])
    return store


def pending(store: RecordStore, algorithm: str = NEXT, after: int = 0) -> list[StoredSample]:
    return store.migrations.pending(Modality.FACE, algorithm, after, 100)


def migrate(store: RecordStore, algorithm: str = NEXT, failing: set[int] | None = None) -> None:
    """Begins, and tries all samples; those in ``failing`` have no template."""
    store.migrations.begin(Modality.FACE, algorithm)
    made = []
    for sample in pending(store, algorithm):
        if sample.sample in (failing or ()):
            made.append(Successor(sample.sample, None, reason="FACE_NOT_FOUND", message="no face was found"))
        else:
            made.append(Successor(sample.sample, face(100 + sample.sample, algorithm=algorithm), 90))
    store.migrations.save(algorithm, made)


def algorithms(changes: list[Change]) -> dict[str, list[tuple[int, str]]]:
    """Subject -> (sample, algorithm) of what the shards are told at a start."""
    found: dict[str, list[tuple[int, str]]] = {}
    for change in changes:
        if isinstance(change, EncounterEnrolled):
            listed = found.setdefault(change.subject_id, [])
            listed += [(r.reference_id, r.template.algorithm) for r in change.references]
        else:
            found.pop(change.subject_id, None)
    return found


def replay(store: RecordStore) -> dict[str, list[tuple[int, str]]]:
    return algorithms([change for group in store.changes() for change in group])


def reopened(store: RecordStore, tmp_path: Path) -> RecordStore:
    store.close()
    return RecordStore(tmp_path)


def test_only_stored_samples_of_the_modality_are_pending(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.enrol([person(7, kept=False)])
    found = pending(store)
    assert [(s.sample, s.position) for s in found] == [(n, Position.FACE) for n in (1, 3, 5, 7)]
    assert store.files.read(found[1].sha256) == b"face 1 1"
    assert found[0].box == (1.0, 2.0, 3.0, 4.5)
    assert found[3].sha256 == ""
    assert pending(store, after=3) == found[2:]
    assert pending(store, FACE) == []
    store.close()


def test_nothing_is_seen_before_the_switch_and_all_after(tmp_path: Path) -> None:
    store = opened(tmp_path)
    before = replay(store)
    migrate(store)
    progress = store.migrations.progress(Modality.FACE, NEXT)
    assert (progress.samples, progress.migrated, progress.failed, progress.left) == (3, 3, 0, 0)
    store = reopened(store, tmp_path)
    assert replay(store) == before
    assert store.migrations.active(Modality.FACE) is None
    assert store.migrations.target(Modality.FACE) == NEXT
    expected = [reference for group in store.migrations.references(Modality.FACE, NEXT) for reference in group]

    lsn = store.migrations.switch(Modality.FACE, NEXT, "t")
    assert lsn == store.last_lsn() == 4
    after = {s: [(i, NEXT if a == FACE else a) for i, a in refs] for s, refs in before.items()}
    for _ in range(3):  # at once, after a restart, half settled
        assert replay(store) == after
        sample = store.subject("p1").encounters[0].samples[0]
        assert (sample.algorithm, sample.quality, sample.left_out) == (NEXT, 90, "")
        store = reopened(store, tmp_path)
        store.migrations.settle(1)
    assert [(r.subject_id, r.encounter_id) for r in expected] == [("p0", "1"), ("p1", "1"), ("p2", "1")]
    assert [r.reference.template.to_bytes() for r in expected] == [
        face(100 + i, algorithm=NEXT).to_bytes() for i in (1, 3, 5)
    ]
    store.migrations.settle(100)
    assert store.migrations.is_settled()
    assert replay(store) == after
    store.close()
    with sqlite3.connect(tmp_path / "records.sqlite") as raw:
        assert raw.execute("SELECT count(*) FROM successors").fetchone() == (0,)
        assert raw.execute("SELECT DISTINCT algorithm FROM samples WHERE position = 20").fetchall() == [(NEXT,)]
    raw.close()


def test_a_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    store = opened(tmp_path, 5)
    store.migrations.begin(Modality.FACE, NEXT)
    store.migrations.save(NEXT, [Successor(1, face(1, algorithm=NEXT)), Successor(5, None, reason="X", message="why")])
    store = reopened(store, tmp_path)
    store.migrations.begin(Modality.FACE, NEXT)
    assert [s.sample for s in pending(store)] == [3, 7, 9]
    store.migrations.forget_failures(NEXT)
    assert [s.sample for s in pending(store)] == [3, 5, 7, 9]
    store.close()


def test_samples_that_fail_stay_on_record_but_are_not_seen(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.enrol([person(1, "2")])  # p1 has another face, sample 7
    migrate(store, failing={3, 5})
    listed = list(store.migrations.unmigrated(NEXT))
    assert [(u.sample, u.subject_id, u.encounter_id, u.reason) for u in listed] == [
        (3, "p1", "1", "FACE_NOT_FOUND"),
        (5, "p2", "1", "FACE_NOT_FOUND"),
    ]
    assert store.migrations.subjects_missed(Modality.FACE, NEXT) == 1
    store.migrations.switch(Modality.FACE, NEXT, "t")
    store.migrations.settle(100)
    assert store.migrations.is_settled()
    store = reopened(store, tmp_path)
    assert replay(store) == {
        "p0": [(1, NEXT), (2, IRIS)],
        "p1": [(4, IRIS), (7, NEXT), (8, IRIS)],
        "p2": [(6, IRIS)],
    }
    sample = store.subject("p2").encounters[0].samples[0]
    assert (sample.algorithm, sample.left_out) == (FACE, "no face was found")
    assert store.files.read(sample.sha256) == b"face 2 1"
    # A third model tries them again, and so does the first.
    assert [s.sample for s in pending(store, THIRD)] == [1, 3, 5, 7]
    migrate(store, THIRD)
    store.migrations.switch(Modality.FACE, THIRD, "t")
    assert list(store.migrations.unmigrated(NEXT)) == []
    assert store.subject("p2").encounters[0].samples[0].left_out == ""
    assert replay(store)["p2"] == [(5, THIRD), (6, IRIS)]
    store.close()


def test_back_to_the_first_model(tmp_path: Path) -> None:
    store = opened(tmp_path)
    migrate(store, failing={3})
    store.migrations.switch(Modality.FACE, NEXT, "t")
    store.migrations.settle(100)
    assert [s.sample for s in pending(store, FACE)] == [1, 5]  # the one left out has its old template still
    migrate(store, FACE)
    assert sum(len(g) for g in store.migrations.references(Modality.FACE, FACE)) == 3
    store.migrations.switch(Modality.FACE, FACE, "t")
    assert replay(store)["p1"] == [(3, FACE), (4, IRIS)]
    assert all(s.left_out == "" for s in store.subject("p1").encounters[0].samples)
    store.close()


def test_a_subject_of_whom_nothing_is_seen_is_known_all_the_same(tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    only_face = person(1)
    store.enrol([NewEncounter(**{**only_face.__dict__, "samples": only_face.samples[:1]})])
    migrate(store, failing={1})
    store.migrations.switch(Modality.FACE, NEXT, "t")
    assert replay(store) == {"p1": []}
    store.close()


def test_deletions_take_what_was_made_with_them(tmp_path: Path) -> None:
    store = opened(tmp_path)
    waiting = pending(store)
    migrate(store, failing={3})
    store.delete_subject("p1", "t")
    store.delete_subject("p0", "t")
    progress = store.migrations.progress(Modality.FACE, NEXT)
    assert (progress.samples, progress.migrated, progress.failed) == (1, 1, 0)
    # Extracted before the deletion, saved after it.
    store.migrations.save(NEXT, [Successor(waiting[0].sample, face(1, algorithm=NEXT))])
    assert store.migrations.progress(Modality.FACE, NEXT) == progress
    store.migrations.switch(Modality.FACE, NEXT, "t")
    assert replay(store) == {"p2": [(5, NEXT), (6, IRIS)]}
    store.delete_subject("p2", "t")
    assert store.migrations.is_settled()
    assert replay(store) == {}
    store.close()


def test_what_comes_in_meanwhile_is_pending_and_other_models_are_refused(tmp_path: Path) -> None:
    store = opened(tmp_path)
    migrate(store)
    store.enrol([person(8)])
    assert [s.sample for s in pending(store)] == [7]
    migrate(store)
    store.migrations.switch(Modality.FACE, NEXT, "t")
    (refused,) = store.enrol([person(9)])
    assert isinstance(refused, ModelMismatch)
    assert NEXT in refused.message
    (taken,) = store.enrol([person(9, algorithm=NEXT)])
    assert isinstance(taken, tuple)
    # Also when nobody is left: a restart would not show them.
    for number in (0, 1, 2, 8, 9):
        store.delete_subject(f"p{number}", "t")
    assert isinstance(store.enrol([person(20)])[0], ModelMismatch)
    store.close()


def test_cancelling_and_another_target_drop_what_was_made(tmp_path: Path) -> None:
    store = opened(tmp_path)
    before = replay(store)
    migrate(store)
    store.migrations.begin(Modality.FACE, THIRD)
    assert store.migrations.progress(Modality.FACE, NEXT).migrated == 0
    migrate(store, THIRD)
    store.migrations.cancel(Modality.FACE)
    assert store.migrations.target(Modality.FACE) is None
    assert store.migrations.progress(Modality.FACE, THIRD).migrated == 0
    store.migrations.cancel(Modality.FACE)
    assert replay(store) == before
    store.close()


@pytest.mark.parametrize("count", [1, 7])
def test_pages_of_any_size_hold_every_sample_once(tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("matcher.records.migrations._PAGE", 2)
    store = opened(tmp_path, count)
    migrate(store, failing={1})
    referenced = [r.reference.reference_id for g in store.migrations.references(Modality.FACE, NEXT) for r in g]
    assert referenced == [2 * i + 1 for i in range(1, count)]
    store.migrations.forget_failures(NEXT)
    store.migrations.save(NEXT, [Successor(s.sample, None, reason="X", message="") for s in pending(store)])
    assert [u.sample for u in store.migrations.unmigrated(NEXT)] == [1]
    store.close()
