"""Scores of people some of whom are easily mistaken for others."""

from __future__ import annotations

import numpy as np

from enrollment.calibration.scores import SubjectScores


def people(subjects: int = 80, samples: int = 4, own: float = 0.3, seed: int = 1) -> SubjectScores:
    """All pairs of samples; ``own`` is the spread of what a subject adds to all comparisons of theirs."""
    rng = np.random.default_rng(seed)
    of_sample = np.repeat(np.arange(subjects), samples)
    first, second = np.triu_indices(len(of_sample), 1)
    pairs = np.stack([of_sample[first], of_sample[second]], axis=1)
    raw = rng.normal(0, 1, len(pairs)) + rng.normal(0, own, subjects)[pairs].sum(axis=1)
    same = pairs[:, 0] == pairs[:, 1]
    return SubjectScores(raw[same] + 7, pairs[same, 0], raw[~same], pairs[~same], subjects)
