"""Arrays in RAM that grow at their end under the eyes of readers.

Rows are written behind those that readers know of, and never moved or changed afterwards: what ``values`` gave once
stays valid and true, so that searches need no lock while references are added. Room is reserved as addresses, which
cost nothing before they are written to.
"""

from __future__ import annotations

import abc
import mmap
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)

_HUGE_PAGE = 2 << 20


class AppendedRows(abc.ABC, Generic[T]):
    """A growing array[n, ...], wherever it lies; one writer at a time, any number of readers.

    Args:
        dtype: of the numbers.
        shape: of a row; () for single numbers.
    """

    def __init__(self, dtype: type[T] | np.dtype[T], shape: tuple[int, ...] = ()) -> None:
        self._dtype: np.dtype[T] = np.dtype(dtype)
        self._shape = shape
        self._row_bytes = self._dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        self._array: NDArray[T] = np.zeros((0, *shape), self._dtype)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def values(self) -> NDArray[T]:
        """What is in it, without a copy; stays valid while it grows."""
        return self._array[: self._size]

    @abc.abstractmethod
    def reserve(self, rows: int) -> None:
        """Makes room for so many rows more, so that ``extend`` by them cannot fail."""

    def extend(self, rows: NDArray[T]) -> None:
        """Appends rows; raises as ``reserve``."""
        self.reserve(len(rows))
        end = self._size + len(rows)
        self._array[self._size : end] = rows
        self._size = end


class GrowingArray(AppendedRows[T]):
    """A growing array in RAM; see ``AppendedRows``."""

    FIRST_BYTES = 1 << 28
    """Addresses reserved at first. An array that outgrows them is copied once to four times as many."""

    @property
    def nbytes(self) -> int:
        """Bytes of the rows that are used."""
        return self._size * self._row_bytes

    def reserve(self, rows: int) -> None:
        """See ``AppendedRows``."""
        end = self._size + rows
        if end > len(self._array):
            self._grow(max(4 * len(self._array), end, self.FIRST_BYTES // self._row_bytes))

    def add(self, rows: int) -> NDArray[T]:
        """Appends so many rows of zeros; returns them to be filled before anybody is told of them."""
        self.reserve(rows)
        begin, self._size = self._size, self._size + rows
        return self._array[begin : self._size]

    def _grow(self, rows: int) -> None:
        length = -(-rows * self._row_bytes // _HUGE_PAGE) * _HUGE_PAGE
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
        memory = mmap.mmap(-1, length, flags=flags)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            memory.madvise(mmap.MADV_HUGEPAGE)
        grown = np.frombuffer(memory, self._dtype, rows * (self._row_bytes // self._dtype.itemsize))
        grown = grown.reshape(rows, *self._shape)
        grown[: self._size] = self._array[: self._size]
        self._array = grown
