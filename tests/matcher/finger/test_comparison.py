"""The compiled LGS-R against the slow one, and what every comparator promises."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matcher.errors import ModelMismatch
from matcher.finger.comparison import FingerComparator, FingerRows
from matcher.finger.cylinders import PreparedFinger
from matcher.finger.parameters import ComparisonParameters, CylinderParameters
from matcher.templates import FaceTemplate
from tests.matcher.finger import reference
from tests.matcher.finger.prints import random_finger, second_impression

COMPARATOR = FingerComparator()


def slow_score(a: PreparedFinger, b: PreparedFinger, p: ComparisonParameters) -> float:
    """The reference on the cylinders that the comparator has; the pair in the comparator's order."""
    if (len(b), b.key) < (len(a), a.key):
        a, b = b, a
    sides = []
    for finger in (a, b):
        theta = finger.angle.astype(np.float64) * (2 * np.pi / 65536)
        points = [(float(x), float(y), float(t)) for x, y, t in zip(finger.x, finger.y, theta, strict=True)]
        bits = np.unpackbits(finger.bits.view(np.uint8), axis=1, bitorder="little").astype(np.bool_)
        sides.append((points, list(bits)))
    return reference.score(sides[0][0], sides[0][1], sides[1][0], sides[1][1], p)


def rows_of(fingers: list[PreparedFinger]) -> FingerRows:
    counts = np.array([len(f) for f in fingers], np.int32)
    return FingerRows(
        np.concatenate([f.bits for f in fingers]),
        np.concatenate([f.x for f in fingers]),
        np.concatenate([f.y for f in fingers]),
        np.concatenate([f.angle for f in fingers]),
        np.cumsum(counts, dtype=np.int64) - counts,
        counts,
        np.array([f.key for f in fingers], np.uint64),
    )


@pytest.mark.parametrize("seed", range(6))
def test_scores_are_those_of_the_slow_way(seed: int) -> None:
    rng = np.random.default_rng(seed)
    finger = random_finger(rng, int(rng.integers(8, 45)))
    other = random_finger(rng, int(rng.integers(3, 45)))
    again = second_impression(rng, finger)
    a, b, c = (COMPARATOR.prepare(t) for t in (finger, again, other))
    for left, right in ((a, b), (a, c), (b, c), (a, a)):
        expected = slow_score(left, right, COMPARATOR.comparison)
        assert COMPARATOR.compare(left, right) == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_scores_with_other_parameters_are_those_of_the_slow_way() -> None:
    rng = np.random.default_rng(9)
    comparison = ComparisonParameters(max_turn=1.0, pairs_max=8, iterations=3, keep=0.3, mu=(8.0, 0.3, 0.2), floor=1e-3)
    comparator = FingerComparator(CylinderParameters(max_minutiae=20, threshold=0.008), comparison)
    finger = random_finger(rng, 30)
    a, b = comparator.prepare(finger), comparator.prepare(second_impression(rng, finger))
    assert len(a) == 20
    assert comparator.compare(a, b) == pytest.approx(slow_score(a, b, comparison), rel=1e-5)


def test_impressions_of_one_finger_score_far_above_others() -> None:
    rng = np.random.default_rng(10)
    fingers = [random_finger(rng, 40) for _ in range(12)]
    first = [COMPARATOR.prepare(t) for t in fingers]
    second = [COMPARATOR.prepare(second_impression(rng, t)) for t in fingers]
    scores = np.array([[COMPARATOR.compare(a, b) for b in second] for a in first])
    same = np.eye(12, dtype=np.bool_)
    assert scores[same].min() > 3 * scores[~same].max()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 70), st.integers(0, 70))
def test_symmetric_bounded_and_never_nan(seed: int, n: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    finger = random_finger(rng, n)
    other = second_impression(rng, finger) if n and rng.random() < 0.5 else random_finger(rng, m)
    a, b = COMPARATOR.prepare(finger), COMPARATOR.prepare(other)
    score = COMPARATOR.compare(a, b)
    assert score == COMPARATOR.compare(b, a)
    assert 0.0 <= score <= 1.0
    if min(len(a), len(b)) < 3:
        assert score == 0.0


def test_minutiae_all_in_one_place_do_not_break_it() -> None:
    template = random_finger(np.random.default_rng(11), 20)
    same_place = dataclasses.replace(
        template, x=np.full(20, 100, np.int16), y=np.full(20, 100, np.int16), angle=np.zeros(20, np.uint16)
    )
    a = COMPARATOR.prepare(same_place)
    assert COMPARATOR.compare(a, a) == pytest.approx(slow_score(a, a, COMPARATOR.comparison), rel=1e-5)


def test_a_batch_equals_one_by_one_and_negative_slots_are_nan() -> None:
    rng = np.random.default_rng(12)
    probe = random_finger(rng, 35)
    templates = [random_finger(rng, int(n)) for n in rng.integers(0, 70, 40)] + [second_impression(rng, probe)]
    fingers = [COMPARATOR.prepare(t) for t in templates]
    prepared = COMPARATOR.prepare(probe)
    slots = np.array([40, 3, -1, 3, 17, 0, 39], np.int64)
    scores = COMPARATOR.compare_rows(prepared, rows_of(fingers), slots)
    for slot, score in zip(slots.tolist(), scores.tolist(), strict=True):
        if slot < 0:
            assert np.isnan(score)
        else:
            assert score == COMPARATOR.compare(prepared, fingers[slot])


def test_threads_do_not_disturb_each_other() -> None:
    rng = np.random.default_rng(13)
    fingers = [COMPARATOR.prepare(random_finger(rng, 40)) for _ in range(60)]
    rows, slots = rows_of(fingers), np.arange(60, dtype=np.int64)
    alone = [COMPARATOR.compare_rows(f, rows, slots) for f in fingers]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda f: COMPARATOR.compare_rows(f, rows, slots), fingers))
    assert np.array_equal(alone, together)


def test_other_algorithms_and_modalities_are_refused() -> None:
    with pytest.raises(ModelMismatch, match="mindtct"):
        COMPARATOR.prepare(random_finger(np.random.default_rng(0), 10, algorithm="finger-mindtct-1"))
    embedding = np.zeros(128, np.float32)
    embedding[0] = 1
    with pytest.raises(ModelMismatch, match="face"):
        COMPARATOR.prepare(FaceTemplate("face-x", 1, embedding))


def test_the_number_of_pairs_follows_its_formula() -> None:
    p = ComparisonParameters()
    assert [p.pairs(n) for n in (3, 20, 60)] == [4, 8, 12]
    for i, d in ((0, p.gate(0)), (1, p.gate(1)), (2, p.gate(2))):
        assert 1 / (1 + np.exp(-p.tau[i] * (d - p.mu[i]))) == pytest.approx(p.floor)
