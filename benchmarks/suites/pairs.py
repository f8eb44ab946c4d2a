"""Measures ours and its peers in turn, so that whatever the machine does meanwhile happens to both.

A round runs each peer once and then ours once; the ratio is the median over the rounds of peer's time over ours. The
times of ours are pytest-benchmark's, in its JSON as usual; what the peers took, and the ratios, stand in the
``extra_info`` of the benchmark.
"""

from __future__ import annotations

import dataclasses
import os
import statistics
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, Protocol


class Benchmark(Protocol):
    """What is used of pytest-benchmark's fixture, which is untyped."""

    group: str | None
    extra_info: dict[str, Any]

    def pedantic(
        self, target: Callable[[], object], *, setup: Callable[[], None], rounds: int, iterations: int
    ) -> object:
        """Calls ``setup`` unmeasured and ``target`` measured, ``rounds`` times."""
        ...


@dataclasses.dataclass(frozen=True)
class Peer:
    """Something else that does the work of ours.

    Attributes:
        name: lower case, with hyphens; the key in the baseline.
        call: does the work once.
        operations: how many of the operations that are compared one call does.
        answers: whether its answers are ours, or how they differ: a sentence for whoever reads the figures.
    """

    name: str
    call: Callable[[], object]
    operations: int
    answers: str


def measure(
    benchmark: Benchmark,
    ours: Callable[[], object],
    peers: Sequence[Peer],
    *,
    operation: str,
    operations: int,
    rounds: int,
) -> None:
    """Measures ours against every peer and leaves the ratios in ``benchmark.extra_info``.

    The caller has compared the answers before, which has also warmed up both.

    Args:
        operation: one of what is compared, in words, e.g. ``search of 50,000 faces``.
        operations: how many of these ours does in one call.
        rounds: how often each is measured.
    """
    own: list[float] = []
    others: dict[str, list[float]] = {peer.name: [] for peer in peers}

    def run_peers() -> None:
        for peer in peers:
            others[peer.name].append(_seconds(peer.call) / peer.operations)

    def run_ours() -> None:
        own.append(_seconds(ours) / operations)

    benchmark.pedantic(run_ours, setup=run_peers, rounds=rounds, iterations=1)
    benchmark.extra_info.update(
        operation=operation,
        operations_per_round=operations,
        seconds_per_operation=statistics.median(own),
        threads={name: os.environ.get(name, "unset") for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")},
        peers={
            peer.name: {
                "ratio": paired_ratio(own, others[peer.name]),
                "seconds_per_operation": statistics.median(others[peer.name]),
                "operations_per_round": peer.operations,
                "answers": peer.answers,
                "seconds": others[peer.name],
            }
            for peer in peers
        },
    )


def paired_ratio(own: Sequence[float], other: Sequence[float]) -> float:
    """How many times faster ours is: the median over rounds of the peer's seconds over our seconds."""
    return statistics.median(b / a for a, b in zip(own, other, strict=True))


def _seconds(call: Callable[[], object]) -> float:
    began = perf_counter()
    call()
    return perf_counter() - began
