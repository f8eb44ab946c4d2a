"""1:N search of face embeddings, exact: what it answers is the order of the comparator's float64 scores, whatever it
looks at first.

Steps of a shortlist (``FaceScan.KERNELS``):

1. A coarse pass over the heads of 8-bit codes gives, for each pair, a score with the bounds that follow from the
   lengths of what they leave out (``matcher.face.coding``), which the tails of few narrow; see
   ``matcher.inner_products`` for the pass itself.
2. Rows whose upper bound reaches the ``count``-th best lower bound are scored by the comparator's function from their
   exact vectors, in a mapped file, and ranked by score, then by row.

FAISS answers the same from the same memory: from the exact vectors, or with its own pass over the codes.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from matcher.errors import ModelMismatch
from matcher.face.coding import looked_at
from matcher.face.comparison import COMPACT_ALGORITHM, FaceComparator, PreparedFace, cosines_of_pairs
from matcher.face.flat import candidates_by_codes, candidates_by_vectors
from matcher.face.parameters import FaceIndexParameters
from matcher.face.storage import FaceRows, FaceStorage
from matcher.inner_products import MOST_ROWS, Found, least_batch, nearest, seconds
from matcher.mapped import MappedArray
from matcher.modality import Comparator, MemoryUse, Selection
from matcher.templates import Template
from matcher.threads import workers

_COPIED_AT_ONCE = 8192
_MEASURED_ON = 32768
"""References of the measurement that chooses how single probes are searched."""


class FaceScan(enum.Enum):
    """What looks at the references; the answers are the same."""

    AUTO = "auto"
    """FAISS's float32 vectors for few references; for many, batches by the kernels, single probes by what a measurement
    found faster."""
    KERNELS = "kernels"
    """8-bit codes, by onnxruntime and compiled loops."""
    FAISS_CODES = "faiss-codes"
    """8-bit codes, by FAISS."""
    FAISS = "faiss"
    """float32 vectors, by FAISS."""


class FaceView:
    """The references at one moment (a ``matcher.modality.IndexView``)."""

    def __init__(self, rows: FaceRows | None, scan: FaceScan, parameters: FaceIndexParameters) -> None:
        self._rows = rows
        self._scan = scan
        self._parameters = parameters

    def __len__(self) -> int:
        return 0 if self._rows is None else len(self._rows)

    @property
    def numbers_scanned(self) -> int:
        """How many numbers of each reference a search looks at, those of its head; all are where there is none."""
        return 0 if self._rows is None else self._rows.coding.head

    def shortlist(
        self, probes: Sequence[PreparedFace], count: int, selected: Selection = None
    ) -> list[NDArray[np.int64]]:
        """Rows of the ``count`` most similar references of each probe; see ``IndexView``.

        Exactly the order of ``compare``, equal scores by ascending row.

        Raises:
            ModelMismatch: a probe has another length than the references.
        """
        if not probes or self._rows is None or count <= 0:
            return [np.zeros(0, np.int64) for _ in probes]
        for probe in probes:
            check_dimension(probe, self._rows.dimension)
        stacked = np.stack(list(probes))
        return [rows for rows, _ in self._nearest(self._rows, stacked, count, selected)]

    def fetch(self, rows: NDArray[np.int64]) -> None:
        """See ``IndexView.fetch``."""
        if self._rows is not None:
            self._rows.file.fetch_missing(rows, rows + 1)

    def compare(self, probe: PreparedFace, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Raw scores of a probe with references; see ``IndexView``.

        Raises:
            ModelMismatch: the probe has another length than the references.
        """
        if self._rows is None:
            return np.zeros(0, np.float64)
        check_dimension(probe, self._rows.dimension)
        numbers = np.zeros(len(rows), np.int64)
        return cosines_of_pairs(self._rows.exact, probe[None, :], numbers, np.asarray(rows, np.int64))

    def _nearest(self, rows: FaceRows, probes: NDArray[np.float32], count: int, selected: Selection) -> list[Found]:
        def exact(numbers: NDArray[np.int64], chosen: NDArray[np.int64]) -> NDArray[np.float64]:
            rows.file.fetch_missing(chosen, chosen + 1)
            return cosines_of_pairs(rows.exact, probes, numbers, chosen)

        scan = self._scan
        if scan is FaceScan.AUTO:
            scan = automatic(len(rows), len(probes), self._parameters)
        if scan is FaceScan.KERNELS:
            queries = rows.queries(probes, self._parameters)
            return nearest(queries, rows.coded, count, selected, exact)
        return self._by_faiss(rows, probes, count, selected, scan)

    def _by_faiss(
        self, rows: FaceRows, probes: NDArray[np.float32], count: int, selected: Selection, scan: FaceScan
    ) -> list[Found]:
        queries = rows.queries(probes, self._parameters) if scan is FaceScan.FAISS_CODES else None

        def candidates(part: tuple[int, int]) -> list[NDArray[np.int64]]:
            some, chosen = rows.part(*part), None if selected is None else selected[slice(*part)]
            if queries is not None:
                found = candidates_by_codes(some, queries, count, chosen, self._parameters)
            else:
                found = candidates_by_vectors(some, probes, count, chosen, self._parameters)
            return [each + part[0] for each in found]

        parts = workers().map(candidates, workers().ranges(len(rows)))

        def ranked(number: int) -> Found:
            found = np.concatenate([part[number] for part in parts])
            scores = cosines_of_pairs(rows.exact, probes, np.full(len(found), number), found)
            order = np.lexsort((found, -scores))[:count]
            return found[order], scores[order]

        return workers().map(ranked, range(len(probes)))


