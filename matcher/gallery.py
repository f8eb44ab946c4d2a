"""One shard: applies changes to rosters and parts, and publishes what searches see.

The writer appends behind what ``view`` showed before and marks deletions in a copy; then a new view takes the place of
the old one. Searches hold the view that they began with: they wait for nobody and never see half a change. Rows of
deleted encounters are left out by every search at once, and out of memory when enough of them are dead: a thread in the
background copies the part that they are in, and the copy takes its place.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from matcher.changes import Change, EncounterEnrolled, OwnedReference
from matcher.comparators import index_for
from matcher.errors import AmbisError
from matcher.filters import EVERYBODY, SearchFilter
from matcher.found_subjects import FoundSubjects, Probe, SubjectComparisons
from matcher.gallery_view import GallerySearch, GalleryView, IndexKey, PartKey, ShortlistParameters, key_of
from matcher.mapped import MappedArray
from matcher.modality import MemoryUse, ReferenceIndex, added_up
from matcher.part import CompactionParameters, Part
from matcher.positions import Modality, Position
from matcher.roster import Roster
from matcher.templates import Template

log = logging.getLogger(__name__)

_Additions = dict[PartKey, list[tuple[int, int, Template]]]


class Gallery:
    """One shard. Thread-safe: searches run beside changes, changes one after the other.

    Args:
        shortlist: how long shortlists are.
        index_factory: makes an empty index for a modality and algorithm.
        compaction: when dead rows are dropped.

    Attributes:
        after_compaction: called when a copy has taken a part's place, for whoever holds views.
    """

    def __init__(
        self,
        shortlist: ShortlistParameters | None = None,
        index_factory: Callable[[Modality, str], ReferenceIndex] = index_for,
        compaction: CompactionParameters | None = None,
    ) -> None:
        self._shortlist = shortlist or ShortlistParameters()
        self._index_factory = index_factory
        self._blank = functools.cache(index_factory)
        self._compaction = compaction or CompactionParameters()
        self._writing = threading.Lock()
        self._roster = Roster()
        self._parts: dict[PartKey, Part] = {}
        self._awaited: dict[PartKey, Part] = {}  # with room for the first references, which may come or not
        self._compacting: threading.Thread | None = None
        # Held throughout a compaction: a second one of the same part would forget what the first one remembers.
        self._copying = threading.Lock()
        self._reserved: Counter[PartKey] = Counter()
        self.after_compaction: Callable[[], None] = lambda: None
        self._publish()

    def view(self) -> GalleryView:
        """As it is now, for searches that shall all see the same."""
        return self._view

    def apply(self, changes: Sequence[Change]) -> None:
        """Applies changes in order. Applying one again has no effect, so that a replay is harmless."""
        with self._writing:
            additions: _Additions = {}
            for change in changes:
                if isinstance(change, EncounterEnrolled):
                    self._enrol(change, additions)
                else:
                    self._delete(change.subject_id, additions)
            self._append(additions)
            self._reserved.clear()
            self._publish()
            if self._compacting is None and self._wanting_compaction():
                self._compacting = threading.Thread(target=self._compact_all, name="compaction", daemon=True)
                self._compacting.start()

    def reserve(self, samples: Sequence[tuple[Position, Template]]) -> None:
        """Makes room for references of these positions, so that ``apply`` of them does not fail for lack of it.

        Raises:
            StorageFailure: the disk is full. Nothing is changed then.
        """
        counts: Counter[PartKey] = Counter((*key_of(template), position) for position, template in samples)
        with self._writing:
            self._reserved = counts
            for key, count in counts.items():
                part = self._parts.get(key)
                if part is None:
                    if key not in self._awaited:
                        self._awaited[key] = Part(self._index_factory(*key[:2]))
                    part = self._awaited[key]
                part.index.reserve(count)

    def replacement(self, modality: Modality, algorithm: str) -> Replacement:
        """Empty parts to be filled aside and to take the place of all others of the modality. No change may be applied
        until they have."""
        return Replacement(self, (modality, algorithm))

    def compact(self) -> None:
        """Drops the rows of deleted encounters now, in this thread. Searches and changes go on."""
        for key in list(self._parts):
            self._compact(key)

    def often_read(self) -> list[MappedArray[Any]]:
        """Files of which every search reads a large part; see ``ReferenceIndex.often_read``."""
        with self._writing:
            return [file for part in self._parts.values() for file in part.index.often_read()]

    def memory(self) -> list[MemoryUse]:
        """What it takes, as it is used: by modality and kind, and who is who."""
        with self._writing:
            uses = [MemoryUse("roster", self._roster.bytes_in_ram(), 0)]
            for (modality, _, _), part in self._parts.items():
                own = [MemoryUse("rows", part.bytes_in_ram(), 0), *part.index.memory()]
                uses += [dataclasses.replace(use, name=f"{modality} {use.name}") for use in own]
        return added_up(uses)

    def check(self, template: Template) -> Template:
        """See ``GalleryView.check``; of one template.

        Raises:
            ModelMismatch, TemplateInvalid: it could not be put beside those that are here.
        """
        (checked,) = self._view.check([template])
        if isinstance(checked, AmbisError):
            raise checked
        return checked

    def galleries(self) -> dict[str, tuple[int, int]]:
        """Name -> (subjects, encounters) of every gallery that holds something."""
        return self._view.roster.galleries()

    def subjects(self, which: SearchFilter = EVERYBODY) -> int:
        """How many subjects a search with this filter goes over."""
        return self._view.roster.subjects(which)

    def references(self) -> dict[IndexKey, int]:
        """How many references each modality and algorithm has."""
        return self._view.references()

    def search(self, probes: Sequence[Probe], which: SearchFilter = EVERYBODY) -> FoundSubjects:
        """One search; see ``GalleryView.search``.

        Raises:
            ModelMismatch, TemplateInvalid: the search cannot be made.
        """
        (found,) = self._view.search([GallerySearch(tuple(probes), which)])
        if isinstance(found, AmbisError):
            raise found
        return found

    def compare(self, probes: Sequence[Probe], subject_id: str) -> SubjectComparisons | None:
        """See ``GalleryView.compare``."""
        found = self._view.compare(probes, subject_id)
        return None if found is None else found[0]

    def _publish(self) -> None:
        self._view = GalleryView(
            self._roster.view(),
            {key: part.view() for key, part in self._parts.items()},
            {key: len(part) for key, part in self._parts.items()},
            self._shortlist,
            self._blank,
        )

    def _enrol(self, change: EncounterEnrolled, additions: _Additions) -> None:
        self._bury(change.subject_id, self._roster.forget_encounter(change.subject_id, change.encounter_id), additions)
        subject, encounter = self._roster.enrol(change)
        for reference in change.references:
            key = (*key_of(reference.template), reference.position)
            additions.setdefault(key, []).append((subject, encounter, reference.template))

    def _delete(self, subject_id: str, additions: _Additions) -> None:
        self._bury(subject_id, self._roster.delete(subject_id), additions)

    def _bury(self, subject_id: str, encounters: Sequence[int], additions: _Additions) -> None:
        """Encounters that the roster does not hold any more, and nothing that is to be added may belong to."""
        if not encounters:
            return
        for key, added in additions.items():
            additions[key] = [one for one in added if one[1] not in encounters]
        subject = self._roster.subject_of(encounters[0])
        for part in self._parts.values():
            part.bury(subject, encounters)

    def _append(self, additions: _Additions) -> None:
        for key, added in additions.items():
            if not added:
                continue
            if key not in self._parts:
                awaited = self._awaited.pop(key, None)
                self._parts[key] = Part(self._index_factory(*key[:2])) if awaited is None else awaited
            self._parts[key].append(added)

    def _wanting_compaction(self) -> list[PartKey]:
        return [key for key, part in self._parts.items() if part.wants_compaction(self._compaction)]

    def _compact_all(self) -> None:
        while True:
            with self._writing:
                wanted = self._wanting_compaction()
                if not wanted:
                    self._compacting = None
                    return
            for key in wanted:
                self._compact(key)

    def _compact(self, key: PartKey) -> None:
        with self._copying:
            with self._writing:
                part, alive = self._parts.get(key), self._view.roster.alive
                if part is None:  # a change of model has taken it away
                    return
                view = part.begin_compaction()
            try:
                rows = np.flatnonzero(alive[view.owner]).astype(np.int64)
                copy = part.index.copy(rows)
                with self._writing:
                    if self._parts.get(key) is part:
                        made = part.end_compaction(copy, rows, self._roster.view())
                        # What was promised for the part that goes.
                        made.index.reserve(self._reserved[key])
                        self._parts[key] = made
                        self._publish()
                self.after_compaction()
            except Exception as error:
                log.warning("the rows of deleted %s references stay: %s", key[0], error)
                with self._writing:
                    part.give_up_compaction()


class Replacement:
    """References of one algorithm that are to take the place of all others of their modality in a gallery.

    ``add`` builds what is needed while searches go on; ``take_effect`` only exchanges it.
    """

    def __init__(self, gallery: Gallery, key: IndexKey) -> None:
        self._gallery = gallery
        self._key = key
        self._parts: dict[PartKey, Part] = {}

    def add(self, references: Sequence[OwnedReference]) -> None:
        """Adds references of encounters that the gallery knows."""
        roster = self._gallery._roster
        additions: dict[Position, list[tuple[int, int, Template]]] = {}
        for owned in references:
            encounter = roster.encounter(owned.subject_id, owned.encounter_id)
            if encounter is None:
                raise ValueError(f"encounter {owned.encounter_id!r} of {owned.subject_id!r} is not in this gallery")
            one = (roster.subject_of(encounter), encounter, owned.reference.template)
            additions.setdefault(owned.reference.position, []).append(one)
        for position, added in additions.items():
            key = (*self._key, position)
            if key not in self._parts:
                self._parts[key] = Part(self._gallery._index_factory(*self._key))
            self._parts[key].append(added)

    def take_effect(self) -> None:
        """From now on searches see these references."""
        gallery = self._gallery
        with gallery._writing:
            others = {key: part for key, part in gallery._parts.items() if key[0] is not self._key[0]}
            gallery._parts = {**others, **self._parts}
            gallery._publish()
