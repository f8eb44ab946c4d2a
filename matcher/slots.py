"""Which row of an index holds which reference, which rows are alive, and which galleries they belong to.

FAISS accepts a duplicate id silently and pays a memmove for every removal, so the indexes keep plain rows ("slots"),
and this table gives them ids, deletion (a cleared bit) and label filters. A slot is never reused; ``compact`` tells an
index when to rebuild itself without its dead rows.

It takes 16 bytes a row. Reference ids come in ascending order from the record store, so a row is found by bisection;
where they did not, 8 bytes a row more hold the order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class SlotTable:
    """Reference ids, liveness and labels of the rows of one index. Not synchronised."""

    COMPACT_FRACTION = 0.25
    COMPACT_MINIMUM = 1024

    def __init__(self) -> None:
        self._size = 0
        self._ids = np.zeros(256, np.int64)
        self._labels = np.zeros(256, np.uint64)
        self._alive = 0
        self._ascending = True
        self._order: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        """How many references are alive."""
        return self._alive

    @property
    def size(self) -> int:
        """Rows used, dead ones included."""
        return self._size

    @property
    def ids(self) -> NDArray[np.int64]:
        """int64[size], the reference id of every row (also of dead ones)."""
        return self._ids[: self._size]

    @property
    def nbytes(self) -> int:
        """Bytes of the rows used."""
        return self._size * (16 if self._ascending else 24)

    def append(self, ids: Sequence[int], labels: Sequence[int]) -> None:
        """Gives the next rows to these ids. An id that is alive already keeps only its new row.

        Raises:
            ValueError: a label is not within 1 to 2^64 - 1 (0 marks a dead row: such a reference would never be found
                and be lost at the next compaction), or ids and labels differ in number. Nothing is changed then.
        """
        if len(ids) != len(labels):
            raise ValueError(f"{len(ids)} ids but {len(labels)} labels")
        if not all(0 < label < 1 << 64 for label in labels):
            raise ValueError("a label is not within 1 to 2^64 - 1; put every reference into a gallery")
        need = self._size + len(ids)
        if need > len(self._ids):
            capacity = max(need, 2 * len(self._ids))
            self._ids = np.concatenate([self._ids, np.zeros(capacity - len(self._ids), np.int64)])
            self._labels = np.concatenate([self._labels, np.zeros(capacity - len(self._labels), np.uint64)])
        added, marks = np.array(ids, np.int64), np.array(labels, np.uint64)
        self._ascending &= not len(added) or not self._size or bool(added[0] > self._ids[self._size - 1])
        self._ascending &= bool(np.all(added[1:] > added[:-1]))
        if not self._ascending:
            self.remove(ids)
            _, last = np.unique(added[::-1], return_index=True)
            repeated = np.ones(len(added), np.bool_)
            repeated[len(added) - 1 - last] = False
            marks[repeated] = 0
        self._ids[self._size : need] = added
        self._labels[self._size : need] = marks
        self._size = need
        self._alive += int(np.count_nonzero(marks))
        self._order = None

    def remove(self, ids: Sequence[int]) -> None:
        """Marks the rows of these ids dead; ids that are not there are ignored."""
        if not len(ids):
            return
        slots = np.unique(self.slots(np.array(ids, np.int64)))
        slots = slots[slots >= 0]
        self._labels[slots] = 0
        self._alive -= len(slots)

    def slots(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64[n], the row of each id, -1 where the id is not alive."""
        if self._size == 0:
            return np.full(len(ids), -1, np.int64)
        held = self.ids
        if self._ascending:
            at = np.searchsorted(held, ids, side="right") - 1
        else:
            if self._order is None:
                self._order = np.argsort(held, kind="stable")
            # The last of equal ids: only that one can be alive.
            rank = np.searchsorted(held, ids, side="right", sorter=self._order) - 1
            at = np.where(rank >= 0, self._order[rank], -1)
        alive = (at >= 0) & (held[at] == ids) & (self._labels[at] != 0)
        return np.where(alive, at, -1).astype(np.int64)

    def selected(self, labels: int) -> NDArray[np.bool_]:
        """bool[size], True for live rows that share a bit with ``labels``."""
        return np.asarray((self._labels[: self._size] & np.uint64(labels)) != 0, np.bool_)

    def label_of(self, slot: int) -> int:
        """The label bits of a row; 0 when it is dead."""
        return int(self._labels[slot])

    def wants_compaction(self) -> bool:
        """True when enough rows are dead for a rebuild to pay."""
        dead = self._size - len(self)
        return dead >= self.COMPACT_MINIMUM and dead > self.COMPACT_FRACTION * self._size

    def compact(self) -> NDArray[np.int64]:
        """Drops dead rows; returns the old row numbers that survive, in order, for the index to copy."""
        keep = np.flatnonzero(self._labels[: self._size] != 0).astype(np.int64)
        self._ids = np.concatenate([self._ids[keep], np.zeros(256, np.int64)])
        self._labels = np.concatenate([self._labels[keep], np.zeros(256, np.uint64)])
        self._size = len(keep)
        self._ascending = bool(np.all(self.ids[1:] > self.ids[:-1]))
        self._order = None
        return keep
