"""1:N search of face embeddings, exact: FAISS ``IndexFlatIP`` over plain rows, ids and deletions in a ``SlotTable``.

Steps of a shortlist:

1. Rows that are dead or outside the galleries asked for are left out inside the scan by an ``IDSelectorBitmap``.
2. FAISS returns the best rows by a float32 inner product whose last bits depend on the batch and the processor.
3. The rows returned are scored again in float64 and ordered by score, then by id, so that the answer is the same
   everywhere; where rows left out by FAISS could tie with the last one, more rows are fetched first.

FAISS: Douze et al., "The Faiss library", arXiv:2401.08281. It is never changed during a search (that segfaults): the
gallery lets writers in alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from matcher.errors import ModelMismatch
from matcher.face.comparison import COMPACT_ALGORITHM, FaceComparator, PreparedFace, cosines
from matcher.modality import ALL_LABELS, Comparator
from matcher.slots import SlotTable
from matcher.templates import Template

_faiss: Any = faiss
"""FAISS without its type stubs, which do not know what its Python wrappers accept (arrays and keyword arguments)."""


@dataclasses.dataclass(frozen=True)
class FaceIndexParameters:
    """Parameters of the shortlist.

    Attributes:
        rounding: relative error of one float32 operation, 2**-24. The inner product of two unit vectors of d numbers
            is off by at most d times that (Higham, "Accuracy and Stability of Numerical Algorithms", section 3.1), so
            that two scores may be equal when they are less than twice as much apart: 6e-5 for d = 512.
        spare: rows fetched beyond those asked for, so that ties at the cut seldom need a second scan.
    """

    rounding: float = 2.0**-24
    spare: int = 8


class FaceIndex:
    """All face references of one model in a shard (a ``matcher.modality.ReferenceIndex``).

    The dimension is that of the first reference. 4 bytes a number in memory; nothing but the rows is kept.

    Args:
        algorithm: id of the model; templates of any other are refused.
        parameters: see the class.
    """

    def __init__(self, algorithm: str = COMPACT_ALGORITHM, parameters: FaceIndexParameters | None = None) -> None:
        self.comparator: Comparator = FaceComparator(algorithm)
        self._parameters = parameters or FaceIndexParameters()
        self._table = SlotTable()
        self._flat: Any = None

    def __len__(self) -> int:
        return len(self._table)

    @property
    def dimension(self) -> int | None:
        """Numbers in an embedding; None before the first reference."""
        return None if self._flat is None else int(self._flat.d)

    def check(self, template: Template) -> PreparedFace:
        """The prepared template, when ``apply`` could take it; raises ModelMismatch or TemplateInvalid."""
        vector: PreparedFace = self.comparator.prepare(template)
        self._check_dimension(vector, self.dimension or len(vector))
        return vector

    def complete(self, template: Template) -> Template:
        """The template itself: nothing is kept beside it. See ``ReferenceIndex``."""
        self.check(template)
        return template

    def reserve(self, references: int) -> None:
        """Nothing: all lies in RAM. See ``ReferenceIndex``."""

    def apply(self, removals: Sequence[int], additions: Sequence[tuple[int, int, Template]]) -> None:
        """Removes, then adds; see ``ReferenceIndex``. On an error nothing has changed.

        Raises:
            ModelMismatch: a template of another model or another length.
        """
        prepared = [self.comparator.prepare(template) for _, _, template in additions]
        dimension = self.dimension or (len(prepared[0]) if prepared else 0)
        for vector in prepared:
            self._check_dimension(vector, dimension)
        self._table.remove(removals)
        if prepared:
            if self._flat is None:
                self._flat = faiss.IndexFlatIP(dimension)
            self._flat.add(np.stack(prepared))
            self._table.append([i for i, _, _ in additions], [labels for _, labels, _ in additions])
        if self._table.wants_compaction():
            self.compact()

    def compact(self) -> None:
        """Drops the rows of removed references; ``apply`` does so by itself when it pays."""
        if self._flat is None:
            return
        rows = self._rows()
        keep = self._table.compact()
        smaller = faiss.IndexFlatIP(self._flat.d)
        for start in range(0, len(keep), 65536):
            smaller.add(rows[keep[start : start + 65536]])
        self._flat = smaller

    def shortlist(
        self, probes: Sequence[PreparedFace], count: int, labels: int = ALL_LABELS
    ) -> list[NDArray[np.int64]]:
        """The ids of the ``count`` most similar references of each probe; see ``ReferenceIndex``.

        Exactly the order of ``compare``, ties by ascending id.
        """
        if not probes or self._flat is None or count <= 0:
            return [np.zeros(0, np.int64) for _ in probes]
        for probe in probes:
            self._check_dimension(probe, self._flat.d)
        selected = self._table.selected(labels)
        alive = int(selected.sum())
        if alive <= count + self._parameters.spare:
            every = np.flatnonzero(selected).astype(np.int64)
            return [self._ranked(probe, every)[:count] for probe in probes]
        search = None
        if alive < len(selected):
            bitmap = np.packbits(selected, bitorder="little")
            search = _faiss.SearchParameters(sel=_faiss.IDSelectorBitmap(bitmap))
        return self._nearest(np.stack(list(probes)), count, alive, search)

    def compare(self, probe: PreparedFace, references: NDArray[np.int64]) -> NDArray[np.float64]:
        """Raw scores of a probe against references; see ``ReferenceIndex``."""
        scores = np.full(len(references), np.nan)
        if self._flat is None:
            return scores
        self._check_dimension(probe, self._flat.d)
        slots = self._table.slots(references)
        known = slots >= 0
        scores[known] = cosines(self._rows()[slots[known]], probe)
        return scores

    def _nearest(self, probes: NDArray[np.float32], count: int, alive: int, search: Any) -> list[NDArray[np.int64]]:
        margin = 2.0 * probes.shape[1] * self._parameters.rounding
        answers: list[NDArray[np.int64]] = [np.zeros(0, np.int64)] * len(probes)
        pending = np.arange(len(probes))
        fetch = min(count + self._parameters.spare, alive)
        while len(pending):
            scores, slots = self._flat.search(probes[pending], fetch, params=search)
            settled = (scores[:, -1] < scores[:, count - 1] - margin) | (fetch == alive)
            for at in np.flatnonzero(settled):
                answers[pending[at]] = self._ranked(probes[pending[at]], slots[at])[:count]
            pending = pending[~settled]
            fetch = min(4 * fetch, alive)
        return answers

    def _ranked(self, probe: PreparedFace, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        scores = cosines(self._rows()[slots], probe)
        ids = self._table.ids[slots]
        ranked: NDArray[np.int64] = ids[np.lexsort((ids, -scores))]
        return ranked

    def _rows(self) -> NDArray[np.float32]:
        """float32[rows, d], a view into the FAISS index; valid until it changes."""
        total, dimension = int(self._flat.ntotal), int(self._flat.d)
        if not total:
            return np.zeros((0, dimension), np.float32)
        view: NDArray[np.float32] = faiss.rev_swig_ptr(self._flat.get_xb(), total * dimension)
        return view.reshape(total, dimension)

    def _check_dimension(self, vector: PreparedFace, dimension: int) -> None:
        if len(vector) != dimension:
            raise ModelMismatch(
                f"this embedding has {len(vector)} numbers and those on record have {dimension}: another model made "
                "it; extract it again with the configured face pack"
            )
