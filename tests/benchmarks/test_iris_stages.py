"""Losses of the first stage of the iris search, counted."""

from __future__ import annotations

import numpy as np

from benchmarks.iris_stages import StageScores, compare_stages, synthetic_pairs
from enrollment.synthesis.iris_templates import bulk_iris_templates, vary
from matcher.iris.comparison import IrisComparator
from matcher.iris.parameters import PARAMETERS


def test_every_pair_is_compared_once_and_by_its_class() -> None:
    eyes = bulk_iris_templates(3, 1)
    templates = [*eyes, vary(eyes[0], 1), vary(eyes[2], 2)]
    found = compare_stages(templates, ["a", "b", "c", "a", "c"], 2)
    assert found.genuine.shape == (2, 3)
    assert found.impostor.shape == (8, 3)
    comparator = IrisComparator()
    prepared = [comparator.prepare(t) for t in templates]
    assert found.genuine[:, 0].tolist() == [
        comparator.compare(prepared[0], prepared[3]),
        comparator.compare(prepared[2], prepared[4]),
    ]
    assert found.genuine.min() > 0.15 > 0.12 > found.impostor[:, 0].max()
    # Itself and its mate stand first in both shortlists.
    assert found.missing.tolist() == [False, False]


def test_lost_pairs_are_accepted_ones_that_the_first_stage_stops() -> None:
    below, above = PARAMETERS.prefix_threshold - 0.01, PARAMETERS.prefix_threshold + 0.01
    genuine = np.array([[0.3, 0.3, above], [0.3, 0.1, below], [0.1, 0.3, above], [0.1, 0.1, below]])
    impostor = np.full((1000, 3), 0.05)
    impostor[0] = 0.2
    scores = StageScores(genuine, impostor, np.array([True, False, True, False]))
    assert scores.lost(0, 1e-4) == (2, 1, 1)
    assert scores.lost(1, 1e-4) == (2, 0, 2)
    assert scores.lost(1, 1.0) == (4, 2, 2)


def test_no_accepted_synthetic_pair_is_lost() -> None:
    scores = synthetic_pairs(40, 3, 20)
    assert len(scores.genuine) == 40
    for by in (0, 1):
        accepted, lost, missing = scores.lost(by, 1e-3)
        assert accepted >= 35
        assert lost == missing == 0
