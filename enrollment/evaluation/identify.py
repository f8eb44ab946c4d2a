"""1:N accuracy: the encounters of one manifest are searched in a gallery of those of another.

The search is the server's own (``matcher.search.SearchEngine``: shortlists, exact comparison, calibration, fusion), so
an encounter of several samples is one search with all of them. A probe whose subject the gallery manifest lists is
mated; it counts as missed where the mate could not be enrolled or the probe gave no template. Non-mated probes without
a template are left out and counted: nothing was searched.

FNIR is the share of mated searches whose mate is no candidate at or above the threshold; FPIR that of non-mated
searches with any candidate at or above it (ISO/IEC 19795-1). The gallery is taken as it is: intervals are over the
subjects of the probes.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from enrollment.evaluation.accounting import extraction_seconds, header
from enrollment.evaluation.bootstrap import BootstrapParameters, ScoreSet, interval, mean_replicates
from enrollment.evaluation.groups import capture_days, check_column, date_column, gap_names, gap_order, sample_groups
from enrollment.evaluation.measures import FPIR_TARGETS, Json, histogram, operating_points
from enrollment.evaluation.preparation import prepare
from enrollment.evaluation.progress import ProgressCallback, no_progress
from enrollment.evaluation.protocol import EvaluationSample, list_samples
from enrollment.evaluation.rates import hit_rates
from enrollment.evaluation.templates import MadeTemplate
from enrollment.settings import Settings, load_settings
from matcher.calibration import Calibrations
from matcher.changes import EncounterEnrolled, Reference
from matcher.errors import InvalidInput
from matcher.found_subjects import Probe
from matcher.fusion_model import FusionModel
from matcher.positions import Modality
from matcher.search import MAX_CANDIDATES, SearchEngine, SearchRequest
from matcher.shards.local import LocalShards

HIGHEST_RANK = 50


@dataclasses.dataclass(frozen=True)
class Encounter:
    """The samples of one subject and encounter, with what became of them."""

    subject_id: str
    encounter_id: str
    samples: tuple[EvaluationSample, ...]
    made: tuple[MadeTemplate, ...]

    @property
    def usable(self) -> list[Probe]:
        """The samples that have a template."""
        pairs = zip(self.samples, self.made, strict=True)
        return [Probe(s.position, m.template) for s, m in pairs if m.template is not None]


@dataclasses.dataclass(frozen=True, eq=False)
class Searches:
    """Outcomes of searches, one a probe encounter.

    Attributes:
        subjects: int64[n], number of the probe's subject.
        mated: bool[n].
        failed: bool[n], no template to search with.
        score: float64[n], the mate's where mated, else the best candidate's; -inf where there is none.
        rank: float64[n], the mate's, from 1; inf where it is no candidate or the search is not mated.
    """

    subjects: NDArray[np.int64]
    mated: NDArray[np.bool_]
    failed: NDArray[np.bool_]
    score: NDArray[np.float64]
    rank: NDArray[np.float64]

    def part(self, members: NDArray[np.bool_]) -> Searches:
        """Some of the searches."""
        return Searches(
            self.subjects[members], self.mated[members], self.failed[members], self.score[members], self.rank[members]
        )

    def scores(self, total: int) -> ScoreSet:
        """Mates' scores as the genuine ones, best scores of non-mated searches as impostors'."""
        strangers = ~self.mated & ~self.failed
        whose = self.subjects[strangers]
        return ScoreSet(
            self.score[self.mated],
            self.subjects[self.mated],
            self.score[strangers],
            np.stack([whose, whose], axis=1),
            total,
        )


def evaluate_identify(
    gallery: Path,
    probes: Path,
    by: str | None = None,
    gate: int | None = None,
    *,
    modality: Modality | None = None,
    processes: int = 1,
    cache: Path | None = None,
    settings: Settings | None = None,
    parameters: BootstrapParameters | None = None,
    progress: ProgressCallback = no_progress,
) -> Json:
    """Measures 1:N accuracy; ``measures`` says how rates stand in the answer.

    Args:
        gallery: manifest of the people enrolled.
        probes: manifest of the searches; a probe whose subject the gallery does not list is non-mated.
        by: column of the probes' manifest by which the rates are broken down as well; see ``groups``. The time gap of
            a mated search is that to the mate's nearest sample in the gallery; every time gap is set against all
            non-mated searches.
        gate: samples of a lower quality (0-100), in either manifest, are taken away; their shares are told.
        modality: of the rows that are used; None for all, fused as the server does.
        processes, cache, parameters: see ``evaluate_verify``.

    Returns:
        ``rank1``, ``fnir_at_fpir``, ``mated``, ``non_mated``, ``gallery`` (subjects) and more; every rate with its
        ``_ci95``.

    Raises:
        InvalidInput: a manifest or an option cannot be used.
        ModalityUnavailable: no extractor for a modality.
        NotCalibrated: no calibration artefact for an algorithm.
    """
    p = parameters or BootstrapParameters()
    chosen = settings or load_settings()
    listed = {"gallery": list_samples(gallery, modality), "probes": list_samples(probes, modality)}
    if by is not None:
        check_column(listed["probes"].samples, by)
    prepared = prepare(listed, gate, p, settings=chosen, processes=processes, cache=cache, progress=progress)
    encounters = {name: _encounters(one.samples, one.made) for name, one in prepared.lists.items()}
    same = set.intersection(*({m.sha256 for m in one.made} for one in prepared.lists.values()))

    engine, references = _engine(
        encounters["gallery"], Calibrations.load(chosen.calibrations), FusionModel.load(chosen.calibrations)
    )
    began = time.perf_counter()
    searches = _search_all(engine, encounters, progress)
    search_seconds = time.perf_counter() - began
    total = int(searches.subjects.max()) + 1
    began = time.perf_counter()
    progress("intervals", 0, 1)
    rates = _rates(searches, total, p, curve=True)
    groups = None if by is None else _by_column(searches, total, encounters, by, p)
    progress("intervals", 1, 1)
    searched = int((~searches.failed).sum())
    enrolled = {e.subject_id for e in encounters["gallery"] if e.usable}
    used = prepared.made
    modalities = {s.position.modality for one in prepared.lists.values() for s in one.samples}
    failures = {name: one.not_used for name, one in prepared.lists.items()}
    return {
        **header("identify", p),
        "manifest": f"{gallery.name} (gallery), {probes.name} (probes)",
        "modality": ", ".join(sorted({m.value for m in modalities})),
        "algorithm": ", ".join(sorted({m.template.algorithm for m in used if m.template is not None})) or None,
        "gate": {name: one.gate for name, one in prepared.lists.items()} if gate is not None else None,
        "gallery": len({e.subject_id for e in encounters["gallery"]}),
        "gallery_enrolled": len(enrolled),
        "gallery_references": references,
        **rates,
        "mated_failed": int((searches.failed & searches.mated).sum()),
        "non_mated_failed": int((searches.failed & ~searches.mated).sum()),
        "failures_to_enrol": failures["gallery"]["failures_to_enrol"],
        "failures": failures,
        "images_in_both": len(same),
        "extraction_seconds": extraction_seconds(used),
        "searches_per_second": searched / search_seconds if search_seconds > 0 else None,
        "seconds": {
            **prepared.seconds,
            "searches": search_seconds,
            "intervals": time.perf_counter() - began,
        },
        "histogram": histogram(searches.scores(total)),
        "by": groups,
    }


def _encounters(samples: Sequence[EvaluationSample], made: Sequence[MadeTemplate]) -> list[Encounter]:
    groups: dict[tuple[str, str], list[int]] = {}
    for number, sample in enumerate(samples):
        groups.setdefault((sample.subject_id, sample.encounter_id), []).append(number)
    return [
        Encounter(subject, encounter, tuple(samples[i] for i in rows), tuple(made[i] for i in rows))
        for (subject, encounter), rows in groups.items()
    ]


def _engine(gallery: Sequence[Encounter], calibrations: Calibrations, fusion: FusionModel) -> tuple[SearchEngine, int]:
    """The server's search over the gallery, and how many references it holds."""
    shards = LocalShards()
    changes = []
    references = 0
    for lsn, encounter in enumerate(gallery, 1):
        rows = tuple(Reference(references + k, p.position, p.template) for k, p in enumerate(encounter.usable, 1))
        references += len(rows)
        if rows:
            changes.append(EncounterEnrolled(lsn, encounter.subject_id, encounter.encounter_id, ("evaluation",), rows))
    if not changes:
        raise InvalidInput(
            "nobody of the gallery could be enrolled; look at 'ambis evaluate verify'", reason="NO_SAMPLES"
        )
    shards.apply(changes, len(gallery))
    return SearchEngine(shards, calibrations, fusion=fusion), references


