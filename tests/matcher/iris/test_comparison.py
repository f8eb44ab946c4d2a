"""IrisComparator against the slow, obvious comparison."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matcher.errors import ModelMismatch, TemplateInvalid
from matcher.iris.comparison import IrisComparator, move_rows, rotate
from matcher.iris.parameters import ALGORITHM, PARAMETERS, VERSION
from matcher.templates import FaceTemplate, IrisCode, IrisTemplate
from tests.matcher.iris.codes import (
    NATURAL,
    Table,
    pack,
    random_template,
    reference_score,
    second_capture,
    template,
    turned,
    unpack,
)

CODE = PARAMETERS.verification
SHAPE = (CODE.columns, CODE.column_bits)
NOTHING = np.zeros((PARAMETERS.search.columns, PARAMETERS.search.column_bits), bool)


def compare(a: IrisTemplate, b: IrisTemplate) -> float:
    comparator = IrisComparator()
    return comparator.compare(comparator.prepare(a), comparator.prepare(b))


def verification(bits: Table, mask: Table) -> IrisTemplate:
    return template((NOTHING, NOTHING), (bits, mask))


@given(seed=st.integers(0, 2**32), valid=st.floats(0.0, 1.0), shift=st.integers(-12, 12))
@settings(max_examples=25, deadline=None)
def test_equals_the_slow_reference_exactly(seed: int, valid: float, shift: int) -> None:
    rng = np.random.default_rng(seed)
    a = random_template(rng, valid)
    for b in (second_capture(a, rng, shift), random_template(rng, valid)):
        fast, slow = compare(a, b), reference_score(a, b)
        assert fast == slow or (math.isnan(fast) and math.isnan(slow))


@given(seed=st.integers(0, 2**32), valid=st.floats(0.2, 1.0), shift=st.integers(-12, 12))
@settings(max_examples=60, deadline=None)
def test_is_symmetric(seed: int, valid: float, shift: int) -> None:
    rng = np.random.default_rng(seed)
    a = random_template(rng, valid)
    for b in (second_capture(a, rng, shift), random_template(rng, valid), a):
        one, other = compare(a, b), compare(b, a)
        assert one == other or (math.isnan(one) and math.isnan(other))


@pytest.mark.parametrize("shift", [-8, -3, 0, 1, 8])
def test_rotation_up_to_eight_columns_costs_nothing(shift: int) -> None:
    a = random_template(np.random.default_rng(1))
    n = int(np.bitwise_count(a.verification.mask).sum())
    assert compare(a, turned(a, shift)) == pytest.approx(0.5 * math.sqrt(n / CODE.reference_bits))


@pytest.mark.parametrize("shift", [-13, 13, 64])
def test_rotation_beyond_the_range_is_a_stranger(shift: int) -> None:
    a = random_template(np.random.default_rng(2))
    assert compare(a, turned(a, shift)) < 0.1


def test_normalised_score_is_that_of_the_formula() -> None:
    rng = np.random.default_rng(3)
    bits = rng.random(SHAPE) < 0.5
    mask = np.zeros(SHAPE, bool)
    mask[:, :40] = True  # 5,120 bits
    other = bits.copy()
    other[::2, :4] ^= True  # 256 bits differ
    hd = 256 / 5120
    hd_norm = 0.5 - (0.5 - hd) * math.sqrt(5120 / CODE.reference_bits)
    assert compare(verification(bits, mask), verification(other, mask)) == pytest.approx(0.5 - hd_norm)


def test_a_sector_that_is_displaced_costs_what_its_move_costs() -> None:
    bits = np.random.default_rng(4).random(SHAPE) < 0.5
    mask = np.ones(SHAPE, bool)
    displaced = bits.copy()
    sector = slice(0, CODE.columns // PARAMETERS.sectors)
    rows = bits.reshape(CODE.columns, CODE.filters, CODE.rows, 2)
    displaced[sector] = np.roll(rows, 1, axis=2).reshape(SHAPE)[sector]
    whole = compare(verification(bits, mask), verification(bits, mask))
    moved = compare(verification(bits, mask), verification(displaced, mask))
    rigid = IrisComparator(dataclasses.replace(PARAMETERS, row_reach=0, column_reach=0))
    still = rigid.compare(*(rigid.prepare(verification(b, mask)) for b in (bits, displaced)))
    lost = PARAMETERS.deformation_cost / PARAMETERS.sectors
    assert moved == pytest.approx(whole * (1 - lost), rel=0.02)
    assert still < whole * (1 - 0.9 / PARAMETERS.sectors)


def test_fewer_bits_than_the_floor_are_not_comparable() -> None:
    bits = np.ones(SHAPE, bool)
    at_floor = np.zeros(SHAPE, bool)
    at_floor.reshape(-1)[: CODE.least_bits] = True
    below = at_floor.copy()
    below[0, 0] = False
    assert compare(verification(bits, at_floor), verification(bits, at_floor)) > 0.2
    assert math.isnan(compare(verification(bits, below), verification(bits, below)))


def test_two_halves_that_do_not_overlap_are_not_comparable() -> None:
    bits = np.ones(SHAPE, bool)
    left = np.zeros(SHAPE, bool)
    left[:40] = True
    assert math.isnan(compare(verification(bits, left), verification(bits, np.roll(left, 64, axis=0))))


def test_strangers_score_near_zero_whatever_the_masks_leave() -> None:
    rng = np.random.default_rng(4)
    for valid in (0.45, 0.6, 0.8, 1.0):
        scores = [compare(random_template(rng, valid), random_template(rng, valid)) for _ in range(100)]
        assert 0.0 < float(np.nanmean(scores)) < 0.04
        assert float(np.nanmax(scores)) < 0.08


def test_the_search_code_does_not_enter_the_score() -> None:
    rng = np.random.default_rng(6)
    a, b = random_template(rng), random_template(rng)
    assert compare(dataclasses.replace(a, search=b.search), b) == compare(a, b)


@given(seed=st.integers(0, 2**32), shift=st.integers(-300, 300))
def test_rotate_moves_columns(seed: int, shift: int) -> None:
    table = np.random.default_rng(seed).random(NOTHING.shape) < 0.5
    assert np.array_equal(rotate(pack(table), 128, shift), pack(np.roll(table, shift, axis=0)))


def test_rotate_refuses_columns_that_are_no_whole_bytes() -> None:
    with pytest.raises(ValueError, match="whole bytes"):
        rotate(np.zeros(3, np.uint64), 16, 1)


@given(seed=st.integers(0, 2**32), by=st.integers(-20, 20))
def test_move_rows_moves_rows_within_their_wavelength(seed: int, by: int) -> None:
    table = np.random.default_rng(seed).random((CODE.columns, CODE.filters, CODE.rows, 2)) < 0.5
    expected = np.zeros_like(table)
    for row in range(CODE.rows):
        if 0 <= row + by < CODE.rows:
            expected[:, :, row + by] = table[:, :, row]
    moved = move_rows(pack(table.reshape(SHAPE), NATURAL), CODE.rows, by)
    assert np.array_equal(unpack(moved, NATURAL), expected.reshape(SHAPE))


def test_refuses_what_it_does_not_understand() -> None:
    comparator = IrisComparator()
    good = random_template(np.random.default_rng(5))
    embedding = np.zeros(128, np.float32)
    embedding[0] = 1.0
    with pytest.raises(ModelMismatch):
        comparator.prepare(FaceTemplate("face-1", 1, embedding))
    with pytest.raises(ModelMismatch, match="iris-loggabor-1"):
        comparator.prepare(dataclasses.replace(good, algorithm="iris-loggabor-1"))
    with pytest.raises(ModelMismatch, match="version 2"):
        comparator.prepare(dataclasses.replace(good, version=VERSION + 1))
    with pytest.raises(TemplateInvalid, match="these 64 in 32 and 128"):
        comparator.prepare(dataclasses.replace(good, columns=64))
    short = IrisCode(np.zeros(16, np.uint64), np.zeros(16, np.uint64))
    with pytest.raises(TemplateInvalid, match="these 128 in 16 and 128"):
        comparator.prepare(dataclasses.replace(good, search=short))
    assert comparator.algorithms == {ALGORITHM}
