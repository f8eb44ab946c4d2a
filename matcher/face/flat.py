"""Search of face embeddings by FAISS, over the memory of ``storage``: float32 vectors and 8-bit codes.

FAISS: Douze et al., "The Faiss library", arXiv:2401.08281. Its indexes are made for a search, look at memory that never
changes, and own none of it; a search uses one thread, and the rows are divided among those of ``matcher.threads``.
FAISS's scores have last bits that depend on batch and processor. They only say which rows may be wanted: each function
here returns rows among which the ``count`` best certainly are, ties included.
"""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from matcher.face.parameters import FaceIndexParameters
from matcher.face.storage import FaceRows
from matcher.inner_products import BIAS, Queries

_faiss: Any = faiss
"""FAISS without its type stubs, which do not know what its Python wrappers accept (arrays and keyword arguments)."""


def flat_index(vectors: NDArray[np.float32]) -> Any:
    """``IndexFlatIP`` over float32[n, d], C-contiguous; the array must outlive it."""
    index = _faiss.IndexFlatIP(vectors.shape[1])
    return _looking_at(index, vectors)


def code_index(codes: NDArray[np.uint8]) -> Any:
    """``IndexScalarQuantizer`` (8 bits, signed) over biased codes uint8[n, d]; the array must outlive it."""
    index = _faiss.IndexScalarQuantizer(
        codes.shape[1], _faiss.ScalarQuantizer.QT_8bit_direct_signed, _faiss.METRIC_INNER_PRODUCT
    )
    index.is_trained = True
    return _looking_at(index, codes)


def candidates_by_vectors(
    rows: FaceRows,
    probes: NDArray[np.float32],
    count: int,
    selected: NDArray[np.bool_] | None,
    parameters: FaceIndexParameters,
) -> list[NDArray[np.int64]]:
    """Rows among which the ``count`` most similar of each probe (float32[p, d]) are, by their float32 vectors."""
    alive, search = _selection(len(rows), selected)
    index = flat_index(rows.exact)
    margin = 2.0 * rows.dimension * parameters.rounding
    answers: list[NDArray[np.int64]] = [np.zeros(0, np.int64)] * len(probes)
    pending = np.arange(len(probes))
    fetch = min(count + parameters.spare, alive)
    while len(pending) and fetch:
        scores, found = index.search(probes[pending], fetch, params=search)
        settled = np.full(len(pending), fetch == alive)
        if count < fetch:
            settled |= scores[:, -1] < scores[:, count - 1] - margin
        for at in np.flatnonzero(settled):
            answers[pending[at]] = found[at]
        pending = pending[~settled]
        fetch = min(4 * fetch, alive)
    return answers


def candidates_by_codes(
    rows: FaceRows,
    queries: Queries,
    count: int,
    selected: NDArray[np.bool_] | None,
    parameters: FaceIndexParameters,
) -> list[NDArray[np.int64]]:
    """Rows among which the ``count`` most similar of each query are, by their codes and the bounds of these."""
    alive, search = _selection(len(rows), selected)
    if not alive:
        return [np.zeros(0, np.int64)] * len(queries)
    # The few rows whose codes say least about them would widen the bounds of all: they are candidates at once.
    usual = 2.0 * float(np.median(rows.residuals))
    unusual = rows.residuals > usual
    if selected is not None:
        unusual &= selected
    always = np.flatnonzero(unusual).astype(np.int64)
    index = code_index(rows.codes)
    return [
        np.union1d(always, _by_codes(index, rows, queries.part(i, i + 1), count, alive, search, usual, parameters))
        for i in range(len(queries))
    ]


def _by_codes(
    index: Any,
    rows: FaceRows,
    query: Queries,
    count: int,
    alive: int,
    search: Any,
    usual: float,
    parameters: FaceIndexParameters,
) -> NDArray[np.int64]:
    gain, margin = float(query.gains[0]), float(query.margins[0])
    largest = BIAS * np.sqrt(rows.dimension) * float(np.linalg.norm(query.codes.astype(np.float64)))
    margin += 2.0 * rows.dimension * parameters.rounding * largest
    fetch = min(4 * count + parameters.spare, alive)
    while True:
        products, found = index.search(query.codes.astype(np.float32), fetch, params=search)
        widths = rows.residuals[found[0]] * gain + margin
        if fetch == alive:
            return np.asarray(found[0], np.int64)
        threshold = np.partition(products[0] - widths, fetch - count)[fetch - count]
        if products[0, -1] + usual * gain + margin < threshold:
            return np.asarray(found[0][products[0] + widths >= threshold], np.int64)
        fetch = min(4 * fetch, alive)


def _selection(total: int, selected: NDArray[np.bool_] | None) -> tuple[int, Any]:
    """How many rows may be found, and the parameters of a FAISS search that finds no others."""
    if selected is None:
        return total, None
    bitmap = np.packbits(selected, bitorder="little")
    return int(selected.sum()), _faiss.SearchParameters(sel=_faiss.IDSelectorBitmap(bitmap))


def _looking_at(index: Any, rows: NDArray[Any]) -> Any:
    memory = rows.reshape(-1).view(np.uint8)
    # The owner of an index's own vector is nobody, and SWIG can make no other shared pointer that says so.
    nobody = index.codes.owner
    index.codes = _faiss.MaybeOwnedVectorUInt8.create_view(_faiss.swig_ptr(memory), memory.nbytes, nobody)
    index.ntotal = len(rows)
    return index
