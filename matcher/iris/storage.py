"""Where the iris codes of an index lie in memory: row by row in FAISS, in blocks, and apart from both.

* Search codes and masks, side by side in a row, in a FAISS ``IndexBinaryFlat`` (512 bytes an eye).
* The beginning of the search code, which the first stage of a search goes through, once more in blocks of 64 eyes,
  word after word, so that the processor's vectors hold one word of several eyes (128 bytes an eye).
* Verification codes by themselves (2 KB an eye): only what a search has found is looked up there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from matcher.iris.comparison import verification_row
from matcher.iris.kernel import LANES
from matcher.iris.parameters import IrisParameters
from matcher.templates import IrisTemplate

Words = NDArray[np.uint64]


class IrisStorage:
    """Codes of references by row, appended and compacted, never changed. Not synchronised.

    Args:
        parameters: the layout of the codes.
    """

    def __init__(self, parameters: IrisParameters) -> None:
        self._search_words = parameters.search.words
        self._prefix_words = parameters.prefix.words
        self._columns = parameters.verification.columns
        self._clear()

    def _clear(self) -> None:
        self._faiss: Any = faiss.IndexBinaryFlat(2 * 64 * self._search_words)
        self._blocks = np.zeros((1, 2, self._prefix_words, LANES), np.uint64)
        self._verification = np.zeros((LANES, 2, self._columns), np.uint64)

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
        return self._verification[: len(self)]

    def append(self, templates: Sequence[IrisTemplate]) -> None:
        """Adds rows for templates of the layout."""
        if templates:
            search = np.stack([np.concatenate([t.search.bits, t.search.mask]) for t in templates])
            self._append(search, np.stack([verification_row(t.verification) for t in templates]))

    def keep(self, rows: NDArray[np.int64]) -> None:
        """Drops all rows but these, which come to lie in the order given."""
        search, verification = self.search[rows], self.verification[rows]
        self._clear()
        self._append(search, verification)

    def _append(self, search: Words, verification: Words) -> None:
        start, end = len(self), len(self) + len(search)
        self._blocks = _grown(self._blocks, -(-end // LANES))
        rows = np.arange(start, end)
        words = self._prefix_words
        for part in range(2):
            at = part * self._search_words
            self._blocks[rows // LANES, part, :, rows % LANES] = search[:, at : at + words]
        self._verification = _grown(self._verification, end)
        self._verification[start:end] = verification
        self._faiss.add(np.ascontiguousarray(search).view(np.uint8))


def _grown(table: Words, need: int) -> Words:
    """The table with room for ``need`` entries, at least twice as many as before where it must grow."""
    if need <= len(table):
        return table
    grown = np.zeros((max(need, 2 * len(table)), *table.shape[1:]), np.uint64)
    grown[: len(table)] = table
    return grown
