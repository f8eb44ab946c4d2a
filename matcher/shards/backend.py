"""What the search needs of the shards, wherever they run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from matcher.changes import Change, OwnedReference
from matcher.gallery import IndexKey, Probe, SubjectComparisons
from matcher.positions import Modality, Position
from matcher.templates import Template


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
