"""The scan of 8-bit vectors against brute force in 64 bits: the same rows in the same order, whatever the bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from matcher import inner_products
from matcher.inner_products import (
    MOST_ROWS,
    Queries,
    QueryTails,
    Rows,
    ScanParameters,
    best_inner_products,
    biased,
    integer_products,
    least_batch,
    nearest,
    query_levels,
    unbiased,
)
from matcher.threads import use_threads


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest) -> int:
    use_threads(request.param)
    return int(request.param)


@pytest.fixture(autouse=True, params=["loop", "onnxruntime"])
def multiplier(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every search by the one and by the other, whichever a measurement would take."""
    least = 1 if request.param == "onnxruntime" else 10**9
    monkeypatch.setattr(inner_products, "least_batch", lambda: least)


def codes_of(count: int, dimension: int, seed: int, largest: int = 127) -> NDArray[np.int8]:
    return np.random.default_rng(seed).integers(-largest, largest + 1, (count, dimension)).astype(np.int8)


def brute_force(
    values: NDArray[np.float64], count: int, selected: NDArray[np.bool_] | None
) -> list[tuple[list[int], list[float]]]:
    """Every pair, sorted by value and then by row."""
    answers = []
    rows = np.arange(values.shape[1]) if selected is None else np.flatnonzero(selected)
    for line in values:
        order = np.lexsort((rows, -line[rows]))[:count]
        answers.append((rows[order].tolist(), line[rows][order].tolist()))
    return answers


def lists(answers: list[tuple[NDArray[np.int64], NDArray[np.float64]]]) -> list[tuple[list[int], list[float]]]:
    return [(rows.tolist(), values.tolist()) for rows, values in answers]


def check(
    queries: NDArray[np.int8], rows: NDArray[np.int8], count: int, selected: NDArray[np.bool_] | None = None
) -> None:
    values = (queries.astype(np.int64) @ rows.astype(np.int64).T).astype(np.float64)
    found = best_inner_products(queries, biased(rows), count, selected)
    assert lists(found) == brute_force(values, count, selected)


@pytest.mark.parametrize("size", [1, 40])
@pytest.mark.parametrize("count", [1, 50, 3000, 20_000])
@pytest.mark.parametrize("share", [None, 0.5, 0.001])
def test_equals_brute_force(threads: int, size: int, count: int, share: float | None) -> None:
    rows = codes_of(12_000 if count < 20_000 else 21_000, 64, seed=1)
    selected = None if share is None else np.random.default_rng(2).random(len(rows)) < share
    check(codes_of(size, 64, seed=3), rows, count, selected)


@pytest.mark.parametrize("dimension", [1, 17, 480, 512, 1041, 4096])
@pytest.mark.parametrize("size", [1, 40])
def test_equals_brute_force_for_any_length_of_rows(dimension: int, size: int) -> None:
    check(codes_of(size, dimension, seed=4), codes_of(3000, dimension, seed=5), 40)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_sums_do_not_overflow(sign: int) -> None:
    rows = np.full((700, 4096), 127, np.int8)
    rows[::7] = -128
    check(np.full((20, 4096), sign * 127, np.int8), rows, 30)


@pytest.mark.parametrize("size", [1, 40])
def test_ties_are_in_ascending_order_of_rows_also_when_most_rows_tie(threads: int, size: int) -> None:
    rows = np.repeat(codes_of(3, 64, seed=6), 8000, axis=0)
    check(codes_of(size, 64, seed=7), rows, 60)
    check(codes_of(size, 64, seed=8), codes_of(20_000, 64, seed=9, largest=1), 300)


@pytest.mark.parametrize("size", [1, 40])
@pytest.mark.parametrize("order", [1, -1])
def test_rows_that_get_better_or_worse(threads: int, size: int, order: int) -> None:
    """Thresholds that never stop rising, and ones that stand at once."""
    rows = np.zeros((20_000, 8), np.int8)
    rows[:, 0] = np.linspace(-100, 100, len(rows))[::order]
    check(np.full((size, 8), 3, np.int8), rows, 100)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 40), st.integers(1, 700), st.integers(0, 40), st.integers(0, 800), st.sampled_from([1, 2, 127]))
def test_equals_brute_force_for_any_size(dimension: int, total: int, size: int, count: int, largest: int) -> None:
    rng = np.random.default_rng([dimension, total, size, count])
    rows, queries = (rng.integers(-largest, largest + 1, (n, dimension)).astype(np.int8) for n in (total, size))
    check(queries, rows, count, rng.random(total) < 0.7)


@pytest.mark.parametrize("size", [1, 40])
@pytest.mark.parametrize("width", [0.0, 1.0, 200.0, 1e9])
def test_bounds_of_any_width_give_the_exact_answer(threads: int, size: int, width: float) -> None:
    """What is asked for lies anywhere within the bounds; where these say nothing, exact values decide."""
    rng = np.random.default_rng(10)
    rows, codes = codes_of(20_000, 64, seed=11, largest=15), codes_of(size, 64, seed=12, largest=15)
    residuals = (rng.random(len(rows)) * width).astype(np.float32)
    gains, margins = rng.random(size).astype(np.float32), (rng.random(size) * width).astype(np.float32)
    errors = np.outer(gains, residuals) + margins[:, None]
    values = codes.astype(np.float64) @ rows.astype(np.float64).T + errors * rng.uniform(-1, 1, errors.shape)

    def exact(numbers: NDArray[np.int64], chosen: NDArray[np.int64]) -> NDArray[np.float64]:
        some: NDArray[np.float64] = values[numbers, chosen]
        return some

    units = rng.uniform(0.01, 100, size)
    values *= units[:, None]
    selected = rng.random(len(rows)) < 0.8
    found = nearest(Queries(codes, gains, margins, units), Rows(biased(rows), residuals), 70, selected, exact)
    assert lists(found) == brute_force(values, 70, selected)


