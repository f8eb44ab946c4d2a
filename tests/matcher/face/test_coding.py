"""Codes of embeddings: bounds that hold, and heads where there is something in them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from matcher.face.coding import FaceCoding, fitted
from matcher.face.parameters import FaceIndexParameters
from matcher.inner_products import unbiased
from tests.matcher.face.embeddings import random_units, steep_units

PARAMETERS = FaceIndexParameters(least_rotated=1000)


def bounds_hold(coding: FaceCoding, rows: NDArray[np.float32], probes: NDArray[np.float32]) -> None:
    """What ``Queries`` and ``QueryTails`` promise, in float64."""
    coded, queries = coding.encode(rows), coding.queries(probes, PARAMETERS)
    assert coded.residuals is not None
    heads, asked = unbiased(coded.heads).astype(np.float64), queries.codes.astype(np.float64)
    exact = probes.astype(np.float64) @ rows.astype(np.float64).T / queries.units[:, None]
    products = asked @ heads.T
    widths = np.outer(queries.gains, coded.residuals).astype(np.float64) + queries.margins[:, None]
    widths *= 1 + 1e-6
    if coding.rotation is None:
        assert coded.tails is None
        assert queries.tails is None
    else:
        assert coded.tails is not None
        assert coded.lengths is not None
        assert queries.tails is not None
        reach = np.outer(queries.tails.reaches, coded.lengths).astype(np.float64) * (1 + 1e-6)
        assert (np.abs(exact - products) <= widths + reach).all()
        tails = queries.tails.codes.astype(np.float64) @ unbiased(coded.tails).astype(np.float64).T
        products = products + queries.tails.units[:, None] * tails
    assert (np.abs(exact - products) <= widths + 1e-6 * np.abs(products)).all()


@pytest.mark.parametrize("dimension", [128, 200, 512])
@pytest.mark.parametrize("decay", [3, 15, 40])
def test_bounds_hold(dimension: int, decay: float) -> None:
    rows = steep_units(2000, dimension, decay=decay, seed=1)
    coding = fitted(rows, PARAMETERS)
    assert (coding.rotation is None) == (dimension < 256 and decay == 40)
    bounds_hold(coding, rows, steep_units(20, dimension, decay=decay, seed=2))
    # Of vectors unlike those that it was fitted to, too.
    unlike = np.concatenate([random_units(50, dimension, seed=3), np.eye(dimension, dtype=np.float32)])
    bounds_hold(coding, unlike, unlike)


def test_a_head_holds_nearly_all_of_the_length() -> None:
    rows = steep_units(10_000, 512, decay=60, seed=4)
    coding = fitted(rows[:8192], PARAMETERS)
    assert coding.rotation is not None
    assert coding.head == 192
    np.testing.assert_allclose(coding.rotation @ coding.rotation.T, np.eye(512), atol=1e-12)
    coded = coding.encode(rows[8192:])
    assert coded.lengths is not None
    assert coded.residuals is not None
    assert np.mean(coded.lengths**2) < 1.1 * PARAMETERS.tail_share
    assert np.median(coded.residuals) < 0.012
    # Rounding of tails costs next to nothing, though they are short.
    plain = fitted(rows[:8192], dataclasses.replace(PARAMETERS, least_rotated=10**9)).encode(rows[8192:])
    assert plain.residuals is not None
    assert coded.residuals.mean() < 1.1 * plain.residuals.mean()


def test_vectors_of_few_directions_have_tails_of_nothing() -> None:
    rows = np.pad(random_units(2000, 60, seed=5), ((0, 0), (0, 196))) @ np.linalg.qr(random_units(256, 256, seed=6))[0]
    rows = rows.astype(np.float32)
    coding = fitted(rows, PARAMETERS)
    assert coding.head == 64
    coded = coding.encode(rows)
    assert coded.lengths is not None
    assert coded.lengths.max() < 1e-5
    bounds_hold(coding, rows, rows[:20])


def test_all_is_head_where_one_would_not_pay() -> None:
    for rows in (
        random_units(2000, 512, seed=7),
        steep_units(999, 512, decay=60, seed=8),
        steep_units(2000, 100, decay=10, seed=9),
        steep_units(1200, 1025, decay=10, seed=10),
        random_units(1, 512, seed=11),
    ):
        coding = fitted(rows, PARAMETERS)
        assert (coding.rotation, coding.head) == (None, rows.shape[1])
        assert coding.encode(rows).tails is None


def test_the_same_rows_give_the_same_coding() -> None:
    rows = steep_units(2000, 256, decay=20, seed=12)
    one, other = fitted(rows, PARAMETERS), fitted(rows, PARAMETERS)
    assert one.rotation is not None
    assert other.rotation is not None
    assert np.array_equal(one.rotation, other.rotation)
    assert one.steps == other.steps
