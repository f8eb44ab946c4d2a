"""The record store: what is acknowledged is there, what is refused leaves no trace, what is deleted is gone."""

from __future__ import annotations

import dataclasses
import datetime
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from matcher.changes import EncounterEnrolled, SubjectDeleted
from matcher.errors import AlreadyExists, AmbisError, InvalidInput, NotFound, PreconditionFailed, StorageFailure
from matcher.filters import Sex
from matcher.positions import Position
from matcher.records.entries import NewEncounter, NewSample, Receipt, SubjectMode
from matcher.records.store import RecordStore
from tests.matcher.people import face

NOW = datetime.datetime(2026, 11, 22, 10, 30)


def encounter(
    subject: str,
    encounter_id: str = "1",
    *,
    key: str = "",
    mode: SubjectMode = SubjectMode.NEW,
    data: bytes | None = b"an image",
    digest: str = "d",
    galleries: tuple[str, ...] = ("default",),
    sex: Sex = Sex.UNKNOWN,
    birth_year: int = 0,
) -> NewEncounter:
    return NewEncounter(
        transaction_id="t",
        idempotency_key=key or f"key-{subject}-{encounter_id}",
        request_sha256=digest,
        subject_id=subject,
        encounter_id=encounter_id,
        mode=mode,
        encounter_type="arrest",
        galleries=galleries,
        context={"station": "12"},
        samples=(NewSample(Position.FACE, face(1), 77, "image/png", data),),
        receipt=b"receipt of " + subject.encode(),
        sex=sex,
        birth_year=birth_year,
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RecordStore]:
    opened = RecordStore(tmp_path / "data", clock=lambda: NOW)
    yield opened
    opened.close()


def receipt(outcome: object) -> Receipt:
    assert isinstance(outcome, tuple)
    found = outcome[0]
    assert isinstance(found, Receipt)
    return found


def files(store: RecordStore, tmp_path: Path) -> int:
    return sum(1 for p in (tmp_path / "data" / "samples").rglob("*") if p.is_file())


def test_what_is_enrolled_is_on_record(store: RecordStore) -> None:
    made = receipt(store.enrol([encounter("a")])[0])
    assert (made.subject_id, made.encounter_id, made.lsn, made.replayed) == ("a", "1", 1, False)
    subject = store.subject("a")
    assert subject.created_at == NOW
    (only,) = subject.encounters
    assert (only.encounter_type, only.galleries, dict(only.context)) == ("arrest", ("default",), {"station": "12"})
    (sample,) = only.samples
    assert (sample.position, sample.quality, sample.media_type) == (Position.FACE, 77, "image/png")
    assert store.files.read(sample.sha256) == b"an image"
    assert store.counts() == (1, 1)


def test_what_searches_are_restricted_by_is_in_the_change_now_and_after_a_restart(store: RecordStore) -> None:
    told = store.enrol([encounter("a", sex=Sex.FEMALE, birth_year=1984), encounter("b")])
    changes = [outcome[1] for outcome in told if not isinstance(outcome, AmbisError)]
    assert [(c.sex, c.birth_year, c.encounter_type) for c in changes if c is not None] == [
        (Sex.FEMALE, 1984, "arrest"),
        (Sex.UNKNOWN, 0, "arrest"),
    ]
    replayed = [change for group in store.changes() for change in group]
    for told_now, told_later in zip(changes, replayed, strict=True):
        assert isinstance(told_now, EncounterEnrolled)
        assert isinstance(told_later, EncounterEnrolled)
        fields = ("lsn", "subject_id", "encounter_id", "galleries", "sex", "birth_year", "encounter_type")
        assert [getattr(told_now, f) for f in fields] == [getattr(told_later, f) for f in fields]
    (kept,) = store.subject("a").encounters
    assert (kept.sex, kept.birth_year) == (Sex.FEMALE, 1984)


def test_encounter_types(store: RecordStore) -> None:
    assert store.encounter_types() == []
    store.enrol([encounter("a"), encounter("b"), dataclasses.replace(encounter("c"), encounter_type="")])
    assert store.encounter_types() == ["arrest"]
    assert store.has_encounter_type("arrest")
    assert not store.has_encounter_type("border")


def test_one_bad_item_leaves_the_others_untouched(store: RecordStore, tmp_path: Path) -> None:
    store.enrol([encounter("a")])
    outcomes = store.enrol([encounter("b"), encounter("a", "2", data=b"refused"), encounter("c")])
    assert isinstance(outcomes[1], AlreadyExists)
    assert receipt(outcomes[0]).lsn < receipt(outcomes[2]).lsn
    assert store.counts() == (3, 3)
    # Nothing of a refused encounter is kept: the three share one image, the refused one had its own.
    assert files(store, tmp_path) == 1


