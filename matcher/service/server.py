"""The server: puts records, shards, search and the gRPC services together, starts and stops them."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from ambis.v1 import (
    enrollment_service_pb2,
    enrollment_service_pb2_grpc,
    identification_service_pb2,
    identification_service_pb2_grpc,
    migration_service_pb2,
    migration_service_pb2_grpc,
    status_service_pb2,
    status_service_pb2_grpc,
)
from matcher.calibration import Calibrations
from matcher.comparators import Scan, index_for, search_paths
from matcher.decision import DecisionParameters
from matcher.errors import PreconditionFailed
from matcher.fusion_model import FusionModel
from matcher.gallery import Gallery
from matcher.positions import Modality
from matcher.records.committer import Committer
from matcher.records.store import RecordStore, utc_now
from matcher.search import SearchEngine, SearchRequest, SearchResult
from matcher.service.attributes import Attributes
from matcher.service.batching import BatchingParameters, SearchQueue
from matcher.service.enrollment import EnrollmentServicer
from matcher.service.extraction import TemplateExtractor
from matcher.service.identification import IdentificationServicer
from matcher.service.migration import MigrationServicer
from matcher.service.model_change import ModelChange
from matcher.service.samples import SampleResolver
from matcher.service.status import StatusServicer
from matcher.shards.local import LocalShards
from matcher.warm_up import compile_kernels

log = logging.getLogger(__name__)

SERVICES = (
    enrollment_service_pb2.DESCRIPTOR.services_by_name["EnrollmentService"].full_name,
    identification_service_pb2.DESCRIPTOR.services_by_name["IdentificationService"].full_name,
    migration_service_pb2.DESCRIPTOR.services_by_name["MigrationService"].full_name,
    status_service_pb2.DESCRIPTOR.services_by_name["StatusService"].full_name,
)


@dataclasses.dataclass(frozen=True)
class Tls:
    """PEM files' contents. With ``client_ca`` only clients with a certificate of that authority may talk (mTLS)."""

    certificate: bytes
    key: bytes
    client_ca: bytes | None = None


@dataclasses.dataclass(frozen=True)
class ServerOptions:
    """How the server listens and how much it takes on at once.

    Attributes:
        host, port: where it listens; port 0 takes a free one.
        tls: None for plain text.
        calls: RPCs at the same time; further ones are answered RESOURCE_EXHAUSTED.
        batching: how searches share passes, and how many wait.
        extraction_workers: images that are extracted at the same time.
        stream_window: items of one bulk stream in flight.
        message_bytes: largest message that is read at all; what is larger than an image may be is refused with a clear
            error only below it.
        shards: galleries that are searched side by side.
        max_samples: samples in one request.
        keep_samples: keep images beside their templates.
        migration_workers: stored images that a change of model extracts at the same time.
        scan: what finds the references worth comparing.
    """

    host: str = "127.0.0.1"
    port: int = 0
    tls: Tls | None = None
    calls: int = 128
    batching: BatchingParameters = dataclasses.field(default_factory=BatchingParameters)
    extraction_workers: int = 2
    stream_window: int = 16
    message_bytes: int = 128 * 1024 * 1024
    shards: int = 1
    max_samples: int = 32
    keep_samples: bool = True
    migration_workers: int = 1
    scan: Scan = Scan.FASTEST


