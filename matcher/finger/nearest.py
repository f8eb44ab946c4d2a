"""The references whose vectors have the largest inner products with a probe's: int8, exhaustive, exact.

Vectors are kept as FAISS's ``QT_8bit_direct_signed`` keeps them, a number as 128 more than it is, and FAISS searches
them where they lie. Douze et al., "The Faiss library", arXiv:2401.08281.
"""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from matcher.modality import Selection

_faiss: Any = faiss
"""FAISS without its type stubs, which do not know what its Python wrappers accept (arrays and keyword arguments)."""


def to_codes(vectors: NDArray[np.int8]) -> NDArray[np.uint8]:
    """The vectors as they are kept."""
    return vectors.view(np.uint8) ^ np.uint8(128)


def to_vectors(codes: NDArray[np.uint8]) -> NDArray[np.int8]:
    """The other way round."""
    return (codes ^ np.uint8(128)).view(np.int8)


def nearest_vectors(
    codes: NDArray[np.uint8], probes: NDArray[np.int8], count: int, selected: Selection
) -> list[NDArray[np.int64]]:
    """For each probe the rows of the ``count`` references with the largest inner products, largest first.

    Args:
        codes: uint8[rows, numbers], of the references; contiguous.
        probes: int8[n, numbers].
        count: 1 and more, no more than are selected.

    Returns:
        int64[count] a probe; equal ones in ascending order.
    """
    return _by_faiss(codes, probes, count, selected)


def _by_faiss(
    codes: NDArray[np.uint8], probes: NDArray[np.int8], count: int, selected: Selection
) -> list[NDArray[np.int64]]:
    index = _faiss.IndexScalarQuantizer(
        codes.shape[1], faiss.ScalarQuantizer.QT_8bit_direct_signed, faiss.METRIC_INNER_PRODUCT
    )
    # Searched where they lie. The owner is an empty one: ``codes`` outlives the call.
    owner = _faiss.MaybeOwnedVectorUInt8().owner
    flat = codes.reshape(-1)
    index.codes = _faiss.MaybeOwnedVectorUInt8.create_view(_faiss.swig_ptr(flat), flat.size, owner)
    index.ntotal = len(codes)
    filters = None
    if selected is not None:
        # Named, so that it outlives the search: FAISS keeps a bare pointer.
        bitmap = np.packbits(selected, bitorder="little")
        filters = _faiss.SearchParameters(sel=_faiss.IDSelectorBitmap(bitmap))
    there = len(codes) if selected is None else int(np.count_nonzero(selected))
    queries = probes.astype(np.float32)
    # One more than asked for shows whether equal ones stand on both sides of the cut.
    scores, rows = index.search(queries, min(count + 1, there), params=filters)
    result = []
    for i in range(len(queries)):
        found, score = rows[i], scores[i]
        if len(score) > count and score[count] == score[count - 1]:
            _, score, found = index.range_search(queries[i : i + 1], float(score[count]) - 0.5, params=filters)
        order = np.lexsort((found, -score))[:count]
        result.append(found[order].astype(np.int64))
    return result
