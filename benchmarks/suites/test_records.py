"""What the load of many people leaves out: enrolment over gRPC, and a server's start from its records.

``ambis serve`` in a process of its own, and records in SQLite as it writes them. People are synthetic, with two
fingers, a face and two irises; their templates come without the vectors of fingers, which the server computes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter

import pytest

from ambis.v1 import enrollment_service_pb2
from benchmarks.suites.pairs import Benchmark, Peer, measure
from benchmarks.suites.sizes import Sizes
from benchmarks.suites.synthetic_people import GALLERY, SyntheticPeople, subject_id
from benchmarks.suites.synthetic_server import GROUP
from enrollment.client import AmbisClient, image_sample
from enrollment.server_process import ServerProcess
from matcher.changes import EncounterEnrolled
from matcher.records.entries import NewEncounter, NewSample, SubjectMode
from matcher.records.store import RecordStore

pytestmark = pytest.mark.search

SEED = 80
PEOPLE = SyntheticPeople(SEED)


def test_enrolment_over_grpc(benchmark: Benchmark, tmp_path: Path, sizes: Sizes) -> None:
    """One bulk stream of new people, acknowledged when they are on disk and found."""
    benchmark.group = "records"
    count = sizes.recorded_people // 5
    rounds = 3
    requests = list(enrolments(PEOPLE, 0, count * (rounds + 1)))
    records = [new_encounter(change) for change in PEOPLE.changes(0, count * rounds)]
    store = RecordStore(tmp_path / "records")
    with ServerProcess(tmp_path / "server") as server, AmbisClient(server.address) as client:

        def enrol(first: int) -> None:
            for response in client.bulk_enrol(iter(requests[first : first + count])):
                assert response.HasField("result"), response.error.message

        enrol(count * rounds)  # compiles
        done, written = (iter(range(0, count * rounds, count)) for _ in range(2))

        def put_on_record() -> None:
            first = next(written)
            write(store, records[first : first + count])

        measure(
            benchmark,
            lambda: enrol(next(done)),
            [Peer("records", put_on_record, count, "the records of them alone")],
            operation="person enrolled over gRPC: two fingers, a face and two irises",
            operations=count,
            rounds=rounds,
        )
    benchmark.extra_info["enrolment"] = {"people": count * (rounds + 1)}
    store.close()


def test_start_from_records(benchmark: Benchmark, tmp_path: Path, sizes: Sizes) -> None:
    """From the start of the process until it answers."""
    benchmark.group = "records"
    count = sizes.recorded_people
    folder = tmp_path / "data"
    store = RecordStore(folder)
    for first in range(0, count, GROUP):
        write(store, [new_encounter(change) for change in PEOPLE.changes(first, min(GROUP, count - first))])
    store.close()
    empty = _start_seconds(tmp_path / "empty")

    def read() -> None:
        records = RecordStore(folder)
        assert sum(len(group) for group in records.changes(0)) == count
        records.close()

    def start() -> None:
        with ServerProcess(folder) as server, AmbisClient(server.address) as client:
            assert client.status().subjects == count

    measure(
        benchmark,
        start,
        [Peer("reading", read, count, "the same records, read and parsed, without indexes or a process")],
        operation=f"person of {count:,} on record when a server starts",
        operations=count,
        rounds=3 if count > 1000 else 1,
    )
    benchmark.extra_info["start"] = {"people": count, "empty_seconds": empty}


def _start_seconds(folder: Path) -> float:
    began = perf_counter()
    with ServerProcess(folder):
        return perf_counter() - began


def enrolments(people: SyntheticPeople, first: int, count: int) -> Iterator[enrollment_service_pb2.BulkEnrollRequest]:
    """Requests that enrol some people."""
    for number, templates in enumerate(people.templates(first, count), first):
        samples = [image_sample(p, t.to_bytes()) for p, t in zip(people.positions, templates, strict=True)]
        yield enrollment_service_pb2.BulkEnrollRequest(
            transaction_id=f"benchmark-{number}",
            idempotency_key=subject_id(number),
            sequence=number,
            encounter=enrollment_service_pb2.Encounter(subject_id=subject_id(number), samples=samples),
        )


def new_encounter(change: EncounterEnrolled) -> NewEncounter:
    """What puts a change on record."""
    samples = tuple(NewSample(r.position, r.template) for r in change.references)
    return NewEncounter(
        transaction_id=f"benchmark-{change.lsn}",
        idempotency_key=change.subject_id,
        request_sha256=f"{change.lsn:064x}",
        subject_id=change.subject_id,
        encounter_id=change.encounter_id,
        mode=SubjectMode.NEW,
        encounter_type="",
        galleries=(GALLERY,),
        context={},
        samples=samples,
    )


def write(store: RecordStore, encounters: Sequence[NewEncounter]) -> None:
    """Puts them on record in one transaction."""
    for outcome in store.enrol(encounters):
        assert isinstance(outcome, tuple), outcome
