"""Arrays that grow at their end and lie in a file mapped into memory: read at leisure, not held in RAM.

The file has no name any more once it is open, so it goes with the process, however that ends. What is in it is a copy
of what the record store holds.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from matcher.errors import StorageFailure
from matcher.growing import AppendedRows, T

_READ_AT_ONCE = 1 << 22
"""Bytes."""
SAMPLE = 64
"""Rows that are looked at to find out whether some must be read from the disk; fewer are never asked for."""
_FEW = 2
"""So many of the sample that must be are too few to ask for all rows: waiting for one takes as long as asking for fifty
that are in memory (60 and 1.2 us, measured on a solid-state disk)."""
_AT_ONCE = getattr(os, "RWF_NOWAIT", 0)


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

    @property
    def used_bytes(self) -> int:
        """Bytes of the rows that are used."""
        return self._size * self._row_bytes

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

    def read_through(self, given_up: Callable[[], bool] = lambda: False) -> None:
        """Reads all of it once, so that what there is room for lies in memory.

        Args:
            given_up: asked now and then whether to stop.

        Raises:
            OSError: it cannot be read.
        """
        scratch, end = bytearray(_READ_AT_ONCE), self.used_bytes
        for at in range(0, end, _READ_AT_ONCE):
            if given_up():
                return
            os.preadv(self._file.fileno(), [memoryview(scratch)[: min(_READ_AT_ONCE, end - at)]], at)

    def fetch_missing(self, begins: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        """``fetch``, where a sample of the rows says that it is worth it. For few rows it never is."""
        step = len(begins) // SAMPLE
        if not step:
            return
        file, size = self._file.fileno(), self._row_bytes
        if sum(not _in_memory(file, size * begin) for begin in begins[::step].tolist()) > _FEW:
            self.fetch(begins, ends)

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


def _in_memory(file: int, offset: int) -> bool:
    """Whether a byte of a file can be had without waiting for the disk; False, too, where the system does not tell."""
    try:
        return os.preadv(file, [bytearray(1)], offset, _AT_ONCE) == 1 and bool(_AT_ONCE)
    except OSError:
        return False


def available_bytes() -> int:
    """Of RAM, for this process or for pages of files; 0 where the system does not say."""
    lines = _lines("/proc/meminfo")
    available = next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), 0)
    limit = _lines("/sys/fs/cgroup/memory.max")
    if limit and limit[0].isdigit():  # a container's; pages of files that it has read can be taken from it
        taken = sum(int(line) for line in _lines("/sys/fs/cgroup/memory.current"))
        files = sum(int(line.split()[1]) for line in _lines("/sys/fs/cgroup/memory.stat") if line.startswith("file "))
        available = min(available, int(limit[0]) - taken + files)
    return max(0, available)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
