"""The pool of computing threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from matcher import threads
from matcher.threads import Workers, use_threads, workers


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    count = workers().count
    yield
    use_threads(count)


def test_results_in_order_and_errors_of_the_first() -> None:
    pool = Workers(3)
    assert pool.map(lambda x: x * x, range(20)) == [x * x for x in range(20)]
    assert pool.map(str, []) == []
    with pytest.raises(ZeroDivisionError):
        pool.map(lambda x: 1 // x, [1, 0, 2])
    with pytest.raises(ValueError, match="use 1 or more"):
        Workers(0)


def test_never_more_threads_than_asked_for() -> None:
    """However many callers come, and from within calls too."""
    pool, running, most, lock = Workers(2), 0, 0, threading.Lock()

    def compute(_: int) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.002)
        with lock:
            running -= 1

    def nested(_: int) -> list[None]:
        return pool.map(compute, range(3))

    callers = [threading.Thread(target=lambda: pool.map(nested, range(4))) for _ in range(5)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert most == 2


def test_one_thread_is_the_caller_itself() -> None:
    names = Workers(1).map(lambda _: threading.current_thread().name, range(3))
    assert set(names) == {threading.current_thread().name}


@pytest.mark.parametrize("rows", [0, 1, 5, 99, 100, 1000])
def test_ranges_cover_all_rows_once(rows: int) -> None:
    ranges = Workers(4).ranges(rows, least=30)
    assert [i for begin, end in ranges for i in range(begin, end)] == list(range(rows))
    assert len(ranges) <= 4
    assert all(end - begin >= 30 for begin, end in ranges) or len(ranges) == 1


def test_the_process_has_one_pool() -> None:
    use_threads(3)
    assert workers() is workers()
    assert workers().count == 3
    assert threads.workers().map(lambda x: x, [1, 2]) == [1, 2]
