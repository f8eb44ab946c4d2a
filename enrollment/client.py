"""The client that field units and the bureau use: the contract with errors, retries and deadlines taken care of."""

from __future__ import annotations

import dataclasses
import json
import random
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from ambis.v1 import (
    common_pb2,
    enrollment_service_pb2,
    enrollment_service_pb2_grpc,
    identification_service_pb2,
    identification_service_pb2_grpc,
    migration_service_pb2,
    migration_service_pb2_grpc,
    status_service_pb2,
    status_service_pb2_grpc,
)
from matcher.errors import AmbisError, InvalidInput
from matcher.positions import Position
from matcher.service.extraction import FaceChoice
from matcher.templates import MAGIC, template_from_bytes

T = TypeVar("T")

MESSAGE_BYTES = 128 * 1024 * 1024
SWITCH_SECONDS = 3600.0
TOO_LARGE = "MESSAGE_TOO_LARGE"
RETRYABLE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)


class CallFailed(AmbisError):
    """The server refused a call, or could not be reached.

    Attributes:
        code: the gRPC status.
        transaction_id: of the call, for the server's log.
        faces: that were found, where an image was refused for them, in the order in which a choice counts them.
        retry_seconds: after which the server asks to try again; 0 where it does not say.
    """

    default_reason = "CALL_FAILED"

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode,
        reason: str = "",
        field: str = "",
        transaction_id: str = "",
        faces: Sequence[common_pb2.FoundFace] = (),
        retry_seconds: float = 0.0,
    ) -> None:
        super().__init__(message, reason=reason or code.name, field=field)
        self.code = code
        self.transaction_id = transaction_id
        self.faces = tuple(faces)
        self.retry_seconds = retry_seconds

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return self.code in RETRYABLE and self.reason != TOO_LARGE


@dataclasses.dataclass(frozen=True)
class ClientOptions:
    """How to reach the server.

    Attributes:
        timeout: seconds a call may take, retries included.
        attempts: tries of a call that the server could not take on; enrolment is safe to repeat by its key.
        ca, certificate, key: PEM contents; TLS is used when ``ca`` is given.
    """

    timeout: float = 60.0
    attempts: int = 5
    ca: bytes | None = None
    certificate: bytes | None = None
    key: bytes | None = None


