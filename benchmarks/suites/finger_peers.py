"""The finger comparison's fast stage in plain numpy: the same scores, without compiling anything."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from matcher.finger.cylinders import TURN, PreparedFinger
from matcher.finger.pairing import SIMILARITY_STEPS
from matcher.finger.parameters import ComparisonParameters


def numpy_relaxed(a: PreparedFinger, b: PreparedFinger, p: ComparisonParameters) -> float:
    """LGS-R; see ``matcher.finger.pairing``. Whole arrays at a time wherever numpy can."""
    if (len(b), b.key) < (len(a), a.key):
        a, b = b, a
    similarity = _similarities(a, b, p)
    order = np.argsort(-similarity, axis=None, kind="stable")
    order = order[similarity.ravel()[order] > 0]
    row, column = _greedy(order, similarity.shape)
    first = similarity[row, column].astype(np.float64)
    turn = _wrapped((a.angle[row].astype(np.int64) - b.angle[column]) * (2 * math.pi / TURN))
    between_a = (a.x[row] + 1j * a.y[row])[None] - (a.x[row] + 1j * a.y[row])[:, None]
    between_b = (b.x[column] + 1j * b.y[column])[None] - (b.x[column] + 1j * b.y[column])[:, None]
    apart = np.abs(np.abs(between_a) - np.abs(between_b))
    turned = np.abs(_wrapped(turn[:, None] - turn[None]))
    radial = np.abs(_wrapped(turn[:, None] - np.angle(between_a * np.conj(between_b))))
    agree = _factor(0, apart, p) * _factor(1, turned, p) * _factor(2, radial, p)
    np.fill_diagonal(agree, 0.0)
    final = first
    for _ in range(p.iterations):
        final = p.keep * final + (1 - p.keep) / (len(a) - 1) * (agree @ final)
    n_p = p.pairs(len(a))
    best = np.argsort(-(final / first * 2**20).astype(np.int64), kind="stable")[:n_p]
    return float(final[best].sum() / n_p)


def _similarities(a: PreparedFinger, b: PreparedFinger, p: ComparisonParameters) -> NDArray[np.float32]:
    different = np.bitwise_count(a.bits[:, None] ^ b.bits[None]).sum(axis=2, dtype=np.int64).astype(np.float32)
    norms = [np.sqrt(np.bitwise_count(f.bits).sum(axis=1, dtype=np.int64).astype(np.float32)) for f in (a, b)]
    both = norms[0][:, None] + norms[1][None]
    turn = np.abs(_wrapped((a.angle[:, None].astype(np.int64) - b.angle[None]) * (2 * math.pi / TURN)))
    with np.errstate(divide="ignore", invalid="ignore"):
        exact = np.float32(1.0) - np.sqrt(different) / both
    usable = (turn <= p.max_turn) & (both > 0)
    steps = np.where(usable, exact * np.float32(SIMILARITY_STEPS), 0).astype(np.int64)
    return (steps / SIMILARITY_STEPS).astype(np.float32)


def _greedy(order: NDArray[np.int64], shape: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    rows, columns = np.unravel_index(order, shape)
    free_row, free_column = np.ones(shape[0], np.bool_), np.ones(shape[1], np.bool_)
    taken = []
    for at in range(len(order)):
        if free_row[rows[at]] and free_column[columns[at]]:
            free_row[rows[at]] = free_column[columns[at]] = False
            taken.append(at)
    return rows[taken], columns[taken]


def _wrapped(angle: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray((angle + math.pi) % (2 * math.pi) - math.pi, np.float64)


def _factor(which: int, d: NDArray[np.float64], p: ComparisonParameters) -> NDArray[np.float64]:
    value = 1 / (1 + np.exp(np.minimum(-p.tau[which] * (d - p.mu[which]), 80.0)))
    return np.where(value >= p.floor, value, 0.0)
