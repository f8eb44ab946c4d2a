"""Rows of embeddings: in RAM 8-bit codes and the lengths of what these leave out, in a file the exact vectors."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from matcher.face.parameters import FaceIndexParameters
from matcher.growing import GrowingArray
from matcher.inner_products import Queries, biased, query_levels
from matcher.mapped import MappedArray
from matcher.modality import MemoryUse

ROW_LEVELS = 127
_ROWS_AT_ONCE = 8192


@dataclasses.dataclass(frozen=True, eq=False)
class FaceRows:
    """The embeddings that were there at one moment.

    Attributes:
        exact: float32[n, d], unit length.
        codes: uint8[n, d], the embeddings divided by ``step``, rounded, as ``inner_products.biased`` stores them.
        residuals: float32[n], length of the embedding less that of which the codes speak; never too short.
        step: what one of the codes is worth.
    """

    exact: NDArray[np.float32]
    codes: NDArray[np.uint8]
    residuals: NDArray[np.float32]
    step: float

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def dimension(self) -> int:
        """Numbers in an embedding."""
        return int(self.codes.shape[1])

    def part(self, begin: int, end: int) -> FaceRows:
        """Some of the rows."""
        return FaceRows(self.exact[begin:end], self.codes[begin:end], self.residuals[begin:end], self.step)

    def queries(self, probes: NDArray[np.float32], parameters: FaceIndexParameters) -> Queries:
        """Probes (float32[p, d], unit length) as queries of the codes, with the bounds that follow.

        With x and q, what the codes of them say (x', q'), and c the codes of q:
        ``|q.x - q'.x'| = |q'.(x - x') + (q - q').x| <= |q'| |x - x'| + |q - q'| |x|`` (Cauchy and Schwarz), here
        divided by the two steps.
        """
        levels = query_levels()
        wide = probes.astype(np.float64)
        largest = np.abs(wide).max(axis=1)
        steps = np.where(largest > 0.0, largest, 1.0) / levels
        codes = np.rint(wide / steps[:, None])
        left_out = np.linalg.norm(wide - codes * steps[:, None], axis=1)
        units = steps * self.step
        # Prepared vectors have unit length to float32.
        margins = (left_out * (1 + 1e-6) + parameters.float64_rounding) / units
        gains = np.linalg.norm(codes, axis=1) / self.step
        return Queries(codes.astype(np.int8), gains.astype(np.float32), margins.astype(np.float32), units)


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
        self._codes = GrowingArray(np.uint8, (dimension,))
        self._residuals = GrowingArray(np.float32)
        self._step = 0.0
        # What readers may see: set when all of a row is written.
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def fit(self, vectors: NDArray[np.float32]) -> None:
        """Chooses the step of the codes for vectors like these (float32[n, d], n >= 1); before the first row."""
        some = vectors[:: -(-len(vectors) // self._parameters.fitted_on)]
        least = self._parameters.clip / np.sqrt(self.dimension)
        self._step = float(max(least, np.quantile(np.abs(some), self._parameters.fitting))) / ROW_LEVELS

    def reserve(self, rows: int) -> None:
        """Makes room for so many rows more, so that ``append`` of them does not fail.

        Raises:
            StorageFailure: the disk has none. Nothing is changed then.
        """
        self._exact.reserve(rows)
        self._codes.reserve(rows)
        self._residuals.reserve(rows)

    def append(self, vectors: NDArray[np.float32]) -> None:
        """Adds rows (float32[n, d], unit length); raises as ``reserve``. ``fit`` is due before the first."""
        self.reserve(len(vectors))
        for start in range(0, len(vectors), _ROWS_AT_ONCE):
            some = vectors[start : start + _ROWS_AT_ONCE]
            codes = np.clip(np.rint(some / np.float32(self._step)), -ROW_LEVELS, ROW_LEVELS)
            left_out = some.astype(np.float64) - codes.astype(np.float64) * self._step
            residuals = np.linalg.norm(left_out, axis=1).astype(np.float32)
            self._exact.extend(some)
            self._residuals.extend(np.nextafter(residuals, np.float32(np.inf)))
            self._codes.extend(biased(codes.astype(np.int8)))
        self._size += len(vectors)

    def rows(self) -> FaceRows:
        """All rows that there are now, without a copy."""
        size = self._size
        return FaceRows(self._exact.values[:size], self._codes.values[:size], self._residuals.values[:size], self._step)

    def memory(self) -> list[MemoryUse]:
        """What it takes, by part."""
        return [
            MemoryUse("codes", self._codes.nbytes + self._residuals.nbytes, 0),
            MemoryUse("exact vectors", 0, self._exact.nbytes),
        ]
