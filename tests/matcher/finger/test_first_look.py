"""The first look against the obvious way, one pair of cylinders at a time."""

from __future__ import annotations

import dataclasses
import math
import statistics

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from matcher.finger.comparison import FingerComparator
from matcher.finger.cylinders import PreparedFinger
from matcher.finger.first_look import first_look, looker, worth_comparing
from matcher.finger.pairing import WIDTH
from matcher.finger.parameters import CylinderParameters
from matcher.finger.rows import rows_of
from tests.matcher.finger import reference
from tests.matcher.finger.prints import random_finger, second_impression

COMPARATOR = FingerComparator(CylinderParameters(max_minutiae=WIDTH))


def looks(probe: PreparedFinger, fingers: list[PreparedFinger], slots: list[int]) -> list[float]:
    ready = looker(probe, COMPARATOR.tables)
    return [float(s) for s in first_look(ready, COMPARATOR.tables, rows_of(fingers), np.array(slots, np.int64))]


def slow_looks(probe: PreparedFinger, fingers: list[PreparedFinger]) -> list[float]:
    return [reference.first_look(probe, finger, COMPARATOR.comparison) for finger in fingers]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 64), st.lists(st.integers(0, 64), min_size=1, max_size=4))
@example(1, 64, [64, 3, 2])
def test_it_is_the_slow_way(seed: int, minutiae: int, others: list[int]) -> None:
    rng = np.random.default_rng(seed)
    probe = random_finger(rng, minutiae)
    templates = [random_finger(rng, n) for n in others]
    if minutiae >= 3:
        templates.append(second_impression(rng, probe))
    prepared = COMPARATOR.prepare(probe)
    fingers = [COMPARATOR.prepare(t) for t in templates]
    assert looks(prepared, fingers, list(range(len(fingers)))) == slow_looks(prepared, fingers)


def test_a_finger_is_like_itself_and_more_than_others() -> None:
    rng = np.random.default_rng(1)
    fingers = [COMPARATOR.prepare(random_finger(rng, 40)) for _ in range(20)]
    found = looks(fingers[7], fingers, list(range(20)))
    assert found[7] == 1.0
    assert sorted(found)[-2] < 0.7
    assert looks(fingers[7], fingers, [7, 3, 7]) == [1.0, found[3], 1.0]


@pytest.mark.parametrize("empty", ["probe", "reference", "both"])
def test_empty_cylinders_are_like_nothing(empty: str) -> None:
    """Minutiae far from all others have no bit set: that they have in common, and it must not count."""
    rng = np.random.default_rng(2)
    probe, other = (COMPARATOR.prepare(random_finger(rng, 20)) for _ in range(2))
    bare = np.zeros_like(probe.bits)
    if empty != "reference":
        probe = dataclasses.replace(probe, bits=bare)
    if empty != "probe":
        other = dataclasses.replace(other, bits=bare)
    assert looks(probe, [other], [0]) == slow_looks(probe, [other]) == [0.0]


def test_minutiae_that_point_elsewhere_are_no_partners() -> None:
    rng = np.random.default_rng(3)
    finger = COMPARATOR.prepare(random_finger(rng, 30))
    turned = dataclasses.replace(finger, angle=finger.angle + np.int16(-32768))
    (found,) = looks(finger, [turned], [0])
    assert found < 0.7
    assert [found] == slow_looks(finger, [turned])


def test_place_and_likeness_count_alike() -> None:
    likeness = np.array([0.3, 0.4, 0.5, 0.4], np.float32)
    worth = worth_comparing(likeness, np.array([3, 0, 2, 1]), 1000)
    normal = statistics.NormalDist().inv_cdf
    deviation = math.sqrt(0.02 / 4)
    expected = [-0.1 / deviation - normal(0.0035), -normal(0.0005), 0.1 / deviation - normal(0.0025), -normal(0.0015)]
    assert worth.tolist() == pytest.approx(expected, rel=1e-5)
    same = worth_comparing(np.full(4, 0.4, np.float32), np.array([3, 0, 2, 1]), 4)
    assert np.argsort(-same).tolist() == [1, 3, 2, 0]
