"""Bit cylinders against the paper's formulas, and what must not change them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from enrollment.synthesis.finger_templates import bulk_finger_templates
from matcher.finger.cylinders import cell_contributions, prepare_finger, prepare_fingers
from matcher.finger.parameters import CylinderParameters
from matcher.templates import FingerTemplate
from tests.matcher.finger import reference
from tests.matcher.finger.prints import random_finger

PARAMETERS = CylinderParameters()


@pytest.mark.parametrize(("seed", "count"), [(0, 25), (1, 40), (2, 5), (3, 2), (4, 1)])
def test_cylinders_follow_the_paper(seed: int, count: int) -> None:
    template = random_finger(np.random.default_rng(seed), count)
    prepared = prepare_finger(template)
    points = reference.minutiae(template, PARAMETERS)
    fast = np.unpackbits(prepared.bits.view(np.uint8), axis=1, bitorder="little").astype(np.bool_)
    slow = np.array([reference.cylinder(m, points, PARAMETERS).ravel() for m in range(count)])
    assert fast.shape == (count, 384)
    # A cell that lies on a border to the last bit of a float may fall on either side.
    assert (fast != slow).sum() <= 1
    assert count < 25 or fast.sum() > count


@pytest.mark.parametrize("seed", range(4))
def test_every_bit_is_that_of_the_formula_as_it_is_written(seed: int) -> None:
    """No bit may move, not by a rounding either: calibrations rest on them. Grid points make ties of distances."""
    rng = np.random.default_rng(seed)
    one = random_finger(rng, 30)
    on_a_grid = dataclasses.replace(one, x=one.x // 28 * 28, y=one.y // 28 * 28, angle=one.angle // 8192 * 8192)
    for template in (*bulk_finger_templates(4, seed), random_finger(rng, 60), random_finger(rng, 2), on_a_grid):
        prepared = prepare_finger(template)
        cells = reference.contributions(prepared, PARAMETERS)
        packed = np.packbits(cells > PARAMETERS.threshold, axis=1, bitorder="little").view(np.uint64)
        np.testing.assert_array_equal(prepared.bits, packed)
        fast = cell_contributions(prepared.x, prepared.y, prepared.angle, PARAMETERS)
        np.testing.assert_allclose(fast, cells, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("changed", [{"layers": 5}, {"sigma_s": 7.0}, {"radius": 60.0}, {"layers": 8, "sigma_d": 0.9}])
def test_other_parameters_have_their_tables(changed: dict[str, Any]) -> None:
    p = dataclasses.replace(PARAMETERS, **changed)
    prepared = prepare_finger(random_finger(np.random.default_rng(8), 30), p)
    cells = reference.contributions(prepared, p)
    np.testing.assert_array_equal(prepared.bits, np.packbits(cells > p.threshold, axis=1, bitorder="little").view("u8"))


@pytest.mark.parametrize("changed", [{"layers": 9}, {"cells": 16}, {"sigma_s": 12.0}])
def test_cylinders_that_cannot_be_built_are_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="can be built"):
        prepare_finger(random_finger(np.random.default_rng(8), 30), dataclasses.replace(PARAMETERS, **changed))


def test_many_at_once_are_one_by_one() -> None:
    rng = np.random.default_rng(9)
    templates = [*bulk_finger_templates(5, 9), *(random_finger(rng, n) for n in (0, 90, 1, 60, 61, 0))]
    for together, template in zip(prepare_fingers(templates), templates, strict=True):
        alone = prepare_finger(template)
        assert (together.algorithm, together.key) == (alone.algorithm, alone.key)
        for name in ("bits", "x", "y", "angle"):
            mine, other = getattr(together, name), getattr(alone, name)
            assert mine.dtype == other.dtype
            assert not mine.flags.writeable
            np.testing.assert_array_equal(mine, other)
    assert prepare_fingers([]) == []


def test_no_minutiae_give_an_empty_structure() -> None:
    prepared = prepare_finger(random_finger(np.random.default_rng(0), 0))
    assert len(prepared) == 0
    assert prepared.bits.shape == (0, 6)


def test_the_sixty_best_minutiae_are_used_in_the_templates_order() -> None:
    template = random_finger(np.random.default_rng(5), 90)
    prepared = prepare_finger(template)
    points = reference.minutiae(template, PARAMETERS)
    assert len(prepared) == 60
    assert prepared.x.tolist() == [p[0] for p in points]
    assert prepared.y.tolist() == [p[1] for p in points]
    used = sorted(template.quality.tolist())[-60:]
    by_place = {(int(x), int(y)): int(q) for x, y, q in zip(template.x, template.y, template.quality, strict=True)}
    assert sorted(by_place[int(x), int(y)] for x, y, _ in points) == used


def test_a_quarter_turn_of_the_print_changes_no_bit() -> None:
    template = random_finger(np.random.default_rng(6), 30)
    # Counter-clockwise as seen on a screen with y down: (x, y) -> (y, width - x), directions plus a quarter.
    turned = FingerTemplate(
        template.algorithm,
        1,
        template.height,
        template.width,
        template.y.copy(),
        (template.width - template.x).astype(np.int16),
        template.angle + np.uint16(16384),
        template.quality.copy(),
    )
    before, after = prepare_finger(template), prepare_finger(turned)
    assert int(np.bitwise_count(before.bits ^ after.bits).sum()) <= 2
    clockwise = (after.angle.astype(np.int64) - before.angle.astype(np.int64)) % 65536
    assert set(clockwise.tolist()) == {65536 - 16384}


def test_prepared_arrays_are_read_only() -> None:
    prepared = prepare_finger(random_finger(np.random.default_rng(7), 12))
    with pytest.raises(ValueError, match="read-only"):
        prepared.bits[0, 0] = 1
