"""Scores of several encounters, made at once, against one rule and one claim at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.face_encounters import RULES, scores

Vectors = NDArray[np.float64]


def of_the_mean(probe: Vectors, references: Vectors) -> float:
    total = references.sum(axis=0)
    return float(probe @ total / np.linalg.norm(total))


ONE_BY_ONE: dict[str, Callable[[Vectors, Vectors], float]] = {
    "first encounter only": lambda probe, references: float(probe @ references[0]),
    "best score": lambda probe, references: max(float(probe @ r) for r in references),
    "mean score": lambda probe, references: sum(float(probe @ r) for r in references) / len(references),
    "score of the mean embedding": of_the_mean,
}


@pytest.mark.parametrize("name", list(RULES))
def test_every_rule_is_what_it_says(name: str) -> None:
    rng = np.random.default_rng(5)
    people = [rng.normal(0, 1, (images, 16)) for images in (3, 5, 4, 3)]
    people = [p / np.linalg.norm(p, axis=1, keepdims=True) for p in people]
    genuine, impostor, whose = scores(people, RULES[name])
    rule, expected, strangers = ONE_BY_ONE[name], [], []
    for number, own in enumerate(people):
        for image, probe in enumerate(own):
            expected.append(rule(probe, np.delete(own, image, axis=0)))
            strangers += [rule(probe, other[: len(own) - 1]) for k, other in enumerate(people) if k != number]
    assert np.allclose(genuine, expected, atol=1e-12)
    assert np.allclose(np.sort(impostor), np.sort(strangers), atol=1e-12)
    assert whose.tolist() == [0] * 3 + [1] * 5 + [2] * 4 + [3] * 3