def _search_all(engine: SearchEngine, encounters: dict[str, list[Encounter]], progress: ProgressCallback) -> Searches:
    listed_people = {e.subject_id for e in encounters["gallery"]}
    numbers: dict[str, int] = {}
    probes = encounters["probes"]
    subjects = np.array([numbers.setdefault(e.subject_id, len(numbers)) for e in probes], np.int64)
    mated = np.array([e.subject_id in listed_people for e in probes], bool)
    failed = np.array([not e.usable for e in probes], bool)
    score, rank = np.full(len(probes), -math.inf), np.full(len(probes), math.inf)
    for k, encounter in enumerate(probes):
        progress("searches", k, len(probes))
        if failed[k]:
            continue
        found = engine.identify(SearchRequest(tuple(encounter.usable), max_candidates=MAX_CANDIDATES)).candidates
        if not mated[k]:
            score[k] = found[0].fused.score if found else -math.inf
            continue
        for place, candidate in enumerate(found, 1):
            if candidate.subject_id == encounter.subject_id:
                score[k], rank[k] = candidate.fused.score, place
    progress("searches", len(probes), len(probes))
    return Searches(subjects, mated, failed, score, rank)


def _rates(searches: Searches, total: int, p: BootstrapParameters, *, curve: bool) -> Json:
    scores = searches.scores(total)
    _, points, det = operating_points(scores, FPIR_TARGETS, p, curve)
    ranks = searches.rank[searches.mated]
    hits = hit_rates(ranks, HIGHEST_RANK)
    reached = ranks[:, None] <= np.arange(1, HIGHEST_RANK + 1)
    replicates = mean_replicates(reached, scores.genuine_subjects, total, p)
    # The interval of a hit rate is that of its complement, the miss rate, turned round.
    misses = [interval(1 - replicates[:, k], 1 - hits[k], len(ranks), p) for k in range(HIGHEST_RANK)]
    limits = [None if m is None else [1 - m[1], 1 - m[0]] for m in misses]
    values = [None if math.isnan(h) else float(h) for h in hits]
    result: Json = {
        "rank1": values[0],
        "rank1_ci95": limits[0],
        "fnir_at_fpir": points["rate"],
        "fnir_at_fpir_ci95": points["ci95"],
        "missed_at_fpir": points["missed"],
        "score_threshold_at_fpir": points["threshold"],
        "mated": len(scores.genuine),
        "non_mated": len(scores.impostor),
    }
    if not curve:
        return result
    det = {"fpir": det["fmr"], "fnir": det["fnmr"], "fnir_ci95": det["fnmr_ci95"]}
    return result | {"det": det, "cmc": {"hit_rate": values, "hit_rate_ci95": limits}}


