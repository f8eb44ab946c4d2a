"""Shards in this process: one gallery each, searched one after the other, each by all computing threads."""

from __future__ import annotations

import logging
import threading
import zlib
from collections.abc import Callable, Iterable, Sequence

from matcher.changes import Change, OwnedReference
from matcher.errors import AmbisError
from matcher.filters import EVERYBODY, SearchFilter
from matcher.found_subjects import FoundSubjects, Probe, join
from matcher.gallery import Gallery
from matcher.gallery_view import GallerySearch, GalleryView, IndexKey
from matcher.mapped import available_bytes
from matcher.modality import MemoryUse, added_up
from matcher.positions import Modality, Position
from matcher.shards.backend import Found
from matcher.templates import Template

log = logging.getLogger(__name__)


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
        self._writing = threading.Lock()
        self._publish(0)
        for gallery in self._galleries:
            gallery.after_compaction = self._show_compacted

    def _home(self, subject_id: str) -> int:
        return zlib.crc32(subject_id.encode()) % len(self._galleries)

    def _publish(self, lsn: int) -> None:
        """Exchanges what searches see, in all shards at once: one that has begun sees one LSN everywhere."""
        self._seen: tuple[int, list[GalleryView]] = lsn, [gallery.view() for gallery in self._galleries]

    def _show_compacted(self) -> None:
        with self._writing:
            self._publish(self.applied_lsn)

    def apply(self, changes: Sequence[Change], lsn: int) -> None:
        """See ShardBackend."""
        parts: list[list[Change]] = [[] for _ in self._galleries]
        for change in changes:
            parts[self._home(change.subject_id)].append(change)
        with self._writing:
            for gallery, part in zip(self._galleries, parts, strict=True):
                if part:
                    gallery.apply(part)
            self._publish(max(self.applied_lsn, lsn))

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
        lsn = commit()
        with self._writing:
            for replacement in replacements:
                replacement.take_effect()
            self._publish(max(self.applied_lsn, lsn))

    def reserve(self, samples: Sequence[tuple[str, Position, Template]]) -> None:
        """See ShardBackend."""
        parts: list[list[tuple[Position, Template]]] = [[] for _ in self._galleries]
        for subject_id, position, template in samples:
            parts[self._home(subject_id)].append((position, template))
        for gallery, part in zip(self._galleries, parts, strict=True):
            gallery.reserve(part)

    def check(self, templates: Sequence[Template]) -> list[Template | AmbisError]:
        """See ShardBackend."""
        first, *others = self._seen[1]
        checked = first.check(templates)
        for i, template in enumerate(templates):
            try:
                for view in others:
                    view.require_fitting(template)
            except AmbisError as error:
                checked[i] = error
        return checked

    @property
    def applied_lsn(self) -> int:
        """See ShardBackend."""
        return self._seen[0]

    def search(self, searches: Sequence[GallerySearch]) -> Found:
        """See ShardBackend."""
        lsn, views = self._seen
        found = [view.search(searches) for view in views]
        sizes = {which: sum(v.roster.subjects(which) for v in views) for which in {s.filter for s in searches}}
        return Found([_joined(parts) for parts in zip(*found, strict=True)], sizes, lsn)

    def compare(self, probes: Sequence[Probe], subject_id: str) -> FoundSubjects | None:
        """See ShardBackend."""
        return self._seen[1][self._home(subject_id)].compare(probes, subject_id)

    def subjects(self, which: SearchFilter = EVERYBODY) -> int:
        """See ShardBackend."""
        return sum(view.roster.subjects(which) for view in self._seen[1])

    def galleries(self) -> dict[str, tuple[int, int]]:
        """See ShardBackend."""
        total: dict[str, tuple[int, int]] = {}
        for view in self._seen[1]:
            for name, (subjects, encounters) in view.roster.galleries().items():
                before = total.get(name, (0, 0))
                total[name] = (before[0] + subjects, before[1] + encounters)
        return total

    def references(self) -> dict[IndexKey, int]:
        """See ShardBackend."""
        total: dict[IndexKey, int] = {}
        for view in self._seen[1]:
            for key, count in view.references().items():
                total[key] = total.get(key, 0) + count
        return total

    def read_ahead(self, given_up: Callable[[], bool] = lambda: False) -> None:
        """See ShardBackend."""
        files = [file for gallery in self._galleries for file in gallery.often_read()]
        if sum(file.used_bytes for file in files) > available_bytes():
            return
        try:
            while files:
                # Not held until the end: what a compaction has replaced meanwhile keeps its room on the disk so long.
                files.pop().read_through(given_up)
        except OSError as error:
            log.warning("what searches look at could not be read ahead: %s", error)

    def memory(self) -> list[MemoryUse]:
        """See ShardBackend."""
        return added_up(use for gallery in self._galleries for use in gallery.memory())

    def close(self) -> None:
        """See ShardBackend."""


def _joined(parts: Sequence[FoundSubjects | AmbisError]) -> FoundSubjects | AmbisError:
    found = [part for part in parts if not isinstance(part, AmbisError)]
    return join(found) if len(found) == len(parts) else next(p for p in parts if isinstance(p, AmbisError))
