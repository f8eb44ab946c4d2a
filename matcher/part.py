"""The references of one modality, algorithm and position, and whose they are.

Beside its index a part keeps the encounter of every row, and of every row the one before it of the same subject, so
that all references of a subject are found without going over the part: 8 bytes a row and 4 a subject.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from matcher.compiled import kernel
from matcher.filters import SearchFilter
from matcher.modality import IndexView, ReferenceIndex, Selection
from matcher.roster import RosterView
from matcher.templates import Template


@dataclasses.dataclass(frozen=True)
class CompactionParameters:
    """When a part is written anew without the rows of deleted encounters.

    Attributes:
        least: rows that are dead at least,
        share: and their least share of all rows: each row is then copied at most 1 / share - 1 times for every one that
            was deleted.
    """

    least: int = 1024
    share: float = 0.25


class Part:
    """The writer's side; one thread at a time.

    Args:
        index: the references; without any yet.
    """

    def __init__(self, index: ReferenceIndex) -> None:
        self.index = index
        self.dead = 0
        self._size = 0
        self._owner = np.zeros(0, np.int32)
        self._previous = np.zeros(0, np.int32)
        self._last = np.zeros(0, np.int32)
        self._since: list[tuple[int, int, Template]] | None = None
        self._given_up_at = 0
        self._seen: PartView | None = None

    def __len__(self) -> int:
        """Rows whose encounters are on record."""
        return self._size - self.dead

    def append(self, references: Sequence[tuple[int, int, Template]]) -> None:
        """Adds references: rows of subject and encounter, template. Raises as ``ReferenceIndex.append``."""
        self.index.append([template for _, _, template in references])
        self._reserve(self._size + len(references), 1 + max((subject for subject, _, _ in references), default=-1))
        for row, (subject, encounter, _) in enumerate(references, self._size):
            self._owner[row] = encounter
            self._previous[row] = self._last[subject]
            self._last[subject] = row
        self._size += len(references)
        self._seen = None
        if self._since is not None:
            self._since.extend(references)

    def bury(self, subject: int, encounters: Sequence[int]) -> None:
        """Counts the rows of a subject's encounters, which are not on record any more."""
        row = int(self._last[subject]) if subject < len(self._last) else -1
        while row >= 0:
            self.dead += int(self._owner[row]) in encounters
            row = int(self._previous[row])

    def wants_compaction(self, parameters: CompactionParameters) -> bool:
        """Whether enough rows are dead, and nobody is at it."""
        enough = self.dead - self._given_up_at >= parameters.least and self.dead > parameters.share * self._size
        return enough and self._since is None

    def view(self) -> PartView:
        """As it is now; the same object until something is added."""
        if self._seen is None:
            owner = self._owner[: self._size]
            self._seen = PartView(self.index, self.index.view(), owner, self._previous, self._last)
        return self._seen

    def begin_compaction(self) -> PartView:
        """What is to be copied. From now on additions are remembered until ``end_compaction``."""
        self._since = []
        return self.view()

    def give_up_compaction(self) -> None:
        """Goes on as if none had begun; the next one is tried after more deletions."""
        self._since = None
        self._given_up_at = self.dead

    def end_compaction(self, copy: ReferenceIndex, rows: NDArray[np.int64], roster: RosterView) -> Part:
        """The part that takes the place of this one.

        Args:
            copy: the index with these rows (int64[n], ascending) alone.
            roster: of now, to know which of the rows were deleted meanwhile.
        """
        part = Part(copy)
        owner = self._owner[rows]
        subjects = roster.subject[owner]
        part._reserve(len(rows), len(self._last))
        part._owner[: len(rows)] = owner
        _link(subjects, part._previous, part._last)
        part._size = len(rows)
        part.append(self._since or [])
        part.dead = int(np.count_nonzero(~roster.alive[part._owner[: part._size]]))
        return part

    def bytes_in_ram(self) -> int:
        """Of what says whose the rows are, as it is used."""
        return 8 * self._size + self._last.nbytes

    def _reserve(self, rows: int, subjects: int) -> None:
        """Views hold the old arrays; they must not see a link to a row that theirs do not have."""
        if rows > len(self._owner):
            capacity = max(256, rows, 2 * len(self._owner))
            self._owner, self._previous = _grown(self._owner, capacity), _grown(self._previous, capacity)
            self._last = self._last.copy()
        if subjects > len(self._last):
            before = len(self._last)
            self._last = _grown(self._last, max(256, subjects, 2 * before))
            self._last[before:] = -1


