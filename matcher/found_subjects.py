"""What a search of a gallery found: columns of comparisons for whoever scores them, objects for whoever looks at some.

A search compares thousands of subjects and shows ten; an object for each comparison would take longer than to compare.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from matcher.positions import Modality, Position
from matcher.templates import Template


@dataclasses.dataclass(frozen=True)
class Probe:
    """One sample to search with."""

    position: Position
    template: Template


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The best comparison of one body part of the probe with one of a subject.

    Attributes:
        algorithm: of both templates.
        raw: the comparator's score, finite.
        comparisons: how many comparisons it is the best of, >= 1.
    """

    modality: Modality
    algorithm: str
    probe_position: Position
    reference_position: Position
    encounter_id: str
    raw: float
    comparisons: int


@dataclasses.dataclass(frozen=True)
class SubjectComparisons:
    """A subject of the union with all its comparisons; may hold none where nothing was comparable."""

    subject_id: str
    comparisons: tuple[Comparison, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class FoundSubjects(Sequence[SubjectComparisons]):
    """The union of all shortlists, every subject with its comparisons; in no particular order.

    Attributes:
        size: subjects.
        algorithms: those that ``algorithm`` numbers.
        subject: int64[n], the number of each comparison's subject, 0 to size - 1, ascending.
        raw: float64[n], the comparator's score, finite.
        comparisons: int64[n], how many comparisons it is the best of, >= 1.
        algorithm: int32[n], number of its algorithm.
        position, reference_position: int32[n], of the probe and of the reference, numbers of ``Position``.
        subject_name, encounter_name: give the id of a subject by its number, of an encounter by that of a comparison.
    """

    size: int
    algorithms: tuple[str, ...]
    subject: NDArray[np.int64]
    raw: NDArray[np.float64]
    comparisons: NDArray[np.int64]
    algorithm: NDArray[np.int32]
    position: NDArray[np.int32]
    reference_position: NDArray[np.int32]
    subject_name: Callable[[int], str]
    encounter_name: Callable[[int], str]

    def __len__(self) -> int:
        return self.size

    @overload
    def __getitem__(self, at: int) -> SubjectComparisons: ...
    @overload
    def __getitem__(self, at: slice) -> list[SubjectComparisons]: ...
    def __getitem__(self, at: int | slice) -> SubjectComparisons | list[SubjectComparisons]:
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(self.size))]
        number = at + self.size if at < 0 else at
        if not 0 <= number < self.size:
            raise IndexError(f"there are {self.size} subjects, not one of number {at}")
        return SubjectComparisons(self.subject_name(number), tuple(map(self.comparison, self.of(number))))

    def of(self, number: int) -> range:
        """The numbers of a subject's comparisons."""
        low, high = np.searchsorted(self.subject, [number, number + 1])
        return range(int(low), int(high))

    def comparison(self, number: int) -> Comparison:
        """One of them."""
        reference = Position(int(self.reference_position[number]))
        return Comparison(
            reference.modality,
            self.algorithms[int(self.algorithm[number])],
            Position(int(self.position[number])),
            reference,
            self.encounter_name(number),
            float(self.raw[number]),
            int(self.comparisons[number]),
        )


def nobody() -> FoundSubjects:
    """Of a gallery that holds nobody who could be found."""
    integers, short = np.zeros(0, np.int64), np.zeros(0, np.int32)

    def name(number: int) -> str:
        raise IndexError(f"there is no number {number}")

    return FoundSubjects(0, (), integers, np.zeros(0), integers, short, short, short, name, name)


def join(found: Sequence[FoundSubjects]) -> FoundSubjects:
    """Those of several shards, one behind the other."""
    if len(found) == 1:
        return found[0]
    algorithms = tuple(sorted({name for part in found for name in part.algorithms}))
    subjects = np.cumsum([0, *(part.size for part in found)])
    comparisons = np.cumsum([0, *(len(part.raw) for part in found)])
    numbers = [np.array([algorithms.index(name) for name in part.algorithms], np.int32) for part in found]

    def subject_name(number: int) -> str:
        part = int(np.searchsorted(subjects, number, side="right")) - 1
        return found[part].subject_name(number - int(subjects[part]))

    def encounter_name(number: int) -> str:
        part = int(np.searchsorted(comparisons, number, side="right")) - 1
        return found[part].encounter_name(number - int(comparisons[part]))

    return FoundSubjects(
        int(subjects[-1]),
        algorithms,
        np.concatenate([part.subject + begin for part, begin in zip(found, subjects[:-1], strict=True)]),
        np.concatenate([part.raw for part in found]),
        np.concatenate([part.comparisons for part in found]),
        np.concatenate([own[part.algorithm] for part, own in zip(found, numbers, strict=True)]),
        np.concatenate([part.position for part in found]),
        np.concatenate([part.reference_position for part in found]),
        subject_name,
        encounter_name,
    )