class AmbisServer:
    """A running server; listens and answers once made.

    Args:
        folder: the data folder.
        extractor: image to template.
        calibrations: artefacts.
        decision: rates that verdicts stand for.
        options: see the class.
        fusion: how positions hang together; None for the shipped model.
        successor: image to template with the next model of a modality, where the operator wants to change to one.

    Raises:
        PreconditionFailed: the port is taken, or the data folder in use.
        StorageFailure: the data folder cannot be used.
    """

    def __init__(
        self,
        folder: Path,
        extractor: TemplateExtractor,
        calibrations: Calibrations,
        decision: DecisionParameters,
        options: ServerOptions,
        fusion: FusionModel | None = None,
        successor: TemplateExtractor | None = None,
    ) -> None:
        self._store = RecordStore(folder, keep_samples=options.keep_samples)
        # Files beside the indexes: derived like them, without a name once they are open.
        indexes = folder / "index"
        indexes.mkdir(mode=0o700, exist_ok=True)
        make_index = functools.partial(index_for, folder=indexes, scan=options.scan)
        self._backend = LocalShards(options.shards, lambda: Gallery(index_factory=make_index))
        self._health = health.HealthServicer()
        compile_kernels(indexes)  # before the committer takes the records into the indexes, which needs some of them
        self._committer = Committer(self._store, self._backend, on_fault=self._report_fault)
        # Bulk items wait for the disk most of the time: more of them than extractions may run.
        self._items = ThreadPoolExecutor(4 * options.stream_window, thread_name_prefix="item")
        engine = SearchEngine(self._backend, calibrations, decision, fusion)
        self._searches: SearchQueue[SearchRequest, SearchResult] = SearchQueue(
            engine.identify_batch, options.batching, weigh=lambda request: request.weight
        )
        attributes = Attributes(self._store)
        resolver = SampleResolver(
            extractor,
            calibrations,
            max_samples=options.max_samples,
            turns=options.extraction_workers,
            successor=successor,
        )
        self._use_the_model_on_record(resolver)
        self._change = ModelChange(
            self._store, self._committer, resolver, calibrations, workers=options.migration_workers
        )
        self._server = grpc.server(
            ThreadPoolExecutor(options.calls, thread_name_prefix="rpc"),
            maximum_concurrent_rpcs=options.calls,
            options=[
                ("grpc.max_receive_message_length", options.message_bytes),
                ("grpc.max_send_message_length", options.message_bytes),
                ("grpc.so_reuseport", 0),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ],
        )
        window = options.stream_window
        enrollment_service_pb2_grpc.add_EnrollmentServiceServicer_to_server(
            EnrollmentServicer(resolver, self._store, self._committer, self._items, window, attributes), self._server
        )
        identification_service_pb2_grpc.add_IdentificationServiceServicer_to_server(
            IdentificationServicer(
                resolver, engine, self._searches, attributes, self._store, self._committer, self._items, window
            ),
            self._server,
        )
        status_service_pb2_grpc.add_StatusServiceServicer_to_server(
            StatusServicer(
                self._store,
                self._backend,
                resolver,
                calibrations,
                utc_now(),
                waiting=lambda: self._searches.waiting,
                search_paths=functools.partial(search_paths, options.scan),
            ),
            self._server,
        )
        migration_service_pb2_grpc.add_MigrationServiceServicer_to_server(MigrationServicer(self._change), self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection((*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)
        for modality, how in search_paths(options.scan).items():  # measures what is fastest, where that is not known
            log.info("%s references are searched by %s", modality, how)
        self.port = self._listen(options)
        self._stopping = threading.Event()
        threading.Thread(
            target=self._backend.read_ahead, args=(self._stopping.is_set,), name="read ahead", daemon=True
        ).start()
        self._server.start()
        self._set_health(health_pb2.HealthCheckResponse.SERVING)

    def _use_the_model_on_record(self, resolver: SampleResolver) -> None:
        """After a change of model the settings may still name the old one first; what searches see decides."""
        for modality, algorithm in resolver.successors().items():
            if self._model_on_record(modality) == algorithm:
                log.info("records are of the next %s model, %s, already: it is used", modality, algorithm)
                resolver.switch()
        for status in resolver.status():
            on_record = self._model_on_record(status.modality)
            if status.algorithm and on_record not in ("", status.algorithm):
                log.warning(
                    "%s references on record are of %s, this server extracts %s: it can neither search nor enrol them",
                    status.modality,
                    on_record,
                    status.algorithm,
                )

    def _model_on_record(self, modality: Modality) -> str:
        active = self._store.migrations.active(modality)
        indexed = [a for (m, a), count in self._backend.references().items() if m is modality and count]
        return active or (indexed[0] if indexed else "")

    def _set_health(self, status: int) -> None:
        for name in ("", *SERVICES):
            self._health.set(name, status)

    def _report_fault(self) -> None:
        self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)

    def _listen(self, options: ServerOptions) -> int:
        address = f"{options.host}:{options.port}"
        try:
            if options.tls is None:
                port = self._server.add_insecure_port(address)
            else:
                credentials = grpc.ssl_server_credentials(
                    [(options.tls.key, options.tls.certificate)],
                    root_certificates=options.tls.client_ca,
                    require_client_auth=options.tls.client_ca is not None,
                )
                port = self._server.add_secure_port(address, credentials)
        except RuntimeError:
            port = 0
        if port == 0:
            self._close_records()
            raise PreconditionFailed(
                f"cannot listen on {address}; another program may use the port: choose another one",
                reason="PORT_UNAVAILABLE",
            )
        return int(port)

    def wait(self, timeout: datetime.timedelta | None = None) -> None:
        """Blocks until the server has stopped."""
        self._server.wait_for_termination(timeout.total_seconds() if timeout else None)

    def stop(self, grace: float = 10.0) -> None:
        """Takes no new calls, lets those that run finish (at most ``grace`` seconds), and closes the records."""
        self._stopping.set()
        self._health.enter_graceful_shutdown()
        self._server.stop(grace).wait()
        self._close_records()

    def _close_records(self) -> None:
        self._change.close()
        self._searches.close()
        self._items.shutdown()
        self._committer.close()
        self._backend.close()
        self._store.close()
