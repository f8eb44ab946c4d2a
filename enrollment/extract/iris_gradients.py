"""Smoothed pictures and their derivatives, which every boundary is looked for in."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float32]


def blur(picture: NDArray[np.uint8] | Picture, sigma: float) -> Picture:
    """float32[height, width], Gaussian-smoothed."""
    smooth = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(smooth, np.float32)


def gradients(picture: NDArray[np.uint8] | Picture, sigma: float) -> tuple[Picture, Picture]:
    """Derivatives in x and y, grey levels a pixel, float32[height, width] each, of the Gaussian-smoothed picture."""
    smooth = blur(picture, sigma)
    gx = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, ksize=1, scale=0.5)
    gy = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=1, scale=0.5)
    return np.asarray(gx, np.float32), np.asarray(gy, np.float32)
