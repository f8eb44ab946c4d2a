"""Arrays that grow at their end and lie in a file mapped into memory: read at leisure, not held in RAM.

The file has no name any more once it is open, so it goes with the process, however that ends. What is in it is a copy
of what the record store holds.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from matcher.errors import StorageFailure
from matcher.growing import AppendedRows, T


class MappedArray(AppendedRows[T]):
    """A growing array in a file; see ``AppendedRows``.

    Args:
        dtype: of the numbers.
        shape: of a row; () for single numbers.
        folder: where the file lies; None for the system's folder of temporary files.

    Raises:
        StorageFailure: no file can be made there.
    """

    FIRST_ROWS = 1024

    def __init__(self, dtype: type[T], shape: tuple[int, ...] = (), folder: Path | None = None) -> None:
        super().__init__(dtype, shape)
        # Kept open as long as the array lives: growing needs it.
        try:
            self._file = tempfile.TemporaryFile(dir=folder, prefix="ambis-")  # noqa: SIM115
        except OSError as error:
            raise StorageFailure(f"no file for templates can be made beside the index: {error.strerror}") from None

    @property
    def nbytes(self) -> int:
        """Bytes of the file."""
        return len(self._array) * self._row_bytes

    def reserve(self, rows: int) -> None:
        """Makes room for so many rows more, so that ``extend`` by them cannot fail.

        Raises:
            StorageFailure: the disk is full. Nothing is changed then.
        """
        end = self._size + rows
        if end <= len(self._array):
            return
        try:
            self._grow(max(end, 2 * len(self._array), self.FIRST_ROWS))
        except StorageFailure:
            # Twice the room is for speed; a disk that fills up has room for these rows longer than for that.
            self._grow(end)

    def fetch(self, begins: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        """Asks for rows to be read from the disk, all at once and in the background.

        Whoever waits for one page after the other waits six times as long (measured on a solid-state disk).
        """
        file, size = self._file.fileno(), self._row_bytes
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
            os.posix_fadvise(file, begin * size, (end - begin) * size, os.POSIX_FADV_WILLNEED)

    def _grow(self, rows: int) -> None:
        length = rows * self._row_bytes
        before = self.nbytes
        try:
            # Room is taken now: a mapped file that meets a full disk later ends the process (SIGBUS).
            os.posix_fallocate(self._file.fileno(), 0, length)
            memory = mmap.mmap(self._file.fileno(), length)
        except OSError as error:
            # What of it was taken before the disk was full is wanted by the records.
            os.ftruncate(self._file.fileno(), before)
            raise StorageFailure(
                f"no room for {length:,} bytes of templates beside the index: {error.strerror}; free disk space",
                reason="DISK_FULL",
            ) from None
        # A row here, a row there: what lies beside them would be read in vain, three times as slowly.
        if hasattr(mmap, "MADV_RANDOM"):
            memory.madvise(mmap.MADV_RANDOM)
        self._array = np.frombuffer(memory, self._dtype).reshape(-1, *self._shape)
