"""How many threads FAISS has as a peer: as many as ours, and one again afterwards, as everything else has."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import faiss


@contextlib.contextmanager
def faiss_threads(count: int) -> Iterator[None]:
    """So many threads for FAISS."""
    faiss.omp_set_num_threads(count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(1)
