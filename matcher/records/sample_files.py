"""Samples in content-addressed files: ``samples/ab/cdef...`` by SHA-256.

A file is complete and on disk before any record names it (write new, fsync, rename, fsync the folder), so a crash
leaves at worst a file that nobody names.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from matcher.errors import NotFound, StorageFailure


class SampleFiles:
    """The folder of samples. Used by one writer at a time; reading is free.

    Args:
        folder: made when absent.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for left_over in folder.glob("*/*.new"):
            left_over.unlink()

    def _path(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / sha256[2:]

    def write(self, samples: Iterable[bytes]) -> None:
        """Stores samples and returns when they are on disk. One that is there already is not written again."""
        folders: set[Path] = set()
        for data in samples:
            path = self._path(hashlib.sha256(data).hexdigest())
            # Also where the file is there: a write that failed before it came to this may have left it.
            folders |= {self._folder, path.parent}
            if path.exists():
                continue
            path.parent.mkdir(exist_ok=True)
            new = path.with_suffix(".new")
            with new.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
        for folder in folders:
            _sync_folder(folder)

    def read(self, sha256: str) -> bytes:
        """A sample's bytes, checked against their hash.

        Raises:
            NotFound: no such sample.
            StorageFailure: the file is damaged.
        """
        try:
            data = self._path(sha256).read_bytes()
        except FileNotFoundError:
            raise NotFound(f"sample {sha256} is not kept", reason="SAMPLE_NOT_FOUND") from None
        if hashlib.sha256(data).hexdigest() != sha256:
            raise StorageFailure(f"the file of sample {sha256} is damaged; restore it from a backup")
        return data

    def remove(self, sha256: Iterable[str]) -> None:
        """Removes samples for good; those that are not there are ignored."""
        folders: set[Path] = set()
        for name in sha256:
            path = self._path(name)
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
                folders.add(path.parent)
        for folder in folders:
            _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
