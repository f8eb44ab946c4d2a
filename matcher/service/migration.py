"""MigrationService: changes the model of a modality."""

from __future__ import annotations

from collections.abc import Iterator

import grpc

from ambis.v1 import common_pb2, migration_service_pb2, migration_service_pb2_grpc
from matcher.service.errors import abort
from matcher.service.model_change import ModelChange, ModelChangeState, ModelChangeStatus
from matcher.service.requests import check_transaction_id

_STATES = {
    ModelChangeState.NONE: migration_service_pb2.MIGRATION_STATE_NONE,
    ModelChangeState.EXTRACTING: migration_service_pb2.MIGRATION_STATE_EXTRACTING,
    ModelChangeState.READY: migration_service_pb2.MIGRATION_STATE_READY,
    ModelChangeState.SETTLING: migration_service_pb2.MIGRATION_STATE_SETTLING,
}


class MigrationServicer(migration_service_pb2_grpc.MigrationServiceServicer):
    """See the contract."""

    def __init__(self, change: ModelChange) -> None:
        self._change = change

    def StartMigration(  # noqa: N802
        self, request: migration_service_pb2.StartMigrationRequest, context: grpc.ServicerContext
    ) -> migration_service_pb2.StartMigrationResponse:
        """See the contract."""
        try:
            check_transaction_id(request.transaction_id)
            status = self._change.start(retry_failed=request.retry_failed)
        except Exception as error:
            abort(context, error, request.transaction_id)
        return migration_service_pb2.StartMigrationResponse(
            transaction_id=request.transaction_id, migration=_message(status)
        )

    def GetMigration(  # noqa: N802
        self, request: migration_service_pb2.GetMigrationRequest, context: grpc.ServicerContext
    ) -> migration_service_pb2.GetMigrationResponse:
        """See the contract."""
        try:
            check_transaction_id(request.transaction_id)
            status = self._change.status()
        except Exception as error:
            abort(context, error, request.transaction_id)
        return migration_service_pb2.GetMigrationResponse(
            transaction_id=request.transaction_id, migration=_message(status)
        )

    def ListUnmigrated(  # noqa: N802
        self, request: migration_service_pb2.ListUnmigratedRequest, context: grpc.ServicerContext
    ) -> Iterator[migration_service_pb2.ListUnmigratedResponse]:
        """See the contract."""
        try:
            check_transaction_id(request.transaction_id)
            for sample in self._change.unmigrated():
                yield migration_service_pb2.ListUnmigratedResponse(
                    subject_id=sample.subject_id,
                    encounter_id=sample.encounter_id,
                    position=common_pb2.Position.ValueType(int(sample.position)),
                    sha256=sample.sha256,
                    reason=sample.reason,
                    message=sample.message,
                )
        except Exception as error:
            abort(context, error, request.transaction_id)

    def CompleteMigration(  # noqa: N802
        self, request: migration_service_pb2.CompleteMigrationRequest, context: grpc.ServicerContext
    ) -> migration_service_pb2.CompleteMigrationResponse:
        """See the contract."""
        try:
            check_transaction_id(request.transaction_id)
            lsn = self._change.complete(request.leave_out, request.transaction_id)
            status = self._change.status()
        except Exception as error:
            abort(context, error, request.transaction_id)
        return migration_service_pb2.CompleteMigrationResponse(
            transaction_id=request.transaction_id, lsn=lsn, migration=_message(status)
        )

    def CancelMigration(  # noqa: N802
        self, request: migration_service_pb2.CancelMigrationRequest, context: grpc.ServicerContext
    ) -> migration_service_pb2.CancelMigrationResponse:
        """See the contract."""
        try:
            check_transaction_id(request.transaction_id)
            status = self._change.cancel()
        except Exception as error:
            abort(context, error, request.transaction_id)
        return migration_service_pb2.CancelMigrationResponse(
            transaction_id=request.transaction_id, migration=_message(status)
        )


def _message(status: ModelChangeStatus) -> migration_service_pb2.Migration:
    return migration_service_pb2.Migration(
        state=_STATES[status.state],
        modality=status.modality.value if status.modality else "",
        algorithm=status.algorithm,
        next_algorithm=status.next_algorithm,
        samples=status.progress.samples,
        migrated=status.progress.migrated,
        failed=status.progress.failed,
        subjects_missed=status.subjects_missed,
        problem=status.problem,
    )
