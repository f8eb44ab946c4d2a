"""1:N over fingers: vectors find those worth looking at, cylinders put them in order, the comparator gives exact
scores.

Steps of a shortlist:

1. FAISS finds the references whose vectors (``vector``) have the largest inner products with the probe's, among those
   that are alive and in the galleries asked for; int8, exhaustive.
2. These, at most ``most_scanned``, are compared by the fast stage of the comparison (``pairing``), and the best are the
   shortlist. Where no more than that are wanted, the second step would sort in vain and is left out.

A reference takes 480 bytes of RAM for its vector and 16 for its id and labels; its minutiae and cylinders lie in mapped
files (``matcher.mapped``), about 2 kB, and are read when the reference is looked at.

FAISS: Douze et al., "The Faiss library", arXiv:2401.08281; never changed during a search (that segfaults): the gallery
lets writers in alone. R. Cappelli, M. Ferrara, D. Maltoni, "Fingerprint indexing based on Minutia Cylinder-Code", IEEE
TPAMI 33 (2011), index the bit cylinders themselves.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from matcher.errors import StorageFailure, TemplateInvalid
from matcher.finger.comparison import FingerComparator, FingerRows, rows_of
from matcher.finger.cylinders import PreparedFinger
from matcher.finger.vector import VectorModel
from matcher.mapped import MappedArray
from matcher.modality import ALL_LABELS
from matcher.slots import SlotTable
from matcher.templates import FingerTemplate, Template

log = logging.getLogger(__name__)

_COMPACTED_AT_ONCE = 65_536
"""Fingers that a compaction copies at once: 150 MB."""

_faiss: Any = faiss
"""FAISS without its type stubs, which do not know what its Python wrappers accept (arrays and keyword arguments)."""


@dataclasses.dataclass(frozen=True)
class ShortlistParameters:
    """How many references the first step finds for the second one to look at.

    Attributes:
        scanned_per_candidate: so many for each candidate asked for,
        most_scanned: and never more: with 9 us each, a search of one finger stays below 0.2 s a thread. Where more
            candidates than that are asked for, they are the nearest vectors, and the second step is left out.
    """

    scanned_per_candidate: int = 20
    most_scanned: int = 20_000

    def scanned(self, candidates: int) -> int:
        """References to find for a shortlist of so many candidates."""
        return max(candidates, min(self.scanned_per_candidate * candidates, self.most_scanned))


class FingerIndex:
    """A ``ReferenceIndex`` of fingers of one algorithm. The owner lets readers in together and writers alone.

    Args:
        comparator, parameters, model: other ones than the package's, for experiments.
        folder: where the mapped files lie; None for the system's folder of temporary files.
    """

    def __init__(
        self,
        comparator: FingerComparator | None = None,
        parameters: ShortlistParameters | None = None,
        model: VectorModel | None = None,
        folder: Path | None = None,
    ) -> None:
        self.comparator = comparator or FingerComparator()
        self.parameters = parameters or ShortlistParameters()
        self.model = model or VectorModel.load()
        self._folder = folder
        self._table = SlotTable()
        self._vectors: Any = _faiss.IndexScalarQuantizer(
            self.model.parameters.numbers, faiss.ScalarQuantizer.QT_8bit_direct_signed, faiss.METRIC_INNER_PRODUCT
        )
        self._bits = MappedArray(np.uint64, (self.comparator.cylinders.words,), self._folder)
        self._x = MappedArray(np.float32, (), self._folder)
        self._y = MappedArray(np.float32, (), self._folder)
        self._angle = MappedArray(np.int16, (), self._folder)
        self._start = MappedArray(np.int64, (), self._folder)
        self._count = MappedArray(np.int32, (), self._folder)
        self._key = MappedArray(np.uint64, (), self._folder)

    def __len__(self) -> int:
        """How many references are alive."""
        return len(self._table)

    def check(self, template: Template) -> PreparedFinger:
        """The prepared template, when ``apply`` could take it; raises ModelMismatch or TemplateInvalid."""
        return self.comparator.prepare(template)

    def complete(self, template: Template) -> FingerTemplate:
        """The template with its vector by this index's model, whatever vector it came with; see ``ReferenceIndex``.

        Raises:
            ModelMismatch, TemplateInvalid: as ``check``.
        """
        finger = self.comparator.prepare(template)
        if not isinstance(template, FingerTemplate):
            raise TemplateInvalid(f"a {template.modality} template is no finger's")
        (vector,) = self.model.encode([finger])
        return dataclasses.replace(template, vector=vector, vector_model=self.model.number)

    def reserve(self, references: int) -> None:
        """See ``ReferenceIndex``; for as many minutiae as are compared at the most."""
        self._reserve(references * self.comparator.cylinders.max_minutiae, references)

    def apply(self, removals: Sequence[int], additions: Sequence[tuple[int, int, Template]]) -> None:
        """See ``ReferenceIndex.apply``. A template that comes with a vector of this index's model is taken by its word.

        Raises:
            ModelMismatch: a template is of another modality or algorithm.
            StorageFailure: there is no room for the mapped files.
            Nothing is changed then.
        """
        prepared = [self.comparator.prepare(template) for _, _, template in additions]
        vectors = self._vectors_of([template for _, _, template in additions], prepared)
        if additions:
            self._reserve(sum(len(finger) for finger in prepared), len(prepared))
        self._table.remove(removals)
        if additions:
            self._extend(rows_of(prepared), vectors)
            self._table.append([reference for reference, _, _ in additions], [labels for _, labels, _ in additions])
        if self._table.wants_compaction():
            self._compact()

    def _vectors_of(self, templates: Sequence[Template], prepared: Sequence[PreparedFinger]) -> NDArray[np.int8]:
        result = np.zeros((len(prepared), self.model.parameters.numbers), np.int8)
        missing = []
        for i, template in enumerate(templates):
            if isinstance(template, FingerTemplate) and template.vector_model == self.model.number:
                result[i] = template.vector
            else:
                missing.append(i)
        if missing:
            result[missing] = self.model.encode([prepared[i] for i in missing])
        return result

    def _extend(self, fingers: FingerRows, vectors: NDArray[np.int8]) -> None:
        before = len(self._bits)
        self._reserve(len(fingers.bits), len(fingers.count))
        self._bits.extend(fingers.bits)
        self._x.extend(fingers.x)
        self._y.extend(fingers.y)
        self._angle.extend(fingers.angle)
        self._start.extend(before + fingers.start)
        self._count.extend(fingers.count)
        self._key.extend(fingers.key)
        self._vectors.add(vectors.astype(np.float32))

    def _reserve(self, minutiae: int, fingers: int) -> None:
        """All or nothing: a column shorter than the others would shift what comes later."""
        of_minutiae: tuple[MappedArray[Any], ...] = (self._bits, self._x, self._y, self._angle)
        of_fingers: tuple[MappedArray[Any], ...] = (self._start, self._count, self._key)
        for array in of_minutiae:
            array.reserve(minutiae)
        for array in of_fingers:
            array.reserve(fingers)

    def _compact(self) -> None:
        """Copies what is alive. Where the disk has no room for two copies, dead rows stay: they are never found."""
        kept = np.flatnonzero(self._table.selected(ALL_LABELS))
        old, codes = self._rows(), self._codes()
        try:
            fresh = FingerIndex(self.comparator, self.parameters, self.model, self._folder)
            fresh._reserve(int(old.count[kept].sum(dtype=np.int64)), len(kept))
        except StorageFailure as error:
            log.warning("the rows of %d deleted fingers stay: %s", self._table.size - len(kept), error)
            return
        for at in range(0, len(kept), _COMPACTED_AT_ONCE):
            part = kept[at : at + _COMPACTED_AT_ONCE]
            counts = old.count[part]
            starts = np.cumsum(counts, dtype=np.int64) - counts
            minutiae = np.repeat(old.start[part] - starts, counts)
            minutiae += np.arange(len(minutiae), dtype=np.int64)
            fresh._extend(
                FingerRows(
                    old.bits[minutiae],
                    old.x[minutiae],
                    old.y[minutiae],
                    old.angle[minutiae],
                    starts,
                    counts,
                    old.key[part],
                ),
                _signed(codes[part]),
            )
        self._vectors, self._bits, self._x, self._y = fresh._vectors, fresh._bits, fresh._x, fresh._y
        self._angle, self._start, self._count, self._key = fresh._angle, fresh._start, fresh._count, fresh._key
        self._table.compact()

    def _rows(self) -> FingerRows:
        return FingerRows(
            self._bits.values,
            self._x.values,
            self._y.values,
            self._angle.values,
            self._start.values,
            self._count.values,
            self._key.values,
        )

    def _codes(self) -> NDArray[np.uint8]:
        """uint8[rows, numbers]: a view of FAISS's own memory, 128 more than the vectors; valid until ``apply``."""
        memory = self._vectors.codes
        if memory.size() == 0:
            return np.zeros((0, self.model.parameters.numbers), np.uint8)
        stored: NDArray[np.uint8] = faiss.rev_swig_ptr(memory.data(), memory.size())
        return stored.reshape(-1, self.model.parameters.numbers)

    def shortlist(
        self, probes: Sequence[PreparedFinger], count: int, labels: int = ALL_LABELS
    ) -> list[NDArray[np.int64]]:
        """See ``ReferenceIndex.shortlist``."""
        selected = self._table.selected(labels)
        alive = int(np.count_nonzero(selected))
        if alive == 0 or count <= 0 or not probes:
            return [np.zeros(0, np.int64) for _ in probes]
        looked_at = min(alive, self.parameters.scanned(count))
        found = self.nearest(probes, looked_at, selected)
        if looked_at > count:
            found = [self._scan(probe, slots)[:count] for probe, slots in zip(probes, found, strict=True)]
        return [self._table.ids[slots] for slots in found]

    def nearest(
        self, probes: Sequence[PreparedFinger], count: int, selected: NDArray[np.bool_]
    ) -> list[NDArray[np.int64]]:
        """The first step: for each probe the slots of the ``count`` references with the nearest vectors, nearest first.

        Args:
            selected: bool[slots], those that may be found; at least ``count`` of them.
        """
        filters = None
        if not selected.all():
            # Named, so that it outlives the search: FAISS keeps a bare pointer.
            bitmap = np.packbits(selected, bitorder="little")
            filters = _faiss.SearchParameters(sel=_faiss.IDSelectorBitmap(bitmap))
        _, found = self._vectors.search(self.model.encode(probes).astype(np.float32), count, params=filters)
        return [row[row >= 0] for row in found]

    def _scan(self, probe: PreparedFinger, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """The slots by falling score of the fast stage; equal ones as they were."""
        scores = self.comparator.relaxed_rows(probe, self._rows(), slots)
        return slots[np.argsort(-scores, kind="stable")]

    def compare(self, probe: PreparedFinger, references: NDArray[np.int64]) -> NDArray[np.float64]:
        """See ``ReferenceIndex.compare``."""
        return self.comparator.compare_rows(probe, self._rows(), self._table.slots(references))

    def vectors(self) -> NDArray[np.int8]:
        """int8[slots, numbers]: a copy of the vectors of all slots, dead ones too."""
        return _signed(self._codes())

    def bytes_in_ram(self) -> int:
        """Of vectors, ids and labels as they are used; what lies in mapped files is not among them."""
        return int(self._vectors.codes.size()) + self._table.nbytes

    def bytes_mapped(self) -> int:
        """Of the minutiae and cylinders, as they are used."""
        rows = self._rows()
        return sum(int(getattr(rows, f.name).nbytes) for f in dataclasses.fields(rows))


def _signed(codes: NDArray[np.uint8]) -> NDArray[np.int8]:
    """FAISS keeps a number as 128 more than it is."""
    return (codes.astype(np.int16) - 128).astype(np.int8)
