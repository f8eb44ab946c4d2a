"""EnrollmentService: puts subjects on record and takes them off."""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Iterator
from concurrent.futures import Executor

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from ambis.v1 import common_pb2, enrollment_service_pb2, enrollment_service_pb2_grpc
from matcher.errors import InvalidInput, ModelMismatch, Unavailable
from matcher.records.committer import Committer
from matcher.records.entries import NewEncounter, NewSample, Receipt, SubjectMode, SubjectSummary
from matcher.records.store import RecordStore, check_mode
from matcher.service.attributes import Attributes
from matcher.service.errors import abort, item_error
from matcher.service.extraction import SampleUse
from matcher.service.requests import (
    DEFAULT_GALLERY,
    check_galleries,
    check_text,
    check_transaction_id,
    time_left,
)
from matcher.service.samples import SampleResolver
from matcher.service.streams import run_stream

log = logging.getLogger(__name__)

MAX_CONTEXT_ENTRIES = 64
WRITE_SECONDS = 30.0


class EnrollmentServicer(enrollment_service_pb2_grpc.EnrollmentServiceServicer):
    """See the contract.

    Args:
        resolver: samples to templates.
        store: for reading.
        committer: for writing.
        executor: runs the items of bulk streams.
        window: items of one stream in flight.
        attributes: checks what encounters say of people.
    """

    def __init__(
        self,
        resolver: SampleResolver,
        store: RecordStore,
        committer: Committer,
        executor: Executor,
        window: int,
        attributes: Attributes,
    ) -> None:
        self._resolver = resolver
        self._store = store
        self._committer = committer
        self._executor = executor
        self._window = window
        self._attributes = attributes

    def Enroll(  # noqa: N802
        self, request: enrollment_service_pb2.EnrollRequest, context: grpc.ServicerContext
    ) -> enrollment_service_pb2.EnrollResponse:
        """See the contract."""
        try:
            left = time_left(context, WRITE_SECONDS)
            result = self._enrol(request.transaction_id, request.idempotency_key, request.encounter, left)
        except Exception as error:
            abort(context, error, request.transaction_id)
        return enrollment_service_pb2.EnrollResponse(transaction_id=request.transaction_id, result=result)

    def BulkEnroll(  # noqa: N802
        self,
        request_iterator: Iterator[enrollment_service_pb2.BulkEnrollRequest],
        context: grpc.ServicerContext,
    ) -> Iterator[enrollment_service_pb2.BulkEnrollResponse]:
        """See the contract."""
        try:
            yield from run_stream(request_iterator, self._enrol_item, self._executor, self._window)
        except Exception as error:
            if context.is_active():
                abort(context, error)

    def _enrol_item(
        self, request: enrollment_service_pb2.BulkEnrollRequest
    ) -> enrollment_service_pb2.BulkEnrollResponse:
        response = enrollment_service_pb2.BulkEnrollResponse(
            transaction_id=request.transaction_id, sequence=request.sequence
        )
        try:
            result = self._enrol(request.transaction_id, request.idempotency_key, request.encounter, WRITE_SECONDS)
            response.result.CopyFrom(result)
        except Exception as error:
            response.error.CopyFrom(item_error(error, request.transaction_id))
        return response

    def _enrol(
        self, transaction_id: str, key: str, encounter: enrollment_service_pb2.Encounter, seconds: float
    ) -> enrollment_service_pb2.EnrollResult:
        generation = self._resolver.generation
        try:
            return self._enrol_once(transaction_id, key, encounter, seconds)
        except ModelMismatch:
            if not self._resolver.was_superseded(generation, seconds):
                raise
            return self._enrol_once(transaction_id, key, encounter, seconds)

    def _enrol_once(
        self, transaction_id: str, key: str, encounter: enrollment_service_pb2.Encounter, seconds: float
    ) -> enrollment_service_pb2.EnrollResult:
        check_transaction_id(transaction_id)
        check_text(key, "idempotency_key", shortest=8, longest=128)
        # The transaction checks again; here it saves the extraction.
        digest = _digest(encounter)
        known, on_record = self._store.seen(key, digest, encounter.subject_id)
        if known is not None:
            return self._acknowledged_again(known, seconds)
        subject_id, encounter_id, mode, galleries = _check_header(encounter)
        sex = self._attributes.sex(encounter.sex, "encounter.sex")
        birth_year = self._attributes.birth_year(encounter.birth_year, "encounter.birth_year")
        check_mode(subject_id, mode, known=on_record)
        resolved = self._resolver.resolve(
            encounter.samples,
            accept_partial=encounter.accept_partial,
            prefix="encounter.",
            use=SampleUse(enrols=True, any_quality=encounter.accept_low_quality),
        )
        receipt = enrollment_service_pb2.EnrollResult(
            subject_id=subject_id, encounter_id=encounter_id, samples=resolved.reports
        )
        new = NewEncounter(
            transaction_id=transaction_id,
            idempotency_key=key,
            request_sha256=digest,
            subject_id=subject_id,
            encounter_id=encounter_id,
            mode=mode,
            encounter_type=encounter.encounter_type,
            galleries=galleries,
            context=dict(encounter.context),
            samples=tuple(
                NewSample(s.position, s.template, s.quality, s.media_type, s.data, s.box) for s in resolved.usable
            ),
            receipt=receipt.SerializeToString(),
            sex=sex,
            birth_year=birth_year,
        )
        enrolled = self._committer.enrol(new, seconds)
        log.info("enrolled %d samples, change %d, transaction %s", len(new.samples), enrolled.lsn, transaction_id)
        return _result(enrolled)

    def _acknowledged_again(self, receipt: Receipt, seconds: float) -> enrollment_service_pb2.EnrollResult:
        """What was acknowledged before, once searches see it."""
        if not self._committer.wait_for(receipt.lsn, seconds):
            raise Unavailable("the encounter is on record but not searchable yet; send it again in a moment")
        return _result(receipt)

    def GetSubject(  # noqa: N802
        self, request: enrollment_service_pb2.GetSubjectRequest, context: grpc.ServicerContext
    ) -> enrollment_service_pb2.GetSubjectResponse:
        """See the contract."""
        try:
            check_transaction_id(request.transaction_id)
            check_text(request.subject_id, "subject_id", shortest=1, longest=128)
            lsn = self._store.last_lsn()
            subject = self._store.subject(request.subject_id)
        except Exception as error:
            abort(context, error, request.transaction_id)
        return enrollment_service_pb2.GetSubjectResponse(
            transaction_id=request.transaction_id, subject=_subject(subject), lsn=lsn
        )

    def DeleteSubject(  # noqa: N802
        self, request: enrollment_service_pb2.DeleteSubjectRequest, context: grpc.ServicerContext
    ) -> enrollment_service_pb2.DeleteSubjectResponse:
        """See the contract."""
        try:
            check_transaction_id(request.transaction_id)
            check_text(request.subject_id, "subject_id", shortest=1, longest=128)
            left = time_left(context, WRITE_SECONDS)
            deletion = self._committer.delete_subject(request.subject_id, request.transaction_id, left)
            log.info("deleted a subject, change %d, transaction %s", deletion.lsn, request.transaction_id)
        except Exception as error:
            abort(context, error, request.transaction_id)
        return enrollment_service_pb2.DeleteSubjectResponse(
            transaction_id=request.transaction_id, lsn=deletion.lsn, encounters_deleted=deletion.encounters
        )


