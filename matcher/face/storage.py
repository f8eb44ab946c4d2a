"""Rows of embeddings: in RAM 8-bit codes and the lengths of what these leave out, in a file the exact vectors."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from matcher.face.coding import FaceCoding, fitted
from matcher.face.parameters import FaceIndexParameters
from matcher.growing import GrowingArray
from matcher.inner_products import Queries, Rows
from matcher.mapped import MappedArray
from matcher.modality import MemoryUse

_ROWS_AT_ONCE = 8192


@dataclasses.dataclass(frozen=True, eq=False)
class FaceRows:
    """The embeddings that were there at one moment.

    Attributes:
        exact: float32[n, d], unit length.
        coded: the same as codes.
        coding: how they were made.
        file: in which the exact ones lie.
    """

    exact: NDArray[np.float32]
    coded: Rows
    coding: FaceCoding
    file: MappedArray[np.float32]

    def __len__(self) -> int:
        return len(self.exact)

    @property
    def dimension(self) -> int:
        """Numbers in an embedding."""
        return int(self.exact.shape[1])

    def part(self, begin: int, end: int) -> FaceRows:
        """Some of the rows."""
        return dataclasses.replace(self, exact=self.exact[begin:end], coded=self.coded.part(begin, end))

    def queries(self, probes: NDArray[np.float32], parameters: FaceIndexParameters) -> Queries:
        """Probes (float32[p, d], unit length) as queries of the codes."""
        return self.coding.queries(probes, parameters)


class FaceStorage:
    """Appended rows of embeddings of one length; one writer at a time, any number of ``rows`` read meanwhile.

    Args:
        dimension: numbers in an embedding.
        parameters: see the class.
        folder: where the mapped file lies; None for the system's folder of temporary files.

    Raises:
        StorageFailure: no file can be made for the exact vectors.
    """

    def __init__(self, dimension: int, parameters: FaceIndexParameters, folder: Path | None = None) -> None:
        self.dimension = dimension
        self._parameters = parameters
        self._exact = MappedArray(np.float32, (dimension,), folder)
        self._codes: _Codes | None = None
        # What readers may see: set when all of a row is written.
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def fit(self, vectors: NDArray[np.float32]) -> None:
        """Chooses the codes for vectors like these (float32[n, d], n >= 1), and makes those of the rows anew.

        Due before the first row; whoever has ``rows`` keeps the codes that were.
        """
        codes = _Codes(fitted(vectors, self._parameters))
        codes.reserve(self._size)
        for start in range(0, self._size, _ROWS_AT_ONCE):
            codes.extend(self._exact.values[start : min(start + _ROWS_AT_ONCE, self._size)])
        self._codes = codes

    def reserve(self, rows: int) -> None:
        """Makes room for so many rows more, so that ``append`` of them does not fail.

        Raises:
            StorageFailure: the disk has none. Nothing is changed then.
        """
        self._exact.reserve(rows)
        if self._codes:
            self._codes.reserve(rows)

    def append(self, vectors: NDArray[np.float32]) -> None:
        """Adds rows (float32[n, d], unit length); raises as ``reserve``. ``fit`` is due before the first."""
        self.reserve(len(vectors))
        assert self._codes is not None
        for start in range(0, len(vectors), _ROWS_AT_ONCE):
            some = vectors[start : start + _ROWS_AT_ONCE]
            self._exact.extend(some)
            self._codes.extend(some)
        self._size += len(vectors)

    def rows(self) -> FaceRows:
        """All rows that there are now, without a copy."""
        size = self._size  # read first: codes that replace others have all these rows
        codes = self._codes
        assert codes is not None
        return FaceRows(self._exact.values[:size], codes.rows(size), codes.coding, self._exact)

    def memory(self) -> list[MemoryUse]:
        """What it takes, by part."""
        return [
            MemoryUse("codes", self._codes.nbytes if self._codes else 0, 0),
            MemoryUse("exact vectors", 0, self._exact.nbytes),
        ]


class _Codes:
    """Growing codes of one coding."""

    def __init__(self, coding: FaceCoding) -> None:
        self.coding = coding
        self._heads = GrowingArray(np.uint8, (coding.head,))
        self._residuals = GrowingArray(np.float32)
        self._tails: GrowingArray[np.uint8] | None = None
        self._lengths: GrowingArray[np.float32] | None = None
        if coding.rotation is not None:
            self._tails = GrowingArray(np.uint8, (len(coding.rotation) - coding.head,))
            self._lengths = GrowingArray(np.float32)

    @property
    def nbytes(self) -> int:
        return sum(each.nbytes for each in (self._heads, self._residuals, self._tails, self._lengths) if each)

    def reserve(self, rows: int) -> None:
        for each in (self._heads, self._residuals, self._tails, self._lengths):
            if each is not None:
                each.reserve(rows)

    def extend(self, vectors: NDArray[np.float32]) -> None:
        made = self.coding.encode(vectors)
        assert made.residuals is not None
        self._heads.extend(made.heads)
        self._residuals.extend(made.residuals)
        if self._tails is not None and self._lengths is not None:
            assert made.tails is not None
            assert made.lengths is not None
            self._tails.extend(made.tails)
            self._lengths.extend(made.lengths)

    def rows(self, size: int) -> Rows:
        return Rows(
            self._heads.values[:size],
            self._residuals.values[:size],
            None if self._tails is None else self._tails.values[:size],
            None if self._lengths is None else self._lengths.values[:size],
        )
