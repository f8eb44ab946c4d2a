"""From five points of a face to the upright crop of fixed size that recognisers are trained on."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
from numpy.typing import NDArray

ALIGNED_SIDE = 112
"""Pixels on each side of the aligned crop."""

ARCFACE_POINTS = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""float64[5, 2], where eyes, nose tip and corners of the mouth lie in the crop (InsightFace, ``face_align.py``; the
one on the left of the image first)."""


@dataclasses.dataclass(frozen=True, eq=False)
class Alignment:
    """The crop that a recogniser wants.

    Attributes:
        side: pixels on each side.
        points: float64[5, 2], where the five points lie in it, in pixels.
    """

    side: int
    points: NDArray[np.float64]

    def resized(self, side: int) -> Alignment:
        """The same crop with another number of pixels."""
        # Pixel centres: larger = factor * (original + 0.5) - 0.5.
        return Alignment(side, (self.points + 0.5) * (side / self.side) - 0.5)


ARCFACE_ALIGNMENT = Alignment(ALIGNED_SIDE, ARCFACE_POINTS)


def similarity(source: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least-squares similarity transform (rotation, uniform scale, translation; no reflection) between point sets.

    S. Umeyama, "Least-squares estimation of transformation parameters between two point patterns", IEEE TPAMI 13(4),
    1991, equations 40-42.

    Args:
        source, target: float64[n, 2], n >= 2, the source points not all the same.

    Returns:
        float64[2, 3], the matrix that takes source to target.
    """
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    centred = source - source_mean
    u, strength, v = np.linalg.svd((target - target_mean).T @ centred / len(source))
    sign = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(v)) or 1.0])
    rotation = u @ np.diag(sign) @ v
    scale = float((strength * sign).sum() / centred.var(axis=0).sum())
    return np.column_stack([scale * rotation, target_mean - scale * rotation @ source_mean])


def warp(image: NDArray[np.uint8], matrix: NDArray[np.float64], side: int, *, repeat_border: bool) -> NDArray[np.uint8]:
    """A square crop under an affine map.

    Where the map shrinks to less than half, the image is first reduced by area averaging: bilinear sampling alone would
    skip pixels of a large face and alias.

    Args:
        image: uint8[height, width] or uint8[height, width, 3].
        matrix: float64[2, 3], image to crop, pixel centres at whole numbers.
        side: of the crop.
        repeat_border: outside of the image, its border pixels are repeated; else it is black.
    """
    shrink = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if shrink < 0.5:
        height, width = image.shape[:2]
        size = (max(round(width * shrink * 1.5), 1), max(round(height * shrink * 1.5), 1))
        factors = np.array([size[0] / width, size[1] / height])
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        linear = matrix[:, :2] / factors
        # Pixel centres: reduced = factor * (original + 0.5) - 0.5.
        matrix = np.column_stack([linear, matrix[:, 2] - linear @ (0.5 * factors - 0.5)])
    border = cv2.BORDER_REPLICATE if repeat_border else cv2.BORDER_CONSTANT
    return np.asarray(cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=border), np.uint8)


def align(
    image: NDArray[np.uint8], points: NDArray[np.float64], alignment: Alignment = ARCFACE_ALIGNMENT
) -> NDArray[np.uint8]:
    """The upright crop of a face.

    Args:
        image: uint8[height, width, 3].
        points: float64[5, 2] in pixels of the image: eyes, nose tip, corners of the mouth, as in ``ARCFACE_POINTS``.
        alignment: the crop; ArcFace's 112 x 112 when left out.

    Returns:
        uint8[side, side, 3], in the image's channel order.
    """
    return warp(image, similarity(points, alignment.points), alignment.side, repeat_border=False)
