"""Bulk enrolment of a manifest: one stream, a result for every encounter, resumable without enrolling anything twice.

Every encounter's idempotency key is the hash of what is enrolled, so a load that broke off, or that is simply started
again, repeats what was acknowledged without effect. A stream that breaks is opened again and goes on with what had no
answer.
"""

from __future__ import annotations

import collections
import csv
import dataclasses
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from ambis.v1 import common_pb2, enrollment_service_pb2
from enrollment.client import (
    MESSAGE_BYTES,
    RETRYABLE,
    AmbisClient,
    CallFailed,
    backoff,
    image_sample,
    new_transaction_id,
)
from enrollment.manifest import BadRow, Manifest, ManifestEncounter, ManifestSample
from matcher.errors import AmbisError, InvalidInput

REJECT_COLUMNS = ("line", "subject_id", "encounter", "path", "reason", "message")
_RETRYABLE_CODES = frozenset(code.value[0] for code in RETRYABLE)
MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_ENCOUNTER_BYTES = MESSAGE_BYTES - 1024 * 1024
"""What fits into one message, with room for everything that is not a file."""


@dataclasses.dataclass(frozen=True)
class BulkOptions:
    """What applies to every encounter of a load.

    Attributes:
        galleries: enrolled into; the server's default when empty.
        batch: enters the idempotency keys: a load with another batch name enrols anew what was deleted since.
        accept_partial: enrol an encounter without the samples that were rejected.
        accept_low_quality: enrol samples below the quality gate, too.
        attempts: consecutive failures of the stream, or of one item, before giving up.
    """

    galleries: tuple[str, ...] = ()
    encounter_type: str = ""
    batch: str = ""
    accept_partial: bool = False
    accept_low_quality: bool = False
    attempts: int = 8


@dataclasses.dataclass
class BulkCounts:
    """How a load went, in encounters (bad rows of the manifest count one each as rejected)."""

    total: int = 0
    enrolled: int = 0
    replayed: int = 0
    rejected: int = 0
    samples_left_out: int = 0

    @property
    def done(self) -> int:
        """Encounters that have an answer."""
        return self.enrolled + self.replayed + self.rejected


@dataclasses.dataclass
class _Item:
    encounter: ManifestEncounter
    failures: int = 0


