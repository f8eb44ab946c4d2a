"""From the unrolled iris to bits: signs of log-Gabor responses along the angle, and which of them may be compared.

D. Field, "Relations between the statistics of natural images and the response properties of cortical cells", JOSA A 4,
1987 (log-Gabor); L. Masek, "Recognition of Human Iris Patterns", 2003 (its use on irises); J. Daugman, PAMI 15(11),
1993 (phase bits).
"""

from __future__ import annotations

import functools

import cv2
import numpy as np
from numpy.typing import NDArray

from enrollment.extract.iris_parameters import PARAMETERS, IrisExtractionParameters, LogGabor
from matcher.iris.parameters import ALGORITHM, VERSION
from matcher.iris.parameters import PARAMETERS as LAYOUT
from matcher.templates import IrisCode, IrisTemplate, spread_columns


def encode(
    texture: NDArray[np.float32], visible: NDArray[np.bool_], p: IrisExtractionParameters = PARAMETERS
) -> IrisTemplate:
    """The template of an unrolled iris: 2,048 bits to search with and 8,192 to verify with, each with its mask.

    Args:
        texture: float32[rows, columns] of ``even_out``, hidden pixels 0.
        visible: bool[rows, columns].
    """
    search = _bits(texture, visible, p.search_filters, LAYOUT.search.rows, p)
    verification = _bits(texture, visible, p.verification_filters, LAYOUT.verification.rows, p)
    return IrisTemplate(
        ALGORITHM,
        VERSION,
        LAYOUT.search.columns,
        pack(*search, spread_columns(LAYOUT.search.columns)),
        pack(*verification, np.arange(LAYOUT.verification.columns)),
    )


def _bits(
    texture: NDArray[np.float32],
    visible: NDArray[np.bool_],
    filters: tuple[LogGabor, ...],
    rows: int,
    p: IrisExtractionParameters,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Bits, and whether they may be compared, bool[filters, rows, columns, 2] each."""
    bits, comparable = [], []
    for log_gabor in filters:
        response = filter_response(texture, log_gabor, rows, p)
        parts = np.stack([response.real, response.imag], axis=-1)
        seen = visible_share(visible, log_gabor, rows, p) > p.valid_share
        comparable.append(steady(np.abs(parts), np.repeat(seen[..., None], 2, axis=-1), p.fragile_share))
        bits.append(parts > 0)
    return np.stack(bits), np.stack(comparable)


def steady(strength: NDArray[np.float32], comparable: NDArray[np.bool_], fragile_share: float) -> NDArray[np.bool_]:
    """The bits that may be compared without the fragile ones: the share of them that is nearest to a change of sign.

    Args:
        strength: float32[...], distance from the change of sign.
        comparable: bool[...], bits of which that is a share.
    """
    if not comparable.any():
        return comparable
    return np.asarray(comparable & (strength >= np.quantile(strength[comparable], fragile_share)), np.bool_)


def pack(bits: NDArray[np.bool_], comparable: NDArray[np.bool_], order: NDArray[np.int64]) -> IrisCode:
    """Bits and mask, bool[filters, rows, columns, 2] (real or imaginary) each, as a code.

    Column after column in the given order; in a column filter after filter, in each row after row from the pupil
    outwards, real before imaginary.
    """
    return IrisCode(pack_words((bits & comparable)[None], order)[0], pack_words(comparable[None], order)[0])


def pack_words(bits: NDArray[np.bool_], order: NDArray[np.int64]) -> NDArray[np.uint64]:
    """bool[n, filters, rows, columns, 2] to uint64[n, words], as ``pack`` orders them."""
    ordered = bits[..., order, :].transpose(0, 3, 1, 2, 4).reshape(len(bits), -1)
    return np.packbits(ordered, axis=1, bitorder="little").view("<u8").astype(np.uint64)


def filter_response(
    texture: NDArray[np.float32], log_gabor: LogGabor, rows: int, p: IrisExtractionParameters = PARAMETERS
) -> NDArray[np.complex64]:
    """Response at the middle of each of ``rows`` bands and at every fourth column, complex64[rows, columns]."""
    smooth = cv2.GaussianBlur(texture, (1, 0), sigmaX=0.01, sigmaY=log_gabor.row_sigma, borderType=cv2.BORDER_REFLECT)
    spectrum = np.fft.fft(smooth[_middles(rows, p)], axis=1) * angular_gain(p.columns, log_gabor)
    response = np.fft.ifft(spectrum, axis=1)[:, :: p.columns // LAYOUT.search.columns]
    return response.astype(np.complex64)


def _middles(rows: int, p: IrisExtractionParameters) -> NDArray[np.int64]:
    """Rows of the rubber sheet in the middle of each of ``rows`` bands."""
    return np.asarray((np.arange(rows) * 2 + 1) * p.rows // (2 * rows), np.int64)


@functools.cache
def angular_gain(columns: int, log_gabor: LogGabor) -> NDArray[np.float64]:
    """The filter, float64[columns]: exp(-ln^2(f wavelength) / (2 ln^2 sigma)) at frequencies f > 0."""
    frequency = np.fft.fftfreq(columns)
    gain = np.zeros(columns)
    positive = frequency > 0
    logarithm = np.log(frequency[positive] * log_gabor.wavelength)
    gain[positive] = np.exp(-(logarithm**2) / (2.0 * np.log(log_gabor.sigma_ratio) ** 2))
    gain.setflags(write=False)
    return gain


def visible_share(
    visible: NDArray[np.bool_], log_gabor: LogGabor, rows: int, p: IrisExtractionParameters = PARAMETERS
) -> NDArray[np.float32]:
    """float32[rows, columns], share of the filter's support, taken as a Gaussian of its size, that is visible."""
    pad = p.columns // 8
    wrapped = np.concatenate([visible[:, -pad:], visible, visible[:, :pad]], axis=1).astype(np.float32)
    share = cv2.GaussianBlur(
        wrapped,
        (0, 0),
        sigmaX=log_gabor.wavelength / 4.0,
        sigmaY=log_gabor.row_sigma,
        borderType=cv2.BORDER_REFLECT,
    )[:, pad:-pad]
    return np.asarray(share[_middles(rows, p)][:, :: p.columns // LAYOUT.search.columns], np.float32)
