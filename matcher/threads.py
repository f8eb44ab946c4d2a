"""One place that decides how many threads compute: those of a fixed pool, each running kernels of one thread.

Whoever has work that can be divided gives it to ``workers().map``, and a long piece that cannot, such as an
extraction, to ``workers().run``; numba kernels, FAISS and onnxruntime release the GIL and use one thread a call
(``OMP_NUM_THREADS`` and the like are set by the program before it imports them). So there are never more computing
threads than were asked for, however many searches and extractions come at once.
"""

from __future__ import annotations

import itertools
import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_A = TypeVar("_A")
_B = TypeVar("_B")


class Workers:
    """A pool of ``count`` threads; thread-safe.

    Args:
        count: >= 1; with 1 everything runs in the thread that asks: a long piece beside what is divided, but no two.
        clock: seconds.
    """

    RECENT = 1.0
    """Seconds for which one thread is kept free of long pieces after something was divided: searches do not wait for
    extractions then, and extractions have all threads where nobody searches."""

    def __init__(self, count: int, clock: Callable[[], float] = time.monotonic) -> None:
        if count < 1:
            raise ValueError(f"{count} threads cannot compute anything; use 1 or more")
        self.count = count
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="compute") if count > 1 else None
        self._inside = threading.local()
        self._clock = clock
        self._divided = -math.inf
        self._long = 0
        self._turn = threading.Condition()

    def map(self, call: Callable[[_A], _B], items: Sequence[_A]) -> list[_B]:
        """``[call(item) for item in items]``, side by side; what an item raises is raised here.

        Called from within a call, it runs in that thread: a pool that waits for itself would never end.
        """
        if self._pool is None or len(items) < 2 or getattr(self._inside, "yes", False):
            return [call(item) for item in items]
        self._divided = self._clock()
        return list(self._pool.map(lambda item: self._run(call, item), items))

    def spread(self, call: Callable[[_A], _B], items: Sequence[_A]) -> list[_B]:
        """As ``map`` where there is an item for each thread; fewer go one after the other, so that each may divide its
        own work among all of them."""
        return [call(item) for item in items] if len(items) < self.count else self.map(call, items)

    def run(self, call: Callable[[], _B]) -> _B:
        """``call()`` when there is a thread for it; what it raises is raised here."""
        if getattr(self._inside, "yes", False):
            return call()
        with self._turn:
            while self._long >= self._most_long():
                self._turn.wait(self.RECENT)
            self._long += 1
        try:
            if self._pool is None:
                return self._run(lambda _: call(), None)
            return self._pool.submit(self._run, lambda _: call(), None).result()
        finally:
            with self._turn:
                self._long -= 1
                self._turn.notify()

    def _most_long(self) -> int:
        searched = self._clock() - self._divided < self.RECENT
        return max(1, self.count - 1) if searched else self.count

    def ranges(self, rows: int, least: int = 4096) -> list[tuple[int, int]]:
        """Begins and ends that divide so many rows among the threads, none shorter than ``least`` but the only one."""
        parts = max(1, min(self.count, rows // max(1, least)))
        cuts = [rows * i // parts for i in range(parts + 1)]
        return list(itertools.pairwise(cuts))

    def _run(self, call: Callable[[_A], _B], item: _A) -> _B:
        self._inside.yes = True
        try:
            return call(item)
        finally:
            self._inside.yes = False


_lock = threading.Lock()
_workers: Workers | None = None


def workers() -> Workers:
    """The process's pool: as many threads as it may use processors, unless ``use_threads`` said otherwise."""
    global _workers
    with _lock:
        if _workers is None:
            _workers = Workers(len(os.sched_getaffinity(0)))
        return _workers


def use_threads(count: int) -> None:
    """From now on ``workers`` gives a pool of so many threads; calls that run go on in the old one."""
    global _workers
    with _lock:
        _workers = Workers(count)
