"""Where the time of searches goes: how often each stage ran and how long it took, since the process began.

Stages are named where they are measured, e.g. ``with measure("finger shortlist"):``. Times are elapsed ones: stages
that run side by side may add up to more than the searches took. A search costs a microsecond a stage for it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator, Mapping
from time import perf_counter


@dataclasses.dataclass(frozen=True)
class StageTime:
    """What a stage came to.

    Attributes:
        calls: how often it ran; a pass that serves several searches at once is one.
        seconds: elapsed, all calls together.
    """

    calls: int = 0
    seconds: float = 0.0

    def __sub__(self, before: StageTime) -> StageTime:
        return StageTime(self.calls - before.calls, self.seconds - before.seconds)


class StageTimes:
    """Adds up the times of stages; thread-safe.

    Args:
        clock: seconds since any moment.
    """

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._times: dict[str, StageTime] = {}

    @contextlib.contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Adds the time of what is within to a stage, also where it fails."""
        began = self._clock()
        try:
            yield
        finally:
            seconds = self._clock() - began
            with self._lock:
                time = self._times.get(name, StageTime())
                self._times[name] = StageTime(time.calls + 1, time.seconds + seconds)

    def snapshot(self) -> dict[str, StageTime]:
        """All stages so far, in the order in which they first ended."""
        with self._lock:
            return dict(self._times)


def since(before: Mapping[str, StageTime], now: Mapping[str, StageTime]) -> dict[str, StageTime]:
    """What came to the stages between two snapshots, without those that did not run."""
    differences = {name: time - before.get(name, StageTime()) for name, time in now.items()}
    return {name: time for name, time in differences.items() if time.calls}


_process = StageTimes()
measure = _process.measure
snapshot = _process.snapshot
"""Of this process."""
