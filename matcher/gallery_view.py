"""A gallery at one moment: what searches and comparisons see. Immutable, so that any number of threads may search it
while people are enrolled and deleted.

One part per modality, algorithm and position: a probe of a known finger is searched among the references of that finger
and of unknown ones, which takes a tenth of the time and leaves its mate fewer rivals; one of an unknown finger among
all. A search makes a shortlist per probe and part, unites the shortlists by subject, and compares every probe exactly
with every reference of every subject in the union, so that a candidate which only one modality found still gets its
other modalities' scores. Searches that come together share the passes over the references.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from matcher.assignment import Pairs, assign
from matcher.errors import AmbisError, ModelMismatch, TemplateInvalid
from matcher.filters import EVERYBODY, SearchFilter
from matcher.found_subjects import FoundSubjects, Probe, nobody
from matcher.mapped import SAMPLE
from matcher.modality import ReferenceIndex
from matcher.part import PartView
from matcher.positions import UNKNOWN_POSITIONS, Modality, Position
from matcher.roster import RosterView
from matcher.stages import measure
from matcher.templates import Template
from matcher.threads import workers

IndexKey = tuple[Modality, str]
"""Modality and algorithm: references that can be compared with each other."""

PartKey = tuple[Modality, str, Position]
"""And the position: the references of one part."""

_MODALITIES = tuple(Modality)


@dataclasses.dataclass(frozen=True)
class ShortlistParameters:
    """How many references each modality may put into the union.

    Attributes:
        minimum: a part that holds no more references is searched exhaustively; and so many of a larger one are compared
            exactly, with everything else of their subjects. The probes of a modality and the parts that each is
            searched in share them, because one that is found is enough. (Of single real fingers 98 % are among the
            first 10 of a gallery of ten thousand; see the performance card.)
    """

    minimum: int = 1000

    def count(self, references: int, probes: int = 1, parts: int = 1) -> int:
        """Length of one probe's shortlist from one part.

        Args:
            references: in that part.
            probes: of the modality that the search has.
            parts: that each of them is searched in.
        """
        if references <= self.minimum:
            return references
        return max(1, math.ceil(self.minimum / (probes * parts)))


@dataclasses.dataclass(frozen=True)
class GallerySearch:
    """One search of several: samples of one person, and whom to search among."""

    probes: tuple[Probe, ...]
    filter: SearchFilter = EVERYBODY


@dataclasses.dataclass(frozen=True, eq=False)
class GalleryView:
    """See the module.

    Args:
        roster: who there is.
        parts: their references.
        alive: how many references of each part are on record.
        parameters: how long shortlists are.
        blank: gives an empty index of a modality and algorithm, to check templates by that nothing is beside yet.
    """

    roster: RosterView
    parts: Mapping[PartKey, PartView]
    alive: Mapping[PartKey, int]
    parameters: ShortlistParameters
    blank: Callable[[Modality, str], ReferenceIndex]

    def references(self) -> dict[IndexKey, int]:
        """How many references each modality and algorithm has."""
        counts: Counter[IndexKey] = Counter()
        for (modality, algorithm, _), count in self.alive.items():
            counts[modality, algorithm] += count
        return dict(counts)

    def check(self, templates: Sequence[Template]) -> list[Template | AmbisError]:
        """Templates as they are to be stored, with what a search finds them by.

        Returns:
            For each template what is to be stored; or why it could not be put beside those that are here: ModelMismatch
            or TemplateInvalid.
        """
        checked: list[Template | AmbisError] = list(templates)
        sound: dict[IndexKey, list[tuple[int, Any]]] = {}
        for i, template in enumerate(templates):
            try:
                self._require_same_algorithm(template)
                index = self._index_for(key_of(template))
                prepared = index.check(template)
                _require_comparable(index, prepared)
            except AmbisError as error:
                checked[i] = error
            else:
                sound.setdefault(key_of(template), []).append((i, prepared))
        for key, some in sound.items():
            completed = self._index_for(key).complete([templates[i] for i, _ in some], [made for _, made in some])
            for (i, _), template in zip(some, completed, strict=True):
                checked[i] = template
        return checked

    def require_fitting(self, template: Template) -> None:
        """Raises ModelMismatch or TemplateInvalid where the template could not be put beside the references here."""
        self._require_same_algorithm(template)
        index = self._one_of(key_of(template))
        if index is not None:
            index.check(template)

    def _require_same_algorithm(self, template: Template) -> None:
        """Raises ModelMismatch where references of its modality are of another algorithm."""
        key = key_of(template)
        others = self._other_algorithms(key)
        if others:
            raise ModelMismatch(
                f"the {key[0]} references on record are of algorithm {', '.join(others)}, this template of "
                f"{key[1]!r}; templates of different algorithms are never compared, so it would not be found. Use "
                "the extractor that made the others, or a data folder of its own"
            )

    def search(self, searches: Sequence[GallerySearch]) -> list[FoundSubjects | AmbisError]:
        """Searches 1:N, several in one pass.

        Returns:
            For each search the union of all its shortlists, every subject with its exact comparisons; or why it could
            not be made: ModelMismatch (the references of a probe's modality were made by other algorithms),
            TemplateInvalid (a probe that nothing could be like).
        """
        with measure("preparing probes"):
            prepared = workers().map(self._prepare_or_error, searches)
        union = self._unions(searches, prepared)

        def compare(i: int) -> FoundSubjects | AmbisError:
            made = prepared[i]
            if isinstance(made, AmbisError):
                return made
            return self._compare(searches[i].probes, made, union[i], searches[i].filter)

        # A single one is divided where its references are compared.
        return workers().spread(compare, range(len(searches)))

    def compare(self, probes: Sequence[Probe], subject_id: str) -> FoundSubjects | None:
        """Compares 1:1 with one subject, the only one found; None where it is not in this gallery.

        Raises:
            ModelMismatch, TemplateInvalid: as for a search.
        """
        subject = self.roster.subject_row(subject_id)
        if subject is None:
            return None
        return self._compare(probes, self._prepare(probes), np.array([subject], np.int32), EVERYBODY)

    def _prepare_or_error(self, search: GallerySearch) -> list[Any] | AmbisError:
        try:
            return self._prepare(search.probes)
        except AmbisError as error:
            return error

    def _prepare(self, probes: Sequence[Probe]) -> list[Any]:
        prepared: list[Any] = []
        for probe in probes:
            key = key_of(probe.template)
            # Also where some references fit: a search that leaves the others out would miss people without a word.
            others = self._other_algorithms(key)
            if others:
                raise ModelMismatch(
                    f"the {key[0]} template is of algorithm {key[1]!r}, the gallery holds some of "
                    f"{', '.join(others)}; templates of different algorithms are never compared"
                )
            index = self._one_of(key)
            if index is None:
                prepared.append(None)
                continue
            made = index.comparator.prepare(probe.template)
            # Nothing would be like it: "nobody found" would be no answer.
            _require_comparable(index, made)
            prepared.append(made)
        return prepared

    def _one_of(self, key: IndexKey) -> ReferenceIndex | None:
        """Any index of the modality and algorithm: all of them prepare alike."""
        return next((part.index for (m, a, _), part in self.parts.items() if (m, a) == key), None)

    def _index_for(self, key: IndexKey) -> ReferenceIndex:
        """The same, or an empty one."""
        index = self._one_of(key)
        return self.blank(*key) if index is None else index

    def _parts_for(self, probe: Probe) -> list[PartKey]:
        """The parts whose references the probe may match."""
        key = key_of(probe.template)
        return [part for part in self.parts if part[:2] == key and probe.position.may_match(part[2])]

    def _other_algorithms(self, key: IndexKey) -> list[str]:
        """Of the references of the same modality."""
        return sorted({a for (m, a, _), count in self.alive.items() if m is key[0] and a != key[1] and count})

    def _unions(
        self, searches: Sequence[GallerySearch], prepared: Sequence[list[Any] | AmbisError]
    ) -> list[NDArray[np.int32]]:
        """The subjects that the shortlists of each search name, ascending; of those that failed none."""
        together: dict[tuple[PartKey, SearchFilter, int], list[tuple[int, Any]]] = {}
        for i, (search, made) in enumerate(zip(searches, prepared, strict=True)):
            if isinstance(made, AmbisError):
                continue
            of_modality = Counter(probe.template.modality for probe in search.probes)
            for probe, one in zip(search.probes, made, strict=True):
                keys = self._parts_for(probe)
                for key in keys:
                    count = self.parameters.count(self.alive[key], of_modality[key[0]], len(keys))
                    together.setdefault((key, search.filter, count), []).append((i, one))
        found: list[list[NDArray[np.int32]]] = [[] for _ in searches]
        for (key, which, count), wanted in together.items():
            part = self.parts[key]
            selected = part.selected(self.roster, which)
            with measure(f"{key[0]} shortlist"):
                shortlists = part.rows.shortlist([one for _, one in wanted], count, selected) if count else []
            for (i, _), rows in zip(wanted, shortlists, strict=bool(count)):
                found[i].append(self.roster.subject[part.owner[rows]])
        none = np.zeros(0, np.int32)
        return [np.unique(np.concatenate(some)) if some else none for some in found]

    def _compare(
        self, probes: Sequence[Probe], prepared: Sequence[Any], subjects: NDArray[np.int32], which: SearchFilter
    ) -> FoundSubjects:
        """Exact comparison of every probe with every comparable reference of the subjects (rows of the roster)."""
        if not len(subjects):
            return nobody()
        algorithms = tuple(sorted({key[1] for key in self.parts}))
        encounters = self.roster.selected(which)
        wanted = {key for probe in probes for key in self._parts_for(probe)}
        rows = {key: self.parts[key].of_subjects(subjects, encounters) for key in wanted}
        # Few are not worth a place in the queue of the computing threads: a verification must not wait there.
        many = [key for key in wanted if len(rows[key][0]) >= SAMPLE]
        if many:
            with measure("asking the disk"):
                workers().map(lambda key: self.parts[key].rows.fetch(rows[key][0]), many)
        columns: list[tuple[NDArray[Any], ...]] = []
        for number, probe in enumerate(probes):
            for key in self._parts_for(probe):
                part = self.parts[key]
                at, whose = rows[key]
                if not len(at):
                    continue
                with measure(f"{key[0]} comparison"):
                    raw = part.rows.compare(prepared[number], at)
                there = ~np.isnan(raw)
                modality, algorithm, position = key
                columns.append(
                    (
                        whose[there],
                        raw[there],
                        *_repeated(int(there.sum()), number, probe.position, position, _MODALITIES.index(modality)),
                        # One number for a reference, whichever part it is in; by position first, since where a row
                        # lies depends on what else is on record.
                        at[there] + (int(position) << 32),
                        part.owner[at[there]],
                        np.full(int(there.sum()), algorithms.index(algorithm), np.int32),
                    )
                )

        def subject_name(number: int) -> str:
            return self.roster.subject_id(int(subjects[number]))

        if not columns:
            return dataclasses.replace(nobody(), size=len(subjects), subject_name=subject_name)
        whose, raw, probe_number, position_of, reference_position, modality_of, reference, owner, algorithm_of = (
            np.concatenate(column) for column in zip(*columns, strict=True)
        )
        pairs = Pairs(
            whose,
            raw,
            probe_number,
            position_of,
            np.isin(position_of, UNKNOWN_POSITIONS),
            reference_position,
            np.isin(reference_position, UNKNOWN_POSITIONS),
            modality_of,
            owner,
            reference,
        )
        chosen, comparisons = assign(pairs)
        encounter = owner[chosen]
        return FoundSubjects(
            len(subjects),
            algorithms,
            whose[chosen],
            raw[chosen],
            comparisons,
            algorithm_of[chosen],
            position_of[chosen],
            reference_position[chosen],
            subject_name,
            lambda number: self.roster.encounter_id(int(encounter[number])),
        )


def _repeated(count: int, *values: int) -> tuple[NDArray[np.int32], ...]:
    return tuple(np.full(count, value, np.int32) for value in values)


def _require_comparable(index: ReferenceIndex, prepared: Any) -> None:
    """Raises TemplateInvalid for a template that is not even like itself."""
    itself = index.comparator.compare(prepared, prepared)
    if math.isnan(itself) or itself <= 0.0:
        raise TemplateInvalid(
            f"the {index.comparator.modality} template holds too little to be compared with anything, so no search "
            "would find anybody by it; capture again",
            reason="TEMPLATE_UNUSABLE",
        )


def key_of(template: Template) -> IndexKey:
    """What it can be compared with."""
    return _one_key(template.modality, template.algorithm)


@functools.lru_cache(256)
def _one_key(modality: Modality, algorithm: str) -> IndexKey:
    """The same object for all references."""
    return (modality, algorithm)
