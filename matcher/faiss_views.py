"""FAISS indexes over memory that lies elsewhere: made for a search, they look at rows that never change and own none.

FAISS: Douze et al., "The Faiss library", arXiv:2401.08281. The only place that knows FAISS; its type stubs do not know
what its Python wrappers accept (arrays and keyword arguments).
"""

from __future__ import annotations

from typing import Any

import faiss as typed_faiss
import numpy as np
from numpy.typing import NDArray

from matcher.modality import Selection

faiss: Any = typed_faiss


def flat_index(vectors: NDArray[np.float32]) -> Any:
    """``IndexFlatIP`` over float32[n, d], C-contiguous; the array must outlive it."""
    return _looking_at(faiss.IndexFlatIP(vectors.shape[1]), "codes", vectors)


def code_index(codes: NDArray[np.uint8]) -> Any:
    """``IndexScalarQuantizer`` (8 bits, signed) over uint8[n, d], each number 128 more than it is; C-contiguous; the
    array must outlive it."""
    index = faiss.IndexScalarQuantizer(
        codes.shape[1], faiss.ScalarQuantizer.QT_8bit_direct_signed, faiss.METRIC_INNER_PRODUCT
    )
    index.is_trained = True
    return _looking_at(index, "codes", codes)


def binary_index(codes: NDArray[np.uint64]) -> Any:
    """``IndexBinaryFlat`` over uint64[n, words], C-contiguous; the array must outlive it."""
    return _looking_at(faiss.IndexBinaryFlat(64 * codes.shape[1]), "xb", codes)


def only(selected: Selection) -> Any:
    """Parameters of a search that finds no rows but those selected; None where it may find all."""
    if selected is None:
        return None
    return faiss.SearchParameters(sel=faiss.IDSelectorBitmap(np.packbits(selected, bitorder="little")))


def _looking_at(index: Any, vector: str, rows: NDArray[Any]) -> Any:
    memory = rows.reshape(-1).view(np.uint8)
    # The owner of an index's own vector is nobody, and SWIG can make no other shared pointer that says so.
    nobody = getattr(index, vector).owner
    view = faiss.MaybeOwnedVectorUInt8.create_view(faiss.swig_ptr(memory), memory.nbytes, nobody)
    setattr(index, vector, view)
    index.ntotal = len(rows)
    return index
