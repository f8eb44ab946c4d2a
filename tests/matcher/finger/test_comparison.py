"""The compiled LGS-R against the slow one, and what every comparator promises."""

from __future__ import annotations

import dataclasses
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matcher.errors import ModelMismatch
from matcher.finger.comparison import FingerComparator
from matcher.finger.cylinders import PreparedFinger
from matcher.finger.parameters import AlignmentParameters, ComparisonParameters, CylinderParameters
from matcher.finger.rows import rows_of
from matcher.templates import FaceTemplate, FingerTemplate
from tests.matcher.finger import reference
from tests.matcher.finger.prints import random_finger, second_impression

COMPARATOR = FingerComparator()
ONE = np.zeros(1, np.int64)


def slow_scores(a: PreparedFinger, b: PreparedFinger, comparator: FingerComparator) -> tuple[float, float, list[float]]:
    """Score, LGS-R and features by the reference, on the comparator's cylinders and in its order."""
    if (len(b), b.key) < (len(a), a.key):
        a, b = b, a
    sides = []
    for finger in (a, b):
        theta = finger.angle.astype(np.float64) * (2 * np.pi / 65536)
        points = [(float(x), float(y), float(t)) for x, y, t in zip(finger.x, finger.y, theta, strict=True)]
        bits = np.unpackbits(finger.bits.view(np.uint8), axis=1, bitorder="little").astype(np.bool_)
        sides.append((points, list(bits)))
    found = reference.pairing(*sides[0], *sides[1], comparator.comparison)
    laid = reference.align(sides[0][0], sides[1][0], found, comparator.alignment)
    features = reference.features(found, laid)
    return reference.whole_score(found, features, comparator.model), found.score, features


def check(a: PreparedFinger, b: PreparedFinger, comparator: FingerComparator) -> float:
    score, relaxed, features = slow_scores(a, b, comparator)
    rows = rows_of([b])
    assert comparator.relaxed_rows(a, rows, ONE)[0] == pytest.approx(relaxed, rel=1e-5, abs=1e-6)
    assert comparator.features_of_rows(a, rows, ONE)[0] == pytest.approx(features, rel=1e-3, abs=2e-3)
    assert comparator.compare(a, b) == pytest.approx(score, rel=1e-3, abs=2e-3)
    return score


@pytest.mark.parametrize("seed", range(6))
def test_scores_are_those_of_the_slow_way(seed: int) -> None:
    rng = np.random.default_rng(seed)
    finger = random_finger(rng, int(rng.integers(8, 45)))
    other = random_finger(rng, int(rng.integers(3, 45)))
    again = second_impression(rng, finger)
    a, b, c = (COMPARATOR.prepare(t) for t in (finger, again, other))
    for left, right in ((a, b), (a, c), (b, c), (a, a)):
        check(left, right, COMPARATOR)
    assert check(a, b, COMPARATOR) > 3.0


def test_scores_with_other_parameters_are_those_of_the_slow_way() -> None:
    rng = np.random.default_rng(9)
    comparison = ComparisonParameters(max_turn=1.0, pairs_max=8, iterations=3, keep=0.3, mu=(8.0, 0.3, 0.2), floor=1e-3)
    alignment = AlignmentParameters(
        seeds=2, rounds=2, reach=7.0, stretch=0.1, most_reach=30.0, max_turn=0.3, radian=10.0, near=25.0
    )
    comparator = FingerComparator(CylinderParameters(max_minutiae=20, threshold=0.008), comparison, alignment)
    finger = random_finger(rng, 30)
    a, b = comparator.prepare(finger), comparator.prepare(second_impression(rng, finger))
    assert len(a) == 20
    check(a, b, comparator)


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
    assert 0.0 <= score < 100.0
    # With three to five minutiae another impression may align a little better than a print does with itself; extraction
    # lets none pass with fewer than eight.
    if min(len(a), len(b)) >= 8:
        assert COMPARATOR.compare(a, a) >= score <= COMPARATOR.compare(b, b)
    if min(len(a), len(b)) < 3:
        assert score == 0.0


