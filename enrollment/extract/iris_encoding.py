"""From the unrolled iris to bits: signs of a log-Gabor response along the angle, and which of them may be compared.

D. Field, "Relations between the statistics of natural images and the response properties of cortical cells", JOSA A 4,
1987 (log-Gabor); L. Masek, "Recognition of Human Iris Patterns", 2003 (its use on irises); J. Daugman, PAMI 15(11),
1993 (phase bits).
"""

from __future__ import annotations

import functools

import cv2
import numpy as np
from numpy.typing import NDArray

from enrollment.extract.iris_parameters import PARAMETERS, IrisExtractionParameters
from matcher.iris.parameters import ALGORITHM, VERSION
from matcher.iris.parameters import PARAMETERS as LAYOUT
from matcher.templates import IrisTemplate


def encode(
    texture: NDArray[np.float32], visible: NDArray[np.bool_], p: IrisExtractionParameters = PARAMETERS
) -> IrisTemplate:
    """The 2,048-bit template of an unrolled iris.

    Args:
        texture: float32[rows, columns] of ``even_out``, hidden pixels 0.
        visible: bool[rows, columns].
    """
    response = filter_response(texture, p)
    share = _visible_share(visible, p)
    scale = float(np.sqrt(np.mean(np.abs(response) ** 2))) + 1e-9
    strength = np.stack([np.abs(response.real), np.abs(response.imag)], axis=-1) / scale
    comparable = np.repeat((share > p.valid_share)[:, :, None], 2, axis=2)
    if comparable.any():
        limit = float(np.quantile(strength[comparable], p.fragile_share))
        comparable &= strength >= limit
    bits = np.stack([response.real > 0, response.imag > 0], axis=-1)
    return pack(bits, comparable)


def pack(bits: NDArray[np.bool_], comparable: NDArray[np.bool_]) -> IrisTemplate:
    """Bits and mask, bool[8, 128, 2] (radius, angle, real or imaginary) each, as a template.

    Column after column; in a column radius after radius from the pupil outwards, real before imaginary.
    """
    return IrisTemplate(ALGORITHM, VERSION, LAYOUT.columns, _words(bits & comparable), _words(comparable))


def _words(bits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    ordered = bits.transpose(1, 0, 2).reshape(-1)
    return np.packbits(ordered, bitorder="little").view("<u8").astype(np.uint64)


def filter_response(texture: NDArray[np.float32], p: IrisExtractionParameters = PARAMETERS) -> NDArray[np.complex64]:
    """Complex log-Gabor response, complex64[8, 128], at the middle of each radial band and at every fourth column."""
    bands = LAYOUT.bits_per_column // 2
    smooth = cv2.GaussianBlur(texture, (1, 0), sigmaX=0.01, sigmaY=p.row_sigma, borderType=cv2.BORDER_REFLECT)
    middle = (np.arange(bands) * 2 + 1) * p.rows // (2 * bands)
    spectrum = np.fft.fft(smooth[middle], axis=1) * angular_gain(p)
    response = np.fft.ifft(spectrum, axis=1)[:, :: p.columns // LAYOUT.columns]
    return response.astype(np.complex64)


@functools.cache
def angular_gain(p: IrisExtractionParameters) -> NDArray[np.float64]:
    """The log-Gabor filter, float64[columns]: exp(-ln^2(f wavelength) / (2 ln^2 sigma)) at frequencies f > 0."""
    frequency = np.fft.fftfreq(p.columns)
    gain = np.zeros(p.columns)
    positive = frequency > 0
    gain[positive] = np.exp(-(np.log(frequency[positive] * p.wavelength) ** 2) / (2.0 * np.log(p.sigma_ratio) ** 2))
    gain.setflags(write=False)
    return gain


def _visible_share(visible: NDArray[np.bool_], p: IrisExtractionParameters) -> NDArray[np.float32]:
    """float32[8, 128], share of the filter's support, taken as a Gaussian of its size, that is visible."""
    bands = LAYOUT.bits_per_column // 2
    pad = p.columns // 8
    wrapped = np.concatenate([visible[:, -pad:], visible, visible[:, :pad]], axis=1).astype(np.float32)
    share = cv2.GaussianBlur(
        wrapped, (0, 0), sigmaX=p.wavelength / 4.0, sigmaY=p.row_sigma, borderType=cv2.BORDER_REFLECT
    )[:, pad:-pad]
    middle = (np.arange(bands) * 2 + 1) * p.rows // (2 * bands)
    return np.asarray(share[middle][:, :: p.columns // LAYOUT.columns], np.float32)
