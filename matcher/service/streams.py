"""Runs the items of a bidirectional stream side by side, with bounded work in flight.

gRPC's flow control holds the client back as long as the server does not read, so the bound is also the back-pressure.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import TypeVar

Request = TypeVar("Request")
Response = TypeVar("Response")


def run_stream(
    requests: Iterator[Request], work: Callable[[Request], Response], executor: Executor, window: int
) -> Iterator[Response]:
    """Yields ``work(request)`` for every request, in order of completion.

    Args:
        requests: read in a thread of its own, no further ahead than ``window``.
        work: must not raise; it answers with an error item instead.
        executor: runs ``work``.
        window: items in flight at most.
    """
    results: queue.Queue[tuple[Response | None, BaseException | None]] = queue.Queue()
    room = threading.Semaphore(window)
    stop = threading.Event()
    lock = threading.Lock()
    in_flight = 1  # the reading thread counts as one until it ends

    def finish(response: Response | None, error: BaseException | None) -> None:
        nonlocal in_flight
        with lock:
            in_flight -= 1
            results.put((response, error))

    def run(request: Request) -> None:
        try:
            finish(work(request), None)
        except BaseException as error:
            finish(None, error)
            raise

    def read() -> None:
        nonlocal in_flight
        error: BaseException | None = None
        try:
            for request in requests:
                room.acquire()
                if stop.is_set():
                    break
                with lock:
                    in_flight += 1
                executor.submit(run, request)
        except Exception as broken:  # the client went away, or the stream was cancelled
            error = broken
        finish(None, error)

    threading.Thread(target=read, name="stream-reader", daemon=True).start()
    try:
        while True:
            response, error = results.get()
            if response is not None:
                yield response
                room.release()  # only now: answers that the client does not read hold it back too
            elif error is not None:
                raise error
            with lock:
                if in_flight == 0 and results.empty():
                    return
    finally:
        stop.set()
        room.release()
