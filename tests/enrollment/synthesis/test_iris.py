"""The eye synthesiser: seeded, the same eye from capture to capture. That eyes match is tested with the extractor."""

from __future__ import annotations

import numpy as np
import pytest

from enrollment.synthesis.iris import iris_texture, synthesise_eye


def test_the_same_seeds_give_the_same_picture_and_others_do_not() -> None:
    eye = synthesise_eye(5, 1)
    assert eye.dtype == np.uint8
    assert eye.shape == (480, 640)
    assert np.array_equal(eye, synthesise_eye(5, 1))
    assert not np.array_equal(eye, synthesise_eye(5, 2))
    assert not np.array_equal(eye, synthesise_eye(6, 1))


def test_texture_belongs_to_the_identity() -> None:
    a, b = iris_texture(1), iris_texture(2)
    assert np.array_equal(a, iris_texture(1))
    assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.5
    # The texture closes round the angle.
    assert np.abs(a[:, 0] - a[:, -1]).mean() < 2 * np.abs(np.diff(a, axis=1)).mean()


@pytest.mark.parametrize("size", [(320, 240), (800, 600), (1280, 960)])
def test_sizes(size: tuple[int, int]) -> None:
    eye = synthesise_eye(1, 1, size=size)
    assert eye.shape == size[::-1]
    dark = (eye < 60).mean()
    assert 0.005 < dark < 0.2, "the pupil and lashes are dark, the rest is not"
    assert (eye > 245).mean() < 0.05


@pytest.mark.parametrize("size", [(100, 80), (4000, 3000), (640, 100)])
def test_refuses_absurd_sizes(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="not within"):
        synthesise_eye(1, 1, size=size)
