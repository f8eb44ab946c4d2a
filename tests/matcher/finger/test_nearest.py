"""The nearest vectors against sorting all products, by FAISS and by our scan."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from matcher.finger.nearest import NearestParameters, VectorSearch, nearest_vectors
from matcher.inner_products import biased

BOTH = pytest.mark.parametrize("search", [VectorSearch.SCAN, VectorSearch.FAISS])


def slow(
    vectors: NDArray[np.int8], probes: NDArray[np.int8], count: int, selected: NDArray[np.bool_]
) -> list[list[int]]:
    products = probes.astype(np.int64) @ vectors.astype(np.int64).T
    rows = np.flatnonzero(selected).tolist()
    return [sorted(rows, key=lambda r: (-int(of_probe[r]), r))[:count] for of_probe in products]


@BOTH
@pytest.mark.parametrize("levels", [127, 1], ids=["spread", "with-ties"])
@pytest.mark.parametrize("share", [1.0, 0.4, 0.01])
@pytest.mark.parametrize("probes", [1, 5])
def test_they_are_those_of_sorting_all(search: VectorSearch, levels: int, share: float, probes: int) -> None:
    rng = np.random.default_rng(1)
    vectors = rng.integers(-levels, levels + 1, (2000, 480)).astype(np.int8)
    searched = rng.integers(-levels, levels + 1, (probes, 480)).astype(np.int8)
    selected = rng.random(len(vectors)) < share
    for count in (1, 7, min(500, int(selected.sum())), int(selected.sum())):
        found = nearest_vectors(biased(vectors), searched, count, None if share == 1 else selected, search)
        assert [rows.tolist() for rows in found] == slow(vectors, searched, count, selected)


@BOTH
def test_all_alike_are_found_in_order(search: VectorSearch) -> None:
    vectors = np.zeros((300, 480), np.int8)
    (found,) = nearest_vectors(biased(vectors), vectors[:1], 40, None, search)
    assert found.tolist() == list(range(40))


def test_the_largest_numbers_do_not_overflow() -> None:
    vectors = np.full((20, 480), 127, np.int8)
    vectors[::2] = -127
    for search in VectorSearch:
        (found,) = nearest_vectors(biased(vectors), vectors[1:2], 12, None, search)
        assert found.tolist() == [*range(1, 20, 2), 0, 2]


def test_faiss_is_asked_where_there_is_little_to_do() -> None:
    p = NearestParameters()
    assert p.fastest(1_000, 1, 100) is VectorSearch.FAISS
    assert p.fastest(1_000_000, 1, 100) is VectorSearch.SCAN
    assert p.fastest(10_000, 1, 5_000) is VectorSearch.SCAN
    assert p.fastest(10_000, 8, 100) is VectorSearch.SCAN
