"""Where the iris codes of an index lie in memory: rows, bit-sliced blocks, and a mapped file.

* Search codes and their masks, row by row, in two arrays (256 bytes an eye each); masked bits are 0. FAISS looks at the
  codes where they lie.
* The beginning of the search code, which the first stage of a search goes through, once more, bit-sliced in blocks of
  512 eyes (128 bytes an eye; see ``slices``).
* Verification codes in a mapped file (2 KB an eye): only what a search has found is looked up there.

Rows are only ever appended. A block that is partly filled gets further rows, each in a lane of its own, so that nobody
who knows of fewer rows sees a change.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from matcher.growing import GrowingArray
from matcher.iris.comparison import verification_row
from matcher.iris.parameters import IrisParameters
from matcher.iris.slices import LANE_WORDS, LANES, write_lanes
from matcher.mapped import MappedArray
from matcher.modality import MemoryUse
from matcher.templates import IrisTemplate

Words = NDArray[np.uint64]

_CHUNK = 65536
"""Rows that are copied at a time."""


@dataclasses.dataclass(frozen=True, eq=False)
class IrisRows:
    """The rows that there were at one moment.

    Attributes:
        codes, masks: uint64[rows, words], search codes and their masks.
        blocks: uint64[blocks, bits of the prefix + 1, 2, LANE_WORDS], the search codes' beginnings bit-sliced; lanes
            behind the last row are of no account.
        verification: uint64[rows, 2, columns], verification codes and masks; file: in which they lie.
    """

    codes: Words
    masks: Words
    blocks: Words
    verification: Words
    file: MappedArray[np.uint64]

    def __len__(self) -> int:
        return len(self.codes)


class IrisStorage:
    """Codes of references by row, appended, never changed; one writer at a time, any number of readers of ``rows``.

    Args:
        parameters: the layout of the codes.
        folder: where the mapped file lies; None for the system's folder of temporary files.

    Raises:
        StorageFailure: no file can be made there.
    """

    def __init__(self, parameters: IrisParameters, folder: Path | None = None) -> None:
        self._words, self._columns = parameters.search.words, parameters.verification.columns
        self._codes = GrowingArray(np.uint64, (self._words,))
        self._masks = GrowingArray(np.uint64, (self._words,))
        self._blocks = GrowingArray(np.uint64, (parameters.prefix.bits + 1, 2, LANE_WORDS))
        self._verification = MappedArray(np.uint64, (2, self._columns), folder)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def rows(self) -> IrisRows:
        """All rows that there are now, without a copy."""
        size = self._size
        return IrisRows(
            self._codes.values[:size],
            self._masks.values[:size],
            self._blocks.values[: -(-size // LANES)],
            self._verification.values[:size],
            self._verification,
        )

    def reserve(self, rows: int) -> None:
        """Makes room for so many rows more, so that ``append`` of them cannot fail.

        Raises:
            StorageFailure: there is no room for the mapped file. Nothing is changed then.
        """
        self._verification.reserve(rows)
        self._codes.reserve(rows)
        self._masks.reserve(rows)
        self._blocks.reserve(rows // LANES + 1)

    def append(self, templates: Sequence[IrisTemplate]) -> None:
        """Adds rows for templates of the layout; raises as ``reserve``."""
        codes, masks = np.empty((2, len(templates), self._words), np.uint64)
        verification = np.empty((len(templates), 2, self._columns), np.uint64)
        for i, template in enumerate(templates):
            codes[i], masks[i] = template.search.bits, template.search.mask
            verification[i] = verification_row(template.verification)
        self._append(codes, masks, verification)

    def copy(self, other: IrisRows, rows: NDArray[np.int64]) -> None:
        """Adds these rows of another storage, in the order given; raises as ``reserve``."""
        self.reserve(len(rows))
        for start in range(0, len(rows), _CHUNK):
            chosen = rows[start : start + _CHUNK]
            self._append(other.codes[chosen], other.masks[chosen], other.verification[chosen])

    def memory(self) -> list[MemoryUse]:
        """What it takes, as it is used, by part."""
        return [
            MemoryUse("search codes", self._codes.nbytes + self._masks.nbytes, 0),
            MemoryUse("first stage", self._blocks.nbytes, 0),
            MemoryUse("verification codes", 0, self._verification.nbytes),
        ]

    def _append(self, codes: Words, masks: Words, verification: Words) -> None:
        self._verification.extend(verification)
        self._codes.extend(codes)
        self._masks.extend(masks)
        end = self._size + len(codes)
        self._blocks.add(-(-end // LANES) - len(self._blocks))
        write_lanes(self._blocks.values, self._size, codes, masks)
        # Only now does anybody learn of them.
        self._size = end
