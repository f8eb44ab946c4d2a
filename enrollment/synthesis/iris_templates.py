"""Iris templates in bulk for load and benchmarks, without drawing a picture.

The codes are signs of Gaussian noise through the encoder's own log-Gabor filters, correlated from one radius to the
next as in real codes; masks hide what lids and lashes hide, and the fragile bits. Distances between them scatter like
those between real strangers; nothing else about them is real, and accuracy is never quoted on them.
"""

from __future__ import annotations

import functools

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from enrollment.extract.iris_encoding import angular_gain, pack_words
from enrollment.extract.iris_parameters import PARAMETERS as EXTRACTION
from enrollment.extract.iris_parameters import LogGabor
from matcher.compiled import kernel
from matcher.iris.comparison import rotate
from matcher.iris.parameters import ALGORITHM, VERSION
from matcher.iris.parameters import PARAMETERS as LAYOUT
from matcher.templates import IrisCode, IrisTemplate, spread_columns
from matcher.threads import workers

ROW_CORRELATION = 0.80
"""Correlation of the texture between neighbouring rows of the verification code; fitted so that the scores of strangers
scatter as they do between eyes of CASIA-Iris-V1 and MMU2 (``python -m benchmarks.iris_stages`` shows both)."""

Words = NDArray[np.uint64]

_COLUMNS = LAYOUT.search.columns
_ROWS = LAYOUT.verification.rows
_CHUNK = 512
_NATURAL = np.arange(_COLUMNS)


