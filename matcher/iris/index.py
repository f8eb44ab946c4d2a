"""The iris references of a shard: what they must be, where they lie, and views of them to be searched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from matcher.errors import TemplateInvalid
from matcher.iris.comparison import IrisComparator, PreparedIris
from matcher.iris.storage import IrisStorage
from matcher.iris.view import IrisScan, IrisView
from matcher.mapped import MappedArray
from matcher.modality import MemoryUse
from matcher.templates import Template


class IrisIndex:
    """Iris references, appended row by row; see ``matcher.modality.ReferenceIndex`` for what its methods promise.

    Args:
        comparator: gives the scores.
        scan: how the shortlists of its views are chosen.
        folder: where the mapped file of verification codes lies; None for the system's folder of temporary files.
    """

    def __init__(
        self,
        comparator: IrisComparator | None = None,
        scan: IrisScan = IrisScan.TWO_STAGES,
        folder: Path | None = None,
    ) -> None:
        self.comparator = comparator or IrisComparator()
        self.scan = scan
        self._folder = folder
        self._storage = IrisStorage(self.comparator.parameters, folder)

    def __len__(self) -> int:
        """How many rows it has."""
        return len(self._storage)

    def check(self, template: Template) -> PreparedIris:
        """The prepared template, when ``append`` could take it.

        Raises:
            ModelMismatch, TemplateInvalid: as the comparator; TEMPLATE_UNUSABLE where the search code can be compared
                with nothing, so that no shortlist would hold the template, however much the verification code says.
        """
        code = self.comparator.parameters.search
        comparable = int(np.bitwise_count(self.comparator.check(template).search.mask).sum())
        if comparable < code.least_bits:
            raise TemplateInvalid(
                f"{comparable} of {code.bits} bits of the iris template's search code can be compared, fewer than "
                f"{code.least_bits}, so no search would find it; capture again",
                reason="TEMPLATE_UNUSABLE",
            )
        return self.comparator.prepare(template)

    def complete(self, templates: Sequence[Template], prepared: Sequence[PreparedIris]) -> list[Template]:
        """The templates themselves: nothing is kept beside them. See ``ReferenceIndex``."""
        return list(templates)

    def reserve(self, references: int) -> None:
        """See ``ReferenceIndex``."""
        self._storage.reserve(references)

    def append(self, templates: Sequence[Template]) -> None:
        """See ``ReferenceIndex``."""
        checked = [self.comparator.check(template) for template in templates]
        self._storage.reserve(len(checked))
        self._storage.append(checked)

    def view(self) -> IrisView:
        """See ``ReferenceIndex``."""
        return IrisView(self.comparator, self.scan, self._storage.rows)

    def often_read(self) -> Sequence[MappedArray[Any]]:
        """None: a search looks up a few thousand references. See ``ReferenceIndex``."""
        return ()

    def copy(self, rows: NDArray[np.int64]) -> IrisIndex:
        """See ``ReferenceIndex``."""
        fresh = IrisIndex(self.comparator, self.scan, self._folder)
        fresh._storage.copy(self._storage.rows, rows)
        return fresh

    def memory(self) -> list[MemoryUse]:
        """See ``ReferenceIndex``."""
        return self._storage.memory()
