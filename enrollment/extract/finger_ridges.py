"""Where a print lies in an image, and whether what lies there has the structure of ridges at all.

Ridges are locally a plane wave: at 500 ppi their period is about 9 pixels (5-14 in adults and children), and within a
block of 32 pixels they run in one direction. The short-time Fourier view of this is that of S. Chikkerur, A. Cartwright
and V. Govindaraju, "Fingerprint enhancement using STFT analysis", Pattern Recognition 40 (2007): energy of a block lies
in a ring of the spectrum, at one angle. Faces, eyes, text and blank images fail one or the other.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
from numpy.typing import NDArray

from enrollment.extract.finger_polarity import Polarity, find_polarity

PPMM = 500.0 / 25.4


@dataclasses.dataclass(frozen=True)
class RidgeParameters:
    """All lengths in pixels at 500 ppi.

    Attributes:
        window: side of the window of the local variance.
        max_threshold: local variance that is foreground in any image, in squared grey levels (a prototype's value).
        min_threshold, contrast: in a faint print the threshold is this part of the 95th percentile of the local
            variance, but not below ``min_threshold``, which noise of a sensor stays under.
        margin: kept around the foreground, so that the network sees where the print ends.
        min_piece: pieces of foreground below this many square millimetres are dirt; 4 mm2 is a block of 40 x 40.
        block, step: side and distance of the blocks of the spectrum.
        min_period, max_period: the ring of the ridges.
        min_share: part of a ridge block's energy that lies in the ring.
        min_coherence: length of the mean double-angle vector of the ring's energy in a ridge block, 0-1.
    """

    window: int = 16
    max_threshold: float = 100.0
    min_threshold: float = 16.0
    contrast: float = 0.1
    margin: int = 12
    min_piece: float = 4.0
    block: int = 32
    step: int = 16
    min_period: float = 5.0
    max_period: float = 14.0
    min_share: float = 0.5
    min_coherence: float = 0.3


@dataclasses.dataclass(frozen=True, eq=False)
class Ridges:
    """What an image at 500 ppi shows.

    Attributes:
        top, left, bottom, right: the foreground with its margin: rows top to bottom - 1; all 0 where there is none.
        foreground: area in square millimetres with contrast.
        ridge_area: area in square millimetres that has the structure of ridges.
        ridge_share: part of the blocks in the foreground that have the structure of ridges, 0-1.
        polarity: whether the ridges are dark, and how much they cover; None where there is no foreground.
        runs_off: whether ridges reach the top, right, bottom and left edge of the image, each over more than a third of
            it.
    """

    top: int
    left: int
    bottom: int
    right: int
    foreground: float
    ridge_area: float
    ridge_share: float
    polarity: Polarity | None
    runs_off: tuple[bool, bool, bool, bool]


def find_ridges(image: NDArray[np.uint8], parameters: RidgeParameters | None = None) -> Ridges:
    """Finds the foreground of uint8[h, w] at 500 ppi and measures its ridges; never fails on an image of any size."""
    p = parameters or RidgeParameters()
    height, width = image.shape
    mask = _foreground(image, p)
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(ys) == 0:
        return Ridges(0, 0, 0, 0, 0.0, 0.0, 0.0, None, (False, False, False, False))
    top, bottom = max(int(ys[0]) - p.margin, 0), min(int(ys[-1]) + 1 + p.margin, height)
    left, right = max(int(xs[0]) - p.margin, 0), min(int(xs[-1]) + 1 + p.margin, width)
    ridge, inside = _ridge_blocks(image, mask, p)
    blocks = int(inside.sum())
    edges = (ridge[0], ridge[:, -1], ridge[-1], ridge[:, 0]) if ridge.size else (np.zeros(1, np.bool_),) * 4
    reached = [float(edge.mean()) > 1 / 3 for edge in edges]
    return Ridges(
        top,
        left,
        bottom,
        right,
        foreground=float(mask.sum()) / PPMM**2,
        ridge_area=float(ridge.sum()) * p.step**2 / PPMM**2,
        ridge_share=float(ridge.sum()) / blocks if blocks else 0.0,
        polarity=find_polarity(image, mask),
        runs_off=(reached[0], reached[1], reached[2], reached[3]),
    )


def _foreground(image: NDArray[np.uint8], p: RidgeParameters) -> NDArray[np.bool_]:
    """bool[h, w]: local variance above the threshold, without pieces too small to be a print."""
    values = image.astype(np.float32)
    size = (p.window, p.window)
    mean = cv2.blur(values, size)
    variance = cv2.blur(values * values, size) - mean * mean
    threshold = min(max(p.contrast * float(np.percentile(variance, 95)), p.min_threshold), p.max_threshold)
    rough = (variance > threshold).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(rough, connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] >= p.min_piece * PPMM**2
    large[0] = False
    keep: NDArray[np.bool_] = large[labels] if count > 1 else np.zeros(image.shape, np.bool_)
    return keep


def _ridge_blocks(
    image: NDArray[np.uint8], mask: NDArray[np.bool_], p: RidgeParameters
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Two bool[rows, columns] over the blocks: has the structure of ridges; lies mostly in the foreground."""
    if min(image.shape) < p.block:
        return np.zeros((0, 0), np.bool_), np.zeros((0, 0), np.bool_)
    shape = (p.block, p.block)
    views = np.lib.stride_tricks.sliding_window_view(image, shape)[:: p.step, :: p.step]
    covered = np.lib.stride_tricks.sliding_window_view(mask, shape)[:: p.step, :: p.step].mean(axis=(2, 3))
    inside = covered > 0.5
    blocks = views[inside].astype(np.float32)
    ridge = np.zeros(inside.shape, np.bool_)
    if len(blocks):
        share, coherence = _spectrum(blocks, p)
        ridge[inside] = (share >= p.min_share) & (coherence >= p.min_coherence)
    return ridge, inside


def _spectrum(blocks: NDArray[np.float32], p: RidgeParameters) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Share of energy in the ridges' ring and its coherence of direction, float32[n] each, of float32[n, b, b]."""
    hann = np.hanning(p.block + 2)[1:-1].astype(np.float32)
    weight = hann[:, None] * hann
    mean = (blocks * weight).sum(axis=(1, 2), keepdims=True) / weight.sum()
    power = np.abs(np.fft.rfft2((blocks - mean) * weight)) ** 2
    fy = np.fft.fftfreq(p.block)[:, None]
    fx = np.fft.rfftfreq(p.block)[None, :]
    radius = np.hypot(fy, fx)
    # rfft2 stores the half plane; inner columns stand for two frequencies each.
    twice = np.where((fx > 0) & (fx < 0.5), 2.0, 1.0)
    ring = twice * ((radius >= 1 / p.max_period) & (radius <= 1 / p.min_period))
    turn = np.exp(2j * np.arctan2(fy, fx)) * ring
    total = np.maximum((power * twice).sum(axis=(1, 2)), 1e-6)
    energy = (power * ring).sum(axis=(1, 2))
    vector = np.abs((power * turn).sum(axis=(1, 2)))
    return (energy / total).astype(np.float32), (vector / np.maximum(energy, 1e-6)).astype(np.float32)
