"""Enrols virtual subjects into a server and searches them, on record and taken off it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import grpc
import numpy as np
from numpy.typing import NDArray

from ambis.v1 import common_pb2, enrollment_service_pb2, identification_service_pb2
from benchmarks.real_data import RealSample
from benchmarks.virtual_subjects import VirtualSubject
from enrollment.client import AmbisClient, image_sample, new_transaction_id
from matcher.positions import Position
from matcher.search import MAX_CANDIDATES
from matcher.service.extraction import FaceChoice
from matcher.templates import Template

GALLERY = "chimeric"

Templates = Mapping[RealSample, Template | None]


@dataclasses.dataclass(frozen=True)
class Search:
    """One search to make: the ``capture``-th samples of some positions of one subject."""

    kind: str
    subject: VirtualSubject
    positions: tuple[Position, ...]
    capture: int

    @property
    def samples(self) -> list[RealSample]:
        """What is sent, in the order of the positions."""
        return [self.subject.captures[p][self.capture] for p in self.positions]


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
    """One search made.

    Attributes:
        mated: whether the subject was on record.
        failed: none of the samples gave a template; nothing was searched.
        mate_score, mate_rank: -inf and inf where the mate is no candidate.
        mate_verdict: NO HIT where the mate is no candidate.
        best_stranger: highest score of anybody else; -inf where there is nobody.
        stranger_verdict: the best verdict on anybody else.
        strangers, stranger_scores: subject ids and scores (float64) of everybody else that all samples were compared
            with; kept of mated searches of which every sample gave a template.
    """

    search: Search
    mated: bool
    failed: bool
    mate_score: float = -math.inf
    mate_rank: float = math.inf
    mate_verdict: int = common_pb2.VERDICT_NO_HIT
    best_stranger: float = -math.inf
    stranger_verdict: int = common_pb2.VERDICT_NO_HIT
    strangers: tuple[str, ...] = ()
    stranger_scores: NDArray[np.float64] = dataclasses.field(default_factory=lambda: np.empty(0))


@dataclasses.dataclass(frozen=True)
class Enrolled:
    """How an enrolment went: who is on record, samples without a template, and the last change's number."""

    subjects: frozenset[str]
    samples_failed: int
    lsn: int


def enrol(
    client: AmbisClient, subjects: Sequence[VirtualSubject], batch: str, templates: Templates | None = None
) -> Enrolled:
    """Puts the first sample of every position on record, one encounter a subject.

    Samples that the server rejects are left out; a subject of whom nothing is left is not on record.

    Args:
        batch: a name that no earlier enrolment of these subjects into this server had.
        templates: send these; without them, images.
    """
    on_record: set[str] = set()
    failed = lsn = 0
    for answer in client.bulk_enrol(_enrolments(subjects, batch, templates)):
        subject = subjects[answer.sequence]
        if answer.WhichOneof("outcome") == "error":
            if answer.error.code != grpc.StatusCode.INVALID_ARGUMENT.value[0]:  # the server's fault, or ours
                raise RuntimeError(f"{subject.subject_id} could not be enrolled: {answer.error.message}")
            failed += len(subject.captures)
            continue
        on_record.add(subject.subject_id)
        failed += sum(not report.used for report in answer.result.samples)
        lsn = max(lsn, answer.result.lsn)
    return Enrolled(frozenset(on_record), failed, lsn)


def _enrolments(
    subjects: Sequence[VirtualSubject], batch: str, templates: Templates | None
) -> Iterator[enrollment_service_pb2.BulkEnrollRequest]:
    for number, subject in enumerate(subjects):
        firsts = [(position, captures[0]) for position, captures in subject.captures.items()]
        if templates is None:
            samples = [_image(p, s) for p, s in firsts]
        else:
            samples = [image_sample(p, t.to_bytes()) for p, s in firsts if (t := templates[s]) is not None]
        encounter = enrollment_service_pb2.Encounter(
            subject_id=subject.subject_id,
            encounter_id="1",
            galleries=[GALLERY],
            samples=samples,
            subject_mode=enrollment_service_pb2.SUBJECT_MODE_NEW,
            accept_partial=True,
            accept_low_quality=True,
        )
        yield enrollment_service_pb2.BulkEnrollRequest(
            transaction_id=new_transaction_id(),
            idempotency_key=f"{batch}-{subject.subject_id}",
            sequence=number,
            encounter=encounter,
        )


def delete(client: AmbisClient, subjects: Sequence[VirtualSubject], on_record: frozenset[str]) -> int:
    """Takes those who are on record off it; returns the last change's number."""
    gone = [s.subject_id for s in subjects if s.subject_id in on_record]
    return max((client.delete_subject(name).lsn for name in gone), default=0)