@pytest.mark.parametrize("size", [1, 40, 70])
@pytest.mark.parametrize("length", [0.0, 3.0, 1e3])
@pytest.mark.parametrize("count", [1, 60, 3000])
def test_rows_in_two_parts_give_the_exact_answer(threads: int, size: int, length: float, count: int) -> None:
    """Tails of no, some and any weight, looked at where they may decide."""
    rng = np.random.default_rng(21)
    rows, codes = codes_of(9000, 64, seed=22, largest=31), codes_of(size, 64, seed=23, largest=31)
    tails, tail_codes = codes_of(len(rows), 100, seed=24), codes_of(size, 100, seed=25)
    rows[4000:4100] = rows[0]
    tails[4000:4100] = tails[0]
    norms, tail_norms = (np.linalg.norm(each.astype(np.float64), axis=1) for each in (tails, tail_codes))
    weights = rng.uniform(0, length, size) / (tail_norms * norms.max())
    residuals, gains = rng.random(len(rows)).astype(np.float32), rng.random(size).astype(np.float32)
    margins = rng.random(size).astype(np.float32)
    values = codes.astype(np.float64) @ rows.astype(np.float64).T
    values += weights[:, None] * (tail_codes.astype(np.float64) @ tails.astype(np.float64).T)
    errors = np.outer(gains, residuals) + margins[:, None]
    values += errors * rng.uniform(-1, 1, errors.shape)
    reaches = (weights * tail_norms * (1 + 1e-6)).astype(np.float32)
    asked: list[int] = []

    def exact(numbers: NDArray[np.int64], chosen: NDArray[np.int64]) -> NDArray[np.float64]:
        asked.append(len(chosen))
        some: NDArray[np.float64] = values[numbers, chosen]
        return some

    queries = Queries(codes, gains, margins, np.ones(size), QueryTails(tail_codes, weights.astype(np.float32), reaches))
    lengths = (norms * (1 + 1e-6)).astype(np.float32)
    searched = Rows(biased(rows), residuals, biased(tails), lengths)
    for selected in (None, rng.random(len(rows)) < 0.5):
        found = nearest(queries, searched, count, selected, exact)
        assert lists(found) == brute_force(values, count, selected)
    if count == 60:
        assert sum(asked) < 0.2 * 2 * values.size


def test_one_row_with_a_wide_bound_does_not_hide_the_others() -> None:
    rows, codes = codes_of(5000, 64, seed=13), codes_of(5, 64, seed=14)
    residuals = np.zeros(len(rows), np.float32)
    residuals[17] = 1e9
    values = codes.astype(np.float64) @ rows.astype(np.float64).T
    values[:, 17] = 1e8
    gains, margins, units = np.ones(5, np.float32), np.zeros(5, np.float32), np.ones(5)
    asked: list[int] = []

    def exact(numbers: NDArray[np.int64], chosen: NDArray[np.int64]) -> NDArray[np.float64]:
        asked.append(len(chosen))
        some: NDArray[np.float64] = values[numbers, chosen]
        return some

    found = nearest(Queries(codes, gains, margins, units), Rows(biased(rows), residuals), 10, None, exact)
    assert lists(found) == brute_force(values, 10, None)
    assert sum(asked) <= 5 * 12


def test_bias_is_undone() -> None:
    every = np.arange(-128, 128).astype(np.int8)
    assert biased(every).tolist() == list(range(256))
    assert np.array_equal(unbiased(biased(every)), every)


def test_products_of_pairs() -> None:
    rows, codes = codes_of(100, 50, seed=15), codes_of(4, 50, seed=16)
    numbers, chosen = np.array([3, 0, 0]), np.array([99, 0, 5])
    expected = [int(codes[j].astype(int) @ rows[i].astype(int)) for j, i in zip(numbers, chosen, strict=True)]
    assert integer_products(codes, biased(rows), numbers, chosen).tolist() == expected


def test_nothing_to_search() -> None:
    rows, codes = codes_of(10, 8, seed=17), codes_of(2, 8, seed=18)
    assert lists(best_inner_products(codes, biased(rows), 0)) == [([], []), ([], [])]
    assert lists(best_inner_products(codes, biased(rows[:0]), 5)) == [([], []), ([], [])]
    assert lists(best_inner_products(codes, biased(rows), 5, np.zeros(10, np.bool_))) == [([], []), ([], [])]
    assert best_inner_products(codes[:0], biased(rows), 5) == []


def test_queries_may_use_seven_or_eight_bits() -> None:
    assert query_levels() in (63, 127)


def test_where_batches_begin_is_measured_once() -> None:
    assert least_batch() in (*ScanParameters().batches, MOST_ROWS)
    assert least_batch() == least_batch()
