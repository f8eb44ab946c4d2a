"""Every error that AMBIS raises on purpose, typed once.

Each carries a ``reason`` (a stable upper-case word that programs may test), a sentence that says what is wrong and
what to do, and optionally the request ``field`` at fault. ``matcher/service/errors.py`` maps the classes to gRPC
status codes; nothing else does.
"""

from __future__ import annotations

from collections.abc import Sequence

from matcher.faces import FoundFace


class AmbisError(Exception):
    """Base of all deliberate errors.

    Args:
        message: what is wrong and what to do about it, one or two sentences for a person.
        reason: a stable upper-case identifier, e.g. ``IMAGE_TRUNCATED``; defaults to the class's own.
        field: the request field at fault, e.g. ``samples[0].image.data``, when there is one.
    """

    default_reason = "INTERNAL"

    def __init__(self, message: str, *, reason: str | None = None, field: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.field = field


class InvalidInput(AmbisError):
    """The request itself is wrong; sending it again unchanged will fail again."""

    default_reason = "INVALID_INPUT"


class SampleRejected(InvalidInput):
    """An image or template cannot be used: unreadable, not what it claims to be, or without usable features."""

    default_reason = "SAMPLE_REJECTED"


class FaceUndecided(SampleRejected):
    """An image shows several faces, and which one is meant is not told, or told wrongly.

    Args:
        faces: all that were found, in the order in which a choice counts them.
    """

    default_reason = "SEVERAL_FACES"

    def __init__(
        self, message: str, *, reason: str | None = None, field: str = "", faces: Sequence[FoundFace] = ()
    ) -> None:
        super().__init__(message, reason=reason, field=field)
        self.faces = tuple(faces)


class TemplateInvalid(SampleRejected):
    """Template bytes that are damaged, truncated, of another version, or of another modality."""

    default_reason = "TEMPLATE_INVALID"


class NotFound(AmbisError):
    """The subject, encounter or gallery asked for is not on record."""

    default_reason = "NOT_FOUND"


class AlreadyExists(AmbisError):
    """What should be created is already on record."""

    default_reason = "ALREADY_EXISTS"


class PreconditionFailed(AmbisError):
    """The request is well-formed, but the system's state or configuration forbids it."""

    default_reason = "PRECONDITION_FAILED"


class ModelMismatch(PreconditionFailed):
    """Templates of different algorithms (or models) are never compared."""

    default_reason = "MODEL_MISMATCH"


class NotCalibrated(PreconditionFailed):
    """A template's algorithm has no calibration artefact, so its scores would have no meaning."""

    default_reason = "NOT_CALIBRATED"


class ModalityUnavailable(PreconditionFailed):
    """This server cannot extract the modality asked for, e.g. because no face pack is installed."""

    default_reason = "MODALITY_UNAVAILABLE"


class Overloaded(AmbisError):
    """A bounded queue is full; try again after a pause.

    Args:
        retry_seconds: how long a pause; None where that is not known.
    """

    default_reason = "OVERLOADED"

    def __init__(
        self, message: str, *, reason: str | None = None, field: str = "", retry_seconds: float | None = None
    ) -> None:
        super().__init__(message, reason=reason, field=field)
        self.retry_seconds = retry_seconds


class DeadlineExceeded(AmbisError):
    """The caller's deadline passed before the work was done."""

    default_reason = "DEADLINE_EXCEEDED"


class Unavailable(AmbisError):
    """The service or one of its parts is not ready (starting, stopping, or incomplete); try again later."""

    default_reason = "UNAVAILABLE"


class StorageFailure(AmbisError):
    """The record store could not be read or written; nothing was acknowledged."""

    default_reason = "STORAGE_FAILURE"