class FaceIndex:
    """Face references of one model (a ``matcher.modality.ReferenceIndex``).

    The dimension is that of the first reference. d + 8 bytes a reference in RAM, 4 d in a mapped file. The codes are
    fitted to the first references, and once more to as many as it takes to find a head.

    Args:
        algorithm: id of the model; templates of any other are refused.
        scan: how it is searched; may be changed at any time, for views made afterwards.
        parameters: see the class.
        folder: where the mapped file lies; None for the system's folder of temporary files.
    """

    def __init__(
        self,
        algorithm: str = COMPACT_ALGORITHM,
        scan: FaceScan = FaceScan.AUTO,
        parameters: FaceIndexParameters | None = None,
        folder: Path | None = None,
    ) -> None:
        self.comparator: Comparator = FaceComparator(algorithm)
        self.scan = scan
        self._algorithm = algorithm
        self._parameters = parameters or FaceIndexParameters()
        self._folder = folder
        self._storage: FaceStorage | None = None

    def __len__(self) -> int:
        return 0 if self._storage is None else len(self._storage)

    @property
    def dimension(self) -> int | None:
        """Numbers in an embedding; None before the first reference."""
        return self._storage.dimension if self._storage else None

    def check(self, template: Template) -> PreparedFace:
        """The prepared template, when ``append`` could take it; raises ModelMismatch or TemplateInvalid."""
        vector: PreparedFace = self.comparator.prepare(template)
        check_dimension(vector, self.dimension or len(vector))
        return vector

    def complete(self, templates: Sequence[Template], prepared: Sequence[PreparedFace]) -> list[Template]:
        """The templates themselves: nothing is kept beside them. See ``ReferenceIndex``."""
        return list(templates)

    def reserve(self, references: int) -> None:
        """Makes room; see ``ReferenceIndex``. Before the first reference, for embeddings as long as is usual."""
        if self._storage is None:
            self._storage = FaceStorage(self._parameters.usual_dimension, self._parameters, self._folder)
        self._storage.reserve(references)

    def append(self, templates: Sequence[Template]) -> None:
        """Adds references as the next rows; see ``ReferenceIndex``.

        Raises:
            ModelMismatch: a template of another model or another length. Nothing is changed then.
            StorageFailure: there is no room. Nothing is changed then.
        """
        prepared: list[PreparedFace] = [self.comparator.prepare(template) for template in templates]
        if not prepared:
            return
        dimension = self.dimension or len(prepared[0])
        for vector in prepared:
            check_dimension(vector, dimension)
        self._append(np.stack(prepared))

    def view(self) -> FaceView:
        """All rows that there are now; see ``ReferenceIndex``."""
        return FaceView(self._storage.rows() if self._storage else None, self.scan, self._parameters)

    def often_read(self) -> Sequence[MappedArray[Any]]:
        """None: a search looks up a few thousand references. See ``ReferenceIndex``."""
        return ()

    def copy(self, rows: NDArray[np.int64]) -> FaceIndex:
        """Another index with these rows; see ``ReferenceIndex``. Its codes are fitted to them anew."""
        copy = FaceIndex(self._algorithm, self.scan, self._parameters, self._folder)
        if self._storage and len(rows):
            vectors = self._storage.rows().exact
            copied = FaceStorage(self._storage.dimension, self._parameters, self._folder)
            copied.fit(vectors[rows[looked_at(len(rows), self._parameters)]])
            copied.reserve(len(rows))
            for start in range(0, len(rows), _COPIED_AT_ONCE):
                copied.append(vectors[rows[start : start + _COPIED_AT_ONCE]])
            copy._storage = copied
        return copy

    def memory(self) -> list[MemoryUse]:
        """What it takes; see ``ReferenceIndex``."""
        return [] if self._storage is None else self._storage.memory()

    def _append(self, vectors: NDArray[np.float32]) -> None:
        storage = self._storage
        if storage is None or storage.dimension != vectors.shape[1]:
            storage = FaceStorage(vectors.shape[1], self._parameters, self._folder)
        if not len(storage):
            storage.fit(vectors)
        storage.append(vectors)
        # The first rows were too few to say what the others are like.
        if len(storage) >= self._parameters.least_rotated > len(storage) - len(vectors) > 0:
            storage.fit(storage.rows().exact)
        self._storage = storage


