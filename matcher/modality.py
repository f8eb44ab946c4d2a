"""What a modality must offer to ``gallery`` and ``search``: a comparator (1:1) and an index (1:N shortlist).

``gallery`` and ``search`` are written against these two protocols only, so that a modality can change inside its own
folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from matcher.positions import Modality
from matcher.templates import Template

ALL_LABELS = (1 << 64) - 1
"""A label filter that every reference passes."""


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


class ReferenceIndex(Protocol):
    """All references of one modality and one algorithm in a shard, searchable 1:N.

    Not synchronised: the gallery that owns it lets readers in together and writers alone.
    """

    @property
    def comparator(self) -> Comparator:
        """The comparator whose scores ``compare`` gives."""
        ...

    def __len__(self) -> int:
        """How many references are alive."""
        ...

    def check(self, template: Template) -> Any:
        """The prepared template (``comparator.prepare``), when ``apply`` could take it.

        Raises:
            ModelMismatch, TemplateInvalid: it could not.
        """
        ...

    def complete(self, template: Template) -> Template:
        """The template as it is to be stored: with what this index would otherwise compute each time it is loaded.

        What the template claims to have of that is computed anew: it decides who is found.

        Raises:
            ModelMismatch, TemplateInvalid: ``apply`` could not take it.
        """
        ...

    def reserve(self, references: int) -> None:
        """Makes room on the disk for so many references more, so that ``apply`` of them does not fail for lack of it.

        Raises:
            StorageFailure: there is none. Nothing is changed then.
        """
        ...

    def apply(
        self,
        removals: Sequence[int],
        additions: Sequence[tuple[int, int, Template]],
    ) -> None:
        """Removes, then adds. Unknown ids in ``removals`` are ignored; an id in ``additions`` replaces its elder.

        Args:
            removals: reference ids.
            additions: (reference id, labels, template); labels is a bit set (64 bits) of the galleries it belongs to.
        """
        ...

    def shortlist(self, probes: Sequence[Any], count: int, labels: int = ALL_LABELS) -> list[NDArray[np.int64]]:
        """For each prepared probe the ids of at most ``count`` references most worth comparing, best first.

        Only references that share a label bit with ``labels``; the filter applies inside the scan, so that ``count``
        is filled whenever that many are there. Where no more than ``count`` qualify, all of them are returned.
        """
        ...

    def compare(self, probe: Any, references: NDArray[np.int64]) -> NDArray[np.float64]:
        """Raw scores (float64[n]) of a prepared probe against the references of the given ids; NaN: not comparable.

        Equal to ``comparator.compare`` on each of them. Unknown ids give NaN.
        """
        ...
