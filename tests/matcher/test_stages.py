"""Times of stages: added up by name over threads, also where a stage fails."""

from __future__ import annotations

import threading

import pytest

from matcher import stages
from matcher.stages import StageTime, StageTimes, since


class Clock:
    """Moves by a second each time that it is looked at."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def test_calls_and_seconds_add_up_by_name_in_the_order_of_their_first_end() -> None:
    times = StageTimes(Clock())
    with times.measure("search"), times.measure("face shortlist"):
        pass
    with times.measure("face shortlist"):
        pass
    assert times.snapshot() == {"face shortlist": StageTime(2, 2.0), "search": StageTime(1, 3.0)}
    assert list(times.snapshot()) == ["face shortlist", "search"]


def test_a_stage_that_fails_is_counted_and_fails() -> None:
    times = StageTimes(Clock())
    with pytest.raises(ValueError, match="no"), times.measure("search"):
        raise ValueError("no")
    assert times.snapshot()["search"].calls == 1


def test_a_snapshot_stays_as_it_was_and_differences_leave_out_what_did_not_run() -> None:
    times = StageTimes(Clock())
    with times.measure("a"):
        pass
    before = times.snapshot()
    with times.measure("b"):
        pass
    assert before == {"a": StageTime(1, 1.0)}
    assert since(before, times.snapshot()) == {"b": StageTime(1, 1.0)}
    with times.measure("a"):
        pass
    assert since(before, times.snapshot())["a"] == StageTime(1, 1.0)


def test_many_threads_lose_no_call() -> None:
    times = StageTimes()

    def work() -> None:
        for _ in range(500):
            with times.measure("search"):
                pass

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert times.snapshot()["search"].calls == 4000


def test_the_process_has_one() -> None:
    before = stages.snapshot()
    with stages.measure("test of stages"):
        pass
    assert list(since(before, stages.snapshot())) == ["test of stages"]
