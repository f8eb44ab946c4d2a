"""Scores of pairs of templates, through the index that serves searches."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from enrollment.evaluation.progress import ProgressCallback, no_progress
from matcher.comparators import index_for
from matcher.templates import Template


@dataclasses.dataclass(frozen=True, eq=False)
class PairScores:
    """Raw scores of pairs, NaN where there is none; and the seconds that the comparisons took on one thread."""

    scores: NDArray[np.float64]
    seconds: float


def compare_pairs(
    templates: Sequence[Template | None], pairs: NDArray[np.int64], progress: ProgressCallback = no_progress
) -> PairScores:
    """Raw scores of pairs (int64[n, 2], numbers of templates of one algorithm); NaN where one of the two is None."""
    scores = np.full(len(pairs), np.nan)
    there = np.array([t is not None for t in templates], bool)
    usable = np.flatnonzero(there[pairs].all(axis=1))
    made = {i: t for i, t in enumerate(templates) if t is not None}
    if not len(usable):
        return PairScores(scores, 0.0)
    any_template = next(iter(made.values()))
    index = index_for(any_template.modality, any_template.algorithm)
    rows = np.full(len(templates), -1, np.int64)
    rows[list(made)] = np.arange(len(made))
    index.append(list(made.values()))
    view = index.view()
    # The first comparison compiles machine code, which is not to be timed.
    view.compare(index.comparator.prepare(any_template), np.zeros(1, np.int64))
    began = time.perf_counter()
    order = usable[np.argsort(pairs[usable, 0], kind="stable")]
    probes, starts = np.unique(pairs[order, 0], return_index=True)
    for done, (probe, members) in enumerate(zip(probes.tolist(), np.split(order, starts[1:]), strict=True), 1):
        prepared = index.comparator.prepare(made[probe])
        scores[members] = view.compare(prepared, rows[pairs[members, 1]])
        progress("comparisons", done, len(probes))
    return PairScores(scores, time.perf_counter() - began)
