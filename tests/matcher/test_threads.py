"""The pool of computing threads."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from matcher import threads
from matcher.threads import Workers, use_threads, workers


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


class Seen:
    """How many calls are in work at once at most."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = 0
        self.most = 0
        self.threads: set[int] = set()

    def __enter__(self) -> None:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
            self.threads.add(threading.get_ident())

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._now -= 1


@pytest.mark.parametrize("count", [2, 3])
def test_no_more_threads_compute_than_were_asked_for_whatever_comes(count: int) -> None:
    pool, seen = Workers(count), Seen()

    def compute(item: int) -> int:
        with seen:
            threading.Event().wait(0.0001 * (item % 7))
            return item

    def ask(number: int) -> list[int]:
        return pool.map(compute, range(number, number + 5)) if number % 2 else [pool.run(lambda: compute(number))]

    with ThreadPoolExecutor(16) as callers:
        for number, result in enumerate(callers.map(ask, range(400))):
            assert result == (list(range(number, number + 5)) if number % 2 else [number])
    assert 1 <= seen.most <= count
    assert len(seen.threads) <= count


def test_long_pieces_leave_a_thread_to_searches_while_these_come() -> None:
    now = 100.0
    pool, gate, begun = Workers(2, lambda: now), threading.Event(), threading.Semaphore(0)

    def long() -> None:
        begun.release()
        assert gate.wait(20)

    with ThreadPoolExecutor(3) as callers:
        pool.map(abs, [1, 2])
        first, second = callers.submit(pool.run, long), callers.submit(pool.run, long)
        assert begun.acquire(timeout=20)
        assert pool.map(abs, [-1, -2, -3]) == [1, 2, 3]  # the second one has not taken the other thread
        assert not begun.acquire(timeout=0.05)
        now += Workers.RECENT
        assert begun.acquire(timeout=20)  # nobody searches: it has it now
        gate.set()
        first.result(20)
        second.result(20)


@pytest.mark.parametrize("pool", [Workers(1), Workers(2)], ids=["1", "2"])
def test_what_a_long_piece_raises_is_raised_and_its_thread_is_free_again(pool: Workers) -> None:
    for _ in range(5):
        with pytest.raises(ZeroDivisionError):
            pool.run(lambda: 1 // 0)
    assert pool.run(lambda: pool.run(lambda: 7)) == 7


def test_with_one_thread_no_two_long_pieces_run_at_once() -> None:
    pool, seen = Workers(1), Seen()

    def long() -> None:
        with seen:
            threading.Event().wait(0.001)

    with ThreadPoolExecutor(4) as callers:
        for done in [callers.submit(pool.run, long) for _ in range(20)]:
            done.result(20)
    assert seen.most == 1


def test_few_items_leave_the_threads_to_each_of_them() -> None:
    pool, inside = Workers(3), threading.current_thread().name
    assert pool.spread(lambda _: threading.current_thread().name, range(2)) == [inside, inside]
    assert inside not in pool.spread(lambda _: threading.current_thread().name, range(3))
    assert pool.spread(lambda x: x * x, range(7)) == [x * x for x in range(7)]