def test_repeating_enrols_once(store: RecordStore) -> None:
    first = receipt(store.enrol([encounter("a")])[0])
    again, twin = store.enrol([encounter("a"), encounter("a")])
    assert receipt(again) == Receipt("a", "1", first.lsn, True, b"receipt of a")
    assert receipt(twin).replayed
    assert store.counts() == (1, 1)
    assert store.last_lsn() == first.lsn
    assert store.seen("key-a-1", "d", "a") == (receipt(again), True)
    assert store.seen("unknown-key", "d", "nobody") == (None, False)


def test_twice_in_one_group(store: RecordStore) -> None:
    outcomes = store.enrol([encounter("a"), encounter("a")])
    assert [receipt(o).replayed for o in outcomes] == [False, True]


def test_key_with_other_content_is_refused(store: RecordStore) -> None:
    store.enrol([encounter("a")])
    (outcome,) = store.enrol([encounter("b", key="key-a-1", digest="other")])
    assert isinstance(outcome, PreconditionFailed)
    assert outcome.reason == "IDEMPOTENCY_KEY_REUSED"
    assert not store.has_subject("b")


@pytest.mark.parametrize(
    ("mode", "known", "error"),
    [
        (SubjectMode.NEW, True, AlreadyExists),
        (SubjectMode.EXISTING, False, NotFound),
        (SubjectMode.NEW, False, None),
        (SubjectMode.EXISTING, True, None),
        (SubjectMode.ANY, True, None),
        (SubjectMode.ANY, False, None),
    ],
)
def test_subject_modes(store: RecordStore, mode: SubjectMode, known: bool, error: type[AmbisError] | None) -> None:
    if known:
        store.enrol([encounter("a")])
    (outcome,) = store.enrol([encounter("a", "2", mode=mode)])
    if error:
        assert isinstance(outcome, error)
    else:
        assert receipt(outcome).encounter_id == "2"


def test_same_encounter_id_twice_is_refused(store: RecordStore) -> None:
    store.enrol([encounter("a")])
    (outcome,) = store.enrol([encounter("a", "1", key="another-key", mode=SubjectMode.ANY)])
    assert isinstance(outcome, AlreadyExists)
    assert outcome.reason == "ENCOUNTER_EXISTS"


def test_deletion_removes_everything(store: RecordStore, tmp_path: Path) -> None:
    store.enrol([encounter("a", data=b"of a"), encounter("a", "2", mode=SubjectMode.ANY, data=b"shared")])
    store.enrol([encounter("b", data=b"shared")])
    assert files(store, tmp_path) == 2
    deletion, change = store.delete_subject("a", "t")
    assert deletion.encounters == 2
    assert change == SubjectDeleted(deletion.lsn, "a")
    assert not store.has_subject("a")
    assert files(store, tmp_path) == 1
    (sample,) = store.subject("b").encounters[0].samples
    assert store.files.read(sample.sha256) == b"shared"
    with pytest.raises(NotFound):
        store.subject("a")
    with pytest.raises(NotFound):
        store.delete_subject("a", "t")


def test_late_repetition_does_not_bring_a_deleted_subject_back(store: RecordStore) -> None:
    store.enrol([encounter("a")])
    store.delete_subject("a", "t")
    (outcome,) = store.enrol([encounter("a")])
    assert isinstance(outcome, PreconditionFailed)
    assert outcome.reason == "DELETED_SINCE"
    (again,) = store.enrol([encounter("a", key="on-purpose")])
    assert receipt(again).lsn == 3


def test_template_bytes_of_the_deleted_leave_the_database_file(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "data")
    needle = face(1).to_bytes()[40:140]
    store.enrol([encounter("a")])
    store.delete_subject("a", "t")
    store.close()
    assert needle not in (tmp_path / "data" / "records.sqlite").read_bytes()
    wal = tmp_path / "data" / "records.sqlite-wal"
    assert not wal.exists() or needle not in wal.read_bytes()


