"""The indexes of one shard: apply changes, search them.

One index per modality, algorithm and position: a probe of a known finger is searched among the references of that
finger and of unknown ones, which takes a tenth of the time and leaves its mate fewer rivals; one of an unknown finger
among all. A search makes a shortlist per probe and index, unites the shortlists by subject, and compares every probe
exactly with every reference of every subject in the union, so that a candidate which only one modality found still gets
its other modalities' scores.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from matcher.changes import Change, EncounterEnrolled, OwnedReference
from matcher.comparators import index_for
from matcher.errors import ModelMismatch, Overloaded, TemplateInvalid
from matcher.locks import ReadWriteLock
from matcher.modality import ALL_LABELS, ReferenceIndex
from matcher.positions import Modality, Position
from matcher.templates import Template

MAX_GALLERIES = 63

IndexKey = tuple[Modality, str]
"""Modality and algorithm: references that can be compared with each other."""

_PartKey = tuple[Modality, str, Position]
"""And the position: the references of one index."""


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


@dataclasses.dataclass(frozen=True)
class ShortlistParameters:
    """How many references each modality may put into the union.

    Attributes:
        minimum: references that are always compared: an index that holds no more is searched exhaustively.
        fraction: and at least this share of an index. The probes of a modality share it, because one that is found is
            enough: the others of that subject are compared as well. (Of single real fingers 98 % are among the first
            0.1 % of a gallery of ten thousand; see the performance card.)
    """

    minimum: int = 1000
    fraction: float = 0.01

    def count(self, references: int, probes: int = 1, indexes: int = 1) -> int:
        """Length of one probe's shortlist from one index.

        Args:
            references: in that index.
            probes: of the modality that the search has.
            indexes: that each of them is searched in.
        """
        if references <= self.minimum:
            return references
        wanted = max(self.minimum / (probes * indexes), self.fraction * references / probes)
        return max(1, math.ceil(wanted))


@dataclasses.dataclass(frozen=True, slots=True)
class _Entry:
    """Where a reference belongs."""

    reference_id: int
    subject_id: str
    encounter_id: str
    position: Position
    index: IndexKey
    labels: int

    @property
    def part(self) -> _PartKey:
        """The index that it is in."""
        return (*self.index, self.position)


class Gallery:
    """One shard. Thread-safe: searches run together, changes alone.

    Args:
        shortlist: how long shortlists are.
        index_factory: makes an empty index for a modality and algorithm.
    """

    def __init__(
        self,
        shortlist: ShortlistParameters | None = None,
        index_factory: Callable[[Modality, str], ReferenceIndex] = index_for,
    ) -> None:
        self._shortlist = shortlist or ShortlistParameters()
        self._index_factory = index_factory
        self._lock = ReadWriteLock()
        self._indexes: dict[_PartKey, ReferenceIndex] = {}
        self._entries: dict[int, _Entry] = {}
        self._subjects: dict[str, list[int]] = {}
        self._encounters: dict[str, dict[str, int]] = {}
        self._label_bits: dict[str, int] = {}
        self._subject_labels: dict[str, int] = {}

    def apply(self, changes: Sequence[Change]) -> None:
        """Applies changes in order. Applying one again has no effect, so that a replay is harmless."""
        with self._lock.write():
            pending: dict[_PartKey, tuple[list[int], dict[int, tuple[int, int, Template]]]] = {}
            for change in changes:
                if isinstance(change, EncounterEnrolled):
                    self._enrol(change, pending)
                else:
                    self._delete(change.subject_id, pending)
            for key, (removals, additions) in pending.items():
                if key not in self._indexes:
                    self._indexes[key] = self._index_factory(key[0], key[1])
                self._indexes[key].apply(removals, list(additions.values()))

    def reserve(self, samples: Sequence[tuple[Position, Template]]) -> None:
        """Makes room for references of these positions, so that ``apply`` of them does not fail for lack of it.

        Raises:
            StorageFailure: the disk is full. Nothing is changed then.
        """
        counts = Counter((*_key(template), position) for position, template in samples)
        with self._lock.write():
            for part, count in counts.items():
                if part in self._indexes:
                    self._indexes[part].reserve(count)

    def replacement(self, modality: Modality, algorithm: str) -> Replacement:
        """Empty indexes to be filled aside and to take the place of all others of the modality. No change may be
        applied until they have."""
        return Replacement(self, (modality, algorithm))

    def _enrol(
        self,
        change: EncounterEnrolled,
        pending: dict[_PartKey, tuple[list[int], dict[int, tuple[int, int, Template]]]],
    ) -> None:
        labels = self._labels_of(change.galleries)
        references = self._subjects.setdefault(change.subject_id, [])
        self._encounters.setdefault(change.subject_id, {})[change.encounter_id] = labels
        self._subject_labels[change.subject_id] = self._subject_labels.get(change.subject_id, 0) | labels
        for reference in change.references:
            entry = _Entry(
                reference.reference_id,
                change.subject_id,
                change.encounter_id,
                reference.position,
                _key(reference.template),
                labels,
            )
            if reference.reference_id not in self._entries:
                references.append(reference.reference_id)
            self._entries[reference.reference_id] = entry
            pending.setdefault(entry.part, ([], {}))[1][reference.reference_id] = (
                reference.reference_id,
                labels,
                reference.template,
            )

    def _delete(
        self, subject_id: str, pending: dict[_PartKey, tuple[list[int], dict[int, tuple[int, int, Template]]]]
    ) -> None:
        for reference_id in self._subjects.pop(subject_id, []):
            entry = self._entries.pop(reference_id)
            removals, additions = pending.setdefault(entry.part, ([], {}))
            additions.pop(reference_id, None)
            removals.append(reference_id)
        self._subject_labels.pop(subject_id, None)
        self._encounters.pop(subject_id, None)

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

    def _filter(self, galleries: Sequence[str]) -> int:
        """Label bits of a filter; 0 where none of the galleries holds anything."""
        if not galleries:
            return ALL_LABELS
        return sum(self._label_bits.get(name, 0) for name in set(galleries))

    def check(self, template: Template) -> Template:
        """The template as it is to be stored, with what a search finds it by.

        Raises:
            ModelMismatch, TemplateInvalid: it could not be put beside those that are here.
        """
        with self._lock.read():
            key = _key(template)
            others = self._other_algorithms(key)
            if others:
                raise ModelMismatch(
                    f"the {key[0]} references on record are of algorithm {', '.join(others)}, this template of "
                    f"{key[1]!r}; templates of different algorithms are never compared, so it would not be found. Use "
                    "the extractor that made the others, or a data folder of its own"
                )
            index = self._one_of(key)
            if index is None:
                index = self._index_factory(*key)
            prepared = index.check(template)
        _require_comparable(index, prepared)
        return index.complete(template)

    def galleries(self) -> dict[str, tuple[int, int]]:
        """Name -> (subjects, encounters) of every gallery that holds something."""
        with self._lock.read():
            sizes: dict[str, tuple[int, int]] = {}
            for name, bit in self._label_bits.items():
                subjects = sum(1 for labels in self._subject_labels.values() if labels & bit)
                encounters = sum(1 for found in self._encounters.values() for labels in found.values() if labels & bit)
                if subjects:
                    sizes[name] = (subjects, encounters)
            return sizes

    def subjects(self, galleries: Sequence[str] = ()) -> int:
        """How many subjects a search of these galleries (all when empty) goes over."""
        with self._lock.read():
            labels = self._filter(galleries)
            if labels == ALL_LABELS:
                return len(self._subjects)
            return sum(1 for found in self._subject_labels.values() if found & labels)

    def references(self) -> dict[IndexKey, int]:
        """How many references each modality and algorithm has."""
        with self._lock.read():
            counts: Counter[IndexKey] = Counter()
            for (modality, algorithm, _), index in self._indexes.items():
                counts[modality, algorithm] += len(index)
            return dict(counts)

    def search(self, probes: Sequence[Probe], galleries: Sequence[str] = ()) -> list[SubjectComparisons]:
        """Searches 1:N.

        Args:
            probes: samples of one person; at least one.
            galleries: names; empty for all.

        Returns:
            The union of all shortlists, every subject with its exact comparisons; in no particular order.

        Raises:
            ModelMismatch: the references of a probe's modality were made by other algorithms.
        """
        with self._lock.read():
            labels = self._filter(galleries)
            prepared = self._prepare(probes)
            union: set[str] = set()
            together = Counter(probe.template.modality for probe in probes)
            for i, probe in enumerate(probes):
                parts = self._parts_for(probe)
                for key in parts if labels else ():
                    index = self._indexes[key]
                    count = self._shortlist.count(len(index), together[key[0]], len(parts))
                    (found,) = index.shortlist([prepared[i]], count, labels)
                    union.update(self._entries[int(r)].subject_id for r in found)
            return self._compare(probes, prepared, sorted(union), labels)

    def compare(self, probes: Sequence[Probe], subject_id: str) -> SubjectComparisons | None:
        """Compares 1:1 with one subject; None where it is not in this shard."""
        with self._lock.read():
            if subject_id not in self._subjects:
                return None
            return self._compare(probes, self._prepare(probes), [subject_id], ALL_LABELS)[0]

    def _prepare(self, probes: Sequence[Probe]) -> list[Any]:
        prepared: list[Any] = []
        for probe in probes:
            key = _key(probe.template)
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
        return next((index for (m, a, _), index in self._indexes.items() if (m, a) == key), None)

    def _parts_for(self, probe: Probe) -> list[_PartKey]:
        """The indexes whose references the probe may match."""
        key = _key(probe.template)
        return [part for part in self._indexes if part[:2] == key and probe.position.may_match(part[2])]

    def _other_algorithms(self, key: IndexKey) -> list[str]:
        """Of the references of the same modality."""
        return sorted({a for (m, a, _), i in self._indexes.items() if m is key[0] and a != key[1] and len(i)})

    def _compare(
        self, probes: Sequence[Probe], prepared: Sequence[Any], subjects: Sequence[str], labels: int
    ) -> list[SubjectComparisons]:
        """Exact comparison of every probe with every comparable reference of the subjects."""
        candidates: dict[_PartKey, list[_Entry]] = {}
        for subject in subjects:
            for reference_id in self._subjects[subject]:
                entry = self._entries[reference_id]
                if entry.labels & labels:
                    candidates.setdefault(entry.part, []).append(entry)
        pairs: dict[str, list[tuple[float, int, _Entry]]] = {subject: [] for subject in subjects}
        for i, probe in enumerate(probes):
            for key in self._parts_for(probe):
                entries = candidates.get(key, [])
                if not entries:
                    continue
                ids: NDArray[np.int64] = np.fromiter((e.reference_id for e in entries), np.int64, len(entries))
                for raw, entry in zip(self._indexes[key].compare(prepared[i], ids).tolist(), entries, strict=True):
                    if not math.isnan(raw):
                        pairs[entry.subject_id].append((raw, i, entry))
        return [SubjectComparisons(s, _assign(probes, found)) for s, found in pairs.items()]


class Replacement:
    """References of one algorithm that are to take the place of all others of their modality in a gallery.

    ``add`` and ``finish`` build what is needed while searches go on; ``take_effect`` only exchanges it.
    """

    def __init__(self, gallery: Gallery, key: IndexKey) -> None:
        self._gallery = gallery
        self._key = key
        self._indexes: dict[_PartKey, ReferenceIndex] = {}
        self._new: dict[int, _Entry] = {}
        self._finished: tuple[dict[_PartKey, ReferenceIndex], dict[int, _Entry], dict[str, list[int]]] | None = None

    def add(self, references: Sequence[OwnedReference]) -> None:
        """Adds references of encounters that the gallery knows."""
        additions: dict[_PartKey, list[tuple[int, int, Template]]] = {}
        for owned in references:
            reference = owned.reference
            labels = self._gallery._encounters[owned.subject_id][owned.encounter_id]
            entry = _Entry(
                reference.reference_id, owned.subject_id, owned.encounter_id, reference.position, self._key, labels
            )
            self._new[reference.reference_id] = entry
            additions.setdefault(entry.part, []).append((reference.reference_id, labels, reference.template))
        for part, added in additions.items():
            if part not in self._indexes:
                self._indexes[part] = self._gallery._index_factory(*self._key)
            self._indexes[part].apply([], added)

    def finish(self) -> None:
        """Makes ready what ``take_effect`` puts in place."""
        gallery, modality = self._gallery, self._key[0]
        indexes = {key: index for key, index in gallery._indexes.items() if key[0] is not modality}
        entries = {i: entry for i, entry in gallery._entries.items() if entry.index[0] is not modality}
        subjects = {s: [i for i in ids if i in entries] for s, ids in gallery._subjects.items()}
        for i, entry in self._new.items():
            subjects[entry.subject_id].append(i)
        for ids in subjects.values():
            ids.sort()
        self._finished = {**indexes, **self._indexes}, {**entries, **self._new}, subjects

    def take_effect(self) -> None:
        """From now on searches see these references."""
        if self._finished is None:
            raise ValueError("the replacement is not finished")
        with self._gallery._lock.write():
            self._gallery._indexes, self._gallery._entries, self._gallery._subjects = self._finished


def _require_comparable(index: ReferenceIndex, prepared: Any) -> None:
    """Raises TemplateInvalid for a template that is not even like itself."""
    itself = index.comparator.compare(prepared, prepared)
    if math.isnan(itself) or itself <= 0.0:
        raise TemplateInvalid(
            f"the {index.comparator.modality} template holds too little to be compared with anything, so no search "
            "would find anybody by it; capture again",
            reason="TEMPLATE_UNUSABLE",
        )


def _key(template: Template) -> IndexKey:
    return _one_key(template.modality, template.algorithm)


@functools.lru_cache(256)
def _one_key(modality: Modality, algorithm: str) -> IndexKey:
    """The same object for all references: each keeps one."""
    return (modality, algorithm)


def _assign(probes: Sequence[Probe], pairs: Sequence[tuple[float, int, _Entry]]) -> tuple[Comparison, ...]:
    """Pairs body parts of the probe with body parts of the subject one to one, best score first.

    Several samples of one known position are one body part and count once; samples of unknown position are each their
    own. Without this, two pictures of one finger would be counted as evidence twice. Where probe and subject both have
    samples of unknown position in one modality, nothing tells whether two pairs show the same finger: only the best
    pair of that modality counts.

    A pair is the best of all pairs that share a body part with it; that is how many comparisons it is penalised for.
    """
    if len(pairs) == 1:  # most candidates of a search with one sample
        ((raw, i, entry),) = pairs
        modality, algorithm = entry.index
        return (Comparison(modality, algorithm, probes[i].position, entry.position, entry.encounter_id, raw, 1),)
    rows: list[tuple[float, int, object, object, _Entry]] = []
    in_row: Counter[object] = Counter()
    in_column: Counter[object] = Counter()
    in_cell: Counter[tuple[object, object]] = Counter()
    ambiguous = {e.index[0] for _, i, e in pairs if probes[i].position.is_unknown and e.position.is_unknown}
    for raw, i, entry in pairs:
        probe_position, modality = probes[i].position, entry.index[0]
        row: object = ("sample", i) if probe_position.is_unknown else probe_position
        column: object = ("reference", entry.reference_id) if entry.position.is_unknown else entry.position
        if modality in ambiguous:
            row = column = modality
        in_row[row] += 1
        in_column[column] += 1
        in_cell[row, column] += 1
        rows.append((raw, i, row, column, entry))
    rows.sort(key=lambda r: (-r[0], r[1], r[4].reference_id))
    used: set[object] = set()
    result = []
    for raw, i, row, column, entry in rows:
        if ("row", row) in used or ("column", column) in used:
            continue
        used |= {("row", row), ("column", column)}
        modality, algorithm = entry.index
        tried = in_row[row] + in_column[column] - in_cell[row, column]
        result.append(
            Comparison(modality, algorithm, probes[i].position, entry.position, entry.encounter_id, raw, tried)
        )
    return tuple(result)
