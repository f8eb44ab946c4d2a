"""What the search needs of the shards, wherever they run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from matcher.changes import Change
from matcher.gallery import IndexKey, Probe, SubjectComparisons
from matcher.templates import Template


class ShardBackend(Protocol):
    """All shards together. Every call sees all of them or raises: an answer is never silently shorter."""

    def apply(self, changes: Sequence[Change], lsn: int) -> None:
        """Applies changes in order; afterwards searches see everything up to ``lsn``."""
        ...

    def check(self, template: Template) -> Template:
        """See ``Gallery.check``; against every shard."""
        ...

    @property
    def applied_lsn(self) -> int:
        """Searches see every change up to here."""
        ...

    def search(self, probes: Sequence[Probe], galleries: Sequence[str] = ()) -> list[SubjectComparisons]:
        """See ``Gallery.search``; over all shards."""
        ...

    def compare(self, probes: Sequence[Probe], subject_id: str) -> SubjectComparisons | None:
        """See ``Gallery.compare``."""
        ...

    def subjects(self, galleries: Sequence[str] = ()) -> int:
        """Subjects that a search of these galleries goes over."""
        ...

    def galleries(self) -> dict[str, tuple[int, int]]:
        """Name -> (subjects, encounters)."""
        ...

    def references(self) -> dict[IndexKey, int]:
        """References per modality and algorithm."""
        ...

    def close(self) -> None:
        """Releases threads and connections."""
        ...