def test_changes_replay_the_log(store: RecordStore) -> None:
    store.enrol([encounter("a"), encounter("b")])
    store.delete_subject("a", "t")
    store.enrol([encounter("c", data=None)])
    changes = [c for group in store.changes() for c in group]
    assert [(type(c), c.lsn, c.subject_id) for c in changes] == [
        (EncounterEnrolled, 2, "b"),
        (SubjectDeleted, 3, "a"),
        (EncounterEnrolled, 4, "c"),
    ]
    assert isinstance(changes[0], EncounterEnrolled)
    assert changes[0].references[0].template == face(1)
    assert [c.lsn for group in store.changes(after=2) for c in group] == [3, 4]
    assert list(store.changes(after=4)) == []


def test_reference_ids_and_lsns_are_never_reused(store: RecordStore) -> None:
    store.enrol([encounter("a")])
    before = next(c for g in store.changes() for c in g)
    assert isinstance(before, EncounterEnrolled)
    store.delete_subject("a", "t")
    store.enrol([encounter("b")])
    after = [c for g in store.changes() for c in g][-1]
    assert isinstance(after, EncounterEnrolled)
    assert after.references[0].reference_id > before.references[0].reference_id
    assert after.lsn == 3


def test_everything_survives_reopening(tmp_path: Path) -> None:
    with_one = RecordStore(tmp_path / "data")
    with_one.enrol([encounter("a")])
    with_one.close()
    again = RecordStore(tmp_path / "data")
    assert again.has_subject("a")
    assert again.last_lsn() == 1
    assert again.seen("key-a-1", "d", "a")[0] is not None
    again.close()


def test_a_crash_between_deletion_and_file_removal_is_made_good(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "data")
    store.enrol([encounter("a")])
    sha256 = store.subject("a").encounters[0].samples[0].sha256
    store.close()
    with sqlite3.connect(tmp_path / "data" / "records.sqlite") as raw:  # as the crash leaves it
        raw.execute("DELETE FROM samples")
        raw.execute("INSERT INTO doomed_files VALUES (?)", (sha256,))
    raw.close()
    again = RecordStore(tmp_path / "data")
    assert files(again, tmp_path) == 0
    again.close()


def test_no_samples_are_kept_when_told_so(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "data", keep_samples=False)
    store.enrol([encounter("a")])
    (sample,) = store.subject("a").encounters[0].samples
    assert (sample.sha256, sample.media_type) == ("", "")
    assert files(store, tmp_path) == 0
    store.close()


def test_galleries_are_bounded(store: RecordStore) -> None:
    for i in range(63):
        store.enrol([encounter(f"s{i}", galleries=(f"g{i}",))])
    (outcome,) = store.enrol([encounter("one-more", galleries=("g63",))])
    assert isinstance(outcome, PreconditionFailed)
    assert outcome.reason == "TOO_MANY_GALLERIES"
    assert receipt(store.enrol([encounter("known", galleries=("g5",))])[0]).lsn == 64


def test_an_encounter_that_no_search_would_find_is_refused(store: RecordStore) -> None:
    (outcome,) = store.enrol([encounter("a", galleries=())])
    assert isinstance(outcome, InvalidInput)
    assert store.counts() == (0, 0)


def test_folder_is_locked_against_a_second_process(store: RecordStore, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from matcher.records.store import RecordStore\n"
        "try: RecordStore(Path(sys.argv[1]))\n"
        "except Exception as e: print(getattr(e, 'reason', e)); sys.exit(3)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "data")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (3, "DATA_FOLDER_IN_USE")


def test_a_folder_that_lost_its_records_does_not_start_empty(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "data")
    store.enrol([encounter("a")])
    store.close()
    (tmp_path / "data" / "records.sqlite").unlink()
    for _ in range(2):
        with pytest.raises(StorageFailure, match="restore"):
            RecordStore(tmp_path / "data")
    (tmp_path / "data" / "records.sqlite").touch()
    with pytest.raises(StorageFailure, match="restore"):
        RecordStore(tmp_path / "data")


def test_a_damaged_template_is_named(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "data")
    store.enrol([encounter("a")])
    store.close()
    with sqlite3.connect(tmp_path / "data" / "records.sqlite") as raw:
        raw.execute("UPDATE samples SET template = zeroblob(500)")
    raw.close()
    store = RecordStore(tmp_path / "data")
    with pytest.raises(StorageFailure, match="subject 'a', encounter '1'"):
        list(store.changes())
    store.close()


def test_nobody_else_may_look_into_a_new_folder(store: RecordStore, tmp_path: Path) -> None:
    assert (tmp_path / "data").stat().st_mode & 0o077 == 0


def test_durability_settings_are_what_the_design_promises(store: RecordStore) -> None:
    with store._writer.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
