"""Who is put together with whom."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.real_data import RealSample
from benchmarks.virtual_subjects import FINGERS, Limits, compose, samples_of
from matcher.positions import Modality, Position

SETS = ("fvc2000_DB1_B", "fvc2002_DB1_B", "upek")


def captures(folder: str, subject: str, position: Position, count: int) -> list[RealSample]:
    names = [Path(folder) / f"{subject}_{position.label}_{k}.png" for k in range(count)]
    return [RealSample(name, subject, str(k), position, None) for k, name in enumerate(names)]


def fingers(*counts: int) -> list[RealSample]:
    """So many fingers of each set, three impressions each."""
    return [
        sample
        for name, count in zip(SETS, counts, strict=False)
        for k in range(count)
        for sample in captures(name, f"{name}_{k}", Position.FINGER_UNKNOWN, 3)
    ]


def faces(*pictures: int) -> list[RealSample]:
    return [s for k, n in enumerate(pictures) for s in captures("lfw", f"lfw_{k}", Position.FACE, n)]


def eyes(two: int, one: int, unknown: int) -> list[RealSample]:
    found = []
    for k in range(two):
        found += captures("mmu", f"mmu_{k}", Position.IRIS_LEFT, 2) + captures(
            "mmu", f"mmu_{k}", Position.IRIS_RIGHT, 2
        )
    for k in range(one):
        found += captures("mmu", f"single_{k}", Position.IRIS_RIGHT, 2)
    for k in range(unknown):
        found += captures("casia", f"casia_{k}", Position.IRIS_UNKNOWN, 2)
    return found


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 7), min_size=1, max_size=3), st.integers(0, 3))
def test_fingers_are_paired_across_sets_as_often_as_can_be(counts: list[int], seed: int) -> None:
    subjects = compose(fingers(*counts), seed, "v")
    pairs = [s for s in subjects if len(s.captures) == 2]
    for subject in pairs:
        right, left = (subject.captures[p] for p in FINGERS)
        assert right[0].dataset != left[0].dataset
    # A set larger than all others together leaves some of its own alone; else nobody, or one, is.
    assert len(pairs) == min(sum(counts) // 2, sum(counts) - max(counts))
    assert len(subjects) == sum(counts) - len(pairs)


def test_every_sample_is_used_once_and_synthetic_fingers_never() -> None:
    real = fingers(3, 2, 2) + faces(1, 4, 2, 1, 3, 1, 1) + eyes(3, 1, 2)
    synthetic = captures("fvc2002_DB4_B", "fvc2002_DB4_B_101", Position.FINGER_UNKNOWN, 3)
    assert Counter(samples_of(compose(real + synthetic, 7, "v"))) == Counter(real)


def test_samples_of_one_body_part_stay_together_in_their_order() -> None:
    for subject in compose(fingers(2, 2) + faces(2, 3) + eyes(2, 0, 0), 0, "v"):
        for rows in subject.captures.values():
            assert len({s.subject_id for s in rows}) == 1
            assert [s.encounter for s in rows] == sorted(s.encounter for s in rows)
        eye_owners = {rows[0].subject_id for p, rows in subject.captures.items() if p.modality is Modality.IRIS}
        assert len(eye_owners) <= 1


def test_those_with_most_come_first() -> None:
    subjects = compose(fingers(2, 2) + faces(1, 1, 1, 2, 4, 3, 1, 1) + eyes(3, 1, 2), 1, "v")
    positions = [set(s.captures) for s in subjects]
    both = {Position.IRIS_LEFT, Position.IRIS_RIGHT}
    assert all(p >= {*FINGERS, Position.FACE, *both} for p in positions[:2])
    assert positions[2] == {Position.FACE, *both}
    assert positions[3:6] == [{Position.FACE, Position.IRIS_RIGHT}, *[{Position.FACE, Position.IRIS_UNKNOWN}] * 2]
    assert positions[6:] == [{Position.FACE}] * 2
    assert [len(s.captures[Position.FACE]) for s in subjects] == [4, 3, 2, 1, 1, 1, 1, 1]
    assert [s.subject_id for s in subjects[:2]] == ["v0001", "v0002"]


def test_the_seed_decides() -> None:
    samples = fingers(5, 5, 5) + faces(*[2] * 10) + eyes(5, 0, 0)
    assert compose(samples, 3, "v") == compose(samples, 3, "v")
    assert compose(samples, 3, "v") != compose(samples, 4, "v")


def test_searches_use_every_sample_but_the_enrolled_one_once() -> None:
    (subject,) = compose(fingers(1, 1) + faces(2), 0, "v")
    assert subject.probes(FINGERS) == 2
    assert subject.probes([Position.FACE]) == 1
    assert subject.probes([*FINGERS, Position.FACE]) == 1
    assert subject.probes([Position.IRIS_LEFT]) == -1


def test_limits_leave_samples_that_make_as_many_people_again() -> None:
    samples = fingers(5, 4, 3) + faces(4, 4, 4, 1) + eyes(3, 0, 2)
    limited = compose(samples, 2, "v", Limits(hands=3, faces=3, eyes=3, captures=2))
    for seed in range(20):
        again = compose(samples_of(limited), seed, "v")
        assert Counter(samples_of(again)) == Counter(samples_of(limited))
        assert [len(s.captures) for s in again] == [5, 5, 5]


def test_an_anchor_is_one_real_person_in_every_deal() -> None:
    samples = fingers(3, 3) + faces(2, 2, 2, 2)
    deals = [compose(samples, seed, f"{seed}-") for seed in range(3)]
    for subjects in deals:
        assert [s.anchor.split("_")[0] for s in subjects[:3]] != ["lfw"] * 3
        assert subjects[3].anchor.startswith("lfw")
        assert all(s.anchor == s.captures[Position.RIGHT_INDEX][0].subject_id for s in subjects[:3])


def test_limits() -> None:
    subjects = compose(fingers(5, 5) + faces(4, 4, 4) + eyes(3, 0, 0), 0, "v", Limits(2, 3, 1, 2))
    assert [len(s.captures) for s in subjects] == [5, 3, 1]
    assert all(len(rows) <= 2 for s in subjects for rows in s.captures.values())
