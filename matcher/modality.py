"""What a modality must offer to ``gallery`` and ``search``: a comparator (1:1) and an index (1:N shortlist).

``gallery`` and ``search`` are written against these protocols only, so that a modality can change inside its own
folder.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from matcher.mapped import MappedArray
from matcher.positions import Modality
from matcher.templates import Template

Selection = NDArray[np.bool_] | None
"""bool[rows], the rows that a search may find; None for all of them."""


def selectable(rows: int, selected: Selection) -> int:
    """How many of so many rows a search may find."""
    return rows if selected is None else int(np.count_nonzero(selected))


def best(scores: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Where the ``count`` highest scores stand, best first, equal scores in ascending order, NaN last."""
    ranks = np.where(np.isnan(scores), np.inf, -scores)
    near = np.arange(len(ranks))
    if 0 < count < len(ranks):
        near = np.flatnonzero(ranks <= np.partition(ranks, count - 1)[count - 1])
    return near[np.argsort(ranks[near], kind="stable")][:count]


class Comparator(Protocol):
    """Compares two templates of one algorithm, 1:1."""

    @property
    def modality(self) -> Modality:
        """What it compares."""
        ...

    @property
    def algorithms(self) -> frozenset[str]:
        """Ids of the template algorithms that this comparator understands. It never compares across them."""
        ...

    def prepare(self, template: Template) -> Any:
        """Builds, once per template, the structure that comparisons need; thread-safe, never changed afterwards."""
        ...

    def compare(self, probe: Any, reference: Any) -> float:
        """The raw comparison score of two prepared templates: higher is more alike, symmetric; NaN: not comparable."""
        ...


class IndexView(Protocol):
    """The references that an index held at one moment, to be searched; thread-safe, and never changed by later ones."""

    def __len__(self) -> int:
        """How many rows it has."""
        ...

    def shortlist(self, probes: Sequence[Any], count: int, selected: Selection = None) -> list[NDArray[np.int64]]:
        """For each prepared probe the rows of at most ``count`` references most worth comparing, best first.

        Args:
            probes: as ``Comparator.prepare`` made them; all are searched in one pass over the references.
            count: rows wanted a probe.
            selected: the filter applies inside the scan, so that ``count`` is filled whenever that many are there.
                Where no more than ``count`` are selected, all of them are returned.

        Returns:
            int64[at most count] a probe; equal ones in ascending order.
        """
        ...

    def fetch(self, rows: NDArray[np.int64]) -> None:
        """Asks the disk for what ``compare`` with these rows needs, where much of it is not in memory.

        Does not wait for it: due before other work, so that the disk reads meanwhile.

        Args:
            rows: int64[n], none negative.
        """
        ...

    def compare(self, probe: Any, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Raw scores (float64[n]) of a prepared probe against the references of these rows; NaN: not comparable.

        Equal to ``comparator.compare`` on each of them.
        """
        ...


@dataclasses.dataclass(frozen=True)
class MemoryUse:
    """What a part of an index takes.

    Attributes:
        name: e.g. ``vectors``.
        ram: bytes that must stay in RAM.
        mapped: bytes of files that are read where a search looks at the reference.
    """

    name: str
    ram: int
    mapped: int


def added_up(uses: Iterable[MemoryUse]) -> list[MemoryUse]:
    """Parts of the same name together, in the order in which they first come."""
    total: dict[str, MemoryUse] = {}
    for use in uses:
        before = total.get(use.name, MemoryUse(use.name, 0, 0))
        total[use.name] = MemoryUse(use.name, before.ram + use.ram, before.mapped + use.mapped)
    return list(total.values())


class ReferenceIndex(Protocol):
    """References of one modality, algorithm and position: rows that are only ever appended.

    Whose a row is, and whether it is still on record, is not its business: the gallery selects. One writer at a time;
    searches work on a ``view`` and need no lock, since rows never move and never change.
    """

    @property
    def comparator(self) -> Comparator:
        """The comparator whose scores ``IndexView.compare`` gives."""
        ...

    def __len__(self) -> int:
        """How many rows it has."""
        ...

    def check(self, template: Template) -> Any:
        """The prepared template (``comparator.prepare``), when ``append`` could take it.

        Raises:
            ModelMismatch, TemplateInvalid: it could not.
        """
        ...

    def complete(self, templates: Sequence[Template], prepared: Sequence[Any]) -> list[Template]:
        """Templates as they are to be stored: with what this index would otherwise compute each time they are loaded.

        What a template claims to have of that is computed anew: it decides who is found.

        Args:
            prepared: what ``check`` gave for each of them.
        """
        ...

    def reserve(self, references: int) -> None:
        """Makes room for so many references more, so that ``append`` of them does not fail for lack of it.

        Raises:
            StorageFailure: the disk has none. Nothing is changed then.
        """
        ...

    def append(self, templates: Sequence[Template]) -> None:
        """Adds references as the next rows, in this order. Views made before do not see them.

        Raises:
            ModelMismatch, TemplateInvalid: one of them could not be put beside the others.
            StorageFailure: there is no room for them. Nothing is changed in either case.
        """
        ...

    def view(self) -> IndexView:
        """All rows that there are now; cheap, holds no copy."""
        ...

    def often_read(self) -> Sequence[MappedArray[Any]]:
        """Files of which every search reads a large part."""
        ...

    def copy(self, rows: NDArray[np.int64]) -> ReferenceIndex:
        """Another index with these rows alone, in this order. Rows may be appended to this one meanwhile.

        Raises:
            StorageFailure: there is no room for it.
        """
        ...

    def memory(self) -> list[MemoryUse]:
        """What it takes, as it is used, by part."""
        ...
