"""NBIS and NFIQ 2 (``nbis-py``, MIT; NIST's code is in the public domain) in processes of their own.

The library works on one image at a time: a lock around its global variables makes every other thread of the process
wait. So it runs in children, as many as are asked at the same time up to half the processor's cores (its work is less
than half of an extraction). An image that makes it crash or hang costs a child, not the server.
"""

from __future__ import annotations

import atexit
import json
import logging
import math
import os
import struct
import threading
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from enrollment.child_process import ChildDied, ChildProcess, ChildTooSlow, read_exactly

log = logging.getLogger(__name__)

MINUTIAE, QUALITY = 0, 1
_WORKER = Path(__file__).with_name("finger_nbis_worker.py")
_SECONDS = 30.0


class NbisProcesses:
    """Children that run NBIS; thread-safe. A child takes 150 MB when it measures quality.

    Args:
        limit: of children; a caller that finds all of them at work waits.
        seconds: an image that takes longer is given up (a large print takes 0.3 s, the first one a second more).
    """

    def __init__(self, limit: int | None = None, seconds: float = _SECONDS) -> None:
        self.limit = limit or max(1, math.ceil(len(os.sched_getaffinity(0)) / 2))
        self._seconds = seconds
        self._free = threading.BoundedSemaphore(self.limit)
        self._lock = threading.Lock()
        self._idle: list[ChildProcess] = []

    def start(self) -> None:
        """Starts a child where none is idle, without waiting for it."""
        with self._lock:
            if not self._idle:
                self._idle.append(ChildProcess(_WORKER, self._seconds))
            self._idle[-1].start()

    def ask(self, task: int, image: NDArray[np.uint8]) -> dict[str, Any]:
        """The worker's answer on uint8[h, w] at 500 ppi; empty where the library found nothing, crashed or hung."""
        height, width = image.shape
        request = struct.pack("<BII", task, width, height) + image.tobytes()
        with self._free:
            with self._lock:
                child = self._idle.pop() if self._idle else ChildProcess(_WORKER, self._seconds)
            try:
                return self._ask(child, request)
            finally:
                with self._lock:
                    self._idle.append(child)

    def close(self) -> None:
        """Ends the idle children; later calls start others."""
        with self._lock:
            idle, self._idle = self._idle, []
        for child in idle:
            child.close()

    def _ask(self, child: ChildProcess, request: bytes) -> dict[str, Any]:
        try:
            try:
                return child.ask(request, _read)
            except ChildDied:  # perhaps before it was asked
                return child.ask(request, _read)
        except (ChildDied, ChildTooSlow) as failure:
            log.warning("NBIS gave no answer on an image: %s", failure)
            return {}


def _read(stream: IO[bytes]) -> dict[str, Any]:
    (length,) = struct.unpack("<I", read_exactly(stream, 4))
    answer: dict[str, Any] = json.loads(read_exactly(stream, length))
    return answer


PROCESSES = NbisProcesses()
"""Those that all extractors of this process share."""
atexit.register(PROCESSES.close)
