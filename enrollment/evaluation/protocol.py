"""What is compared with what: the samples of a manifest, and the genuine and impostor pairs of them.

A class is (subject_id, position). Genuine: all pairs of samples of one class. Impostor: pairs of samples of two
classes, either of the first sample of each ("first", as FVC does: Maio et al., TPAMI 2002) or of all ("all").
Pairs of one subject whose positions differ but may be the same part of the body (one is unknown) are neither, and are
counted.
"""

from __future__ import annotations

import csv
import dataclasses
import enum
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from enrollment.manifest import BadRow, read_manifest
from matcher.errors import InvalidInput
from matcher.positions import Modality, Position


class Impostors(enum.StrEnum):
    """Which samples make impostor pairs."""

    FIRST = "first"
    ALL = "all"


@dataclasses.dataclass(frozen=True)
class EvaluationSample:
    """A row of a manifest.

    Attributes:
        line: of the manifest, the header being 1.
        columns: every column of the row, as text.
    """

    line: int
    path: Path
    subject_id: str
    encounter_id: str
    position: Position
    ppi: float | None
    columns: Mapping[str, str]

    @property
    def body_part(self) -> tuple[str, Position]:
        """The class: subject and position."""
        return self.subject_id, self.position


@dataclasses.dataclass(frozen=True)
class SampleList:
    """A manifest's samples in its order.

    Attributes:
        samples: whose files are there.
        missing: whose files are not; a fault of the data set, in no rate.
        bad_rows: that could not be read; in no rate.
    """

    manifest: Path
    samples: tuple[EvaluationSample, ...]
    missing: tuple[EvaluationSample, ...]
    bad_rows: tuple[BadRow, ...]


def list_samples(manifest: Path, modality: Modality | None = None) -> SampleList:
    """Reads a manifest; paths are relative to it.

    Args:
        modality: take only its rows.

    Raises:
        InvalidInput (MANIFEST_INVALID): see ``read_manifest``; (NO_SAMPLES): nothing of the modality is there.
    """
    listed = read_manifest(manifest)
    with manifest.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, strict=True)
        columns: dict[int, dict[str, str]] = {}
        for row in reader:
            columns[reader.line_num] = {k: v.strip() for k, v in row.items() if isinstance(v, str)}
    samples = sorted(
        (
            EvaluationSample(
                s.line, s.path, encounter.subject_id, encounter.encounter_id, s.position, s.ppi, columns[s.line]
            )
            for encounter in listed.encounters
            for s in encounter.samples
            if modality is None or s.position.modality is modality
        ),
        key=lambda s: s.line,
    )
    there = [s.path.is_file() for s in samples]
    if not any(there):
        raise InvalidInput(
            f"{manifest} lists no sample{f' of modality {modality}' if modality else ''} whose file is there "
            f"({len(samples)} listed); paths in a manifest are relative to it",
            reason="NO_SAMPLES",
        )
    return SampleList(
        manifest,
        tuple(s for s, found in zip(samples, there, strict=True) if found),
        tuple(s for s, found in zip(samples, there, strict=True) if not found),
        listed.bad_rows,
    )


def only_modality(samples: Sequence[EvaluationSample]) -> Modality:
    """The one modality of all samples; raises InvalidInput (MODALITIES_MIXED) where there are several."""
    found = sorted({s.position.modality for s in samples})
    if len(found) != 1:
        raise InvalidInput(
            f"the manifest mixes {', '.join(found)}, whose scores have no common scale; choose one with --modality",
            reason="MODALITIES_MIXED",
        )
    return found[0]


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of samples by their numbers in the list, the earlier one first.

    Attributes:
        genuine: int64[g, 2]; impostor: int64[n, 2].
        ambiguous: pairs of one subject that may or may not show one part of the body; in neither.
    """

    genuine: NDArray[np.int64]
    impostor: NDArray[np.int64]
    ambiguous: int


def make_pairs(samples: Sequence[EvaluationSample], impostors: Impostors) -> Pairs:
    """All genuine pairs, and the impostor pairs asked for."""
    classes: dict[tuple[str, Position], list[int]] = {}
    for number, sample in enumerate(samples):
        classes.setdefault(sample.body_part, []).append(number)
    genuine = [_all_pairs(np.array(members, np.int64)) for members in classes.values()]
    taking_part = (
        np.array([members[0] for members in classes.values()], np.int64)
        if impostors is Impostors.FIRST
        else np.arange(len(samples), dtype=np.int64)
    )
    taking_part.sort()
    class_numbers = {part: number for number, part in enumerate(classes)}
    class_of = np.array([class_numbers[s.body_part] for s in samples], np.int64)
    subject_of = subject_numbers(samples)
    pairs = _all_pairs(taking_part)
    pairs = pairs[class_of[pairs[:, 0]] != class_of[pairs[:, 1]]]
    own = np.flatnonzero(subject_of[pairs[:, 0]] == subject_of[pairs[:, 1]])
    unclear = [k for k in own if samples[pairs[k, 0]].position.may_match(samples[pairs[k, 1]].position)]
    return Pairs(
        np.concatenate([np.empty((0, 2), np.int64), *genuine]), np.delete(pairs, unclear, axis=0), len(unclear)
    )


def subject_numbers(samples: Sequence[EvaluationSample]) -> NDArray[np.int64]:
    """int64[n]: a number from 0 for every subject, in the order of first appearance."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(s.subject_id, len(numbers)) for s in samples], np.int64)


def _all_pairs(members: NDArray[np.int64]) -> NDArray[np.int64]:
    first, second = np.triu_indices(len(members), k=1)
    return np.stack([members[first], members[second]], axis=1).astype(np.int64)
