"""A multimodal search: shortlist per modality, union, exact comparison of everything, calibration, fusion, decision.

The shards do the first three (see ``gallery``); here raw scores become -10*log10(FMR), positions are fused,
candidates are ranked and the verdict is given.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from matcher.calibration import Calibrations
from matcher.decision import (
    DecisionParameters,
    Thresholds,
    Verdict,
    identification_thresholds,
    reaches,
    verification_thresholds,
)
from matcher.errors import AmbisError, InvalidInput, NotCalibrated, NotFound
from matcher.explanation import explain_identification, explain_verification, score_gap
from matcher.filters import EVERYBODY, SearchFilter
from matcher.found_subjects import Comparison, FoundSubjects, Probe
from matcher.fused_scores import FusedColumns, FusedScores
from matcher.fusion import FusedScore, PositionScore, PositionScores, calibrate_positions
from matcher.fusion_model import FusionModel
from matcher.gallery_view import GallerySearch
from matcher.positions import UNKNOWN_POSITIONS, Position
from matcher.shards.backend import ShardBackend
from matcher.stages import measure

MAX_CANDIDATES = 1000
MAX_PROBES = 32


@dataclasses.dataclass(frozen=True)
class Evidence:
    """One comparison with its calibrated scores."""

    comparison: Comparison
    score: PositionScore


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A subject that the search puts forward."""

    subject_id: str
    fused: FusedScore
    verdict: Verdict
    evidence: tuple[Evidence, ...]


@dataclasses.dataclass(frozen=True)
class SearchResult:
    """The answer to a search, best candidate first.

    Attributes:
        thresholds: scores asked for.
        gallery_size: subjects searched.
        target_fpir: that the HIT threshold stands for (identification only, else 0); below the one asked for where the
            prior demands it.
        lsn: the search saw every change up to here.
        score_gap: score of the first candidate less the highest of all others that were compared, listed or not; None
            where there are no others.
    """

    verdict: Verdict
    explanation: str
    candidates: tuple[Candidate, ...]
    thresholds: Thresholds
    gallery_size: int
    target_fpir: float
    lsn: int
    score_gap: float | None = None


@dataclasses.dataclass(frozen=True)
class SearchRequest:
    """What to search and how; None and empty mean the deployment's defaults."""

    probes: tuple[Probe, ...]
    filter: SearchFilter = EVERYBODY
    max_candidates: int = 10
    score_threshold: float = 0.0
    target_fpir: float | None = None

    @property
    def weight(self) -> int:
        """In how many columns of references its samples are searched: 1 for one of a known position."""
        places = [[p for p in Position if not p.is_unknown and probe.position.may_match(p)] for probe in self.probes]
        return sum(map(len, places))

    def __post_init__(self) -> None:
        _check_probes(self.probes)
        if not math.isfinite(self.score_threshold):
            raise InvalidInput(
                f"score_threshold is {self.score_threshold}; it must be a number",
                reason="THRESHOLD_INVALID",
                field="score_threshold",
            )
        if not 1 <= self.max_candidates <= MAX_CANDIDATES:
            raise InvalidInput(
                f"max_candidates is {self.max_candidates}; it must be within 1 and {MAX_CANDIDATES}",
                reason="CANDIDATES_INVALID",
                field="max_candidates",
            )