class AmbisClient:
    """A connection to an AMBIS server; thread-safe; a context manager.

    Args:
        target: ``host:port``.
        options: see the class.
        sleep: waits between attempts (seconds).
    """

    def __init__(
        self, target: str, options: ClientOptions | None = None, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._options = options or ClientOptions()
        self._target = target
        self._sleep = sleep
        channel_options = [
            ("grpc.max_send_message_length", MESSAGE_BYTES),
            ("grpc.max_receive_message_length", MESSAGE_BYTES),
            ("grpc.keepalive_time_ms", 30_000),
        ]
        if self._options.ca is None:
            self._channel = grpc.insecure_channel(target, channel_options)
        else:
            credentials = grpc.ssl_channel_credentials(self._options.ca, self._options.key, self._options.certificate)
            self._channel = grpc.secure_channel(target, credentials, channel_options)
        self._enrollment = enrollment_service_pb2_grpc.EnrollmentServiceStub(self._channel)
        self._identification = identification_service_pb2_grpc.IdentificationServiceStub(self._channel)
        self._migration = migration_service_pb2_grpc.MigrationServiceStub(self._channel)
        self._status = status_service_pb2_grpc.StatusServiceStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()

    def enrol(
        self, encounter: enrollment_service_pb2.Encounter, idempotency_key: str = ""
    ) -> enrollment_service_pb2.EnrollResult:
        """Enrols one encounter; repeated as often as needed, enrolled once."""
        request = enrollment_service_pb2.EnrollRequest(
            transaction_id=new_transaction_id(),
            idempotency_key=idempotency_key or uuid.uuid4().hex,
            encounter=encounter,
        )
        return self._call(lambda t: self._enrollment.Enroll(request, timeout=t), request.transaction_id).result

    def bulk_enrol(
        self, requests: Iterable[enrollment_service_pb2.BulkEnrollRequest]
    ) -> Iterator[enrollment_service_pb2.BulkEnrollResponse]:
        """One bulk stream; raises CallFailed when it breaks (what was answered stays enrolled)."""
        try:
            yield from self._enrollment.BulkEnroll(iter(requests))
        except grpc.RpcError as error:
            raise _failed(error, self._target) from error

    def identify(self, search: identification_service_pb2.Search) -> identification_service_pb2.IdentifyResult:
        """Searches 1:N."""
        request = identification_service_pb2.IdentifyRequest(transaction_id=new_transaction_id(), search=search)
        return self._call(lambda t: self._identification.Identify(request, timeout=t), request.transaction_id).result

    def batch_identify(
        self, requests: Iterable[identification_service_pb2.BatchIdentifyRequest]
    ) -> Iterator[identification_service_pb2.BatchIdentifyResponse]:
        """One stream of searches; raises CallFailed when it breaks."""
        try:
            yield from self._identification.BatchIdentify(iter(requests))
        except grpc.RpcError as error:
            raise _failed(error, self._target) from error

    def verify(
        self, subject_id: str, samples: Sequence[common_pb2.Sample], target_fmr: float | None = None
    ) -> identification_service_pb2.VerifyResponse:
        """Compares 1:1 with a subject on record."""
        request = identification_service_pb2.VerifyRequest(
            transaction_id=new_transaction_id(), subject_id=subject_id, samples=samples, target_fmr=target_fmr
        )
        return self._call(lambda t: self._identification.Verify(request, timeout=t), request.transaction_id)

    def subject(self, subject_id: str) -> enrollment_service_pb2.Subject:
        """What is on record of a subject."""
        request = enrollment_service_pb2.GetSubjectRequest(transaction_id=new_transaction_id(), subject_id=subject_id)
        return self._call(lambda t: self._enrollment.GetSubject(request, timeout=t), request.transaction_id).subject

    def delete_subject(self, subject_id: str) -> enrollment_service_pb2.DeleteSubjectResponse:
        """Deletes a subject with everything on record of it."""
        request = enrollment_service_pb2.DeleteSubjectRequest(
            transaction_id=new_transaction_id(), subject_id=subject_id
        )
        return self._call(lambda t: self._enrollment.DeleteSubject(request, timeout=t), request.transaction_id)

    def status(self) -> status_service_pb2.GetStatusResponse:
        """What the server is and holds."""
        request = status_service_pb2.GetStatusRequest(transaction_id=new_transaction_id())
        return self._call(lambda t: self._status.GetStatus(request, timeout=t), request.transaction_id)

    def start_migration(self, *, retry_failed: bool = False) -> migration_service_pb2.Migration:
        """Begins the change to the server's next face pack, or goes on with it."""
        request = migration_service_pb2.StartMigrationRequest(
            transaction_id=new_transaction_id(), retry_failed=retry_failed
        )
        return self._call(
            lambda t: self._migration.StartMigration(request, timeout=t), request.transaction_id
        ).migration

    def migration(self) -> migration_service_pb2.Migration:
        """How far the change is."""
        request = migration_service_pb2.GetMigrationRequest(transaction_id=new_transaction_id())
        return self._call(lambda t: self._migration.GetMigration(request, timeout=t), request.transaction_id).migration

    def unmigrated(self) -> Iterator[migration_service_pb2.ListUnmigratedResponse]:
        """Every sample that the next face pack failed on."""
        request = migration_service_pb2.ListUnmigratedRequest(transaction_id=new_transaction_id())
        try:
            yield from self._migration.ListUnmigrated(request)
        except grpc.RpcError as error:
            raise _failed(error, self._target, request.transaction_id) from error

    def complete_migration(self, leave_out: int = 0) -> migration_service_pb2.CompleteMigrationResponse:
        """Switches to the next face pack. Takes as long as building the index does, whatever the timeout."""
        request = migration_service_pb2.CompleteMigrationRequest(
            transaction_id=new_transaction_id(), leave_out=leave_out
        )
        try:
            return self._migration.CompleteMigration(request, timeout=SWITCH_SECONDS)
        except grpc.RpcError as error:
            raise _failed(error, self._target, request.transaction_id) from error

    def cancel_migration(self) -> migration_service_pb2.Migration:
        """Drops everything made for the next face pack."""
        request = migration_service_pb2.CancelMigrationRequest(transaction_id=new_transaction_id())
        return self._call(
            lambda t: self._migration.CancelMigration(request, timeout=t), request.transaction_id
        ).migration

    def _call(self, call: Callable[[float], T], transaction_id: str) -> T:
        deadline = time.monotonic() + self._options.timeout
        attempt = 1
        while True:
            try:
                return call(max(0.001, deadline - time.monotonic()))
            except grpc.RpcError as error:
                failed = _failed(error, self._target, transaction_id)
                pause = max(backoff(attempt), failed.retry_seconds * random.uniform(1.0, 1.2))
                if not failed.retryable or attempt >= self._options.attempts:
                    raise failed from error
                if time.monotonic() + pause >= deadline:
                    raise failed from error
            self._sleep(pause)
            attempt += 1


def backoff(attempt: int) -> float:
    """Seconds to wait after the attempt-th failure: 0.2, 0.4, ... 5, with jitter so that clients do not come
    together."""
    pause: float = min(5.0, 0.2 * 2.0 ** (attempt - 1))
    return pause * random.uniform(0.8, 1.2)


def new_transaction_id() -> str:
    """A transaction id that nobody else has."""
    return f"T-{uuid.uuid4().hex}"


def parse_face_choice(text: str) -> FaceChoice:
    """Which face of a picture is meant: its number, from 1, or the box LEFT,TOP,RIGHT,BOTTOM in pixels.

    Raises:
        InvalidInput (FACE_CHOICE_INVALID).
    """
    try:
        if "," not in text:
            return FaceChoice(number=int(text))
        left, top, right, bottom = map(float, text.split(","))
    except ValueError:
        raise InvalidInput(
            f"{text!r} names no face; give its number (1 is the largest) or its box as LEFT,TOP,RIGHT,BOTTOM in pixels",
            reason="FACE_CHOICE_INVALID",
        ) from None
    return FaceChoice(box=(left, top, right, bottom))


def image_sample(
    position: Position, data: bytes, ppi: float | None = None, face: FaceChoice | None = None
) -> common_pb2.Sample:
    """A sample of an image file's bytes, or of a template file's.

    Args:
        face: which of several faces is meant.
    """
    sample = common_pb2.Sample(position=common_pb2.Position.ValueType(int(position)))
    if data[:4] == MAGIC:
        template = template_from_bytes(data)
        sample.template.data = data
        sample.template.algorithm = template.algorithm
        sample.template.version = template.version
    else:
        sample.image.data = data
        if ppi is not None:
            sample.image.ppi = ppi
        if face is not None and face.number is not None:
            sample.image.face_number = min(max(face.number, 0), 2**32 - 1)
        if face is not None and face.box is not None:
            left, top, right, bottom = face.box
            sample.image.face_box.CopyFrom(common_pb2.Box(left=left, top=top, right=right, bottom=bottom))
    return sample


def read_options(
    timeout: float, ca: Path | None = None, certificate: Path | None = None, key: Path | None = None
) -> ClientOptions:
    """Options with the PEM files read."""
    return ClientOptions(
        timeout=timeout,
        ca=ca.read_bytes() if ca else None,
        certificate=certificate.read_bytes() if certificate else None,
        key=key.read_bytes() if key else None,
    )


def _failed(error: grpc.RpcError, target: str, transaction_id: str = "") -> CallFailed:
    code = error.code() if isinstance(error, grpc.Call) else grpc.StatusCode.UNKNOWN
    message = (error.details() if isinstance(error, grpc.Call) else "") or str(error)
    reason = field = ""
    faces: Sequence[common_pb2.FoundFace] = ()
    retry_seconds = 0.0
    try:
        status = rpc_status.from_call(error) if isinstance(error, grpc.Call) else None
    except ValueError:  # details that do not fit the status, as of a proxy in between
        status = None
    details: Sequence[any_pb2.Any] = status.details if status else ()
    for detail in details:
        info, bad, found = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), common_pb2.FoundFaces()
        retry = error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            reason = info.reason
        elif detail.Unpack(bad) and bad.field_violations:
            field = bad.field_violations[0].field
        elif detail.Unpack(found):
            faces = found.faces
        elif detail.Unpack(retry):
            retry_seconds = retry.retry_delay.ToTimedelta().total_seconds()
    if not reason and code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in message:
        reason = TOO_LARGE  # gRPC's own words, on either side
        message = f"the request is larger than one message may be ({message}); send fewer or smaller images"
    if not reason and code is grpc.StatusCode.UNAVAILABLE:
        message = f"no AMBIS server answers at {target} ({message}); check the address, or start it with 'ambis serve'"
    if not reason and code is grpc.StatusCode.DEADLINE_EXCEEDED:
        message = f"the server at {target} did not answer in time; try again, or allow more with AMBIS_TIMEOUT"
    return CallFailed(
        message,
        code=code,
        reason=reason,
        field=field,
        transaction_id=transaction_id,
        faces=faces,
        retry_seconds=retry_seconds,
    )


def describe(failure: AmbisError) -> str:
    """A failure as JSON, for ``--json``."""
    code = failure.code.name if isinstance(failure, CallFailed) else ""
    found = failure.faces if isinstance(failure, CallFailed) else ()
    faces = [[round(side, 1) for side in (f.box.left, f.box.top, f.box.right, f.box.bottom)] for f in found]
    facts = {"error": failure.message, "reason": failure.reason, "field": failure.field, "code": code, "faces": faces}
    return json.dumps({k: v for k, v in facts.items() if v})
