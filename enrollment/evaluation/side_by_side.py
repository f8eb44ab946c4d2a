"""Work in several processes that ends when the user says so.

Processes are spawned: FAISS and onnxruntime hang in forked ones. Ctrl-C reaches every process of a terminal; the
workers leave it to the parent, which gives out nothing more, waits for the tasks in hand, and ends.
"""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar, TypeVarTuple

Task = TypeVar("Task")
Result = TypeVar("Result")
Start = TypeVarTuple("Start")


def in_processes(
    processes: int,
    work: Callable[[Task], Result],
    tasks: Sequence[Task],
    start: Callable[[*Start], None],
    *args: *Start,
) -> Iterator[Result]:
    """Results in the order in which they are ready.

    Args:
        processes: at most; no more are started than there are tasks.
        work: a function of a module, applied to each task.
        start: a function of a module that each process calls first, with what follows.
    """
    pool = concurrent.futures.ProcessPoolExecutor(
        min(processes, len(tasks)),
        multiprocessing.get_context("spawn"),
        initializer=start,
        initargs=args,
    )
    try:
        with _interrupts_held_back():
            futures = [pool.submit(work, task) for task in tasks]
        for future in concurrent.futures.as_completed(futures):
            yield future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Processes started within it never hear of Ctrl-C, from their first instruction on: a blocked signal stays blocked
    in them. This process hears of it afterwards: an interruption between two steps of a start would leave a process
    that nobody ends."""
    is_main = threading.current_thread() is threading.main_thread()
    came: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _frame: came.append(number)) if is_main else None
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if is_main:
            signal.signal(signal.SIGINT, handler)
    if came:
        raise KeyboardInterrupt