def _digest(encounter: enrollment_service_pb2.Encounter) -> str:
    """What a repetition must equal: everything that is enrolled, but not how samples that fail are treated."""
    content = enrollment_service_pb2.Encounter()
    content.CopyFrom(encounter)
    content.accept_partial = False
    content.accept_low_quality = False
    return hashlib.sha256(content.SerializeToString(deterministic=True)).hexdigest()


def _check_header(encounter: enrollment_service_pb2.Encounter) -> tuple[str, str, SubjectMode, tuple[str, ...]]:
    check_text(encounter.subject_id, "encounter.subject_id", shortest=0, longest=128)
    check_text(encounter.encounter_id, "encounter.encounter_id", shortest=0, longest=128)
    check_text(encounter.encounter_type, "encounter.encounter_type", shortest=0, longest=64)
    if len(encounter.context) > MAX_CONTEXT_ENTRIES:
        raise InvalidInput(
            f"the context has {len(encounter.context)} entries, over the limit of {MAX_CONTEXT_ENTRIES}",
            reason="FIELD_INVALID",
            field="encounter.context",
        )
    for name, value in encounter.context.items():
        check_text(name, "encounter.context", shortest=1, longest=128)
        if len(value) > 4096:
            raise InvalidInput(
                f"the context entry {name!r} has more than 4,096 characters",
                reason="FIELD_INVALID",
                field="encounter.context",
            )
    try:
        mode = SubjectMode(encounter.subject_mode or SubjectMode.NEW)
    except ValueError:
        raise InvalidInput(
            f"subject_mode {encounter.subject_mode} is unknown", reason="FIELD_INVALID", field="encounter.subject_mode"
        ) from None
    galleries = check_galleries(encounter.galleries, "encounter.galleries") or (DEFAULT_GALLERY,)
    return (
        encounter.subject_id or f"S-{uuid.uuid4().hex}",
        encounter.encounter_id or f"E-{uuid.uuid4().hex}",
        mode,
        galleries,
    )


def _result(receipt: Receipt) -> enrollment_service_pb2.EnrollResult:
    result = enrollment_service_pb2.EnrollResult.FromString(receipt.receipt)
    result.lsn = receipt.lsn
    result.replayed = receipt.replayed
    return result


def _subject(subject: SubjectSummary) -> enrollment_service_pb2.Subject:
    created = Timestamp()
    created.FromDatetime(subject.created_at)
    message = enrollment_service_pb2.Subject(subject_id=subject.subject_id, created_at=created)
    for encounter in subject.encounters:
        summary = message.encounters.add(
            encounter_id=encounter.encounter_id,
            encounter_type=encounter.encounter_type,
            galleries=encounter.galleries,
            context=encounter.context,
            sex=common_pb2.Sex.ValueType(int(encounter.sex)),
            birth_year=encounter.birth_year,
        )
        summary.created_at.FromDatetime(encounter.created_at)
        for sample in encounter.samples:
            summary.samples.add(
                position=common_pb2.Position.ValueType(int(sample.position)),
                algorithm=sample.algorithm,
                quality=sample.quality,
                media_type=sample.media_type,
                sha256=sample.sha256,
                left_out=sample.left_out,
            )
    return message