def test_minutiae_all_in_one_place_do_not_break_it() -> None:
    template = random_finger(np.random.default_rng(11), 20)
    same_place = dataclasses.replace(
        template, x=np.full(20, 100, np.int16), y=np.full(20, 100, np.int16), angle=np.zeros(20, np.uint16)
    )
    a = COMPARATOR.prepare(same_place)
    assert COMPARATOR.relaxed_rows(a, rows_of([a]), ONE)[0] == pytest.approx(slow_scores(a, a, COMPARATOR)[1], rel=1e-5)
    assert math.isfinite(COMPARATOR.compare(a, a))


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


def test_turned_prints_match_on_request() -> None:
    rng = np.random.default_rng(14)
    fingers = [random_finger(rng, 35) for _ in range(8)]
    probes = [COMPARATOR.prepare(t) for t in fingers]
    for half_turns in (0.5, 1.0, 1.5):
        turned = [COMPARATOR.prepare(rotated(second_impression(rng, t), half_turns * math.pi)) for t in fingers]
        scores = np.array([[COMPARATOR.compare(a, b, full_circle=True) for b in turned] for a in probes])
        assert scores.diagonal().min() > scores[~np.eye(8, dtype=np.bool_)].max() + 3
        assert scores[0, 1] == COMPARATOR.compare(turned[1], probes[0], full_circle=True)
        if half_turns == 1.0:
            assert max(COMPARATOR.compare(a, b) for a, b in zip(probes, turned, strict=True)) < scores.diagonal().min()


def rotated(template: FingerTemplate, angle: float) -> FingerTemplate:
    """Turned counter-clockwise on the screen, kept within the image."""
    x, y = template.x.astype(np.float64), template.y.astype(np.float64)
    u, v = np.cos(angle) * x + np.sin(angle) * y, -np.sin(angle) * x + np.cos(angle) * y
    return dataclasses.replace(
        template,
        width=600,
        height=600,
        x=np.rint(u - u.min()).astype(np.int16),
        y=np.rint(v - v.min()).astype(np.int16),
        angle=FingerTemplate.encode_angle(template.angle_radians + angle),
    )


def test_a_pair_below_the_gate_scores_less_than_one_above_it() -> None:
    rng = np.random.default_rng(15)
    probe = random_finger(rng, 40)
    others = [random_finger(rng, 40) for _ in range(200)] + [second_impression(rng, probe) for _ in range(5)]
    rows, slots = rows_of([COMPARATOR.prepare(t) for t in others]), np.arange(205, dtype=np.int64)
    finger = COMPARATOR.prepare(probe)
    scores, relaxed = COMPARATOR.compare_rows(finger, rows, slots), COMPARATOR.relaxed_rows(finger, rows, slots)
    below = relaxed < COMPARATOR.model.gate
    assert 10 < below.sum() < 205
    assert scores[below].max() < 1 <= scores[~below].min()
    assert scores[below] == pytest.approx(relaxed[below] / COMPARATOR.model.gate)


def test_threads_do_not_disturb_each_other() -> None:
    rng = np.random.default_rng(13)
    fingers = [COMPARATOR.prepare(random_finger(rng, 40)) for _ in range(60)]
    rows, slots = rows_of(fingers), np.arange(60, dtype=np.int64)
    alone = [COMPARATOR.compare_rows(f, rows, slots) for f in fingers]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda f: COMPARATOR.compare_rows(f, rows, slots), fingers))
    assert np.array_equal(alone, together)


def test_other_algorithms_and_modalities_are_refused() -> None:
    with pytest.raises(ModelMismatch, match="other"):
        COMPARATOR.prepare(random_finger(np.random.default_rng(0), 10, algorithm="finger-other-1"))
    embedding = np.zeros(128, np.float32)
    embedding[0] = 1
    with pytest.raises(ModelMismatch, match="face"):
        COMPARATOR.prepare(FaceTemplate("face-x", 1, embedding))


def test_the_number_of_pairs_follows_its_formula() -> None:
    p = ComparisonParameters()
    assert [p.pairs(n) for n in (3, 20, 60)] == [4, 8, 12]
    for i, d in ((0, p.gate(0)), (1, p.gate(1)), (2, p.gate(2))):
        assert 1 / (1 + np.exp(-p.tau[i] * (d - p.mu[i]))) == pytest.approx(p.floor)
