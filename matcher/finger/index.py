"""1:N over fingers: vectors find those worth a look, cylinders put them in order, the comparator gives exact scores.

Steps of a shortlist:

1. The references whose vectors (``vector``) have the largest inner products with the probe's, among those selected:
   int8, exhaustive, exact (``nearest``).
2. These, at most ``most_looked_at``, get a first look (``first_look``): how alike their cylinders are, which counts as
   much as where they stand by their vectors.
3. The best of that, at most ``most_compared``, are compared by the fast stage of the comparison (``pairing``), and the
   best of them are the shortlist. A step that would find no more than are wanted would sort in vain and is left out.

A reference takes 488 bytes of RAM: its vector, and where its minutiae and cylinders lie in a mapped file
(``matcher.mapped``, ``rows``), about 2 kB, which is read when the reference is looked at.

R. Cappelli, M. Ferrara, D. Maltoni, "Fingerprint indexing based on Minutia Cylinder-Code", IEEE TPAMI 33 (2011), index
the bit cylinders themselves.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from matcher.errors import TemplateInvalid
from matcher.finger.comparison import FingerComparator
from matcher.finger.cylinders import PreparedFinger
from matcher.finger.first_look import first_look, looker, worth_comparing
from matcher.finger.nearest import VectorSearch, nearest_vectors
from matcher.finger.rows import FingerRows, copy_rows, row_words, rows_of
from matcher.finger.vector import VectorModel
from matcher.growing import GrowingArray
from matcher.inner_products import biased, unbiased
from matcher.mapped import MappedArray
from matcher.modality import MemoryUse, Selection, best, selectable
from matcher.stages import measure
from matcher.templates import FingerTemplate, Template
from matcher.threads import workers

_COPIED_AT_ONCE = 65_536
"""Fingers that ``copy`` moves at once: 160 MB."""
_SIDE_BY_SIDE = 256
"""Fingers that a thread prepares or compares before it asks for more: some milliseconds' work."""
_LOOKED_AT_SIDE_BY_SIDE = 2048
"""The same of those that a thread takes a first look at."""

_Float = TypeVar("_Float", bound=np.floating[Any])
_Stage = Callable[[FingerRows, NDArray[np.int64]], NDArray[_Float]]


@dataclasses.dataclass(frozen=True)
class ShortlistParameters:
    """How many references a step of the shortlist leaves for the next; a gallery asks for a thousand candidates in all,
    whether a search has one finger or ten.

    Attributes:
        looked_at_per_candidate: the vectors find so many for each candidate asked for, so that a search takes a first
            look at 100,000 references, a microsecond each. The nearest 5 % of vectors hold the mates of 97 % of single
            fingers, 10 % those of 98 %; of two fingers either of 99.7 % and more
            (``benchmarks/finger_identification.py``);
        most_looked_at: and never more;
        compared_per_candidate: the first look leaves so many for each candidate asked for, which the fast stage takes
            10 us each for;
        most_compared: and never more.
    """

    looked_at_per_candidate: int = 100
    most_looked_at: int = 100_000
    compared_per_candidate: int = 10
    most_compared: int = 10_000

    def looked_at(self, candidates: int) -> int:
        """References to find by their vectors for a shortlist of so many candidates."""
        return max(candidates, min(self.looked_at_per_candidate * candidates, self.most_looked_at))

    def compared(self, candidates: int) -> int:
        """How many of them the first look leaves."""
        return max(candidates, min(self.compared_per_candidate * candidates, self.most_compared))