@dataclasses.dataclass(frozen=True, eq=False)
class PartView:
    """A part at one moment; thread-safe.

    Attributes:
        index: for its comparator and checks; its rows may be more by now.
        rows: the references.
        owner: int32[rows], the encounter of each.
    """

    index: ReferenceIndex
    rows: IndexView
    owner: NDArray[np.int32]
    _previous: NDArray[np.int32]
    _last: NDArray[np.int32]
    _selections: dict[tuple[SearchFilter, int], Selection] = dataclasses.field(default_factory=dict)
    _lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)

    def __len__(self) -> int:
        return len(self.owner)

    def selected(self, roster: RosterView, which: SearchFilter) -> Selection:
        """bool[rows], those of encounters that are on record and pass the filter; None where all are."""
        encounters = roster.selected(which)
        if encounters is None:
            return None
        # Encounters are only ever deleted, so their number tells which are.
        key = (which, roster.deleted)
        with self._lock:
            if key not in self._selections:
                if len(self._selections) >= 8:
                    self._selections.clear()
                selected = encounters[self.owner]
                self._selections[key] = None if selected.all() else selected
            return self._selections[key]

    def of_subjects(
        self, subjects: NDArray[np.int32], encounters: Selection
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """All rows of some subjects.

        Args:
            subjects: int32[n], rows of the roster.
            encounters: bool[encounters], those that count; None for all.

        Returns:
            The rows, int64[m], and whose they are, int64[m] places in ``subjects``; both ascend, rows within a subject.
        """
        some = np.zeros(0, np.bool_) if encounters is None else encounters
        arguments = (subjects, self._last, self._previous, self.owner, some)
        none = np.zeros(0, np.int64)
        count = _follow(*arguments, none, none)
        rows, places = np.empty(count, np.int64), np.empty(count, np.int64)
        _follow(*arguments, rows, places)
        return rows, places


@kernel
def _follow(
    subjects: NDArray[np.int32],
    last: NDArray[np.int32],
    previous: NDArray[np.int32],
    owner: NDArray[np.int32],
    some: NDArray[np.bool_],
    rows: NDArray[np.int64],
    places: NDArray[np.int64],
) -> int:
    """Counts the rows of subjects, and fills them in where there is room for them."""
    total = 0
    fill = rows.shape[0] > 0
    for i in range(subjects.shape[0]):
        if subjects[i] >= last.shape[0]:
            continue
        begin = total
        row = last[subjects[i]]
        while row >= 0:
            # Rows that were added since the view was made are passed over.
            if row < owner.shape[0] and (some.shape[0] == 0 or some[owner[row]]):
                if fill:
                    rows[total] = row
                    places[total] = i
                total += 1
            row = previous[row]
        if fill:
            low, high = begin, total - 1
            while low < high:
                rows[low], rows[high] = rows[high], rows[low]
                low += 1
                high -= 1
    return total


@kernel
def _link(subjects: NDArray[np.int32], previous: NDArray[np.int32], last: NDArray[np.int32]) -> None:
    """Links rows 0, 1, ... of these subjects; ``last`` holds -1 where a subject has none."""
    for row in range(subjects.shape[0]):
        previous[row] = last[subjects[row]]
        last[subjects[row]] = row


def _grown(array: NDArray[Any], capacity: int) -> NDArray[Any]:
    grown = np.zeros(capacity, array.dtype)
    grown[: len(array)] = array
    return grown
