"""What bounds the iris search on this machine, measured: reading memory, counting bits, the first stage in cache."""

from __future__ import annotations

import functools
from collections.abc import Callable
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from matcher.compiled import kernel, popcount
from matcher.iris.comparison import PreparedIris
from matcher.iris.parameters import PARAMETERS
from matcher.iris.slices import (
    LANE_WORDS,
    LANES,
    compare_rotation,
    digits,
    line_constants,
    list_planes,
    write_lanes,
)

Words = NDArray[np.uint64]

_REPEATS = 5


@kernel
def _read(words: Words) -> np.uint64:
    total = np.uint64(0)
    for i in range(words.shape[0]):
        total ^= words[i]
    return total


@kernel
def _count(words: Words, times: int) -> np.uint64:
    total = np.uint64(0)
    for k in range(times):
        for i in range(words.shape[0]):
            total += popcount(words[i] ^ np.uint64(k))
    return total


@kernel
def _first_stage(
    blocks: Words, offsets: NDArray[np.int32], lengths: NDArray[np.int64], constants: Words, passing: Words
) -> None:
    """passing: uint64[blocks, LANE_WORDS], a 1 for each reference that passes at some rotation."""
    one, judged = np.empty(LANE_WORDS, np.uint64), np.empty(LANE_WORDS, np.uint64)
    for b in range(blocks.shape[0]):
        passing[b] = np.uint64(0)
        for r in range(offsets.shape[0]):
            compare_rotation(blocks[b], offsets[r], lengths[r], constants, one, judged)
            passing[b] |= one


@functools.cache
def read_bandwidth() -> float:
    """Bytes a second that one thread reads from memory."""
    words = np.ones(1 << 25, np.uint64)
    return words.nbytes / _least_seconds(lambda: _read(words))


@functools.cache
def population_counts_a_second() -> float:
    """Words a second of which one thread counts the bits, in its first cache."""
    words = np.arange(2048, dtype=np.uint64)
    return 2048 * 1000 / _least_seconds(lambda: _count(words, 1000))


def first_stage_seconds(probe: PreparedIris, codes: Words, masks: Words) -> tuple[float, float]:
    """Seconds a reference of the first stage over one block in cache, and the share of these references that pass.

    Args:
        codes, masks: uint64[references, words].
    """
    p, whole = PARAMETERS, len(codes) // LANES * LANES
    blocks = np.zeros((whole // LANES, p.prefix.bits + 1, 2, LANE_WORDS), np.uint64)
    write_lanes(blocks, 0, np.ascontiguousarray(codes[:whole]), np.ascontiguousarray(masks[:whole]))
    offsets = np.empty((p.rotations, p.prefix.bits + 8), np.int32)
    lengths = np.empty(p.rotations, np.int64)
    first = slice(p.prefix.words)
    list_planes(probe.search_bits[:, first], probe.search_masks[:, first], offsets, lengths)
    constants = digits([*line_constants(p.prefix, p.prefix_threshold), p.prefix.least_bits])
    passing = np.empty((len(blocks), LANE_WORDS), np.uint64)
    _first_stage(blocks, offsets, lengths, constants, passing)
    share = float(np.bitwise_count(passing).mean()) / 64
    seconds = _least_seconds(lambda: _first_stage(blocks[:1], offsets, lengths, constants, passing[:1]))
    return seconds / LANES, share


def _least_seconds(call: Callable[[], object]) -> float:
    times = []
    for _ in range(_REPEATS):
        began = perf_counter()
        call()
        times.append(perf_counter() - began)
    return min(times)
