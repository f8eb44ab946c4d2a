"""The distance to the machine's limit: what sets it, and that the rates are measured at all."""

from __future__ import annotations

import pytest

from benchmarks.suites import limits
from benchmarks.suites.limits import Limits, Work, distance, measured_limits

MACHINE = Limits(threads=2, read_bytes=10e9, int8_products=200e9, counted_words=20e9)


@pytest.mark.parametrize(
    ("work", "by", "seconds"),
    [
        (Work(read_bytes=5e9, int8_products=10e9), "memory", 0.5),
        (Work(read_bytes=1e9, int8_products=100e9), "int8 products", 0.5),
        (Work(read_bytes=1e9, counted_words=4e9), "bit counts", 0.2),
    ],
)
def test_the_slowest_rate_sets_the_limit(work: Work, by: str, seconds: float) -> None:
    found = distance(2.0, work, MACHINE)
    assert found["by"] == by
    assert found["seconds"] == pytest.approx(seconds)
    assert found["share"] == pytest.approx(seconds / 2.0)
    assert found["rates"]["threads"] == 2


def test_work_of_parts_adds_up() -> None:
    assert Work(1.0, 2.0, 3.0) + Work(10.0, 20.0, 30.0) == Work(11.0, 22.0, 33.0)


def test_rates_of_this_machine_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "READ_BYTES", 1 << 22)
    monkeypatch.setattr(limits, "ROUNDS", 1)
    measured_limits.cache_clear()
    found = measured_limits(1)
    measured_limits.cache_clear()
    # Far below what any machine of this age does, far above what a wrong unit would give.
    assert 1e8 < found.read_bytes < 1e13
    assert 1e8 < found.int8_products < 1e14
    assert 1e7 < found.counted_words < 1e12