def check_dimension(vector: PreparedFace, dimension: int) -> None:
    """Raises ModelMismatch where an embedding has another length than those on record."""
    if len(vector) != dimension:
        raise ModelMismatch(
            f"this embedding has {len(vector)} numbers and those on record have {dimension}: another model made "
            "it; extract it again with the configured face pack"
        )


def automatic(references: int, probes: int, parameters: FaceIndexParameters) -> FaceScan:
    """What ``FaceScan.AUTO`` stands for, for so many references and probes."""
    if references <= parameters.flat_rows:
        return FaceScan.FAISS
    return single_probe_scan()[0] if probes == 1 else FaceScan.KERNELS


@functools.cache
def single_probe_scan() -> tuple[FaceScan, float, float]:
    """What searches the codes for one probe faster here, and the references a second of kernels and of FAISS.

    Measured once in a process, on random vectors as long as heads are and as many threads as searches have; takes some
    50 ms.
    """
    parameters = FaceIndexParameters(least_rotated=MOST_ROWS)
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((_MEASURED_ON, parameters.usual_head), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    storage = FaceStorage(parameters.usual_head, parameters)
    storage.fit(vectors)
    storage.append(vectors)
    rates = {}
    for scan in (FaceScan.KERNELS, FaceScan.FAISS_CODES):
        view = FaceView(storage.rows(), scan, parameters)
        rates[scan] = len(view) / seconds(lambda view=view: view.shortlist([vectors[0]], 50))  # type: ignore[misc]
    return max(rates, key=lambda scan: rates[scan]), rates[FaceScan.KERNELS], rates[FaceScan.FAISS_CODES]


def describe() -> str:
    """What searches faces on this machine, as measured: a sentence for the status of the service."""
    scan, kernels, by_faiss = single_probe_scan()
    return (
        f"one face probe: {'compiled loop' if scan is FaceScan.KERNELS else 'FAISS int8'} "
        f"({kernels / 1e6:.0f} M faces/s, FAISS int8 {by_faiss / 1e6:.0f} M/s, {workers().count} threads); "
        f"batches from {least_batch()} probes: onnxruntime MatMulInteger"
    )
