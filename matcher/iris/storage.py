"""Where the iris codes of an index lie in memory: row by row in FAISS, in blocks, and apart from both.

* Search codes and masks, side by side in a row, in a FAISS ``IndexBinaryFlat`` (512 bytes an eye).
* The beginning of the search code, which the first stage of a search goes through, once more in blocks of 64 eyes,
  word after word, so that the processor's vectors hold one word of several eyes (128 bytes an eye).
* Verification codes in a mapped file (2 KB an eye): only what a search has found is looked up there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from matcher.iris.comparison import verification_row
from matcher.iris.kernel import LANES
from matcher.iris.parameters import IrisParameters
from matcher.mapped import MappedArray
from matcher.templates import IrisTemplate

Words = NDArray[np.uint64]

_CHUNK = 65536
"""Rows that are copied at a time."""


class IrisStorage:
    """Codes of references by row, appended, never changed. Not synchronised.

    Args:
        parameters: the layout of the codes.
        folder: where the mapped file lies; None for the system's folder of temporary files.
    """

    def __init__(self, parameters: IrisParameters, folder: Path | None = None) -> None:
        self._search_words = parameters.search.words
        self._prefix_words = parameters.prefix.words
        self._faiss: Any = faiss.IndexBinaryFlat(2 * 64 * self._search_words)
        self._blocks = np.zeros((1, 2, self._prefix_words, LANES), np.uint64)
        self._verification = MappedArray(np.uint64, (2, parameters.verification.columns), folder)

    def __len__(self) -> int:
        """Rows used."""
        return int(self._faiss.ntotal)

    @property
    def search(self) -> Words:
        """uint64[rows, 2 words], search code, then mask: FAISS's own memory, good until the next ``append``."""
        if len(self) == 0:
            return np.zeros((0, 2 * self._search_words), np.uint64)
        stored: NDArray[np.uint8] = faiss.rev_swig_ptr(self._faiss.xb.data(), len(self) * self._faiss.code_size)
        return stored.view(np.uint64).reshape(len(self), -1)

    @property
    def blocks(self) -> Words:
        """uint64[blocks, 2, words, 64], the search codes' beginnings and masks; zeros behind the last row."""
        return self._blocks[: -(-len(self) // LANES)]

    @property
    def verification(self) -> Words:
        """uint64[rows, 2, columns], verification codes and masks."""
        return self._verification.values

    def reserve(self, rows: int) -> None:
        """Makes room for so many rows more, so that ``append`` and ``copy`` of them cannot fail.

        Raises:
            StorageFailure: there is no room for the mapped file. Nothing is changed then.
        """
        self._verification.reserve(rows)

    def append(self, templates: Sequence[IrisTemplate]) -> None:
        """Adds rows for templates of the layout; raises as ``reserve``."""
        if templates:
            search = np.stack([np.concatenate([t.search.bits, t.search.mask]) for t in templates])
            self._append(search, np.stack([verification_row(t.verification) for t in templates]))

    def copy(self, other: IrisStorage, rows: NDArray[np.int64]) -> None:
        """Adds these rows of another storage, in the order given; raises as ``reserve``."""
        self.reserve(len(rows))
        for start in range(0, len(rows), _CHUNK):
            chosen = rows[start : start + _CHUNK]
            self._append(other.search[chosen], other.verification[chosen])

    def _append(self, search: Words, verification: Words) -> None:
        start, end = len(self), len(self) + len(search)
        self._verification.extend(verification)
        self._blocks = _grown(self._blocks, -(-end // LANES))
        rows = np.arange(start, end)
        words = self._prefix_words
        for part in range(2):
            at = part * self._search_words
            self._blocks[rows // LANES, part, :, rows % LANES] = search[:, at : at + words]
        self._faiss.add(np.ascontiguousarray(search).view(np.uint8))


def _grown(table: Words, need: int) -> Words:
    """The table with room for ``need`` entries, at least twice as many as before where it must grow."""
    if need <= len(table):
        return table
    grown = np.zeros((max(need, 2 * len(table)), *table.shape[1:]), np.uint64)
    grown[: len(table)] = table
    return grown