@dataclasses.dataclass(frozen=True, eq=False)
class FingerView:
    """An ``IndexView`` of fingers.

    Attributes:
        codes: uint8[rows, numbers], the vectors as FAISS keeps them (``nearest``).
        rows: the minutiae and cylinders; file: in which their words lie.
        search: who looks for the nearest vectors; the answer is the same.
    """

    comparator: FingerComparator
    parameters: ShortlistParameters
    model: VectorModel
    codes: NDArray[np.uint8]
    rows: FingerRows
    file: MappedArray[np.uint64]
    search: VectorSearch = VectorSearch.FASTEST

    def __len__(self) -> int:
        return len(self.codes)

    def shortlist(
        self, probes: Sequence[PreparedFinger], count: int, selected: Selection = None
    ) -> list[NDArray[np.int64]]:
        """See ``IndexView.shortlist``."""
        there = selectable(len(self), selected)
        if there == 0 or count <= 0 or not probes:
            return [np.zeros(0, np.int64) for _ in probes]
        looked_at = min(there, self.parameters.looked_at(count))
        with measure("finger vectors"):
            found = self.nearest(probes, looked_at, selected)
        # A single probe is divided where its references are looked at.
        compared = self.parameters.compared(count)
        if looked_at > compared:
            with measure("finger first look"):
                look = functools.partial(self._likest, count=compared, there=there)
                found = workers().spread(look, list(zip(probes, found, strict=True)))
        if len(found[0]) > count:
            with measure("finger fast stage"):
                compare = functools.partial(self._best, count=count)
                found = workers().spread(compare, list(zip(probes, found, strict=True)))
        return found

    def nearest(
        self, probes: Sequence[PreparedFinger], count: int, selected: Selection = None
    ) -> list[NDArray[np.int64]]:
        """The first step: for each probe the rows of the ``count`` references with the nearest vectors, nearest first.

        Args:
            count: no more than are selected.
        """
        return nearest_vectors(self.codes, self.model.of_probes(probes), count, selected, self.search)

    def _likest(self, one: tuple[PreparedFinger, NDArray[np.int64]], count: int, there: int) -> NDArray[np.int64]:
        """The second step: of the nearest of ``there`` references those most worth comparing."""
        probe, rows = one
        places = np.argsort(rows)
        rows, tables = rows[places], self.comparator.tables
        look = functools.partial(first_look, looker(probe, tables), tables)
        self.fetch(rows)
        likeness = self._divided(look, rows, _LOOKED_AT_SIDE_BY_SIDE)
        return rows[best(worth_comparing(likeness, places, there), count)]

    def _best(self, one: tuple[PreparedFinger, NDArray[np.int64]], count: int) -> NDArray[np.int64]:
        """The third step: the rows with the best scores of the fast stage."""
        probe, rows = one
        rows = np.sort(rows)
        self.fetch(rows)
        scores = self._divided(functools.partial(self.comparator.relaxed_rows, probe), rows, _SIDE_BY_SIDE)
        return rows[best(scores, count)]

    def compare(self, probe: PreparedFinger, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """See ``IndexView.compare``."""
        return self._divided(functools.partial(self.comparator.compare_rows, probe), rows, _SIDE_BY_SIDE)

    def vectors(self) -> NDArray[np.int8]:
        """int8[rows, numbers]: a copy of all vectors."""
        return unbiased(self.codes)

    def _divided(self, stage: _Stage[_Float], rows: NDArray[np.int64], side_by_side: int) -> NDArray[_Float]:
        """The scores of a stage of the comparison, divided among the threads."""
        if len(rows) <= _SIDE_BY_SIDE:
            return stage(self.rows, rows)
        parts = [rows[at : at + side_by_side] for at in range(0, len(rows), side_by_side)]
        return np.concatenate(workers().map(functools.partial(stage, self.rows), parts))

    def fetch(self, rows: NDArray[np.int64]) -> None:
        """See ``IndexView.fetch``."""
        self.file.fetch_missing(self.rows.start[rows], self.rows.ends(rows))


class FingerIndex:
    """A ``ReferenceIndex`` of fingers of one algorithm.

    Args:
        comparator, parameters, model: other ones than the package's, for experiments.
        folder: where the mapped file lies; None for the system's folder of temporary files.
        search: who looks for the nearest vectors, see ``FingerView``.
    """

    def __init__(
        self,
        comparator: FingerComparator | None = None,
        parameters: ShortlistParameters | None = None,
        model: VectorModel | None = None,
        folder: Path | None = None,
        search: VectorSearch = VectorSearch.FASTEST,
    ) -> None:
        self.comparator = comparator or FingerComparator()
        self.parameters = parameters or ShortlistParameters()
        self.model = model or VectorModel.load()
        self.search = search
        self._folder = folder
        self._codes = GrowingArray(np.uint8, (self.model.parameters.numbers,))
        self._start = GrowingArray(np.int64)
        self._words = MappedArray(np.uint64, (), folder)
        # Rows and words that views may know of: raised, both at once, when all of a row is there.
        self._extent = (0, 0)

    def __len__(self) -> int:
        return self._extent[0]

    def check(self, template: Template) -> PreparedFinger:
        """The prepared template, when ``append`` could take it; raises ModelMismatch or TemplateInvalid."""
        return self.comparator.prepare(template)

    def complete(self, templates: Sequence[Template], prepared: Sequence[PreparedFinger]) -> list[Template]:
        """Templates with their vectors by this index's model, whatever vectors they came with; see ``ReferenceIndex``.

        Of sixteen at once each takes 0.3 ms instead of 0.5: the model is read from memory once. Beside others a number
        may come out one higher or lower than by itself: the last bit of a matrix product depends on its size.

        Raises:
            TemplateInvalid: one is no finger's.
        """
        completed: list[Template] = []
        for template, vector in zip(templates, self.model.encode(prepared), strict=True):
            if not isinstance(template, FingerTemplate):
                raise TemplateInvalid(f"a {template.modality} template is no finger's")
            completed.append(dataclasses.replace(template, vector=vector, vector_model=self.model.number))
        return completed

    def reserve(self, references: int) -> None:
        """See ``ReferenceIndex``; for as many minutiae as are compared at the most."""
        cylinders = self.comparator.cylinders
        self._reserve(references, references * row_words(cylinders.max_minutiae, cylinders.words))

    def append(self, templates: Sequence[Template]) -> None:
        """See ``ReferenceIndex``. A template that comes with a vector of this index's model is taken by its word.

        Raises:
            ModelMismatch: a template is of another modality or algorithm.
            StorageFailure: there is no room for the mapped file.
            Nothing is changed then.
        """
        if not templates:
            return
        parts = [templates[at : at + _SIDE_BY_SIDE] for at in range(0, len(templates), _SIDE_BY_SIDE)]
        prepared = [finger for part in workers().map(self.comparator.prepare_many, parts) for finger in part]
        self._extend(rows_of(prepared), biased(self._vectors_of(templates, prepared)))

    def _vectors_of(self, templates: Sequence[Template], prepared: Sequence[PreparedFinger]) -> NDArray[np.int8]:
        result = np.zeros((len(prepared), self.model.parameters.numbers), np.int8)
        missing = []
        for i, template in enumerate(templates):
            if isinstance(template, FingerTemplate) and template.vector_model == self.model.number:
                result[i] = template.vector
            else:
                missing.append(i)
        if missing:
            result[missing] = self.model.encode([prepared[i] for i in missing])
        return result

    def _extend(self, fingers: FingerRows, codes: NDArray[np.uint8]) -> None:
        self._reserve(len(fingers), len(fingers.words))
        self._start.extend(len(self._words) + fingers.start)
        self._words.extend(fingers.words)
        self._codes.extend(codes)
        self._extent = (self._extent[0] + len(fingers), len(self._words))

    def _reserve(self, fingers: int, words: int) -> None:
        self._words.reserve(words)
        self._start.reserve(fingers)
        self._codes.reserve(fingers)

    def view(self) -> FingerView:
        """See ``ReferenceIndex``; may be asked for while rows are appended."""
        size, words = self._extent
        rows = FingerRows(self._words.values[:words], self._start.values[:size])
        return FingerView(
            self.comparator, self.parameters, self.model, self._codes.values[:size], rows, self._words, self.search
        )

    def often_read(self) -> Sequence[MappedArray[Any]]:
        """The cylinders: a search takes a first look at up to 100,000 fingers'. See ``ReferenceIndex``."""
        return (self._words,)

    def copy(self, rows: NDArray[np.int64]) -> FingerIndex:
        """See ``ReferenceIndex``."""
        view = self.view()
        sizes = view.rows.ends(rows) - view.rows.start[rows]
        made = FingerIndex(self.comparator, self.parameters, self.model, self._folder, self.search)
        made._reserve(len(rows), int(sizes.sum()))
        for at in range(0, len(rows), _COPIED_AT_ONCE):
            part, lengths = rows[at : at + _COPIED_AT_ONCE], sizes[at : at + _COPIED_AT_ONCE]
            starts = view.rows.start[part]
            # Most rows are kept: all that lies between the first and the last is read in one go.
            self._words.fetch(starts.min(keepdims=True), starts.max(keepdims=True))
            copied = np.empty(int(lengths.sum()), np.uint64)
            copy_rows(view.rows.words, starts, lengths, copied)
            made._extend(FingerRows(copied, np.cumsum(lengths) - lengths), view.codes[part])
        return made

    def memory(self) -> list[MemoryUse]:
        """See ``ReferenceIndex``."""
        return [
            MemoryUse("vectors", self._codes.nbytes, 0),
            MemoryUse("minutiae and cylinders", self._start.nbytes, 8 * len(self._words)),
        ]
