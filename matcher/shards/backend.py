"""What the search needs of the shards, wherever they run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from matcher.changes import Change, OwnedReference
from matcher.errors import AmbisError
from matcher.filters import EVERYBODY, SearchFilter
from matcher.found_subjects import FoundSubjects, Probe
from matcher.gallery_view import GallerySearch, IndexKey
from matcher.modality import MemoryUse
from matcher.positions import Modality, Position
from matcher.templates import Template


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """What several searches found, all at one moment.

    Attributes:
        subjects: for each search what it found, or why it could not be made.
        sizes: subjects that a search with each filter went over.
        lsn: every change up to here was seen.
    """

    subjects: Sequence[FoundSubjects | AmbisError]
    sizes: Mapping[SearchFilter, int]
    lsn: int


class ShardBackend(Protocol):
    """All shards together. Every call sees all of them or raises: an answer is never silently shorter."""

    def apply(self, changes: Sequence[Change], lsn: int) -> None:
        """Applies changes in order; afterwards searches see everything up to ``lsn``."""
        ...

    def replace(
        self,
        modality: Modality,
        algorithm: str,
        references: Iterable[Sequence[OwnedReference]],
        commit: Callable[[], int],
    ) -> None:
        """Puts references of one algorithm in the place of all others of their modality, at once for every search.

        Args:
            modality: whose references are replaced.
            algorithm: of the new ones.
            references: the new ones, in groups, of encounters that are here. Their index is built aside while searches
                go on; nothing may be applied in the meantime.
            commit: called when all is built; gives the LSN of the change. When it raises, nothing is changed here.
        """
        ...

    def reserve(self, samples: Sequence[tuple[str, Position, Template]]) -> None:
        """Makes room for references of these subjects, so that ``apply`` of them does not fail for lack of it.

        Raises:
            StorageFailure: a disk is full. Nothing is changed then.
        """
        ...

    def check(self, templates: Sequence[Template]) -> list[Template | AmbisError]:
        """See ``GalleryView.check``; against every shard."""
        ...

    @property
    def applied_lsn(self) -> int:
        """Searches see every change up to here."""
        ...

    def search(self, searches: Sequence[GallerySearch]) -> Found:
        """See ``GalleryView.search``; over all shards."""
        ...

    def compare(self, probes: Sequence[Probe], subject_id: str) -> FoundSubjects | None:
        """See ``GalleryView.compare``."""
        ...

    def subjects(self, which: SearchFilter = EVERYBODY) -> int:
        """Subjects that a search with this filter goes over."""
        ...

    def galleries(self) -> dict[str, tuple[int, int]]:
        """Name -> (subjects, encounters)."""
        ...

    def references(self) -> dict[IndexKey, int]:
        """References per modality and algorithm."""
        ...

    def read_ahead(self, given_up: Callable[[], bool] = lambda: False) -> None:
        """Reads what every search looks at into memory, so that the first ones after a start need not wait for the
        disk; where there is no room for it, nothing.

        Args:
            given_up: asked now and then whether to stop.
        """
        ...

    def memory(self) -> list[MemoryUse]:
        """See ``Gallery.memory``; of all shards together."""
        ...

    def close(self) -> None:
        """Releases threads and connections."""
        ...
