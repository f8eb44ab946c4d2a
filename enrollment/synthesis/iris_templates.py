"""Iris templates in bulk for load and benchmarks, without drawing a picture.

The codes are signs of Gaussian noise through the encoder's own log-Gabor filter, correlated from one radius to the next
as in real codes; masks hide what lids and lashes hide, and the fragile bits. Distances between them scatter like those
between real strangers; nothing else about them is real, and accuracy is never quoted on them.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from enrollment.extract.iris_encoding import angular_gain
from enrollment.extract.iris_parameters import PARAMETERS as EXTRACTION
from matcher.iris.comparison import rotate
from matcher.iris.parameters import ALGORITHM, VERSION
from matcher.iris.parameters import PARAMETERS as LAYOUT
from matcher.templates import IrisTemplate

RADIAL_CORRELATION = 0.7
"""Correlation of the filter's response between neighbouring radii; fitted so that the distance between unrotated codes
of strangers scatters as it does between eyes of CASIA-Iris-V1."""

_BANDS = LAYOUT.bits_per_column // 2
_CHUNK = 4096


def bulk_iris_codes(count: int, seed: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Codes and masks of ``count`` different eyes, uint64[count, 32] each; the same for the same seed.

    A longer run begins with the codes of a shorter one.
    """
    bits = np.empty((count, LAYOUT.words), np.uint64)
    masks = np.empty((count, LAYOUT.words), np.uint64)
    for number, start in enumerate(range(0, count, _CHUNK)):
        rng = np.random.default_rng([0xB17, seed, number])
        stop = min(start + _CHUNK, count)
        # A whole chunk is always drawn, so that the count does not change what is drawn.
        response = _responses(rng, _CHUNK)[: stop - start]
        visible = _visible(rng, _CHUNK)[: stop - start]
        strength = np.stack([np.abs(response.real), np.abs(response.imag)], axis=-1)
        fragile = int(EXTRACTION.fragile_share * LAYOUT.bits)
        limit = np.partition(strength.reshape(len(strength), -1), fragile, axis=1)[:, fragile]
        comparable = visible[..., None] & (strength >= limit[:, None, None, None])
        signs = np.stack([response.real > 0, response.imag > 0], axis=-1)
        bits[start:stop] = _words(signs & comparable)
        masks[start:stop] = _words(comparable)
    return bits, masks


def bulk_iris_templates(count: int, seed: int) -> list[IrisTemplate]:
    """``bulk_iris_codes`` as templates."""
    bits, masks = bulk_iris_codes(count, seed)
    return [IrisTemplate(ALGORITHM, VERSION, LAYOUT.columns, b, m) for b, m in zip(bits, masks, strict=True)]


def vary(template: IrisTemplate, seed: int, *, flips: float = 0.25, turn: int = 4) -> IrisTemplate:
    """Another capture of the same eye: turned, seen behind other lids, with bits changed in patches.

    Args:
        template: the first capture.
        seed: which capture.
        flips: share of the bits that change.
        turn: most columns (of 2.8 degrees) that it is turned by, to either side.
    """
    rng = np.random.default_rng([0xA17, seed])
    shift = int(rng.integers(-turn, turn + 1))
    changed = np.stack([part > np.quantile(part, 1.0 - flips) for part in _two_fields(rng)], axis=-1)[None]
    seen = np.repeat(_visible(rng, 1)[..., None], 2, axis=-1)
    bits = rotate(template.bits, template.columns, shift) ^ _words(changed)[0]
    mask = rotate(template.mask, template.columns, shift) & _words(seen)[0]
    return IrisTemplate(template.algorithm, template.version, template.columns, bits & mask, mask)


def _two_fields(rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Two patchy Gaussian fields, float32[8, 128] each."""
    response = _responses(rng, 1)[0]
    return response.real.astype(np.float32), response.imag.astype(np.float32)


def _responses(rng: np.random.Generator, count: int) -> NDArray[np.complex64]:
    """complex64[count, 8, 128], filter responses of ``count`` textures of Gaussian noise."""
    shape = (count, _BANDS, LAYOUT.columns)
    noise = (rng.standard_normal(shape, np.float32) + 1j * rng.standard_normal(shape, np.float32)).astype(np.complex64)
    kept = np.float32(np.sqrt(1.0 - RADIAL_CORRELATION**2))
    for band in range(1, _BANDS):
        noise[:, band] = np.float32(RADIAL_CORRELATION) * noise[:, band - 1] + kept * noise[:, band]
    return np.asarray(np.fft.ifft(noise * _gain(), axis=-1), np.complex64)


@functools.cache
def _gain() -> NDArray[np.float32]:
    """float32[128], the filter at the frequencies that every fourth column can carry."""
    gain = angular_gain(EXTRACTION)[: LAYOUT.columns].astype(np.float32)
    gain[LAYOUT.columns // 2 :] = 0.0  # the positive half; beyond it the filter passes next to nothing
    gain.setflags(write=False)
    return gain


def _visible(rng: np.random.Generator, count: int) -> NDArray[np.bool_]:
    """bool[count, 8, 128], False behind an upper lid (column 96 is up), a lower lid, and patches of lashes."""
    column = np.arange(LAYOUT.columns)
    radius = (np.arange(_BANDS) + 0.5) / _BANDS
    up = np.sin(column * (2.0 * np.pi / LAYOUT.columns))[None, None, :]
    # Height above the iris centre in iris radii, the pupil taking 0.4 of it.
    height = -(0.4 + 0.6 * radius)[None, :, None] * up
    lid = rng.uniform(0.35, 1.05, (count, 1, 1))
    lower = rng.uniform(0.65, 1.3, (count, 1, 1))
    hidden = (height > lid) | (-height > lower)
    lashes = rng.random((count, 1, LAYOUT.columns // 2)) < 0.25 * (np.sin(column[::2] * (2 * np.pi / 128)) < -0.3)
    hidden |= np.repeat(lashes, 2, axis=2) & (height > lid - 0.35)
    return np.asarray(~hidden)


def _words(bits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """bool[count, 8, 128, 2] (as in ``iris_encoding.pack``) to uint64[count, 32]."""
    ordered = bits.transpose(0, 2, 1, 3).reshape(len(bits), -1)
    return np.packbits(ordered, axis=1, bitorder="little").view("<u8").astype(np.uint64)
