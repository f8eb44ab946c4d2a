"""Synthetic face embeddings for the tests of this folder."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from matcher.templates import FaceTemplate

FACE_ALGORITHM = "face-of-tests-1"
"""A model of no known length; those of known models are checked."""


def random_units(count: int, dimension: int = 64, seed: int = 0) -> NDArray[np.float32]:
    """float32[count, dimension], directions drawn evenly from the sphere."""
    rows = np.random.default_rng(seed).standard_normal((count, dimension))
    units: NDArray[np.float32] = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return units


def face_template(row: NDArray[np.float32], algorithm: str = FACE_ALGORITHM) -> FaceTemplate:
    """A template that holds this embedding."""
    return FaceTemplate(algorithm, 1, row.copy())


def steep_units(count: int, dimension: int, decay: float, seed: int = 0) -> NDArray[np.float32]:
    """float32[count, dimension] as networks make them: a few directions hold most of the length.

    Args:
        decay: the variances along the axes of the network, which are no axes of the numbers, fall as exp(-k / decay).
    """
    axes = np.linalg.qr(np.random.default_rng(99).standard_normal((dimension, dimension)))[0]
    drawn = np.random.default_rng(seed).standard_normal((count, dimension))
    rows = drawn * np.exp(-np.arange(dimension) / (2 * decay)) @ axes
    units: NDArray[np.float32] = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return units