class SearchEngine:
    """Identification and verification over a shard backend; thread-safe.

    Args:
        backend: the shards.
        calibrations: an artefact for every algorithm in use.
        decision: rates that the deployment asks for.
        fusion: how positions hang together; None for the shipped model.
    """

    def __init__(
        self,
        backend: ShardBackend,
        calibrations: Calibrations,
        decision: DecisionParameters | None = None,
        fusion: FusionModel | None = None,
    ) -> None:
        self._backend = backend
        self._calibrations = calibrations
        self._decision = decision or DecisionParameters()
        self._fused = FusedScores(calibrations, fusion or FusionModel.load())

    def identify(self, request: SearchRequest) -> SearchResult:
        """One person against the galleries (1:N).

        Raises:
            NotCalibrated, ModelMismatch: the probe's algorithm cannot be searched here.
            InvalidInput: rates or counts out of range.
            TemplateInvalid: nothing could be like a probe.
        """
        (result,) = self.identify_batch([request])
        if isinstance(result, AmbisError):
            raise result
        return result

    def identify_batch(self, requests: Sequence[SearchRequest]) -> list[SearchResult | AmbisError]:
        """Several searches in one pass over the references; for each its answer, or why it has none."""
        result: list[SearchResult | AmbisError | None] = [None] * len(requests)
        asked: list[tuple[int, SearchRequest]] = []
        for number, request in enumerate(requests):
            try:
                self._require_calibration(request.probes)
                # A rate out of its range is found out before anything is searched.
                identification_thresholds(0, self._decision, request.target_fpir)
            except AmbisError as error:
                result[number] = error
            else:
                asked.append((number, request))
        with measure("search"):
            found = self._backend.search([GallerySearch(r.probes, r.filter) for _, r in asked])
        for (number, request), subjects in zip(asked, found.subjects, strict=True):
            try:
                if isinstance(subjects, AmbisError):
                    raise subjects
                with measure("scores and verdict"):
                    result[number] = self._answer(request, subjects, found.sizes[request.filter], found.lsn)
            except AmbisError as error:
                result[number] = error
        return [one for one in result if one is not None]

    def verify(self, probes: Sequence[Probe], subject_id: str, target_fmr: float | None = None) -> SearchResult:
        """One person against one subject on record (1:1).

        Raises:
            NotFound: the subject is not on record.
            InvalidInput: the subject has no sample that could be compared with the probe.
        """
        _check_probes(probes)
        self._require_calibration(probes)
        thresholds = verification_thresholds(self._decision, target_fmr)
        lsn = self._backend.applied_lsn
        found = self._backend.compare(probes, subject_id)
        if found is None:
            raise NotFound(f"subject {subject_id!r} is not on record", reason="SUBJECT_NOT_FOUND", field="subject_id")
        scored = self._score(found)
        if not len(scored):
            raise InvalidInput(
                f"subject {subject_id!r} has no sample on record that can be compared with these positions",
                reason="NOT_COMPARABLE",
                field="samples",
            )
        candidate = scored.candidate(0, thresholds)
        explanation = explain_verification(candidate, thresholds)
        return SearchResult(candidate.verdict, explanation, (candidate,), thresholds, 1, 0.0, lsn)

    def _require_calibration(self, probes: Sequence[Probe]) -> None:
        for probe in probes:
            calibration = self._calibrations[probe.template.algorithm]
            if calibration.modality is not probe.template.modality:
                raise NotCalibrated(
                    f"the calibration artefact of {calibration.algorithm!r} is of modality {calibration.modality}, the "
                    f"templates are of {probe.template.modality}; make it again with 'ambis calibrate'"
                )

    def _answer(self, request: SearchRequest, found: FoundSubjects, size: int, lsn: int) -> SearchResult:
        thresholds = identification_thresholds(size, self._decision, request.target_fpir)
        scored = self._score(found)
        ranking = scored.ranking(thresholds)
        shown = ranking[scored.fused.score[ranking] >= request.score_threshold][: request.max_candidates]
        candidates = tuple(scored.candidate(int(number), thresholds) for number in shown)
        # An explanation speaks of the first, of all HITs and of the highest score of the others, which is at the head
        # of those with its verdict.
        verdicts = scored.verdicts(thresholds)[ranking]
        heads = np.searchsorted(verdicts, [Verdict.REVIEW, Verdict.NO_HIT])
        told = np.unique([0, 1, *range(min(int(heads[0]), MAX_CANDIDATES)), *heads])
        ranked = [scored.candidate(int(ranking[place]), thresholds) for place in told if place < len(ranking)]
        verdict = ranked[0].verdict if ranked else Verdict.NO_HIT
        explanation = explain_identification(verdict, ranked, thresholds, size, self._decision)
        gap = score_gap(ranked)
        return SearchResult(verdict, explanation, candidates, thresholds, size, thresholds.rate, lsn, gap)

    def _score(self, found: FoundSubjects) -> ScoredSubjects:
        """Calibrates all comparisons of an algorithm at once, and fuses those of each subject that has any."""
        scores = PositionScores(*(np.empty(len(found.raw)) for _ in range(4)))
        for number, algorithm in enumerate(found.algorithms):
            of = np.flatnonzero(found.algorithm == number)
            if len(of):
                own = calibrate_positions(self._calibrations[algorithm], found.raw[of], found.comparisons[of])
                for field in dataclasses.fields(PositionScores):
                    getattr(scores, field.name)[of] = getattr(own, field.name)
        compared, subject = np.unique(found.subject, return_inverse=True)
        # The position is the known one where either is; ``may_match`` keeps apart what differs.
        unknown = np.isin(found.position, UNKNOWN_POSITIONS)
        known = np.where(unknown, found.reference_position, found.position)
        fused = self._fused.fuse_columns(subject, known, found.algorithm, found.algorithms, scores)
        return ScoredSubjects(found, scores, compared, fused)


