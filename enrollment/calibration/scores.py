"""The comparisons that a calibration is fitted on: samples of manifests, their templates, and scores of pairs.

All pairs of one class are genuine and all pairs of different classes impostors, also those of two manifests or two
data sets. Where that are more impostors than asked for, they are drawn at random.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from enrollment.evaluation.comparisons import compare_pairs
from enrollment.evaluation.progress import ProgressCallback, no_progress
from enrollment.evaluation.protocol import EvaluationSample, Impostors, list_samples, make_pairs, subject_numbers
from enrollment.evaluation.templates import MadeTemplate, make_templates
from enrollment.settings import Settings
from matcher.errors import InvalidInput
from matcher.positions import Modality, Position

IMPOSTOR_LIMIT = 5_000_000
"""Impostor comparisons at most; with a design effect of 10 they vouch for a score of 52."""


@dataclasses.dataclass(frozen=True, eq=False)
class CalibrationScores:
    """Scores of pairs of samples of one algorithm.

    Attributes:
        samples: that have a template; quality: float64[s], 0-100, of each.
        genuine_pairs: int64[g, 2], numbers of samples; genuine: float64[g], their raw scores, finite.
        impostor_pairs: int64[n, 2]; impostor: float64[n], likewise.
        failures: samples without a template; not_comparable: pairs without a score. Neither is in the arrays.
        unusable_rows: of the manifests, that could not be read or whose file is not there.
        impostors_there: pairs of different classes that there are; more than n where they were drawn.
    """

    modality: Modality
    algorithm: str
    samples: Sequence[EvaluationSample]
    quality: NDArray[np.float64]
    genuine_pairs: NDArray[np.int64]
    genuine: NDArray[np.float64]
    impostor_pairs: NDArray[np.int64]
    impostor: NDArray[np.float64]
    failures: int
    not_comparable: int
    unusable_rows: int
    impostors_there: int

    @property
    def subject_of(self) -> NDArray[np.int64]:
        """int64[s]: a number from 0 for the subject of every sample."""
        return subject_numbers(self.samples)

    @property
    def subjects(self) -> int:
        """How many there are."""
        return len({s.subject_id for s in self.samples})

    @property
    def classes(self) -> int:
        """How many body parts there are."""
        return len({s.body_part for s in self.samples})

    def by_subject(self) -> SubjectScores:
        """The scores with the numbers of their subjects."""
        numbers = self.subject_of
        return SubjectScores(
            self.genuine,
            numbers[self.genuine_pairs[:, 0]],
            self.impostor,
            numbers[self.impostor_pairs],
            self.subjects,
        )


@dataclasses.dataclass(frozen=True, eq=False)
class SubjectScores:
    """Raw scores and whose they are.

    Attributes:
        genuine: float64[g]; genuine_subjects: int64[g], numbers from 0.
        impostor: float64[n]; impostor_subjects: int64[n, 2].
        subjects: how many there are.
    """

    genuine: NDArray[np.float64]
    genuine_subjects: NDArray[np.int64]
    impostor: NDArray[np.float64]
    impostor_subjects: NDArray[np.int64]
    subjects: int

    def of(self, members: NDArray[np.bool_]) -> SubjectScores:
        """Of some subjects alone (bool[subjects]), numbered anew."""
        numbers = np.cumsum(members) - 1
        genuine, impostor = members[self.genuine_subjects], members[self.impostor_subjects].all(axis=1)
        return SubjectScores(
            self.genuine[genuine],
            numbers[self.genuine_subjects[genuine]],
            self.impostor[impostor],
            numbers[self.impostor_subjects[impostor]],
            int(members.sum()),
        )


def score_manifests(
    manifests: Sequence[Path],
    modality: Modality,
    settings: Settings,
    *,
    keep: Callable[[str], bool] = lambda _: True,
    processes: int = 1,
    cache: Path | None = None,
    impostor_limit: int = IMPOSTOR_LIMIT,
    progress: ProgressCallback = no_progress,
) -> CalibrationScores:
    """Makes the templates of manifests and compares them.

    Args:
        manifests: see ``enrollment.manifest``; a subject id means the same person in all of them.
        modality: of the rows that are used.
        settings: say which extractors there are.
        keep: whether to use a subject, by its id.
        processes, cache, progress: as for ``make_templates``.
        impostor_limit: impostor comparisons at most.

    Raises:
        InvalidInput: a manifest cannot be used, or nothing is left of it.
        ModalityUnavailable: no extractor for the modality.
    """
    listed = [list_samples(m, modality) for m in manifests]
    samples = [s for one in listed for s in one.samples if keep(s.subject_id)]
    if not samples:
        raise InvalidInput("no sample is left of those that the manifests list", reason="NO_SAMPLES")
    made = make_templates(samples, settings, processes=processes, cache=cache, progress=progress).outcomes
    scores = score_templates(samples, made, impostor_limit=impostor_limit, progress=progress)
    return dataclasses.replace(scores, unusable_rows=sum(len(x.missing) + len(x.bad_rows) for x in listed))


def score_templates(
    samples: Sequence[EvaluationSample],
    made: Sequence[MadeTemplate],
    *,
    impostor_limit: int = IMPOSTOR_LIMIT,
    progress: ProgressCallback = no_progress,
) -> CalibrationScores:
    """Compares the templates of samples (all of one modality) that have one.

    Raises:
        InvalidInput (NO_SAMPLES): no sample has a template.
    """
    whole = [i for i, m in enumerate(made) if m.template is not None]
    templates = [t for m in made if (t := m.template) is not None]
    if not templates:
        raise InvalidInput(
            f"none of {len(samples)} samples gave a template, the first for this reason: {made[0].message}",
            reason="NO_SAMPLES",
        )
    kept = [samples[i] for i in whole]
    genuine_pairs, impostor_pairs, there = calibration_pairs(kept, impostor_limit)
    compared = compare_pairs(templates, np.concatenate([genuine_pairs, impostor_pairs]), progress).scores
    genuine, impostor = np.split(compared, [len(genuine_pairs)])
    genuine_there, impostor_there = ~np.isnan(genuine), ~np.isnan(impostor)
    return CalibrationScores(
        templates[0].modality,
        templates[0].algorithm,
        kept,
        np.array([made[i].quality for i in whole], np.float64),
        genuine_pairs[genuine_there],
        genuine[genuine_there],
        impostor_pairs[impostor_there],
        impostor[impostor_there],
        len(samples) - len(kept),
        int((~genuine_there).sum() + (~impostor_there).sum()),
        0,
        there,
    )


def calibration_pairs(
    samples: Sequence[EvaluationSample], impostor_limit: int, seed: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """All genuine pairs, all impostor pairs or as many drawn at random, and how many there are (about, if drawn).

    Pairs of one subject that may or may not show one part of the body are neither.
    """
    count = len(samples)
    if count * (count - 1) // 2 <= impostor_limit:
        pairs = make_pairs(samples, Impostors.ALL)
        return pairs.genuine, pairs.impostor, len(pairs.impostor)
    members: dict[tuple[str, Position], list[int]] = {}
    for number, sample in enumerate(samples):
        members.setdefault(sample.body_part, []).append(number)
    genuine = np.array(
        [(m[a], m[b]) for m in members.values() for a in range(len(m)) for b in range(a + 1, len(m))], np.int64
    ).reshape(-1, 2)
    drawn = _drawn_pairs(count, impostor_limit, np.random.default_rng(seed))
    classes = {part: number for number, part in enumerate(members)}
    class_of = np.array([classes[s.body_part] for s in samples], np.int64)
    drawn = drawn[class_of[drawn[:, 0]] != class_of[drawn[:, 1]]]
    subject_of = subject_numbers(samples)
    own = np.flatnonzero(subject_of[drawn[:, 0]] == subject_of[drawn[:, 1]])
    unclear = [k for k in own if samples[drawn[k, 0]].position.may_match(samples[drawn[k, 1]].position)]
    return genuine, np.delete(drawn, unclear, axis=0), count * (count - 1) // 2 - len(genuine)


def _drawn_pairs(count: int, wanted: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """int64[wanted, 2]: pairs of ``count`` things, drawn without replacement, the earlier one first."""
    total = count * (count - 1) // 2
    if total <= 4 * wanted:
        numbers = rng.permutation(total)[:wanted]
    else:
        # A quarter of all at most: of 1.2 times as many with replacement enough are different.
        numbers = rng.permutation(np.unique(rng.integers(0, total, wanted + wanted // 5)))[:wanted]
    starts = np.concatenate([[0], np.cumsum(np.arange(count - 1, 0, -1))])
    first = np.searchsorted(starts, numbers, side="right") - 1
    pairs = np.stack([first, numbers - starts[first] + first + 1], axis=1)
    return np.asarray(pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))], np.int64)
