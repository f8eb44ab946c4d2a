"""A change of model in a running server: who is on record is found at every moment, before, during and after."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ambis.v1 import common_pb2, enrollment_service_pb2, identification_service_pb2, migration_service_pb2
from enrollment.client import AmbisClient, CallFailed, ClientOptions, image_sample
from matcher.decision import DecisionParameters
from matcher.errors import StorageFailure
from matcher.positions import Position
from matcher.records.migrations import MigrationRecords
from matcher.service.model_change import ModelChange
from matcher.service.server import AmbisServer, ServerOptions
from tests.matcher.people import FACE, calibrations, face
from tests.matcher.service.running import NEXT_FACE, FacelessTextExtractor, NextTextExtractor, TextExtractor, start

READY = migration_service_pb2.MIGRATION_STATE_READY
EXTRACTING = migration_service_pb2.MIGRATION_STATE_EXTRACTING
NONE = migration_service_pb2.MIGRATION_STATE_NONE


@pytest.fixture
def successor() -> NextTextExtractor:
    return NextTextExtractor()


@pytest.fixture
def server(tmp_path: Path, successor: NextTextExtractor) -> Iterator[AmbisServer]:
    running = start(tmp_path / "data", successor=successor)
    yield running
    running.stop(1.0)


@pytest.fixture
def client(server: AmbisServer) -> Iterator[AmbisClient]:
    with connect(server) as connected:
        yield connected


def connect(server: AmbisServer) -> AmbisClient:
    return AmbisClient(f"127.0.0.1:{server.port}", ClientOptions(timeout=30.0, attempts=1))


def sample(person: int, capture: int = 0) -> common_pb2.Sample:
    return image_sample(Position.FACE, f"face {person} {capture}".encode())


def enrol(client: AmbisClient, person: int, capture: int = 0) -> enrollment_service_pb2.EnrollResult:
    return client.enrol(
        enrollment_service_pb2.Encounter(
            subject_id=f"p{person}",
            samples=[sample(person, capture)],
            subject_mode=enrollment_service_pb2.SUBJECT_MODE_ANY,
        )
    )


def enrol_template(client: AmbisClient, person: int) -> None:
    made = image_sample(Position.FACE, face(person).to_bytes())
    client.enrol(enrollment_service_pb2.Encounter(subject_id=f"p{person}", samples=[made]))


def identify(client: AmbisClient, person: int) -> identification_service_pb2.IdentifyResult:
    return client.identify(identification_service_pb2.Search(samples=[sample(person, 7)], max_candidates=1))


def assert_found(client: AmbisClient, person: int, algorithm: str = "") -> None:
    found = identify(client, person)
    assert found.verdict == common_pb2.VERDICT_HIT
    assert found.candidates[0].subject_id == f"p{person}"
    assert algorithm in ("", found.samples[0].algorithm)


def wait_until(client: AmbisClient, what: Callable[[migration_service_pb2.Migration], bool]) -> None:
    deadline = time.monotonic() + 30
    while not what(client.migration()):
        assert time.monotonic() < deadline, client.migration()
        time.sleep(0.02)


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(CallFailed) as refused:
        call()
    return refused.value.reason


def test_from_the_first_sample_to_the_switch(client: AmbisClient, successor: NextTextExtractor) -> None:
    for i in range(40):
        enrol(client, i)
    assert refusal(client.complete_migration) == "MIGRATION_NOT_STARTED"
    successor.gate.clear()
    started = client.start_migration()
    assert (started.state, started.modality, started.samples) == (EXTRACTING, "face", 40)
    assert (started.algorithm, started.next_algorithm) == (FACE, NEXT_FACE)
    assert_found(client, 7, FACE)
    successor.gate.set()
    wait_until(client, lambda m: m.state == READY)
    ready = client.migration()
    assert (ready.migrated, ready.failed, ready.subjects_missed, ready.problem) == (40, 0, 0, "")
    assert_found(client, 7, FACE)
    assert client.start_migration().state == READY  # again: nothing is begun anew
    assert len(successor.extracted) == 40

    done = client.complete_migration()
    assert done.lsn == 41 == client.status().searchable_lsn
    assert_found(client, 7, NEXT_FACE)
    assert next(m for m in client.status().modalities if m.modality == "face").algorithm == NEXT_FACE
    assert {s.algorithm for e in client.subject("p7").encounters for s in e.samples} == {NEXT_FACE}
    enrol(client, 40)
    assert_found(client, 40, NEXT_FACE)
    old = image_sample(Position.FACE, face(41).to_bytes())
    search = identification_service_pb2.Search(samples=[old])
    assert refusal(lambda: client.identify(search)) == "MODEL_MISMATCH"
    assert refusal(lambda: enrol_template(client, 41)) == "MODEL_MISMATCH"
    assert refusal(client.start_migration) == "NO_NEXT_MODEL"
    wait_until(client, lambda m: m.state == NONE)


def test_a_restart_with_the_settings_of_before_uses_the_model_on_record(tmp_path: Path) -> None:
    server = start(tmp_path / "data", successor=NextTextExtractor())
    with connect(server) as client:
        for i in range(5):
            enrol(client, i)
        client.start_migration()
        wait_until(client, lambda m: m.state == READY)
    server.stop(1.0)
    server = start(tmp_path / "data", successor=NextTextExtractor())
    with connect(server) as client:
        assert_found(client, 3, FACE)
        assert client.migration().state == READY
        client.complete_migration()
    server.stop(1.0)
    server = start(tmp_path / "data", successor=NextTextExtractor())
    with connect(server) as client:
        for i in range(5):
            assert_found(client, i, NEXT_FACE)
        enrol(client, 6)
        assert refusal(client.start_migration) == "NO_NEXT_MODEL"
    server.stop(1.0)


def test_a_server_without_the_model_on_record_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    server = start(tmp_path / "data", successor=NextTextExtractor())
    with connect(server) as client:
        enrol(client, 1)
        client.start_migration()
        wait_until(client, lambda m: m.state == READY)
        client.complete_migration()
    server.stop(1.0)
    server = start(tmp_path / "data")
    assert f"face references on record are of {NEXT_FACE}, this server extracts {FACE}" in caplog.text
    with connect(server) as client:
        assert refusal(lambda: identify(client, 1)) == "MODEL_MISMATCH"
        assert refusal(lambda: enrol(client, 2)) == "MODEL_MISMATCH"
    server.stop(1.0)


def test_records_of_a_model_that_is_no_longer_there_are_changed(tmp_path: Path) -> None:
    """After an upgrade without the old model: faces cannot be searched until the switch, and can from then on."""
    server = start(tmp_path / "data")
    with connect(server) as client:
        for i in range(5):
            enrol(client, i)
    server.stop(1.0)
    server = start(tmp_path / "data", successor=NextTextExtractor(), extractor=FacelessTextExtractor())
    with connect(server) as client:
        assert refusal(lambda: identify(client, 3)) == "MODALITY_UNAVAILABLE"
        client.start_migration()
        wait_until(client, lambda m: m.state == READY)
        client.complete_migration()
        assert_found(client, 3, NEXT_FACE)
    server.stop(1.0)


def test_enrolments_and_deletions_meanwhile_count(client: AmbisClient, successor: NextTextExtractor) -> None:
    for i in range(30):
        enrol(client, i)
    successor.gate.clear()
    client.start_migration()
    for i in range(30, 40):
        enrol(client, i)
        assert_found(client, i, FACE)
    for i in range(0, 40, 4):
        client.delete_subject(f"p{i}")
    successor.gate.set()
    wait_until(client, lambda m: m.state == READY)
    enrol(client, 50)  # a moment before the switch
    client.delete_subject("p1")
    client.complete_migration()
    gone = {1, *range(0, 40, 4)}
    for i in [*range(40), 50]:
        if i in gone:
            assert identify(client, i).verdict == common_pb2.VERDICT_NO_HIT
        else:
            assert_found(client, i, NEXT_FACE)
    assert client.status().subjects == 41 - len(gone)


def test_samples_that_fail_are_listed_and_left_out_only_on_demand(client: AmbisClient) -> None:
    for i in (1, 2, 901, 902):
        enrol(client, i)
    enrol(client, 901, 2)
    enrol_template(client, 3)
    enrol(client, 4)
    client.enrol(
        enrollment_service_pb2.Encounter(
            subject_id="p4",
            samples=[sample(904)],
            subject_mode=enrollment_service_pb2.SUBJECT_MODE_EXISTING,
        )
    )
    client.start_migration()
    wait_until(client, lambda m: m.state == READY)
    ready = client.migration()
    assert (ready.samples, ready.migrated, ready.failed, ready.subjects_missed) == (8, 3, 5, 3)
    listed = [(u.subject_id, u.reason) for u in client.unmigrated()]
    not_found = "FACE_NOT_FOUND"
    assert listed == [
        ("p901", not_found),
        ("p902", not_found),
        ("p901", not_found),
        ("p3", "SAMPLE_NOT_KEPT"),
        ("p4", not_found),
    ]
    for accepted in (0, 4):
        with pytest.raises(CallFailed, match="--leave-out 5") as refused:
            client.complete_migration(accepted)
        assert refused.value.reason == "SAMPLES_WOULD_BE_MISSED"
        assert "would miss: 3." in refused.value.message
    assert_found(client, 902, FACE)
    assert_found(client, 3, FACE)
    client.complete_migration(5)
    for i in (1, 2, 4):
        assert_found(client, i, NEXT_FACE)
    (kept,) = [s for e in client.subject("p902").encounters for s in e.samples]
    assert (kept.algorithm, kept.left_out) == (FACE, "the next model finds no face")
    assert kept.sha256
    with pytest.raises(CallFailed, match="no sample on record that can be compared"):
        client.verify("p902", [sample(2)])


def test_of_several_faces_the_next_model_takes_the_one_that_was_enrolled(client: AmbisClient) -> None:
    both = image_sample(Position.FACE, b"face 7 0, face 8 0")
    both.image.face_number = 2
    client.enrol(enrollment_service_pb2.Encounter(subject_id="p8", samples=[both]))
    client.start_migration()
    wait_until(client, lambda m: m.state == READY)
    client.complete_migration()
    assert_found(client, 8, NEXT_FACE)
    assert identify(client, 7).verdict == common_pb2.VERDICT_NO_HIT


def test_failures_are_tried_again_when_asked(client: AmbisClient, successor: NextTextExtractor) -> None:
    for i in (1, 901):
        enrol(client, i)
    client.start_migration()
    wait_until(client, lambda m: m.state == READY)
    assert client.migration().failed == 1
    successor.extracted.clear()
    client.start_migration(retry_failed=True)
    wait_until(client, lambda m: m.state == READY)
    assert successor.extracted == ["face 901 0"]


def test_cancelling(client: AmbisClient, successor: NextTextExtractor) -> None:
    for i in range(5):
        enrol(client, i)
    client.start_migration()
    wait_until(client, lambda m: m.state == READY)
    assert client.cancel_migration().state == NONE
    assert refusal(client.complete_migration) == "MIGRATION_NOT_STARTED"
    assert_found(client, 3, FACE)
    client.start_migration()
    wait_until(client, lambda m: m.state == READY)
    assert len(successor.extracted) == 10


def test_a_server_without_a_next_model(tmp_path: Path) -> None:
    plain = start(tmp_path / "plain")
    with connect(plain) as client:
        assert client.migration().state == NONE
        for call in (client.start_migration, client.complete_migration, client.cancel_migration):
            assert refusal(call) == "NO_NEXT_MODEL"
        assert refusal(lambda: list(client.unmigrated())) == "NO_NEXT_MODEL"
    plain.stop(1.0)


def test_a_next_model_needs_a_calibration(tmp_path: Path) -> None:
    server = AmbisServer(
        tmp_path, TextExtractor(), calibrations(), DecisionParameters(), ServerOptions(), successor=NextTextExtractor()
    )
    with connect(server) as client:
        assert refusal(client.start_migration) == "NOT_CALIBRATED"
    server.stop(1.0)


def test_a_failing_disk_pauses_the_work_and_says_so(
    client: AmbisClient, monkeypatch: pytest.MonkeyPatch, successor: NextTextExtractor
) -> None:
    monkeypatch.setattr("matcher.service.model_change.ModelChangeParameters.pause", 0.05)
    for i in range(3):
        enrol(client, i)

    def fails(*_: object) -> None:
        raise StorageFailure("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(MigrationRecords, "save", fails)
        client.start_migration()
        wait_until(client, lambda m: "disk is full" in m.problem)
        assert refusal(client.complete_migration) == "STORAGE_FAILURE"
        assert_found(client, 1, FACE)
        enrol(client, 4)
    wait_until(client, lambda m: m.state == READY and not m.problem)
    client.complete_migration()
    assert_found(client, 4, NEXT_FACE)


def test_records_that_cannot_be_read_while_idle_only_pause_the_work(
    client: AmbisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("matcher.service.model_change.ModelChangeParameters.pause", 0.05)
    enrol(client, 1)
    failures = iter(range(3))
    plain = ModelChange._is_prepared

    def fails_at_first(change: ModelChange) -> bool:
        for _ in failures:
            raise StorageFailure("the disk is gone")
        return plain(change)

    monkeypatch.setattr(ModelChange, "_is_prepared", fails_at_first)
    client.start_migration()
    wait_until(client, lambda m: m.state == READY and next(failures, None) is None)
    enrol(client, 2)
    wait_until(client, lambda m: m.state == READY and m.migrated == 2)


def test_traffic_never_notices_the_switch(tmp_path: Path) -> None:
    """Searches, verifications and enrolments from many threads through the switch: none fails, none misses."""
    server = start(tmp_path / "data", ServerOptions(shards=2, extraction_workers=4), NextTextExtractor())
    with connect(server) as client:
        for i in range(60):
            enrol(client, i)
        client.start_migration()
        wait_until(client, lambda m: m.state == READY)
        stop = threading.Event()
        problems: list[object] = []
        algorithms: set[str] = set()
        enrolled: list[int] = []

        def work(thread: int) -> None:
            count = 0
            with connect(server) as mine:
                while not stop.is_set():
                    count += 1
                    person = (thread * 17 + count) % 60
                    try:
                        found = identify(mine, person)
                        if found.candidates[0].subject_id != f"p{person}":
                            problems.append((person, found))
                        algorithms.add(found.samples[0].algorithm)
                        if mine.verify(f"p{person}", [sample(person, 5)]).verdict != common_pb2.VERDICT_HIT:
                            problems.append(("verify", person))
                        number = 1000 * (thread + 1) + count
                        enrol(mine, number)
                        enrolled.append(number)
                    except CallFailed as failed:
                        problems.append(failed)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        client.complete_migration()
        time.sleep(0.5)
        stop.set()
        for thread in threads:
            thread.join()
        assert problems == []
        assert algorithms == {FACE, NEXT_FACE}
        for number in enrolled:
            assert_found(client, number, NEXT_FACE)
    server.stop(1.0)
    again = start(tmp_path / "data", ServerOptions(shards=2), NextTextExtractor())
    with connect(again) as client:
        for number in enrolled:
            assert_found(client, number, NEXT_FACE)
    again.stop(1.0)
