"""Work in several processes that ends when the user says so.

Processes are spawned: FAISS and onnxruntime hang in forked ones. Ctrl-C reaches every process of a terminal; the
workers leave it to the parent, which gives out nothing more, waits for the tasks in hand, and ends.
"""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
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
        initializer=_start,
        initargs=(start, *args),
    )
    try:
        for future in concurrent.futures.as_completed([pool.submit(work, task) for task in tasks]):
            yield future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start(start: Callable[[*Start], None], *args: *Start) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    start(*args)