def run_searches(
    client: AmbisClient,
    searches: Sequence[Search],
    templates: Templates,
    lsn: int,
    *,
    mated: bool,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Outcome]:
    """Makes the searches, with templates; in their order.

    Args:
        templates: of every sample, by the extractors that the server runs.
        lsn: the searches see every change up to this one.
        mated: whether these subjects are meant to be on record. Those of whom nothing could be enrolled are not, and
            count as missed.

    Raises:
        RuntimeError: a subject that was deleted is a candidate, or the gallery is larger than a candidate list.
    """
    outcomes: list[Outcome | None] = [None] * len(searches)
    usable = [
        [(p, t) for p, s in zip(search.positions, search.samples, strict=True) if (t := templates[s]) is not None]
        for search in searches
    ]
    for number, search in enumerate(searches):
        if not usable[number]:
            outcomes[number] = Outcome(search, mated, failed=True)

    def requests() -> Iterator[identification_service_pb2.BatchIdentifyRequest]:
        for number, present in enumerate(usable):
            if present:
                samples = [image_sample(p, t.to_bytes()) for p, t in present]
                yield _request(number, samples, lsn)

    for done, answer in enumerate(client.batch_identify(requests()), 1):
        if answer.WhichOneof("outcome") == "error":
            raise RuntimeError(f"a search failed: {answer.error.message}")
        search = searches[answer.sequence]
        whole = len(usable[answer.sequence]) == len(search.positions)
        outcomes[answer.sequence] = _outcome(search, answer.result, mated=mated, keep_strangers=whole and mated)
        progress(done)
    found = [o for o in outcomes if o is not None]
    if len(found) != len(searches):
        raise RuntimeError(f"{len(searches) - len(found)} searches had no answer")
    return found


def _outcome(
    search: Search, result: identification_service_pb2.IdentifyResult, *, mated: bool, keep_strangers: bool
) -> Outcome:
    if result.gallery_size > MAX_CANDIDATES:
        raise RuntimeError(f"{result.gallery_size} subjects are more than a candidate list holds ({MAX_CANDIDATES})")
    me = search.subject.subject_id
    mates = [(rank, c) for rank, c in enumerate(result.candidates, 1) if c.subject_id == me]
    if mates and not mated:
        raise RuntimeError(f"{me} was deleted and is a candidate")
    strangers = [c for c in result.candidates if c.subject_id != me]
    outcome = Outcome(
        search,
        mated,
        failed=False,
        best_stranger=max((c.score for c in strangers), default=-math.inf),
        stranger_verdict=min((c.verdict for c in strangers), default=common_pb2.VERDICT_NO_HIT),
    )
    if mates:
        rank, mate = mates[0]
        outcome = dataclasses.replace(outcome, mate_score=mate.score, mate_rank=rank, mate_verdict=mate.verdict)
    if keep_strangers:
        compared = [c for c in strangers if len(c.evidence) == len(search.positions)]
        outcome = dataclasses.replace(
            outcome,
            strangers=tuple(c.subject_id for c in compared),
            stranger_scores=np.array([c.score for c in compared], np.float64),
        )
    return outcome


def images_answer_as_templates(client: AmbisClient, search: Search, templates: Templates, lsn: int) -> bool:
    """Whether the server's answer to the images of a search is that to their templates."""
    pairs = list(zip(search.positions, search.samples, strict=True))
    as_images = [_image(p, s) for p, s in pairs]
    as_templates = [image_sample(p, t.to_bytes()) for p, s in pairs if (t := templates[s]) is not None]
    first, second = (
        [(c.subject_id, c.score) for c in client.identify(_request(0, samples, lsn).search).candidates]
        for samples in (as_images, as_templates)
    )
    return first == second


def _request(
    number: int, samples: Sequence[common_pb2.Sample], lsn: int
) -> identification_service_pb2.BatchIdentifyRequest:
    return identification_service_pb2.BatchIdentifyRequest(
        transaction_id=new_transaction_id(),
        sequence=number,
        search=identification_service_pb2.Search(
            samples=samples, galleries=[GALLERY], max_candidates=MAX_CANDIDATES, min_lsn=lsn
        ),
    )


def _image(position: Position, sample: RealSample) -> common_pb2.Sample:
    # The main face: an enrolment of a picture with bystanders must say whom it means.
    face = FaceChoice(number=1) if position is Position.FACE else None
    return image_sample(position, sample.path.read_bytes(), sample.ppi, face)
