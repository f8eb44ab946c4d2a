"""1:N over fingers: a shortlist by voting of nearest cylinders, and exact scores by the comparator's batch kernel.

Shortlist: for each minutia of the probe, FAISS finds the nearest cylinders of the whole gallery in Hamming distance;
each votes for its finger with its similarity (above a floor), once per probe minutia. (R. Cappelli, M. Ferrara,
D. Maltoni, "Fingerprint indexing based on Minutia Cylinder-Code", IEEE TPAMI 33 (2011), votes likewise, there with
hashing; a flat scan is faster than hashing here, because the bits are correlated and the buckets huge.)

The cylinders stand once in memory, inside the FAISS index; the exact kernel reads them there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Generic, TypeVar

import faiss
import numpy as np
from numpy.typing import NDArray

from matcher.compiled import kernel
from matcher.finger.comparison import FingerComparator, FingerRows
from matcher.finger.cylinders import PreparedFinger
from matcher.modality import ALL_LABELS
from matcher.slots import SlotTable
from matcher.templates import Template

_T = TypeVar("_T", bound=np.generic)


@dataclasses.dataclass(frozen=True)
class ShortlistParameters:
    """How many nearest cylinders vote.

    Attributes:
        neighbours: at least so many for each probe minutia (200 found 95 % of the mates in the first 1 % of 10,000
            fingers in a prototype).
        neighbours_per_candidate: and at least so many for each candidate asked for.
        most_neighbours: and never more.
        least_similarity: a cylinder votes with what its similarity exceeds this, about that of unrelated neighbours. It
            makes the list insensitive to the number of neighbours: with 1,000 of them 96.5 % of the mates came first
            among 5,086 fingers, with whole similarities 91.5 %.
    """

    neighbours: int = 200
    neighbours_per_candidate: float = 2.0
    most_neighbours: int = 4096
    least_similarity: float = 0.3

    def count(self, candidates: int, rows: int) -> int:
        """Nearest cylinders to ask for, within the ``rows`` that there are."""
        wanted = max(self.neighbours, round(self.neighbours_per_candidate * candidates))
        return max(1, min(wanted, self.most_neighbours, rows))


class _Column(Generic[_T]):
    """A one-dimensional array that grows at its end."""

    def __init__(self, dtype: type[_T]) -> None:
        self._array: NDArray[_T] = np.zeros(256, dtype)
        self._size = 0

    @property
    def values(self) -> NDArray[_T]:
        return self._array[: self._size]

    def extend(self, values: NDArray[_T]) -> None:
        end = self._size + len(values)
        if end > len(self._array):
            grown = np.zeros(max(end, 2 * len(self._array)), self._array.dtype)
            grown[: self._size] = self.values
            self._array = grown
        self._array[self._size : end] = values
        self._size = end


class FingerIndex:
    """A ``ReferenceIndex`` of fingers of one algorithm. The owner lets readers in together and writers alone."""

    def __init__(
        self, comparator: FingerComparator | None = None, parameters: ShortlistParameters | None = None
    ) -> None:
        self.comparator = comparator or FingerComparator()
        self.parameters = parameters or ShortlistParameters()
        self._table = SlotTable()
        self._clear()

    def _clear(self) -> None:
        self._cylinders = faiss.IndexBinaryFlat(self.comparator.cylinders.bits)
        self._x = _Column(np.float32)
        self._y = _Column(np.float32)
        self._angle = _Column(np.int16)
        self._owner = _Column(np.int32)
        self._start = _Column(np.int64)
        self._count = _Column(np.int32)
        self._key = _Column(np.uint64)

    def __len__(self) -> int:
        """How many references are alive."""
        return len(self._table)

    def check(self, template: Template) -> PreparedFinger:
        """The prepared template, when ``apply`` could take it; raises ModelMismatch or TemplateInvalid."""
        return self.comparator.prepare(template)

    def apply(self, removals: Sequence[int], additions: Sequence[tuple[int, int, Template]]) -> None:
        """See ``ReferenceIndex.apply``.

        Raises:
            ModelMismatch: a template is of another modality or algorithm; nothing is changed then.
        """
        prepared = [self.comparator.prepare(template) for _, _, template in additions]
        self._table.remove(removals)
        if additions:
            self._append(prepared)
            self._table.append([reference for reference, _, _ in additions], [labels for _, labels, _ in additions])
        if self._table.wants_compaction():
            self._compact()

    def _append(self, fingers: Sequence[PreparedFinger]) -> None:
        bits = np.concatenate([finger.bits for finger in fingers])
        counts = np.array([len(finger) for finger in fingers], np.int32)
        first = len(self._start.values)
        before = len(self._owner.values)
        self._cylinders.add(bits.view(np.uint8))
        self._x.extend(np.concatenate([finger.x for finger in fingers]))
        self._y.extend(np.concatenate([finger.y for finger in fingers]))
        self._angle.extend(np.concatenate([finger.angle for finger in fingers]))
        self._owner.extend(np.repeat(np.arange(first, first + len(fingers), dtype=np.int32), counts))
        self._start.extend(before + np.cumsum(counts, dtype=np.int64) - counts)
        self._count.extend(counts)
        self._key.extend(np.array([finger.key for finger in fingers], np.uint64))

    def _compact(self) -> None:
        old = self._rows()
        owner = self._owner.values
        kept = self._table.compact()
        minutiae = np.isin(owner, kept)
        counts = old.count[kept]
        # A copy: the view is into the memory of the FAISS index that goes now.
        bits = old.bits[minutiae]
        self._clear()
        self._cylinders.add(bits.view(np.uint8))
        self._x.extend(old.x[minutiae])
        self._y.extend(old.y[minutiae])
        self._angle.extend(old.angle[minutiae])
        self._owner.extend(np.repeat(np.arange(len(kept), dtype=np.int32), counts))
        self._start.extend(np.cumsum(counts, dtype=np.int64) - counts)
        self._count.extend(counts)
        self._key.extend(old.key[kept])

    def _rows(self) -> FingerRows:
        return FingerRows(
            self._bits(),
            self._x.values,
            self._y.values,
            self._angle.values,
            self._start.values,
            self._count.values,
            self._key.values,
        )

    def _bits(self) -> NDArray[np.uint64]:
        """uint64[rows, words]: a view of FAISS's own memory, valid until the next ``apply``."""
        words = self.comparator.cylinders.words
        if self._cylinders.ntotal == 0:
            return np.zeros((0, words), np.uint64)
        memory = getattr(self._cylinders, "xb")  # noqa: B009 (absent from the typing stubs)
        stored: NDArray[np.uint8] = faiss.rev_swig_ptr(memory.data(), memory.size())
        return stored.view(np.uint64).reshape(-1, words)

    def shortlist(
        self, probes: Sequence[PreparedFinger], count: int, labels: int = ALL_LABELS
    ) -> list[NDArray[np.int64]]:
        """See ``ReferenceIndex.shortlist``. Fingers that got no vote fill the end of the list."""
        selected = self._table.selected(labels)
        slots = np.flatnonzero(selected)
        if len(slots) == 0 or count <= 0 or not probes:
            return [np.zeros(0, np.int64) for _ in probes]
        ids = self._table.ids[slots]
        result = []
        for votes in self._votes(probes, count, selected):
            order = np.argsort(-votes[slots], kind="stable")[:count]
            result.append(ids[order])
        return result

    def _votes(
        self, probes: Sequence[PreparedFinger], count: int, selected: NDArray[np.bool_]
    ) -> list[NDArray[np.float32]]:
        """For each probe float32[slots]: the votes for each finger; only selected ones get any."""
        queries = np.concatenate([probe.bits for probe in probes])
        rows = int(self._count.values[selected].sum())
        if rows == 0 or len(queries) == 0:
            return [np.zeros(len(selected), np.float32) for _ in probes]
        nearest = self.parameters.count(count, rows)
        if selected.all():
            distance, row = self._cylinders.search(queries.view(np.uint8), nearest)
        else:
            bitmap = np.packbits(selected[self._owner.values], bitorder="little")
            # Named, so that they outlive the search: FAISS keeps bare pointers.
            selector = faiss.IDSelectorBitmap(len(bitmap), faiss.swig_ptr(bitmap))
            filters = faiss.SearchParameters()
            filters.sel = selector
            distance, row = self._cylinders.search(queries.view(np.uint8), nearest, params=filters)
        bits, angle, owner = self._bits(), self._angle.values, self._owner.values
        result, begin = [], 0
        for probe in probes:
            end = begin + len(probe)
            votes = np.zeros(len(selected), np.float32)
            self._count_votes(probe, distance[begin:end], row[begin:end], bits, angle, owner, votes)
            result.append(votes)
            begin = end
        return result

    def _count_votes(
        self,
        probe: PreparedFinger,
        distance: NDArray[np.int32],
        row: NDArray[np.int64],
        bits: NDArray[np.uint64],
        angle: NDArray[np.int16],
        owner: NDArray[np.int32],
        votes: NDArray[np.float32],
    ) -> None:
        """Adds up the probe's votes; int32 and int64[n, k] are what FAISS found for its minutiae."""
        own = np.bitwise_count(probe.bits).sum(axis=1, dtype=np.int64)
        found = np.bitwise_count(bits[np.maximum(row, 0)]).sum(axis=2, dtype=np.int64)
        _vote(
            own, found, distance, row, probe.angle, angle, owner, self.comparator.turn, self.comparator.roots,
            np.float32(self.parameters.least_similarity), votes,
            np.full(len(votes), -1, np.int32), np.zeros(len(votes), np.float32),
        )  # fmt: skip

    def compare(self, probe: PreparedFinger, references: NDArray[np.int64]) -> NDArray[np.float64]:
        """See ``ReferenceIndex.compare``."""
        return self.comparator.compare_rows(probe, self._rows(), self._table.slots(references))


@kernel
def _vote(
    own: NDArray[np.int64],
    found: NDArray[np.int64],
    distance: NDArray[np.int32],
    row: NDArray[np.int64],
    probe_angle: NDArray[np.int16],
    angle: NDArray[np.int16],
    owner: NDArray[np.int32],
    turn: int,
    roots: NDArray[np.float32],
    least: np.float32,
    votes: NDArray[np.float32],
    last: NDArray[np.int32],
    best: NDArray[np.float32],
) -> None:
    """Adds to ``votes`` for each probe minutia the best similarity above ``least`` of the neighbours of each finger."""
    for i in range(row.shape[0]):
        for k in range(row.shape[1]):
            at = row[i, k]
            if at < 0:
                break
            both = roots[own[i]] + roots[found[i, k]]
            between = (np.int64(probe_angle[i]) - np.int64(angle[at]) + turn) & 0xFFFF
            if both <= np.float32(0.0) or between > 2 * turn:
                continue
            similarity = np.float32(1.0) - roots[distance[i, k]] / both - least
            finger = owner[at]
            if last[finger] != i:
                last[finger] = i
                best[finger] = np.float32(0.0)
            if similarity > best[finger]:
                votes[finger] += similarity - best[finger]
                best[finger] = similarity