def _by_column(
    searches: Searches, total: int, encounters: Mapping[str, Sequence[Encounter]], column: str, p: BootstrapParameters
) -> Json:
    probes = [e.samples[0] for e in encounters["probes"]]
    dates = date_column(probes, column)
    if dates is None:
        found = sample_groups(probes, column)
        values, order, way, strangers = np.array(found.values), found.order, found.way, "of the group"
    else:
        values = gap_names(_days_to_mate(encounters, dates))
        order, way, strangers = tuple(gap_order(values[searches.mated])), "time gap", "all"
    groups = []
    for value in order:
        members = values == value
        if dates is not None:
            members = np.where(searches.mated, members, True)
        groups.append({"value": value, **_rates(searches.part(members), total, p, curve=False)})
    return {"column": dates or column, "way": way, "non_mated_searches": strangers, "groups": groups}


def _days_to_mate(encounters: Mapping[str, Sequence[Encounter]], column: str) -> NDArray[np.float64]:
    """Days between each probe and its mate's nearest sample in the gallery; NaN where one of them has no date."""
    enrolled: dict[str, list[float]] = {}
    for encounter in encounters["gallery"]:
        enrolled.setdefault(encounter.subject_id, []).extend(capture_days(encounter.samples, column).tolist())
    gaps = []
    for encounter in encounters["probes"]:
        (day,) = capture_days(encounter.samples[:1], column)
        days = np.abs(np.array(enrolled.get(encounter.subject_id, []), np.float64) - day)
        gaps.append(float(np.nanmin(days)) if np.isfinite(days).any() else math.nan)
    return np.array(gaps, np.float64)
