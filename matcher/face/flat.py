"""Search of face embeddings by FAISS, over the memory of ``storage``: float32 vectors and 8-bit codes.

A search uses one thread, and the rows are divided among those of ``matcher.threads``. FAISS's scores have last bits
that depend on batch and processor. They only say which rows may be wanted: each function here returns rows among which
the ``count`` best certainly are, ties included.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from matcher.face.parameters import FaceIndexParameters
from matcher.face.storage import FaceRows
from matcher.faiss_views import code_index, flat_index, only
from matcher.inner_products import BIAS, Queries, Rows, integer_products
from matcher.modality import selectable


def candidates_by_vectors(
    rows: FaceRows,
    probes: NDArray[np.float32],
    count: int,
    selected: NDArray[np.bool_] | None,
    parameters: FaceIndexParameters,
) -> list[NDArray[np.int64]]:
    """Rows among which the ``count`` most similar of each probe (float32[p, d]) are, by their float32 vectors."""
    alive, search = selectable(len(rows), selected), only(selected)
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
    alive, search = selectable(len(rows), selected), only(selected)
    if not alive:
        return [np.zeros(0, np.int64)] * len(queries)
    index = code_index(rows.coded.heads)
    return [
        _by_codes(index, rows.coded, queries.part(i, i + 1), count, alive, selected, search, parameters)
        for i in range(len(queries))
    ]


def _by_codes(
    index: Any,
    coded: Rows,
    query: Queries,
    count: int,
    alive: int,
    selected: NDArray[np.bool_] | None,
    search: Any,
    parameters: FaceIndexParameters,
) -> NDArray[np.int64]:
    assert coded.residuals is not None
    dimension = coded.heads.shape[1]
    margin = float(query.margins[0])
    margin += 2.0 * dimension * parameters.rounding * BIAS * np.sqrt(dimension) * float(np.linalg.norm(query.codes))
    errors = coded.residuals.astype(np.float64) * float(query.gains[0])
    widths = errors
    if query.tails is not None and coded.lengths is not None:
        widths = errors + coded.lengths.astype(np.float64) * float(query.tails.reaches[0])
    # The few rows whose heads say least about them would widen the bounds of all: they are candidates at once.
    usual = 2.0 * float(np.median(widths))
    unusual = widths > usual
    if selected is not None:
        unusual &= selected
    always = np.flatnonzero(unusual).astype(np.int64)
    fetch = min((4 if query.tails is None else 40) * count + parameters.spare, alive)
    while True:
        products, ids = index.search(query.codes.astype(np.float32), fetch, params=search)
        found: NDArray[np.int64] = ids[0].astype(np.int64)
        if fetch == alive:
            return found
        values = products[0].astype(np.float64)
        if query.tails is not None and coded.tails is not None:
            number = np.zeros(len(found), np.int64)
            values += float(query.tails.units[0]) * integer_products(query.tails.codes, coded.tails, number, found)
        threshold = np.partition(values - errors[found] - margin, fetch - count)[fetch - count]
        if products[0, -1] + usual + margin < threshold:
            wanted: NDArray[np.int64] = found[values + errors[found] + margin >= threshold]
            return np.union1d(always, wanted)
        fetch = min(4 * fetch, alive)
