"""IrisComparator against the slow, obvious comparison."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matcher.errors import ModelMismatch, TemplateInvalid
from matcher.iris.comparison import IrisComparator, rotate
from matcher.iris.parameters import ALGORITHM, PARAMETERS, VERSION
from matcher.templates import FaceTemplate, IrisTemplate
from tests.matcher.iris.codes import pack, random_template, reference_score, second_capture, template, unpack


def compare(a: IrisTemplate, b: IrisTemplate) -> float:
    comparator = IrisComparator()
    return comparator.compare(comparator.prepare(a), comparator.prepare(b))


@given(seed=st.integers(0, 2**32), valid=st.floats(0.0, 1.0), shift=st.integers(-12, 12))
@settings(max_examples=60, deadline=None)
def test_equals_the_slow_reference_exactly(seed: int, valid: float, shift: int) -> None:
    rng = np.random.default_rng(seed)
    a = random_template(rng, valid)
    for b in (second_capture(a, rng, shift), random_template(rng, valid)):
        fast, slow = compare(a, b), reference_score(a, b)
        assert fast == slow or (math.isnan(fast) and math.isnan(slow))
        assert compare(b, a) == fast or math.isnan(fast)


@pytest.mark.parametrize("shift", [-8, -3, 0, 1, 8])
def test_rotation_up_to_eight_columns_costs_nothing(shift: int) -> None:
    a = random_template(np.random.default_rng(1))
    turned = template(np.roll(unpack(a.bits), shift, axis=0), np.roll(unpack(a.mask), shift, axis=0))
    n = int(np.bitwise_count(a.mask).sum())
    assert compare(a, turned) == pytest.approx(0.5 * math.sqrt(n / PARAMETERS.reference_bits))


@pytest.mark.parametrize("shift", [-9, 9, 64])
def test_rotation_beyond_the_range_is_a_stranger(shift: int) -> None:
    a = random_template(np.random.default_rng(2))
    turned = template(np.roll(unpack(a.bits), shift, axis=0), np.roll(unpack(a.mask), shift, axis=0))
    assert compare(a, turned) < 0.1


def test_normalised_score_is_that_of_the_formula() -> None:
    rng = np.random.default_rng(3)
    bits = rng.random((128, 16)) < 0.5
    mask = np.zeros((128, 16), bool)
    mask[:, :10] = True  # 1,280 bits
    other = bits.copy()
    other[::2, 0] ^= True  # 64 bits differ
    hd = 64 / 1280
    hd_norm = 0.5 - (0.5 - hd) * math.sqrt(1280 / PARAMETERS.reference_bits)
    assert compare(template(bits, mask), template(other, mask)) == pytest.approx(0.5 - hd_norm)


def test_fewer_bits_than_the_floor_are_not_comparable() -> None:
    bits = np.ones((128, 16), bool)
    at_floor = np.zeros((128, 16), bool)
    at_floor.reshape(-1)[:512] = True
    below = at_floor.copy()
    below[0, 0] = False
    assert compare(template(bits, at_floor), template(bits, at_floor)) > 0.2
    assert math.isnan(compare(template(bits, below), template(bits, below)))


def test_two_halves_that_do_not_overlap_are_not_comparable() -> None:
    bits = np.ones((128, 16), bool)
    left = np.zeros((128, 16), bool)
    left[:40] = True
    assert math.isnan(compare(template(bits, left), template(bits, np.roll(left, 64, axis=0))))


def test_strangers_score_near_zero_whatever_the_masks_leave() -> None:
    rng = np.random.default_rng(4)
    for valid in (0.6, 0.8, 1.0):
        scores = [compare(random_template(rng, valid), random_template(rng, valid)) for _ in range(100)]
        assert 0.0 < float(np.nanmean(scores)) < 0.04
        assert float(np.nanmax(scores)) < 0.08


@given(seed=st.integers(0, 2**32), shift=st.integers(-300, 300))
def test_rotate_moves_columns(seed: int, shift: int) -> None:
    table = np.random.default_rng(seed).random((128, 16)) < 0.5
    assert np.array_equal(rotate(pack(table), 128, shift), pack(np.roll(table, shift, axis=0)))


def test_rotate_refuses_columns_that_are_no_whole_bytes() -> None:
    with pytest.raises(ValueError, match="whole bytes"):
        rotate(np.zeros(3, np.uint64), 16, 1)


def test_refuses_what_it_does_not_understand() -> None:
    comparator = IrisComparator()
    good = random_template(np.random.default_rng(5))
    embedding = np.zeros(128, np.float32)
    embedding[0] = 1.0
    with pytest.raises(ModelMismatch):
        comparator.prepare(FaceTemplate("face-1", 1, embedding))
    with pytest.raises(ModelMismatch, match="iris-other"):
        comparator.prepare(dataclasses.replace(good, algorithm="iris-other"))
    with pytest.raises(ModelMismatch, match="version 2"):
        comparator.prepare(dataclasses.replace(good, version=VERSION + 1))
    with pytest.raises(TemplateInvalid, match="this one 64 in 32"):
        comparator.prepare(dataclasses.replace(good, columns=64))
    assert comparator.algorithms == {ALGORITHM}
