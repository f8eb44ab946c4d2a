"""A multimodal search: shortlist per modality, union, exact comparison of everything, calibration, fusion, decision.

The shards do the first three (see ``gallery``); here raw scores become -10*log10(FMR), positions are fused,
candidates are ranked and the verdict is given.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from matcher.calibration import Calibrations
from matcher.decision import (
    DecisionParameters,
    Thresholds,
    Verdict,
    identification_thresholds,
    verification_thresholds,
)
from matcher.errors import InvalidInput, NotCalibrated, NotFound
from matcher.explanation import explain_identification, explain_verification, score_gap
from matcher.fused_scores import FusedScores, FusionMember
from matcher.fusion import FusedScore, PositionScore, calibrate_positions
from matcher.fusion_model import FusionModel
from matcher.gallery import Comparison, Probe, SubjectComparisons
from matcher.shards.backend import ShardBackend

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
    galleries: tuple[str, ...] = ()
    max_candidates: int = 10
    score_threshold: float = 0.0
    target_fpir: float | None = None

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
        """
        self._require_calibration(request.probes)
        lsn = self._backend.applied_lsn
        size = self._backend.subjects(request.galleries)
        thresholds = identification_thresholds(size, self._decision, request.target_fpir)
        found = self._backend.search(request.probes, request.galleries)
        scored = self._score(found, thresholds)
        # By verdict first: where trust differs, a HIT stands above a higher score that is only a REVIEW.
        scored.sort(key=lambda c: (c.verdict, -c.fused.score, -c.fused.llr, c.subject_id))
        candidates = tuple(c for c in scored if c.fused.score >= request.score_threshold)[: request.max_candidates]
        verdict = min((c.verdict for c in scored[:MAX_CANDIDATES]), default=Verdict.NO_HIT)
        explanation = explain_identification(verdict, scored, thresholds, size, self._decision)
        gap = score_gap(scored)
        return SearchResult(verdict, explanation, candidates, thresholds, size, thresholds.rate, lsn, gap)

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
        scored = self._score([found], thresholds)
        if not scored:
            raise InvalidInput(
                f"subject {subject_id!r} has no sample on record that can be compared with these positions",
                reason="NOT_COMPARABLE",
                field="samples",
            )
        candidate = scored[0]
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

    def _score(self, found: Sequence[SubjectComparisons], thresholds: Thresholds) -> list[Candidate]:
        """Calibrates all comparisons of an algorithm at once, and fuses those of each subject that has any."""
        by_algorithm: dict[str, list[Comparison]] = {}
        for subject in found:
            for comparison in subject.comparisons:
                by_algorithm.setdefault(comparison.algorithm, []).append(comparison)
        scores = {
            algorithm: iter(
                calibrate_positions(
                    self._calibrations[algorithm],
                    np.array([c.raw for c in comparisons]),
                    np.array([c.comparisons for c in comparisons]),
                )
            )
            for algorithm, comparisons in by_algorithm.items()
        }
        compared = [subject for subject in found if subject.comparisons]
        evidence = [tuple(Evidence(c, next(scores[c.algorithm])) for c in s.comparisons) for s in compared]
        fused = self._fused.fuse([[_member(e) for e in each] for each in evidence])
        return [
            Candidate(subject.subject_id, score, thresholds.verdict(score.score, score.trusted_score), each)
            for subject, score, each in zip(compared, fused, evidence, strict=True)
        ]


def _member(evidence: Evidence) -> FusionMember:
    """The position is the known one where either is; ``may_match`` keeps apart what differs."""
    comparison = evidence.comparison
    known = comparison.reference_position if comparison.probe_position.is_unknown else comparison.probe_position
    return FusionMember(known, comparison.algorithm, evidence.score)


def _check_probes(probes: Sequence[Probe]) -> None:
    if not 1 <= len(probes) <= MAX_PROBES:
        raise InvalidInput(
            f"a search takes 1-{MAX_PROBES} samples of one person; got {len(probes)}",
            reason="SAMPLES_MISSING" if not probes else "TOO_MANY_SAMPLES",
            field="samples",
        )
