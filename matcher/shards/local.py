"""Shards in this process: one gallery each, searched side by side by threads (the kernels release the GIL)."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from matcher.changes import Change, OwnedReference
from matcher.gallery import Gallery, IndexKey, Probe, SubjectComparisons
from matcher.locks import ReadWriteLock
from matcher.positions import Modality, Position
from matcher.templates import Template

T = TypeVar("T")


class LocalShards:
    """A ShardBackend of ``count`` galleries; a subject lives in the one that the CRC-32 of its id says.

    Args:
        count: number of shards, >= 1.
        make_gallery: makes an empty gallery.
    """

    def __init__(self, count: int = 1, make_gallery: Callable[[], Gallery] = Gallery) -> None:
        if count < 1:
            raise ValueError("at least one shard is needed")
        self._galleries = [make_gallery() for _ in range(count)]
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="shard") if count > 1 else None
        # Held for the whole of a search so that it sees the same LSN in every shard.
        self._lock = ReadWriteLock()
        self._applied = 0

    def _home(self, subject_id: str) -> int:
        return zlib.crc32(subject_id.encode()) % len(self._galleries)

    def _everywhere(self, call: Callable[[Gallery], T]) -> list[T]:
        if self._pool is None:
            return [call(self._galleries[0])]
        return list(self._pool.map(call, self._galleries))

    def apply(self, changes: Sequence[Change], lsn: int) -> None:
        """See ShardBackend."""
        parts: list[list[Change]] = [[] for _ in self._galleries]
        for change in changes:
            parts[self._home(change.subject_id)].append(change)
        with self._lock.write():
            for gallery, part in zip(self._galleries, parts, strict=True):
                if part:
                    gallery.apply(part)
            self._applied = max(self._applied, lsn)

    def replace(
        self,
        modality: Modality,
        algorithm: str,
        references: Iterable[Sequence[OwnedReference]],
        commit: Callable[[], int],
    ) -> None:
        """See ShardBackend."""
        replacements = [gallery.replacement(modality, algorithm) for gallery in self._galleries]
        for group in references:
            parts: list[list[OwnedReference]] = [[] for _ in self._galleries]
            for reference in group:
                parts[self._home(reference.subject_id)].append(reference)
            for replacement, part in zip(replacements, parts, strict=True):
                if part:
                    replacement.add(part)
        for replacement in replacements:
            replacement.finish()
        lsn = commit()
        with self._lock.write():
            for replacement in replacements:
                replacement.take_effect()
            self._applied = max(self._applied, lsn)

    def reserve(self, samples: Sequence[tuple[str, Position, Template]]) -> None:
        """See ShardBackend."""
        parts: list[list[tuple[Position, Template]]] = [[] for _ in self._galleries]
        for subject_id, position, template in samples:
            parts[self._home(subject_id)].append((position, template))
        for gallery, part in zip(self._galleries, parts, strict=True):
            gallery.reserve(part)

    def check(self, template: Template) -> Template:
        """See ShardBackend."""
        return self._everywhere(lambda g: g.check(template))[0]

    @property
    def applied_lsn(self) -> int:
        """See ShardBackend."""
        return self._applied

    def search(self, probes: Sequence[Probe], galleries: Sequence[str] = ()) -> list[SubjectComparisons]:
        """See ShardBackend."""
        with self._lock.read():
            return [c for part in self._everywhere(lambda g: g.search(probes, galleries)) for c in part]

    def compare(self, probes: Sequence[Probe], subject_id: str) -> SubjectComparisons | None:
        """See ShardBackend."""
        with self._lock.read():
            return self._galleries[self._home(subject_id)].compare(probes, subject_id)

    def subjects(self, galleries: Sequence[str] = ()) -> int:
        """See ShardBackend."""
        return sum(self._everywhere(lambda g: g.subjects(galleries)))

    def galleries(self) -> dict[str, tuple[int, int]]:
        """See ShardBackend."""
        total: dict[str, tuple[int, int]] = {}
        for part in self._everywhere(lambda g: g.galleries()):
            for name, (subjects, encounters) in part.items():
                before = total.get(name, (0, 0))
                total[name] = (before[0] + subjects, before[1] + encounters)
        return total

    def references(self) -> dict[IndexKey, int]:
        """See ShardBackend."""
        total: dict[IndexKey, int] = {}
        for part in self._everywhere(lambda g: g.references()):
            for key, count in part.items():
                total[key] = total.get(key, 0) + count
        return total

    def close(self) -> None:
        """See ShardBackend."""
        if self._pool is not None:
            self._pool.shutdown()
