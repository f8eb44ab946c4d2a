"""IdentificationService: searches the galleries."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor

import grpc

from ambis.v1 import common_pb2, identification_service_pb2, identification_service_pb2_grpc
from matcher.errors import DeadlineExceeded, ModelMismatch, PreconditionFailed, Unavailable
from matcher.found_subjects import Probe
from matcher.records.committer import Committer
from matcher.records.store import RecordStore
from matcher.search import Candidate, SearchEngine, SearchRequest, SearchResult
from matcher.service.attributes import Attributes
from matcher.service.batching import Priority, SearchQueue
from matcher.service.errors import abort, item_error
from matcher.service.requests import check_text, check_transaction_id, time_left
from matcher.service.samples import ResolvedSamples, SampleResolver
from matcher.service.streams import run_stream

log = logging.getLogger(__name__)

DEFAULT_CANDIDATES = 10
SEARCH_SECONDS = 30.0


class IdentificationServicer(identification_service_pb2_grpc.IdentificationServiceServicer):
    """See the contract.

    Args:
        resolver: samples to templates.
        engine: compares 1:1.
        searches: the queue of 1:N searches.
        attributes: checks what searches are restricted by.
        store: knows which changes there are.
        committer: knows what searches see.
        executor: runs the items of batch streams.
        window: items of one stream in flight.
    """

    def __init__(
        self,
        resolver: SampleResolver,
        engine: SearchEngine,
        searches: SearchQueue[SearchRequest, SearchResult],
        attributes: Attributes,
        store: RecordStore,
        committer: Committer,
        executor: Executor,
        window: int,
    ) -> None:
        self._resolver = resolver
        self._engine = engine
        self._searches = searches
        self._attributes = attributes
        self._store = store
        self._committer = committer
        self._executor = executor
        self._window = window

    def Identify(  # noqa: N802
        self, request: identification_service_pb2.IdentifyRequest, context: grpc.ServicerContext
    ) -> identification_service_pb2.IdentifyResponse:
        """See the contract."""
        try:
            left = time_left(context, SEARCH_SECONDS)
            result = self._identify(request.transaction_id, request.search, left, Priority.SINGLE, context)
        except Exception as error:
            abort(context, error, request.transaction_id)
        return identification_service_pb2.IdentifyResponse(transaction_id=request.transaction_id, result=result)

    def BatchIdentify(  # noqa: N802
        self,
        request_iterator: Iterator[identification_service_pb2.BatchIdentifyRequest],
        context: grpc.ServicerContext,
    ) -> Iterator[identification_service_pb2.BatchIdentifyResponse]:
        """See the contract."""
        try:
            work = functools.partial(self._identify_item, context)
            yield from run_stream(request_iterator, work, self._executor, self._window)
        except Exception as error:
            if context.is_active():
                abort(context, error)

    def _identify_item(
        self, context: grpc.ServicerContext, request: identification_service_pb2.BatchIdentifyRequest
    ) -> identification_service_pb2.BatchIdentifyResponse:
        response = identification_service_pb2.BatchIdentifyResponse(
            transaction_id=request.transaction_id, sequence=request.sequence
        )
        try:
            left = time_left(context, SEARCH_SECONDS)
            result = self._identify(request.transaction_id, request.search, left, Priority.BULK, context)
            response.result.CopyFrom(result)
        except Exception as error:
            response.error.CopyFrom(item_error(error, request.transaction_id))
        return response

    def _identify(
        self,
        transaction_id: str,
        search: identification_service_pb2.Search,
        seconds: float,
        priority: Priority,
        context: grpc.ServicerContext,
    ) -> identification_service_pb2.IdentifyResult:
        generation = self._resolver.generation
        identify = functools.partial(self._identify_once, transaction_id, search, seconds, priority, context)
        try:
            return identify()
        except ModelMismatch:
            if not self._resolver.was_superseded(generation, seconds):
                raise
            return identify()

    def _identify_once(
        self,
        transaction_id: str,
        search: identification_service_pb2.Search,
        seconds: float,
        priority: Priority,
        context: grpc.ServicerContext,
    ) -> identification_service_pb2.IdentifyResult:
        deadline = self._searches.clock() + seconds
        check_transaction_id(transaction_id)
        wanted = self._attributes.search_filter(search)
        resolved = self._resolver.resolve(search.samples, accept_partial=search.accept_partial, prefix="search.")
        request = SearchRequest(
            probes=_probes(resolved),
            filter=wanted,
            max_candidates=search.max_candidates or DEFAULT_CANDIDATES,
            score_threshold=search.score_threshold if search.HasField("score_threshold") else 0.0,
            target_fpir=search.target_fpir if search.HasField("target_fpir") else None,
        )
        self._require_current(search.min_lsn, seconds)
        ticket = self._searches.submit(request, priority, deadline, context.is_active)
        if priority is Priority.SINGLE:  # a stream would keep what it is told for each of its searches
            context.add_callback(ticket.cancel)
        result = ticket.result()
        log.info("searched %d people: %s, transaction %s", result.gallery_size, result.verdict.label, transaction_id)
        return identification_service_pb2.IdentifyResult(
            verdict=common_pb2.Verdict.ValueType(int(result.verdict)),
            explanation=result.explanation,
            candidates=_candidates(result.candidates),
            hit_threshold=result.thresholds.hit,
            review_threshold=result.thresholds.review,
            gallery_size=result.gallery_size,
            target_fpir=result.target_fpir,
            lsn=result.lsn,
            samples=resolved.reports,
            score_gap=result.score_gap,
        )

    def Verify(  # noqa: N802
        self, request: identification_service_pb2.VerifyRequest, context: grpc.ServicerContext
    ) -> identification_service_pb2.VerifyResponse:
        """See the contract."""
        try:
            left = time_left(context, SEARCH_SECONDS)
            check_transaction_id(request.transaction_id)
            check_text(request.subject_id, "subject_id", shortest=1, longest=128)
            generation = self._resolver.generation
            try:
                response = self._verify_once(request, left)
            except ModelMismatch:
                if not self._resolver.was_superseded(generation, left):
                    raise
                response = self._verify_once(request, left)
        except Exception as error:
            abort(context, error, request.transaction_id)
        return response

    def _verify_once(
        self, request: identification_service_pb2.VerifyRequest, seconds: float
    ) -> identification_service_pb2.VerifyResponse:
        resolved = self._resolver.resolve(request.samples, accept_partial=request.accept_partial, prefix="")
        self._require_current(request.min_lsn, seconds)
        target = request.target_fmr if request.HasField("target_fmr") else None
        result = self._engine.verify(_probes(resolved), request.subject_id, target)
        log.info("verified: %s, transaction %s", result.verdict.label, request.transaction_id)
        return self._verify_response(request.transaction_id, result, resolved)

    @staticmethod
    def _verify_response(
        transaction_id: str, result: SearchResult, resolved: ResolvedSamples
    ) -> identification_service_pb2.VerifyResponse:
        return identification_service_pb2.VerifyResponse(
            transaction_id=transaction_id,
            verdict=common_pb2.Verdict.ValueType(int(result.verdict)),
            explanation=result.explanation,
            candidate=_candidates(result.candidates)[0],
            hit_threshold=result.thresholds.hit,
            review_threshold=result.thresholds.review,
            lsn=result.lsn,
            samples=resolved.reports,
        )

    def _require_current(self, min_lsn: int, seconds: float) -> None:
        """A search over indexes that miss records would miss hits: wait, or refuse."""
        if self._committer.fault:
            raise Unavailable(self._committer.fault, reason="INDEX_FAULT")
        if min_lsn > self._store.last_lsn():
            raise PreconditionFailed(
                f"min_lsn is {min_lsn}, but no change has that number yet; use the lsn of an answer of this server",
                reason="LSN_UNKNOWN",
                field="min_lsn",
            )
        if min_lsn and not self._committer.wait_for(min_lsn, seconds):
            raise DeadlineExceeded(
                f"the server has not seen change {min_lsn} yet; allow more time, or check min_lsn against GetStatus"
            )


def _probes(resolved: ResolvedSamples) -> tuple[Probe, ...]:
    return tuple(Probe(s.position, s.template) for s in resolved.usable)


def _candidates(candidates: Sequence[Candidate]) -> list[identification_service_pb2.Candidate]:
    messages = []
    for rank, candidate in enumerate(candidates, start=1):
        message = identification_service_pb2.Candidate(
            rank=rank,
            subject_id=candidate.subject_id,
            score=candidate.fused.score,
            trusted_score=candidate.fused.trusted_score,
            log_likelihood_ratio=candidate.fused.llr,
            verdict=common_pb2.Verdict.ValueType(int(candidate.verdict)),
        )
        for evidence in candidate.evidence:
            comparison = evidence.comparison
            message.evidence.add(
                probe_position=common_pb2.Position.ValueType(int(comparison.probe_position)),
                reference_position=common_pb2.Position.ValueType(int(comparison.reference_position)),
                encounter_id=comparison.encounter_id,
                raw_score=comparison.raw,
                score=evidence.score.score,
                log_likelihood_ratio=evidence.score.llr,
                references_compared=comparison.comparisons,
            )
        messages.append(message)
    return messages
