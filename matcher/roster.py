"""Who is in a shard: subjects, their encounters and what searches may be restricted by.

Rows are appended and never change, but for one: whether an encounter is still on record. That is kept apart, in an
array that is copied before a deletion changes it, so that a ``RosterView`` shows one moment for as long as it is held,
however many people are enrolled and deleted meanwhile. A subject that comes back after its deletion gets a new row.
"""

from __future__ import annotations

import dataclasses
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from matcher.changes import EncounterEnrolled
from matcher.errors import Overloaded
from matcher.filters import EVERYBODY, SearchFilter, Sex
from matcher.growing import GrowingArray
from matcher.modality import Selection

MAX_GALLERIES = 63
KEPT_SELECTIONS = 16
"""Filters whose selections are kept between searches."""


ENCOUNTER = np.dtype(
    [("subject", "i4"), ("previous", "i4"), ("labels", "u8"), ("type", "i4"), ("year", "i2"), ("sex", "u1")], align=True
)
"""An encounter: its subject's row, the row of the subject's encounter before it (-1: none), a bit a gallery, the number
of its type, year of birth and sex."""


class Roster:
    """The writer's side; one thread at a time."""

    def __init__(self) -> None:
        self._subject_ids: list[str] = []
        self._encounter_ids: list[str] = []
        self._rows: dict[str, int] = {}
        self._last = np.zeros(0, np.int32)
        self._encounters: GrowingArray[np.void] = GrowingArray(ENCOUNTER)
        self._alive = np.zeros(0, np.bool_)
        self._deleted = 0
        self._label_bits: dict[str, int] = {}
        self._types: dict[str, int] = {"": 0}
        self._string_bytes = 0
        self._selections = _Selections()

    def __len__(self) -> int:
        """How many subjects are on record."""
        return len(self._rows)

    def __contains__(self, subject_id: str) -> bool:
        return subject_id in self._rows

    def enrol(self, change: EncounterEnrolled) -> tuple[int, int]:
        """Adds an encounter; returns the rows of its subject and of itself.

        Raises:
            Overloaded: there are too many galleries. Nothing is changed then.
        """
        labels = self._labels_of(change.galleries)
        subject = self._rows.get(change.subject_id)
        if subject is None:
            subject = self._rows[change.subject_id] = len(self._subject_ids)
            self._last = _with_room(self._last, subject + 1)
            self._last[subject] = -1
            self._subject_ids.append(change.subject_id)
            self._string_bytes += sys.getsizeof(change.subject_id)
        row = len(self._encounters)
        self._alive = _with_room(self._alive, row + 1)
        self._alive[row] = True
        # Interned: "1" is the encounter of many.
        self._encounter_ids.append(sys.intern(change.encounter_id))
        self._string_bytes += sys.getsizeof(change.encounter_id)
        kind = self._types.setdefault(change.encounter_type, len(self._types))
        self._encounters.add(1)[0] = (subject, self._last[subject], labels, kind, change.birth_year, change.sex)
        self._last[subject] = row
        return subject, row

    def delete(self, subject_id: str) -> list[int]:
        """Takes a subject off; the rows of its encounters."""
        subject = self._rows.pop(subject_id, None)
        if subject is None:
            return []
        rows = list(self._encounters_of(subject))
        self._drop(rows)
        return rows

    def forget_encounter(self, subject_id: str, encounter_id: str) -> list[int]:
        """Takes one encounter off, where it is there: it is about to be enrolled again. The rows taken off."""
        row = self.encounter(subject_id, encounter_id)
        if row is not None:
            self._drop([row])
        return [] if row is None else [row]

    def encounter(self, subject_id: str, encounter_id: str) -> int | None:
        """The row of an encounter that is on record."""
        subject = self._rows.get(subject_id)
        if subject is None:
            return None
        return next((row for row in self._encounters_of(subject) if self._encounter_ids[row] == encounter_id), None)

    def subject_of(self, encounter: int) -> int:
        """The row of an encounter's subject."""
        return int(self._encounters.values[encounter]["subject"])

    def view(self) -> RosterView:
        """As it is now."""
        encounters = self._encounters.values
        return RosterView(
            self._subject_ids,
            self._encounter_ids,
            self._rows,
            encounters,
            self._alive[: len(encounters)],
            len(self._rows),
            len(self._subject_ids),
            self._deleted,
            dict(self._label_bits),
            # Not a copy: types are free text, there may be as many as encounters, and nobody goes through them.
            self._types,
            self._selections,
        )

    def bytes_in_ram(self) -> int:
        """Of all of it; strings and what Python keeps about them included."""
        lists = sum(map(sys.getsizeof, (self._rows, self._subject_ids, self._encounter_ids)))
        # A row number in a dictionary is an object of its own.
        numbers = len(self._rows) * sys.getsizeof(1 << 20)
        arrays = self._encounters.nbytes + self._alive.nbytes + self._last.nbytes
        return arrays + lists + numbers + self._string_bytes

    def _encounters_of(self, subject: int) -> Iterator[int]:
        row = int(self._last[subject])
        while row >= 0:
            if self._alive[row]:
                yield row
            row = int(self._encounters.values[row]["previous"])

    def _drop(self, rows: Sequence[int]) -> None:
        alive = self._alive.copy()
        alive[list(rows)] = False
        self._alive = alive
        self._deleted += len(rows)

    def _labels_of(self, galleries: Sequence[str]) -> int:
        labels = 0
        for name in galleries:
            if name not in self._label_bits:
                if len(self._label_bits) >= MAX_GALLERIES:
                    raise Overloaded(
                        f"there are {MAX_GALLERIES} galleries already; gallery {name!r} cannot be added",
                        reason="TOO_MANY_GALLERIES",
                    )
                self._label_bits[name] = 1 << len(self._label_bits)
            labels |= self._label_bits[name]
        return labels


