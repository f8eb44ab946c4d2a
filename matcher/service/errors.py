"""Errors to gRPC status: the one place that maps them.

A failed call carries a ``google.rpc.Status`` with ErrorInfo (reason), RequestInfo (transaction id), BadRequest (the
field at fault), FoundFaces where an image was refused for its faces and, where waiting helps, RetryInfo; a failed item
of a stream carries the same facts in ``ItemError``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import NoReturn

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from ambis.v1 import common_pb2
from matcher import errors
from matcher.faces import FoundFace

log = logging.getLogger(__name__)

DOMAIN = "ambis"
RETRY_SECONDS = 2
# A status travels in HTTP/2 headers, of which clients accept 8 KiB; what a request said comes back shortened.
MAX_MESSAGE = 1000
MAX_FIELD = 128
MAX_FACES = 32
_CODES: tuple[tuple[type[errors.AmbisError], grpc.StatusCode], ...] = (
    (errors.InvalidInput, grpc.StatusCode.INVALID_ARGUMENT),
    (errors.NotFound, grpc.StatusCode.NOT_FOUND),
    (errors.AlreadyExists, grpc.StatusCode.ALREADY_EXISTS),
    (errors.PreconditionFailed, grpc.StatusCode.FAILED_PRECONDITION),
    (errors.Overloaded, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (errors.DeadlineExceeded, grpc.StatusCode.DEADLINE_EXCEEDED),
    (errors.Unavailable, grpc.StatusCode.UNAVAILABLE),
    (errors.StorageFailure, grpc.StatusCode.UNAVAILABLE),
)
_RETRYABLE = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)


def as_ambis_error(error: BaseException) -> errors.AmbisError:
    """The error itself, or for one that nobody foresaw an internal one that gives nothing away; that one is logged."""
    if isinstance(error, errors.AmbisError):
        return error
    log.error("unforeseen error", exc_info=error)
    return errors.AmbisError(
        "the server made a mistake while working on this request; nothing was changed. The server's log has the details"
    )


def status_code(error: errors.AmbisError) -> grpc.StatusCode:
    """The gRPC status code of an error."""
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    return grpc.StatusCode.INTERNAL


def item_error(error: BaseException, transaction_id: str = "") -> common_pb2.ItemError:
    """An error as one item of a stream, or one sample of a request, carries it; logged where a transaction fails."""
    known = as_ambis_error(error)
    if transaction_id:
        log.info("refused: %s, transaction %.130r", known.reason, transaction_id)
    return common_pb2.ItemError(
        code=status_code(known).value[0],
        reason=known.reason,
        message=_shortened(known.message),
        field=known.field[:MAX_FIELD],
        faces=found_faces(known.faces) if isinstance(known, errors.FaceUndecided) else (),
    )


def found_faces(faces: Iterable[FoundFace]) -> list[common_pb2.FoundFace]:
    """Faces as the contract has them."""
    return [
        common_pb2.FoundFace(
            box=common_pb2.Box(left=f.left, top=f.top, right=f.right, bottom=f.bottom),
            confidence=f.confidence,
            taken=f.taken,
        )
        for f in faces
    ]


def rich_status(error: errors.AmbisError, transaction_id: str = "") -> status_pb2.Status:
    """The google.rpc.Status of an error, with details."""
    code = status_code(error)
    message, field = _shortened(error.message), error.field[:MAX_FIELD]
    details: list[any_pb2.Any] = []

    def add(message: object) -> None:
        packed = any_pb2.Any()
        packed.Pack(message)  # type: ignore[arg-type]  # every protobuf message is accepted
        details.append(packed)

    add(error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN))
    if field:
        violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=message)
        add(error_details_pb2.BadRequest(field_violations=[violation]))
    if isinstance(error, errors.FaceUndecided):
        add(common_pb2.FoundFaces(faces=found_faces(error.faces[:MAX_FACES])))
    if transaction_id:
        add(error_details_pb2.RequestInfo(request_id=transaction_id[:MAX_FIELD]))
    if code in _RETRYABLE:
        known = error.retry_seconds if isinstance(error, errors.Overloaded) else None
        pause = duration_pb2.Duration()
        pause.FromMilliseconds(round(1000 * (RETRY_SECONDS if known is None else known)))
        add(error_details_pb2.RetryInfo(retry_delay=pause))
    return status_pb2.Status(code=getattr(code_pb2, code.name), message=message, details=details)


def _shortened(message: str) -> str:
    return message if len(message) <= MAX_MESSAGE else message[: MAX_MESSAGE - 4] + " ..."


def abort(context: grpc.ServicerContext, error: BaseException, transaction_id: str = "") -> NoReturn:
    """Ends a call with an error."""
    known = as_ambis_error(error)
    log.info("refused: %s, transaction %.130r", known.reason, transaction_id)
    status = rich_status(known, transaction_id)
    context.abort_with_status(rpc_status.to_status(status))
    raise AssertionError("abort_with_status does not return")
