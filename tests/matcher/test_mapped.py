"""Growing arrays in mapped files against a list."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matcher.errors import StorageFailure
from matcher.mapped import MappedArray, available_bytes


@given(st.lists(st.integers(0, 700), max_size=8), st.sampled_from([(), (3,)]))
def test_it_holds_what_was_put_in_in_order(counts: list[int], shape: tuple[int, ...]) -> None:
    array = MappedArray(np.uint64, shape)
    expected = np.zeros((0, *shape), np.uint64)
    for i, count in enumerate(counts):
        rows = np.random.default_rng(i).integers(0, 2**63, (count, *shape)).astype(np.uint64)
        array.extend(rows)
        expected = np.concatenate([expected, rows])
        assert len(array) == len(expected)
        np.testing.assert_array_equal(array.values, expected)
    assert array.nbytes >= expected.nbytes


def test_a_view_outlives_growth_and_the_array() -> None:
    array = MappedArray(np.int16)
    array.extend(np.arange(10, dtype=np.int16))
    before = array.values
    array.extend(np.zeros(100_000, np.int16))
    del array
    assert before.tolist() == list(range(10))


def test_rows_are_there_whether_they_were_asked_for_or_not() -> None:
    array = MappedArray(np.int64, (100,))
    array.extend(np.arange(100_000).reshape(1000, 100))
    array.fetch(np.array([3, 990]), np.array([5, 1000]))
    array.fetch(np.zeros(0, np.int64), np.zeros(0, np.int64))
    assert array.values[[4, 999], 1].tolist() == [401, 99_901]


def test_rows_are_asked_for_where_many_of_a_sample_must_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    array = MappedArray(np.int64, (100,))
    array.extend(np.arange(100_000).reshape(1000, 100))
    asked: list[int] = []
    monkeypatch.setattr(MappedArray, "fetch", lambda _, begins, ends: asked.append(len(begins)))
    rows = np.arange(700)
    array.fetch_missing(rows, rows + 1)
    assert asked == [], "they lie in memory"
    monkeypatch.setattr("matcher.mapped._in_memory", lambda _, offset: offset > 4 * 10 * 800)
    array.fetch_missing(rows, rows + 1)
    assert asked == [700]
    array.fetch_missing(rows[:50], rows[:50] + 1)
    assert asked == [700], "too few to be worth it"


def test_where_the_system_does_not_tell_rows_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    array = MappedArray(np.int64)
    array.extend(np.arange(1000))
    asked: list[int] = []
    monkeypatch.setattr(MappedArray, "fetch", lambda _, begins, ends: asked.append(len(begins)))
    monkeypatch.setattr("matcher.mapped._AT_ONCE", 0)
    array.fetch_missing(np.arange(100), np.arange(1, 101))
    assert asked == [100]


def test_reading_it_through_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("matcher.mapped._READ_AT_ONCE", 1000)
    array = MappedArray(np.int64, (3,))
    array.read_through()
    array.extend(np.arange(1200).reshape(400, 3))
    array.read_through()
    array.read_through(lambda: True)
    assert array.values.ravel().tolist() == list(range(1200))


def test_the_system_says_how_much_memory_there_is() -> None:
    assert available_bytes() > 1 << 20


def test_nothing_is_left_in_the_folder(tmp_path: Path) -> None:
    array = MappedArray(np.float32, (), tmp_path)
    array.extend(np.ones(5, np.float32))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    array = MappedArray(np.int64)
    array.extend(np.arange(3))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StorageFailure, match="free disk space"):
        array.extend(np.zeros(5000, np.int64))
    assert array.values.tolist() == [0, 1, 2]
    array.extend(np.array([9]))
    assert array.values.tolist() == [0, 1, 2, 9]


def test_a_disk_with_room_for_the_rows_alone_is_enough_and_what_was_taken_in_vain_is_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Like a file system that leaves what it took before the disk was full."""
    room = 8 * 1500
    real = os.posix_fallocate

    def limited(file: int, offset: int, length: int) -> None:
        real(file, offset, min(length, room))
        if length > room:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", limited)
    array = MappedArray(np.int64)
    array.extend(np.arange(1024))
    array.extend(np.arange(400))
    assert array.nbytes == 8 * 1424
    with pytest.raises(StorageFailure):
        array.extend(np.arange(400))
    assert os.fstat(array._file.fileno()).st_size == 8 * 1424
    assert array.values.tolist() == [*range(1024), *range(400)]


def test_a_folder_that_takes_no_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageFailure, match="no file"):
        MappedArray(np.int64, (), tmp_path / "gone")
