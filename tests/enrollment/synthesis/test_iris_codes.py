"""Iris codes in bulk: the kernel's are those that numpy makes step by step, and any part of a run can be made alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from enrollment.extract.iris_encoding import pack_words
from enrollment.extract.iris_parameters import PARAMETERS as EXTRACTION
from enrollment.synthesis.iris_templates import (
    _search_response,
    _textures,
    _verification_response,
    _visible,
    bulk_iris_codes,
)
from matcher.templates import spread_columns


def test_a_part_of_a_run_is_the_same_part() -> None:
    whole = bulk_iris_codes(1000, 3)
    for part, table in zip(bulk_iris_codes(300, 3, first=400), whole, strict=True):
        assert np.array_equal(part, table[400:700])


def test_the_kernel_encodes_as_numpy_does() -> None:
    rng = np.random.default_rng([0xB17, 3, 0])
    texture, visible = _textures(rng, 512), _visible(rng, 512)
    expected = (
        *numpy_code(_search_response(texture), visible[:, ::2], spread_columns(128)),
        *numpy_code(_verification_response(texture), visible, np.arange(128)),
    )
    for words, table in zip(expected, bulk_iris_codes(200, 3), strict=True):
        assert np.array_equal(table, words[:200])


def numpy_code(
    response: NDArray[np.complex64], visible: NDArray[np.bool_], order: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Bits and masks, uint64[n, words]: signs of the responses, without what is hidden or among the weakest."""
    parts = np.stack([response.real, response.imag], axis=-1)
    strength = np.abs(parts).reshape(*parts.shape[:2], -1)
    fragile = int(EXTRACTION.fragile_share * strength.shape[-1])
    limit = np.sort(strength, axis=-1)[..., fragile, None, None, None]
    comparable = visible[:, None, :, :, None] & (np.abs(parts) >= limit)
    return pack_words((parts > 0) & comparable, order), pack_words(comparable, order)
