"""Pairing: ours and the peers in turn, ratios by round, per operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.suites import pairs
from benchmarks.suites.pairs import Peer, measure, paired_ratio


class Clock:
    """Stands in for time.perf_counter; work moves it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Rounds:
    """pytest-benchmark's fixture, without its clock."""

    def __init__(self) -> None:
        self.group: str | None = None
        self.extra_info: dict[str, Any] = {}

    def pedantic(
        self, target: Callable[[], object], *, setup: Callable[[], None], rounds: int, iterations: int
    ) -> object:
        assert iterations == 1
        for _ in range(rounds):
            setup()
            target()
        return None


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pairs, "perf_counter", clock)
    return clock


def test_ours_and_peers_take_turns_and_ratios_are_per_operation(clock: Clock) -> None:
    calls: list[str] = []

    def work(name: str, seconds: float) -> Callable[[], None]:
        def call() -> None:
            calls.append(name)
            clock.now += seconds

        return call

    benchmark = Rounds()
    peers = [Peer("slow", work("slow", 6.0), 3, "the same"), Peer("quick", work("quick", 0.5), 10, "other")]
    measure(benchmark, work("ours", 1.0), peers, operation="search", operations=10, rounds=3)

    assert calls == ["slow", "quick", "ours"] * 3
    info = benchmark.extra_info
    assert info["seconds_per_operation"] == pytest.approx(0.1)
    # Six seconds for three operations against one second for ten; half a second for ten against one.
    assert info["peers"]["slow"]["ratio"] == pytest.approx(20.0)
    assert info["peers"]["quick"]["ratio"] == pytest.approx(0.5)
    assert info["peers"]["quick"]["answers"] == "other"


def test_a_machine_that_slows_down_midway_moves_no_ratio(clock: Clock) -> None:
    pace = {"now": 1.0}

    def work(seconds: float) -> Callable[[], None]:
        def call() -> None:
            clock.now += seconds * pace["now"]

        return call

    def ours() -> None:
        work(1.0)()
        pace["now"] *= 2.0

    benchmark = Rounds()
    measure(benchmark, ours, [Peer("peer", work(4.0), 1, "the same")], operation="search", operations=1, rounds=5)
    assert benchmark.extra_info["peers"]["peer"]["ratio"] == pytest.approx(4.0)


def test_the_ratio_is_the_median_of_the_rounds() -> None:
    assert paired_ratio([1.0, 1.0, 1.0], [2.0, 3.0, 100.0]) == 3.0
    with pytest.raises(ValueError, match="zip"):
        paired_ratio([1.0], [1.0, 2.0])