@dataclasses.dataclass(frozen=True, eq=False)
class RosterView:
    """The roster at one moment; thread-safe.

    Attributes:
        alive: bool[encounters], whether it is on record.
        subject_count: subjects on record; subject_rows: those that ever were.
        deleted: encounters that are not on record any more.
    """

    _subject_ids: list[str]
    _encounter_ids: list[str]
    _rows: dict[str, int]
    _encounters: NDArray[np.void]
    alive: NDArray[np.bool_]
    subject_count: int
    subject_rows: int
    deleted: int
    _label_bits: dict[str, int]
    _types: dict[str, int]
    _selections: _Selections
    _sizes: dict[SearchFilter, int] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        """Encounters, those deleted too."""
        return len(self._encounters)

    @property
    def subject(self) -> NDArray[np.int32]:
        """int32[encounters], the subject's row of each encounter."""
        return self._encounters["subject"]

    def subject_row(self, subject_id: str) -> int | None:
        """The row of a subject that is on record at this moment."""
        row = self._rows.get(subject_id)
        if row is None or row >= self.subject_rows:
            return None
        return row

    def subject_id(self, row: int) -> str:
        """Of a subject's row."""
        return self._subject_ids[row]

    def encounter_id(self, row: int) -> str:
        """Of an encounter's row."""
        return self._encounter_ids[row]

    def selected(self, which: SearchFilter) -> Selection:
        """bool[encounters], those on record that pass the filter; None where all there are do."""
        if which == EVERYBODY:
            return self.alive if self.deleted else None
        return self._selections.of(self, which)

    def passing(self, which: SearchFilter, begin: int) -> NDArray[np.bool_]:
        """bool[encounters from ``begin`` on], those that pass the filter, on record or not."""
        rows = self._encounters[begin:]
        passed = np.ones(len(rows), np.bool_)
        if which.galleries:
            bits = sum(self._label_bits.get(name, 0) for name in set(which.galleries))
            passed &= (rows["labels"] & np.uint64(bits)) != 0
        if which.sexes:
            passed &= np.isin(rows["sex"], [Sex.UNKNOWN, *which.sexes])
        if which.born is not None:
            year = rows["year"]
            passed &= (year == 0) | ((year >= which.born[0]) & (year <= which.born[1]))
        if which.encounter_types:
            known = [self._types[name] for name in which.encounter_types if name in self._types]
            passed &= np.isin(rows["type"], known)
        return passed

    def subjects(self, which: SearchFilter = EVERYBODY) -> int:
        """How many subjects have an encounter on record that passes the filter."""
        if which == EVERYBODY:
            return self.subject_count
        if which not in self._sizes:
            selected = self.selected(which)
            whose = self.subject if selected is None else self.subject[selected]
            self._sizes[which] = int(np.count_nonzero(np.bincount(whose, minlength=1)))
        return self._sizes[which]

    def galleries(self) -> dict[str, tuple[int, int]]:
        """Name -> (subjects, encounters) of every gallery that holds something."""
        sizes = {}
        for name, bit in self._label_bits.items():
            members = self.alive & ((self._encounters["labels"] & np.uint64(bit)) != 0)
            encounters = int(np.count_nonzero(members))
            if encounters:
                sizes[name] = int(np.count_nonzero(np.bincount(self.subject[members]))), encounters
        return sizes


class _Selections:
    """Which encounters pass the filters that were asked for last; of new encounters only these are looked at."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._passed: dict[SearchFilter, NDArray[np.bool_]] = {}

    def of(self, view: RosterView, which: SearchFilter) -> NDArray[np.bool_]:
        """bool[encounters of the view]."""
        with self._lock:
            passed = self._passed.pop(which, np.zeros(0, np.bool_))
            if len(passed) < len(view):
                passed = np.concatenate([passed, view.passing(which, len(passed))])
            while len(self._passed) >= KEPT_SELECTIONS:
                del self._passed[next(iter(self._passed))]
            self._passed[which] = passed
        own = passed[: len(view)]
        return own & view.alive if view.deleted else own


def _with_room(array: NDArray[Any], size: int) -> NDArray[Any]:
    """The array, or a longer copy of it: whoever holds the old one sees no change."""
    if size <= len(array):
        return array
    grown = np.zeros(max(1024, 2 * size), array.dtype)
    grown[: len(array)] = array
    return grown
