"""Invented minutiae sets, and a second impression of a given one; random places, for the code's paths only."""

from __future__ import annotations

import numpy as np

from matcher.finger.parameters import FINGER_ALGORITHM
from matcher.templates import FingerTemplate


def random_finger(rng: np.random.Generator, count: int, algorithm: str = FINGER_ALGORITHM) -> FingerTemplate:
    """A template of ``count`` random minutiae on 320 x 400 pixels."""
    return FingerTemplate(
        algorithm,
        1,
        320,
        400,
        rng.integers(0, 320, count).astype(np.int16),
        rng.integers(0, 400, count).astype(np.int16),
        (2 * rng.integers(0, 32768, count)).astype(np.uint16),
        rng.integers(30, 101, count).astype(np.uint8),
    )


def second_impression(
    rng: np.random.Generator, finger: FingerTemplate, keep: float = 0.8, noise: float = 1.5, turn: float = 0.3
) -> FingerTemplate:
    """The finger again: turned by up to ``turn`` radians, shifted, some minutiae lost, others added, all jittered."""
    kept = rng.random(len(finger)) < keep
    x = finger.x[kept].astype(np.float64) - 160
    y = finger.y[kept].astype(np.float64) - 200
    a = rng.uniform(-turn, turn)
    # The screen's y runs down, so a counter-clockwise turn by a of the picture is this.
    x, y = np.cos(a) * x + np.sin(a) * y, -np.sin(a) * x + np.cos(a) * y
    n = len(x)
    x, y = x + rng.normal(0, noise, n) + 160 + rng.uniform(-20, 20), y + rng.normal(0, noise, n) + 200
    angle = finger.angle_radians[kept] + a + rng.normal(0, 0.05, n)
    extra = random_finger(rng, max(1, round(len(finger) * (1 - keep) / 2)))
    return FingerTemplate(
        finger.algorithm,
        1,
        320,
        400,
        np.concatenate([np.clip(np.round(x), 0, 8191).astype(np.int16), extra.x]),
        np.concatenate([np.clip(np.round(y), 0, 8191).astype(np.int16), extra.y]),
        np.concatenate([FingerTemplate.encode_angle(angle), extra.angle]),
        np.concatenate([finger.quality[kept], extra.quality]),
    )
