"""StatusService: what the server is and holds."""

from __future__ import annotations

import datetime
import importlib.metadata
from collections.abc import Callable, Mapping
from pathlib import Path

import grpc

from ambis.v1 import status_service_pb2, status_service_pb2_grpc
from matcher.calibration import Calibrations
from matcher.records.store import RecordStore
from matcher.service.errors import abort
from matcher.service.requests import check_transaction_id
from matcher.service.samples import SampleResolver
from matcher.shards.backend import ShardBackend
from matcher.threads import workers

LIBRARIES = ("faiss-cpu", "numba", "numpy", "onnxruntime", "opencv-python-headless", "grpcio", "sqlalchemy")


class StatusServicer(status_service_pb2_grpc.StatusServiceServicer):
    """See the contract.

    Args:
        store, backend, resolver, calibrations: what the server holds.
        started_at: naive UTC.
        waiting: how many searches wait.
        search_paths: how the references of each modality are scanned, by the modality's name.
    """

    def __init__(
        self,
        store: RecordStore,
        backend: ShardBackend,
        resolver: SampleResolver,
        calibrations: Calibrations,
        started_at: datetime.datetime,
        waiting: Callable[[], int],
        search_paths: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self._store = store
        self._backend = backend
        self._resolver = resolver
        self._calibrations = calibrations
        self._started_at = started_at
        self._waiting = waiting
        self._search_paths = search_paths

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
            resident_bytes=resident_bytes(),
            threads=workers().count,
            search_paths=self._search_paths(),
            searches_waiting=self._waiting(),
        )
        for use in self._backend.memory():
            response.memory.add(part=use.name, ram_bytes=use.ram, mapped_bytes=use.mapped)
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


def resident_bytes() -> int:
    """Bytes of RAM that this process takes now (VmRSS of proc(5)); 0 where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)