def bulk_iris_codes(count: int, seed: int, *, first: int = 0) -> tuple[Words, Words, Words, Words]:
    """Codes of ``count`` different eyes; the same for the same seed.

    A longer run begins with the codes of a shorter one.

    Args:
        count: how many, >= 0.
        seed: >= 0.
        first: number of the first one; those before are left out.

    Returns:
        Search codes and their masks, uint64[count, 32] each, then verification codes and masks, uint64[count, 128].
    """
    codes = (LAYOUT.search, LAYOUT.search, LAYOUT.verification, LAYOUT.verification)
    tables = tuple(np.empty((count, code.words), np.uint64) for code in codes)

    def make(number: int) -> None:
        begin, end = max(first, number * _CHUNK), min(first + count, (number + 1) * _CHUNK)
        inside, rows = slice(begin - number * _CHUNK, end - number * _CHUNK), slice(begin - first, end - first)
        rng = np.random.default_rng([0xB17, seed, number])
        # A whole chunk is always drawn, so that the count does not change what is drawn.
        texture, visible = _textures(rng, _CHUNK)[inside], _visible(rng, _CHUNK)[inside]
        _encode(_search_response(texture), visible, 2, spread_columns(_COLUMNS), tables[0][rows], tables[1][rows])
        _encode(_verification_response(texture), visible, 1, _NATURAL, tables[2][rows], tables[3][rows])

    workers().map(make, range(first // _CHUNK, -(-(first + count) // _CHUNK)))
    return tables[0], tables[1], tables[2], tables[3]


def bulk_iris_templates(count: int, seed: int, *, first: int = 0) -> list[IrisTemplate]:
    """``bulk_iris_codes`` as templates."""
    return [
        IrisTemplate(ALGORITHM, VERSION, _COLUMNS, IrisCode(bits, mask), IrisCode(long_bits, long_mask))
        for bits, mask, long_bits, long_mask in zip(*bulk_iris_codes(count, seed, first=first), strict=True)
    ]


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
    texture, visible = _textures(rng, 1), _visible(rng, 1)
    short, long = _search_response(texture), _verification_response(texture)
    search = _changed(
        rotate(template.search.bits, _COLUMNS, shift),
        rotate(template.search.mask, _COLUMNS, shift),
        pack_words(_largest(short, flips), spread_columns(_COLUMNS))[0],
        pack_words(_as_bits(visible[:, ::2], short), spread_columns(_COLUMNS))[0],
    )
    verification = _changed(
        np.roll(template.verification.bits, shift),
        np.roll(template.verification.mask, shift),
        pack_words(_largest(long, flips), _NATURAL)[0],
        pack_words(_as_bits(visible, long), _NATURAL)[0],
    )
    return IrisTemplate(template.algorithm, template.version, _COLUMNS, search, verification)


def _changed(bits: Words, mask: Words, flipped: Words, seen: Words) -> IrisCode:
    return IrisCode((bits ^ flipped) & mask & seen, mask & seen)


def _largest(response: NDArray[np.complex64], share: float) -> NDArray[np.bool_]:
    """bool[1, filters, rows, columns, 2], the given share of the parts, in patches: where they are greatest."""
    parts = _parts(response)
    return np.asarray(parts > np.quantile(parts, 1.0 - share), np.bool_)


def _textures(rng: np.random.Generator, count: int) -> NDArray[np.complex64]:
    """complex64[count, 16, 64], spectra along the angle of textures of Gaussian noise."""
    shape = (count, _ROWS, _COLUMNS // 2)
    noise = np.empty(shape, np.complex64)
    noise.real = rng.standard_normal(shape, np.float32)
    noise.imag = rng.standard_normal(shape, np.float32)
    _correlate(noise, np.float32(ROW_CORRELATION), np.float32(np.sqrt(1.0 - ROW_CORRELATION**2)))
    return noise


@kernel
def _correlate(noise: NDArray[np.complex64], share: np.float32, kept: np.float32) -> None:
    """Makes each row, complex64[count, rows, n], of a share of the one before and the rest of itself."""
    for i in range(noise.shape[0]):
        for row in range(1, noise.shape[1]):
            for k in range(noise.shape[2]):
                noise[i, row, k] = share * noise[i, row - 1, k] + kept * noise[i, row, k]


def _filtered(texture: NDArray[np.complex64], filters: tuple[LogGabor, ...]) -> NDArray[np.complex64]:
    """complex64[count, filters, rows, columns]."""
    spectra = np.zeros((len(texture), len(filters), texture.shape[1], _COLUMNS), np.complex64)
    for k, log_gabor in enumerate(filters):
        spectra[:, k, :, : _COLUMNS // 2] = texture * _gain(log_gabor)
    return np.asarray(scipy.fft.ifft(spectra, axis=-1, overwrite_x=True), np.complex64)


def _verification_response(texture: NDArray[np.complex64]) -> NDArray[np.complex64]:
    return _filtered(texture, EXTRACTION.verification_filters)


def _search_response(texture: NDArray[np.complex64]) -> NDArray[np.complex64]:
    # The middle of a band of the search code lies between two rows of the verification code.
    return _filtered(texture[:, ::2] + texture[:, 1::2], EXTRACTION.search_filters)


@functools.cache
def _gain(log_gabor: LogGabor) -> NDArray[np.float32]:
    """float32[64], the filter at the frequencies that every fourth column can carry, after the local mean is gone."""
    # Beyond them the filter passes next to nothing.
    frequency = np.arange(_COLUMNS // 2) / EXTRACTION.columns
    kept = 1.0 - np.exp(-0.5 * (2.0 * np.pi * frequency * EXTRACTION.mean_sigma) ** 2)
    gain = (angular_gain(EXTRACTION.columns, log_gabor)[: _COLUMNS // 2] * kept).astype(np.float32)
    gain.setflags(write=False)
    return gain


def _parts(response: NDArray[np.complex64]) -> NDArray[np.float32]:
    """Real and imaginary parts, float32[..., 2]."""
    return response.view(np.float32).reshape(*response.shape, 2)


def _encode(
    response: NDArray[np.complex64],
    visible: NDArray[np.bool_],
    rows: int,
    order: NDArray[np.int64],
    bits: Words,
    masks: Words,
) -> None:
    """Fills in bits and masks, uint64[count, words] each.

    Args:
        response: complex64[count, filters, rows, columns].
        visible: bool[count, 16, 128]; ``rows``: how many rows of it are one of the code's.
        order: of the columns in the code.
    """
    parts = response.view(np.float32).reshape(*response.shape, 2)
    fragile = int(EXTRACTION.fragile_share * parts[0, 0].size)
    _encode_parts(parts, visible, rows, order, fragile, bits, masks)


@kernel
def _encode_parts(
    parts: NDArray[np.float32],
    visible: NDArray[np.bool_],
    visible_rows: int,
    order: NDArray[np.int64],
    fragile: int,
    bits: Words,
    masks: Words,
) -> None:
    count, filters, rows, columns = parts.shape[0], parts.shape[1], parts.shape[2], parts.shape[3]
    width = filters * rows * 2
    column_bits, column_masks = np.empty(columns, np.uint64), np.empty(columns, np.uint64)
    for i in range(count):
        column_bits[:] = 0
        column_masks[:] = 0
        for f in range(filters):
            limit = _least_steady(parts[i, f].ravel(), fragile)
            for r in range(rows):
                seen = visible[i, r * visible_rows]
                real, imaginary = np.uint64((f * rows + r) * 2), np.uint64((f * rows + r) * 2 + 1)
                for c in range(columns):
                    a, b = parts[i, f, r, c, 0], parts[i, f, r, c, 1]
                    steady_a, steady_b = seen[c] & (abs(a) >= limit), seen[c] & (abs(b) >= limit)
                    column_bits[c] |= np.uint64(steady_a & (a > 0)) << real | np.uint64(steady_b & (b > 0)) << imaginary
                    column_masks[c] |= np.uint64(steady_a) << real | np.uint64(steady_b) << imaginary
        bits[i] = 0
        masks[i] = 0
        for c in range(columns):
            word, shift = c * width // 64, np.uint64(c * width % 64)
            bits[i, word] |= column_bits[order[c]] << shift
            masks[i, word] |= column_masks[order[c]] << shift


@kernel
def _least_steady(values: NDArray[np.float32], fragile: int) -> np.float32:
    """The ``fragile``-th smallest absolute value, from 0: below it a bit is masked.

    The bits of positive numbers are ordered as they are: a count by the first twelve finds those that it is among.
    """
    keys = values.view(np.uint32)
    counts = np.zeros(1 << 12, np.int32)
    for k in range(len(keys)):
        counts[(keys[k] & np.uint32(0x7FFFFFFF)) >> np.uint32(19)] += 1
    bucket, before = 0, 0
    while before + counts[bucket] <= fragile:
        before += counts[bucket]
        bucket += 1
    within = np.empty(counts[bucket], np.float32)
    n = 0
    for k in range(len(keys)):
        if (keys[k] & np.uint32(0x7FFFFFFF)) >> np.uint32(19) == bucket:
            within[n] = abs(values[k])
            n += 1
    within.sort()
    limit: np.float32 = within[fragile - before]
    return limit


def _as_bits(visible: NDArray[np.bool_], response: NDArray[np.complex64]) -> NDArray[np.bool_]:
    """bool[count, rows, columns] for every filter and part, bool[count, filters, rows, columns, 2]."""
    return np.broadcast_to(visible[:, None, :, :, None], (*response.shape, 2))


def _visible(rng: np.random.Generator, count: int) -> NDArray[np.bool_]:
    """bool[count, 16, 128], False behind an upper lid (column 96 is up), a lower lid, and patches of lashes."""
    column = np.arange(_COLUMNS)
    radius = (np.arange(_ROWS) + 0.5) / _ROWS
    up = np.sin(column * (2.0 * np.pi / _COLUMNS))[None, None, :]
    # Height above the iris centre in iris radii, the pupil taking 0.4 of it.
    height = -(0.4 + 0.6 * radius)[None, :, None] * up
    lid = rng.uniform(0.2, 0.85, (count, 1, 1))
    lower = rng.uniform(0.5, 1.2, (count, 1, 1))
    hidden = (height > lid) | (-height > lower)
    lashes = rng.random((count, 1, _COLUMNS // 2)) < 0.25 * (np.sin(column[::2] * (2 * np.pi / _COLUMNS)) < -0.3)
    hidden |= np.repeat(lashes, 2, axis=2) & (height > lid - 0.35)
    return np.asarray(~hidden)