class BulkLoad:
    """One load of one manifest.

    Args:
        client: connected.
        manifest: what to load.
        rejects: takes a CSV row for every sample that was not enrolled, with the reason.
        options: see the class.
        progress: told the counts after every answer.
        acknowledged: told the subject and encounter id of everything that is on record.
        sleep: waits between attempts (seconds).
    """

    def __init__(
        self,
        client: AmbisClient,
        manifest: Manifest,
        rejects: TextIO,
        options: BulkOptions | None = None,
        progress: Callable[[BulkCounts], None] = lambda _: None,
        acknowledged: Callable[[str, str], None] = lambda _subject, _encounter: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._options = options or BulkOptions()
        self._progress = progress
        self._acknowledged = acknowledged
        self._sleep = sleep
        self._rejects = csv.writer(rejects)
        self._rejects.writerow(REJECT_COLUMNS)
        self._bad_rows = manifest.bad_rows
        self._incomplete: list[ManifestEncounter] = []
        self._waiting: collections.deque[_Item] = collections.deque()
        for encounter in manifest.encounters:
            # Without one of its rows an encounter would be on record for good, and the corrected one refused.
            lost_a_row = (encounter.subject_id, encounter.encounter_id) in manifest.incomplete
            if lost_a_row and not self._options.accept_partial:
                self._incomplete.append(encounter)
            else:
                self._waiting.append(_Item(encounter))
        self._sent: dict[int, _Item] = {}
        self._lock = threading.Lock()
        self._sequence = 0
        self.counts = BulkCounts(total=len(manifest.encounters) + len(manifest.bad_rows))

    def run(self) -> BulkCounts:
        """Loads everything; returns when every encounter has its answer.

        Raises:
            CallFailed: the server stayed away or refused the stream; ``counts`` tells how far the load came, and
                running it again goes on from there.
        """
        for row in self._bad_rows:
            self._reject_row(row)
        for encounter in self._incomplete:
            self._reject(
                encounter,
                "ENCOUNTER_INCOMPLETE",
                "another row of this encounter cannot be used; correct it and load again, or use --accept-partial",
            )
        failures = 0
        while self._waiting:
            stop = threading.Event()
            answered = 0
            try:
                for response in self._client.bulk_enrol(self._requests(stop)):
                    answered += 1
                    self._answer(response)
            except CallFailed as failed:
                failures = 1 if answered else failures + 1
                if not failed.retryable or failures >= self._options.attempts:
                    raise
            finally:
                with self._lock:  # what was sent without an answer is sent again
                    stop.set()
                    self._waiting.extendleft(reversed(self._sent.values()))
                    self._sent.clear()
            if self._waiting:
                self._sleep(backoff(max(1, failures)))
        return self.counts

    def _requests(self, stop: threading.Event) -> Iterator[enrollment_service_pb2.BulkEnrollRequest]:
        """What is waiting, one by one; runs in a thread of gRPC's."""
        while True:
            with self._lock:
                if stop.is_set() or not self._waiting:
                    return
                item = self._waiting.popleft()
                self._sequence += 1
                sequence = self._sequence
                self._sent[sequence] = item
            try:
                request = self._build(item, sequence)
            except AmbisError as error:
                with self._lock:
                    if self._sent.pop(sequence, None) is not None:
                        self._reject(item.encounter, error.reason, error.message)
                continue
            yield request

    def _build(self, item: _Item, sequence: int) -> enrollment_service_pb2.BulkEnrollRequest:
        read = [(sample, data, hashlib.sha256(data).hexdigest()) for sample, data in _read_all(item.encounter.samples)]
        # Rows in another order are the same encounter, to the server too.
        read.sort(key=lambda r: (int(r[0].position), r[2], _face(r[0])))
        item.encounter = encounter = dataclasses.replace(item.encounter, samples=tuple(r[0] for r in read))
        samples = [image_sample(sample.position, data, sample.ppi, sample.face) for sample, data, _ in read]
        # The face stands there only where one is named: keys of other loads stay what they were.
        content = [[int(sample.position), sample.ppi, digest, *_face(sample)] for sample, _, digest in read]
        options = self._options
        galleries = sorted(set(options.galleries))
        facts: list[object] = [
            encounter.subject_id,
            encounter.encounter_id,
            galleries,
            options.encounter_type,
            options.batch,
            sorted(encounter.context.items()),
            content,
        ]
        if encounter.sex or encounter.birth_year:  # only then: keys of other loads stay what they were
            facts.append([int(encounter.sex), encounter.birth_year])
        return enrollment_service_pb2.BulkEnrollRequest(
            transaction_id=new_transaction_id(),
            idempotency_key=hashlib.sha256(json.dumps(facts).encode()).hexdigest(),
            sequence=sequence,
            encounter=enrollment_service_pb2.Encounter(
                subject_id=encounter.subject_id,
                encounter_id=encounter.encounter_id,
                galleries=galleries,
                encounter_type=options.encounter_type,
                context=encounter.context,
                samples=samples,
                subject_mode=enrollment_service_pb2.SUBJECT_MODE_ANY,
                accept_partial=options.accept_partial,
                accept_low_quality=options.accept_low_quality,
                sex=common_pb2.Sex.ValueType(int(encounter.sex)),
                birth_year=encounter.birth_year,
            ),
        )

    def _answer(self, response: enrollment_service_pb2.BulkEnrollResponse) -> None:
        with self._lock:
            item = self._sent.pop(response.sequence, None)
            if item is None:
                return
            encounter = item.encounter
            if response.WhichOneof("outcome") == "error":
                if response.error.code in _RETRYABLE_CODES and item.failures + 1 < self._options.attempts:
                    item.failures += 1
                    self._waiting.append(item)
                else:
                    self._reject(encounter, response.error.reason, _with_field(response.error))
                return
            result = response.result
            self.counts.replayed += result.replayed
            self.counts.enrolled += not result.replayed
            for sample, report in zip(encounter.samples, result.samples, strict=False):
                if not report.used:
                    self.counts.samples_left_out += 1
                    self._write(sample.line, encounter, str(sample.path), report.error.reason, report.error.message)
        self._acknowledged(encounter.subject_id, encounter.encounter_id)
        self._progress(self.counts)

    def _reject(self, encounter: ManifestEncounter, reason: str, message: str) -> None:
        self.counts.rejected += 1
        for sample in encounter.samples:
            self._write(sample.line, encounter, str(sample.path), reason, message)
        self._progress(self.counts)

    def _reject_row(self, row: BadRow) -> None:
        self.counts.rejected += 1
        self._rejects.writerow([row.line, row.subject_id, "", row.path, row.reason, row.message])
        self._progress(self.counts)

    def _write(self, line: int, encounter: ManifestEncounter, path: str, reason: str, message: str) -> None:
        self._rejects.writerow([line, encounter.subject_id, encounter.encounter_id, path, reason, message])


def _face(sample: ManifestSample) -> list[float]:
    """Which face is meant, as numbers; empty where nobody says."""
    if sample.face is None:
        return []
    return [float(sample.face.number)] if sample.face.number is not None else list(sample.face.box or ())


def _read_all(samples: Sequence[ManifestSample]) -> list[tuple[ManifestSample, bytes]]:
    """The files of one encounter; raises InvalidInput where they are more than one message may hold."""
    read, total = [], 0
    for sample in samples:
        read.append((sample, _read(sample.path)))
        total += len(read[-1][1])
        if total > MAX_ENCOUNTER_BYTES:
            raise InvalidInput(
                f"the files of this encounter have more than {MAX_ENCOUNTER_BYTES:,} bytes together; compress them, or "
                "load them as several encounters",
                reason="ENCOUNTER_TOO_LARGE",
            )
    return read


def _read(path: Path) -> bytes:
    try:
        if not path.is_file():  # a pipe or a device might never end
            raise InvalidInput(f"{path} is no file", reason="FILE_UNREADABLE")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InvalidInput(
                f"{path} has more than {MAX_FILE_BYTES:,} bytes; send one sample a file", reason="FILE_TOO_LARGE"
            )
        data = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise InvalidInput(f"{str(path)!r} cannot be read: {error}", reason="FILE_UNREADABLE") from None
    if not data:
        raise InvalidInput(f"{path} is empty", reason="FILE_EMPTY")
    return data


def _with_field(error: common_pb2.ItemError) -> str:
    return f"{error.message} [{error.field}]" if error.field else error.message
