"""Bit cylinders against the paper's formulas, and what must not change them."""

from __future__ import annotations

import numpy as np
import pytest

from matcher.finger.cylinders import prepare_finger
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
