"""Similarity transform and warp against their definitions."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrollment.extract.face_alignment import ALIGNED_SIDE, ARCFACE_POINTS, align, similarity, warp


def similarity_matrix(scale: float, angle: float, shift: tuple[float, float]) -> np.ndarray:
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[cosine, -sine, shift[0]], [sine, cosine, shift[1]]])


@given(
    st.floats(0.05, 20.0),
    st.floats(-3.1, 3.1),
    st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)),
)
def test_an_exact_similarity_is_recovered(scale: float, angle: float, shift: tuple[float, float]) -> None:
    matrix = similarity_matrix(scale, angle, shift)
    target = ARCFACE_POINTS @ matrix[:, :2].T + matrix[:, 2]
    assert np.allclose(similarity(ARCFACE_POINTS, target), matrix, rtol=1e-6, atol=1e-6 * (1 + scale))


def test_noisy_points_give_the_least_squares_answer() -> None:
    """Against the normal equations of the four linear parameters a, b, x, y of a similarity without reflection."""
    rng = np.random.default_rng(1)
    for _ in range(50):
        source = rng.normal(0, 30, (5, 2))
        matrix = similarity_matrix(rng.uniform(0.3, 3), rng.uniform(-1, 1), (5, -7))
        target = source @ matrix[:, :2].T + matrix[:, 2] + rng.normal(0, 3, (5, 2))
        rows = [[x, -y, 1, 0] for x, y in source] + [[y, x, 0, 1] for x, y in source]
        a, b, x, y = np.linalg.lstsq(np.array(rows), np.concatenate([target[:, 0], target[:, 1]]), rcond=None)[0]
        assert np.allclose(similarity(source, target), [[a, -b, x], [b, a, y]], atol=1e-8)


def test_points_of_a_face_land_on_the_template() -> None:
    """Five dots drawn anywhere, at any size and roll, lie where the recogniser expects them."""
    for scale, angle in ((1.0, 0.0), (1.7, 0.5), (6.0, -0.4)):
        matrix = similarity_matrix(scale, angle, (300.0, 350.0))
        points = ARCFACE_POINTS @ matrix[:, :2].T + matrix[:, 2]
        image = np.zeros((1400, 1400, 3), np.uint8)
        for x, y in points:
            cv2.circle(image, (round(x), round(y)), max(round(3 * scale), 3), (255, 255, 255), -1)
        crop = align(image, points)
        assert crop.shape == (ALIGNED_SIDE, ALIGNED_SIDE, 3)
        count, _, _, centres = cv2.connectedComponentsWithStats((crop[:, :, 0] > 127).astype(np.uint8))
        assert count == 6
        found = centres[1:][np.lexsort((centres[1:, 0], np.round(centres[1:, 1] / 10)))]
        expected = ARCFACE_POINTS[np.lexsort((ARCFACE_POINTS[:, 0], np.round(ARCFACE_POINTS[:, 1] / 10)))]
        assert np.abs(found - expected).max() < 0.7


@pytest.mark.parametrize("factor", [4, 8])
def test_shrinking_averages_instead_of_skipping(factor: int) -> None:
    """A one-pixel checkerboard becomes even grey; bilinear sampling alone would leave black, white or moire."""
    side = 64 * factor
    board = (np.indices((side, side)).sum(axis=0) % 2 * 255).astype(np.uint8)
    matrix = np.array([[1 / factor, 0, 0.5 / factor - 0.5], [0, 1 / factor, 0.5 / factor - 0.5]])
    crop = warp(board, matrix, 64, repeat_border=True)
    assert np.abs(crop.astype(int) - 127).max() <= 12


def test_shrinking_keeps_places() -> None:
    """A smooth image, shrunk: every crop pixel shows the place that the matrix says, to a fraction of a grey level."""
    y, x = np.mgrid[0:900, 0:1200].astype(float)
    image = np.clip(np.round(0.15 * x + 0.08 * y), 0, 255).astype(np.uint8)
    for scale in (0.9, 0.45, 0.2):
        matrix = similarity_matrix(scale, 0.2, (-60 * scale, -200 * scale))
        crop = warp(image, matrix, 60, repeat_border=True)
        inverse = cv2.invertAffineTransform(matrix)
        v, u = np.mgrid[0:60, 0:60].astype(float)
        sx = inverse[0, 0] * u + inverse[0, 1] * v + inverse[0, 2]
        sy = inverse[1, 0] * u + inverse[1, 1] * v + inverse[1, 2]
        inside = (sx > 10) & (sx < 1190) & (sy > 10) & (sy < 890)
        assert inside.mean() > 0.5
        expected = 0.15 * sx + 0.08 * sy
        assert np.abs(crop - expected)[inside].max() < 1.6
