"""People are enrolled all the time while others are searched: no error, and nobody acknowledged is missed.

``ambis serve`` in a process of its own that starts with people on record. Enrolments come at a fixed rate over one bulk
stream; two clients search without a pause, each for somebody who was acknowledged just before, by another capture and
with the LSN of the acknowledgement (``min_lsn``). Afterwards everybody who was acknowledged is searched once more, by
the face alone, which takes the least time.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import random
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import numpy as np
import pytest

from ambis.v1 import enrollment_service_pb2, identification_service_pb2
from benchmarks.suites.pairs import Benchmark
from benchmarks.suites.sizes import Sizes
from benchmarks.suites.synthetic_people import SyntheticPeople, another_capture
from benchmarks.suites.synthetic_server import GROUP, resident_bytes
from benchmarks.suites.test_records import enrolments, new_encounter, write
from enrollment.client import AmbisClient, ClientOptions, image_sample
from enrollment.server_process import ServerProcess
from matcher.positions import Position
from matcher.records.store import RecordStore
from matcher.templates import template_from_bytes

pytestmark = [pytest.mark.search, pytest.mark.slow]

PEOPLE = SyntheticPeople(90)
SEARCHERS = 2
CHUNK = 1024


@dataclasses.dataclass(frozen=True)
class Acknowledged:
    """Somebody who is on record since ``lsn``."""

    encounter: enrollment_service_pb2.Encounter
    lsn: int


class Soak:
    """Enrols and searches at once.

    Args:
        address: of the server.
        first: number of the first person to enrol.
        rate: enrolments a second.
        seconds: how long.
    """

    def __init__(self, address: str, first: int, rate: int, seconds: float) -> None:
        self._address, self._first, self._rate, self._seconds = address, first, rate, seconds
        self._sent: dict[int, enrollment_service_pb2.Encounter] = {}
        self.acknowledged: list[Acknowledged] = []
        self.delays: list[float] = []
        self.searches: list[float] = []
        self.missed: list[str] = []
        self._done = threading.Event()

    def run(self) -> None:
        """Raises what any of the threads raises."""
        with ThreadPoolExecutor(1 + SEARCHERS) as pool:
            searching = [pool.submit(self._search, number) for number in range(SEARCHERS)]
            try:
                pool.submit(self._enrol).result()
            finally:
                self._done.set()
            for one in searching:
                one.result()

    def _requests(self) -> Iterator[enrollment_service_pb2.BulkEnrollRequest]:
        """Each when it is due; made by a process of its own, which is ahead of them."""
        end = self._first + round(self._rate * self._seconds)
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as maker:
            made = [maker.submit(_chunk, at, min(CHUNK, end - at)) for at in range(self._first, end, CHUNK)]
            made[0].result()
            began = perf_counter()
            for number, message in enumerate(message for chunk in made for message in chunk.result()):
                if (early := began + number / self._rate - perf_counter()) > 0:
                    sleep(early)
                self.delays.append(-early)
                request = enrollment_service_pb2.BulkEnrollRequest.FromString(message)
                self._sent[request.sequence] = request.encounter
                yield request

    def _enrol(self) -> None:
        with AmbisClient(self._address) as client:
            for response in client.bulk_enrol(self._requests()):
                assert response.HasField("result"), response.error.message
                encounter = self._sent.pop(response.sequence)
                self.acknowledged.append(Acknowledged(encounter, response.result.lsn))

    def _search(self, seed: int) -> None:
        chosen = random.Random(seed)
        with AmbisClient(self._address, ClientOptions(timeout=60.0)) as client:
            while not self._done.is_set():
                if not self.acknowledged:
                    sleep(0.01)
                    continue
                # Mostly the newest: they are the ones that a search might not see yet.
                latest = self.acknowledged[-1] if chosen.random() < 0.8 else chosen.choice(self.acknowledged)
                search = _search_for(latest, seed=chosen.randrange(1 << 30), faces_only=False)
                began = perf_counter()
                result = client.identify(search)
                self.searches.append(perf_counter() - began)
                if not result.candidates or result.candidates[0].subject_id != latest.encounter.subject_id:
                    self.missed.append(latest.encounter.subject_id)


def _chunk(first: int, count: int) -> list[bytes]:
    return [request.SerializeToString() for request in enrolments(PEOPLE, first, count)]


def test_enrol_while_searching(benchmark: Benchmark, tmp_path: Path, sizes: Sizes) -> None:
    benchmark.group = "soak"
    on_record = sizes.recorded_people
    store = RecordStore(tmp_path / "data")
    for first in range(0, on_record, GROUP):
        write(store, [new_encounter(c) for c in PEOPLE.changes(first, min(GROUP, on_record - first))])
    store.close()
    with ServerProcess(tmp_path / "data") as server:
        soak = Soak(server.address, on_record, sizes.soak_rate, sizes.soak_seconds)
        before = resident_bytes(server.pid)
        benchmark.pedantic(soak.run, setup=lambda: None, rounds=1, iterations=1)
        after = resident_bytes(server.pid)
        lost = _lost(server.address, soak.acknowledged)
    wanted = round(sizes.soak_rate * sizes.soak_seconds)
    assert len(soak.acknowledged) == wanted
    assert not soak.missed, f"{len(soak.missed)} of {len(soak.searches)} searches missed: {soak.missed[:3]}"
    assert not lost, f"{len(lost)} of {wanted} acknowledged people are not found: {lost[:3]}"
    seconds = {f"p{q}": float(np.percentile(soak.searches, q, method="inverted_cdf")) for q in (50, 95, 99)}
    benchmark.extra_info.update(
        operation=f"search while {sizes.soak_rate} people a second are enrolled, p50",
        operations_per_round=len(soak.searches),
        seconds_per_operation=seconds["p50"],
        peers={},
        soak={
            "seconds": sizes.soak_seconds,
            "enrolled": wanted,
            "people": [on_record, on_record + wanted],
            "latest_request": max(soak.delays),
            "searches": len(soak.searches),
            "missed": len(soak.missed),
            "lost": len(lost),
            **seconds,
            "process": [before, after],
        },
    )


def _lost(address: str, acknowledged: list[Acknowledged]) -> list[str]:
    """Who of them is not the first candidate of a search by other captures of all their samples.

    Most are the first already by the face alone, which is searched for first; of tens of thousands of synthetic faces
    a few are outranked by a stranger's.
    """
    outranked = _not_first(address, acknowledged, faces_only=True)
    return [one.encounter.subject_id for one in _not_first(address, outranked, faces_only=False)]


def _not_first(address: str, sought: Sequence[Acknowledged], *, faces_only: bool) -> list[Acknowledged]:
    def requests() -> Iterator[identification_service_pb2.BatchIdentifyRequest]:
        for number, one in enumerate(sought):
            yield identification_service_pb2.BatchIdentifyRequest(
                transaction_id=f"soak-{number}", sequence=number, search=_search_for(one, number, faces_only=faces_only)
            )

    others = []
    with AmbisClient(address) as client:
        for response in client.batch_identify(requests()):
            one, candidates = sought[response.sequence], response.result.candidates
            if not candidates or candidates[0].subject_id != one.encounter.subject_id:
                others.append(one)
    return others


def _search_for(one: Acknowledged, seed: int, *, faces_only: bool) -> identification_service_pb2.Search:
    samples: list[Any] = []
    for sample in one.encounter.samples:
        position = Position(sample.position)
        if position is Position.FACE or not faces_only:
            template = another_capture(template_from_bytes(sample.template.data), seed)
            samples.append(image_sample(position, template.to_bytes()))
    return identification_service_pb2.Search(samples=samples, max_candidates=5, min_lsn=one.lsn)
