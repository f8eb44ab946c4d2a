"""StatusService: what the server is and holds."""

from __future__ import annotations

import datetime
import importlib.metadata

import grpc

from ambis.v1 import status_service_pb2, status_service_pb2_grpc
from matcher.calibration import Calibrations
from matcher.records.store import RecordStore
from matcher.service.errors import abort
from matcher.service.requests import check_transaction_id
from matcher.service.samples import SampleResolver
from matcher.shards.backend import ShardBackend

LIBRARIES = ("faiss-cpu", "numba", "numpy", "onnxruntime", "opencv-python-headless", "grpcio", "sqlalchemy")


class StatusServicer(status_service_pb2_grpc.StatusServiceServicer):
    """See the contract."""

    def __init__(
        self,
        store: RecordStore,
        backend: ShardBackend,
        resolver: SampleResolver,
        calibrations: Calibrations,
        started_at: datetime.datetime,
    ) -> None:
        self._store = store
        self._backend = backend
        self._resolver = resolver
        self._calibrations = calibrations
        self._started_at = started_at

    def GetStatus(  # noqa: N802
        self, request: status_service_pb2.GetStatusRequest, context: grpc.ServicerContext
    ) -> status_service_pb2.GetStatusResponse:
        """See the contract."""
        try:
            check_transaction_id(request.transaction_id)
            return self._status(request.transaction_id)
        except Exception as error:
            abort(context, error, request.transaction_id)

    def _status(self, transaction_id: str) -> status_service_pb2.GetStatusResponse:
        searchable = self._backend.applied_lsn
        subjects, encounters = self._store.counts()
        response = status_service_pb2.GetStatusResponse(
            transaction_id=transaction_id,
            version=importlib.metadata.version("ambis"),
            lsn=self._store.last_lsn(),
            searchable_lsn=searchable,
            subjects=subjects,
            encounters=encounters,
            libraries={name: importlib.metadata.version(name) for name in LIBRARIES},
        )
        response.started_at.FromDatetime(self._started_at)
        for name, (people, captures) in sorted(self._backend.galleries().items()):
            response.galleries.add(gallery=name, subjects=people, encounters=captures)
        references = self._backend.references()
        for entry in self._resolver.status():
            calibration = self._calibrations.get(entry.algorithm)
            response.modalities.add(
                modality=entry.modality.value,
                extraction_ready=bool(entry.algorithm),
                detail=entry.detail,
                algorithm=entry.algorithm,
                references=sum(n for (modality, _), n in references.items() if modality is entry.modality),
                calibration_trusted_to=calibration.trusted_to if calibration else 0.0,
            )
        return response