@dataclasses.dataclass(frozen=True, eq=False)
class ScoredSubjects:
    """Found subjects that had anything to compare, with their scores.

    Attributes:
        scores: of the comparisons of ``found``.
        compared: int64[n], the subjects' numbers in ``found``.
        fused: n.
    """

    found: FoundSubjects
    scores: PositionScores
    compared: NDArray[np.int64]
    fused: FusedColumns

    def __len__(self) -> int:
        return len(self.compared)

    def verdicts(self, thresholds: Thresholds) -> NDArray[np.int64]:
        """int64[n], numbers of ``Verdict``."""
        hit = reaches(self.fused.trusted_score, thresholds.hit)
        review = self.fused.score >= thresholds.review
        return np.where(hit, Verdict.HIT, np.where(review, Verdict.REVIEW, Verdict.NO_HIT))

    def ranking(self, thresholds: Thresholds) -> NDArray[np.int64]:
        """int64[n], from the first candidate to the last.

        By verdict first: where trust differs, a HIT stands above a higher score that is only a REVIEW.
        """
        columns = (-self.fused.llr, -self.fused.score, self.verdicts(thresholds))
        order = np.lexsort(columns)
        ranked = np.stack([column[order] for column in columns])
        tied = np.flatnonzero((ranked[:, 1:] == ranked[:, :-1]).all(axis=0))
        if len(tied):
            # Names are looked up only where nothing else tells two apart.
            group = np.concatenate([[0], np.cumsum((ranked[:, 1:] != ranked[:, :-1]).any(axis=0))])
            places = np.unique(np.concatenate([tied, tied + 1]))
            names = {int(p): self.found.subject_name(int(self.compared[order[p]])) for p in places}
            order[places] = order[sorted(places, key=lambda p: (group[p], names[int(p)]))]
        return order

    def candidate(self, number: int, thresholds: Thresholds) -> Candidate:
        """One of them."""
        fused, subject = self.fused.at(number), int(self.compared[number])
        comparisons = self.found.of(subject)
        evidence = tuple(Evidence(self.found.comparison(k), self.scores.at(k)) for k in comparisons)
        verdict = thresholds.verdict(fused.score, fused.trusted_score)
        return Candidate(self.found.subject_name(subject), fused, verdict, evidence)


def _check_probes(probes: Sequence[Probe]) -> None:
    if not 1 <= len(probes) <= MAX_PROBES:
        raise InvalidInput(
            f"a search takes 1-{MAX_PROBES} samples of one person; got {len(probes)}",
            reason="SAMPLES_MISSING" if not probes else "TOO_MANY_SAMPLES",
            field="samples",
        )
