"""Growing arrays: what was seen once stays."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matcher.growing import GrowingArray


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 400), max_size=12), st.sampled_from([(), (3,), (2, 2)]))
def test_holds_what_was_put_in(sizes: list[int], shape: tuple[int, ...]) -> None:
    array, plain, seen = GrowingArray(np.int32, shape), np.zeros((0, *shape), np.int32), []
    array.FIRST_BYTES = 64  # many moves
    rng = np.random.default_rng(1)
    for size in sizes:
        rows = rng.integers(-9, 9, (size, *shape), dtype=np.int32)
        array.extend(rows)
        plain = np.concatenate([plain, rows])
        seen.append((array.values, plain))
    for values, expected in seen:
        assert np.array_equal(values, expected)
    assert len(array) == len(plain)
    assert array.nbytes == plain.nbytes


def test_rows_added_are_zeros_and_can_be_records() -> None:
    array = GrowingArray(np.dtype([("a", "i4"), ("b", "u8")], align=True))
    array.add(2)[1] = (-5, 7)
    assert array.values.tolist() == [(0, 0), (-5, 7)]


def test_room_costs_no_memory_before_it_is_used() -> None:
    arrays = [GrowingArray(np.uint8, (512,)) for _ in range(60)]
    for array in arrays:
        array.extend(np.ones((1, 512), np.uint8))
    with open("/proc/self/statm") as statm:
        pages = int(statm.read().split()[1])
    assert sum(a.FIRST_BYTES for a in arrays) > 8 << 30
    assert pages * 4096 < 8 << 30


def test_readers_beside_a_writer() -> None:
    array = GrowingArray(np.int64)
    array.FIRST_BYTES = 1024
    stop, failures = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            values = array.values
            if not np.array_equal(values, np.arange(len(values))):
                failures.append(values.copy())

    thread = threading.Thread(target=read)
    thread.start()
    for i in range(3000):
        array.add(1)[0] = i
    stop.set()
    thread.join()
    # A row is filled before anybody is told: readers of an index get views that the writer has finished.
    assert all(np.array_equal(v[:-1], np.arange(len(v) - 1)) for v in failures)


def test_more_than_there_are_addresses_is_an_error() -> None:
    with pytest.raises((OSError, OverflowError, ValueError)):
        GrowingArray(np.uint8, (1 << 40,)).add(1 << 24)
