"""The fast stage step by step: similarities, assignment, agreement and relaxation against the obvious way."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matcher.finger import pairing
from matcher.finger.cylinders import PreparedFinger, prepare_finger
from matcher.finger.pairing import PairingSpace, pair_up, pairing_space, pairing_tables, relaxed_score
from matcher.finger.parameters import ComparisonParameters, CylinderParameters
from tests.matcher.finger import reference
from tests.matcher.finger.prints import random_finger, second_impression

CYLINDERS, COMPARISON = CylinderParameters(), ComparisonParameters()
TABLES = pairing_tables(CYLINDERS, COMPARISON)


def pair(a: PreparedFinger, b: PreparedFinger, space: PairingSpace) -> int:
    return pair_up(a.bits, a.x, a.y, a.angle, b.bits, b.x, b.y, b.angle, TABLES, space)


def two_impressions(seed: int, most: int = 60) -> tuple[PreparedFinger, PreparedFinger]:
    rng = np.random.default_rng(seed)
    finger = random_finger(rng, int(rng.integers(4, most)))
    other = second_impression(rng, finger) if seed % 2 else random_finger(rng, int(rng.integers(4, most)))
    a, b = prepare_finger(finger), prepare_finger(other)
    return (a, b) if len(a) <= len(b) else (b, a)


def slow_similarities(a: PreparedFinger, b: PreparedFinger) -> list[list[float]]:
    bits = [np.unpackbits(f.bits.view(np.uint8), axis=1, bitorder="little").astype(np.bool_) for f in (a, b)]
    unit = 2 * math.pi / 65536
    return [
        [
            reference.similarity(
                bits[0][i], bits[1][j], reference.difference(a.angle[i] * unit, b.angle[j] * unit), COMPARISON
            )
            for j in range(len(b))
        ]
        for i in range(len(a))
    ]


@pytest.mark.parametrize("seed", range(6))
def test_pairs_are_those_of_sorting_everything(seed: int) -> None:
    a, b = two_impressions(seed)
    space = pairing_space(CYLINDERS.words)
    count = pair(a, b, space)
    table = slow_similarities(a, b)
    rows: set[int] = set()
    columns: set[int] = set()
    expected = []
    for i, j in sorted(np.ndindex(len(a), len(b)), key=lambda at: (-table[at[0]][at[1]], at)):
        if table[i][j] > 0 and i not in rows and j not in columns:
            rows.add(i)
            columns.add(j)
            expected.append((i, j))
    assert list(zip(space.row[:count].tolist(), space.column[:count].tolist(), strict=True)) == expected
    assert space.first[:count].tolist() == pytest.approx([table[i][j] for i, j in expected], abs=1e-7)
    assert count > 0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_what_an_earlier_comparison_left_changes_nothing(seed: int) -> None:
    used, fresh = pairing_space(CYLINDERS.words), pairing_space(CYLINDERS.words)
    for k in range(3):
        a, b = two_impressions((seed + k) % 2**32)
        counts = [pair(a, b, space) for space in (used, fresh)]
        assert counts[0] == counts[1]
        scores = [relaxed_score(counts[0], TABLES.pairs[len(a)], space) for space in (used, fresh)]
        assert scores[0] == scores[1]
        fresh = pairing_space(CYLINDERS.words)


@settings(max_examples=300, deadline=None)
@given(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6))
def test_the_arctangent_is_close(y: int, x: int) -> None:
    found = pairing._arctangent(np.float32(y), np.float32(x))
    assert abs(reference.difference(float(found), math.atan2(y, x))) < 3e-6


@pytest.mark.parametrize("which", range(3))
def test_tables_are_the_sigmoids_and_end_at_the_gate(which: int) -> None:
    gate = float(TABLES.gates[which])
    for d in np.linspace(0, gate, 777):
        found = pairing._factor(TABLES.sigmoids[which], np.float32(d * pairing.TABLE / gate))
        expected = 1 / (1 + math.exp(-COMPARISON.tau[which] * (d - COMPARISON.mu[which])))
        assert found == pytest.approx(expected, abs=5e-6)
    beyond = pairing._factor(TABLES.sigmoids[which], np.float32(2 * pairing.TABLE))
    assert beyond == pytest.approx(COMPARISON.floor, rel=1e-3)


def test_pairs_turned_further_than_the_limit_are_not_made() -> None:
    rng = np.random.default_rng(5)
    finger = random_finger(rng, 40)
    # A quarter turn and a bit.
    turned = second_impression(np.random.default_rng(6), finger, keep=1.0, noise=0.0, turn=0.0)
    angle = (turned.angle.astype(np.int64) + 18000).astype(np.uint16)
    angle.setflags(write=False)
    object.__setattr__(turned, "angle", angle)
    a, b = sorted((prepare_finger(finger), prepare_finger(turned)), key=len)
    space = pairing_space(CYLINDERS.words)
    count = pair(a, b, space)
    between = [(int(a.angle[i]) - int(b.angle[j]) + 32768) % 65536 - 32768
               for i, j in zip(space.row[:count], space.column[:count], strict=True)]  # fmt: skip
    assert max(map(abs, between)) <= 16384
    assert between == space.turn[:count].tolist()


def test_more_minutiae_than_the_work_space_holds_are_refused() -> None:
    with pytest.raises(ValueError, match="64"):
        pairing_tables(CylinderParameters(max_minutiae=65), COMPARISON)


def test_odd_numbers_of_words_are_padded() -> None:
    cylinders = CylinderParameters(layers=5)
    comparison = ComparisonParameters()
    tables = pairing_tables(cylinders, comparison)
    rng = np.random.default_rng(7)
    finger = random_finger(rng, 25)
    a, b = prepare_finger(finger, cylinders), prepare_finger(second_impression(rng, finger), cylinders)
    a, b = (a, b) if len(a) <= len(b) else (b, a)
    space = pairing_space(cylinders.words)
    count = pair_up(a.bits, a.x, a.y, a.angle, b.bits, b.x, b.y, b.angle, tables, space)
    assert a.bits.shape[1] == 5
    table = slow_similarities(a, b)
    assert space.first[0] == pytest.approx(max(map(max, table)), abs=1e-7)
    assert count == min(len(a), len(b)) or space.first[count - 1] > 0
