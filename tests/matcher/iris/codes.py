"""Iris templates for the tests of this folder, and the slow, obvious comparison that the fast one must equal."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from matcher.iris.parameters import ALGORITHM, PARAMETERS, VERSION
from matcher.templates import IrisTemplate


def pack(table: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """bool[columns, bits per column] to words, column after column, first bit lowest."""
    return np.packbits(table.reshape(-1), bitorder="little").view("<u8").astype(np.uint64)


def unpack(words: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Words to bool[128, 16]."""
    bits = np.unpackbits(words.astype("<u8").view(np.uint8), bitorder="little")
    return bits.reshape(PARAMETERS.columns, PARAMETERS.bits_per_column).astype(bool)


def template(bits: NDArray[np.bool_], mask: NDArray[np.bool_]) -> IrisTemplate:
    """bool[128, 16] each to a template; masked bits are cleared."""
    return IrisTemplate(ALGORITHM, VERSION, PARAMETERS.columns, pack(bits & mask), pack(mask))


def random_template(rng: np.random.Generator, valid: float = 0.8) -> IrisTemplate:
    """Independent bits, a share ``valid`` of them comparable; neighbouring columns are masked together."""
    shape = (PARAMETERS.columns, PARAMETERS.bits_per_column)
    blocks = np.repeat(rng.random((shape[0] // 4, shape[1])) < valid, 4, axis=0)
    return template(rng.random(shape) < 0.5, blocks)


def second_capture(first: IrisTemplate, rng: np.random.Generator, shift: int, flips: float = 0.2) -> IrisTemplate:
    """The same eye again: turned by ``shift`` columns, a share ``flips`` of its bits changed, more of it masked."""
    bits = np.roll(unpack(first.bits), shift, axis=0)
    mask = np.roll(unpack(first.mask), shift, axis=0)
    changed = bits ^ (rng.random(bits.shape) < flips)
    return template(changed, mask & (rng.random(bits.shape) < 0.9))


def reference_score(a: IrisTemplate, b: IrisTemplate) -> float:
    """0.5 - HDnorm, least HDnorm over the rotations, by the definition, ``np.bitwise_count``; NaN below the floor."""
    p = PARAMETERS
    best = math.nan
    for shift in range(-p.max_shift, p.max_shift + 1):
        bits = pack(np.roll(unpack(a.bits), shift, axis=0))
        mask = pack(np.roll(unpack(a.mask), shift, axis=0)) & b.mask
        n = int(np.bitwise_count(mask).sum())
        if n < p.floor * p.bits:
            continue
        d = int(np.bitwise_count((bits ^ b.bits) & mask).sum())
        score = (n - 2 * d) * (0.5 / math.sqrt(n * p.reference_bits))
        if not best >= score:
            best = score
    return best
