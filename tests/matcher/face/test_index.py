"""The face index against brute force: the same ids in the same order, whatever was deleted, replaced or filtered."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from matcher.errors import ModelMismatch
from matcher.face.comparison import FaceComparator
from matcher.face.index import FaceIndex
from matcher.modality import ALL_LABELS, ReferenceIndex
from matcher.templates import FaceTemplate
from tests.matcher.face.embeddings import FACE_ALGORITHM, face_template, random_units

Reference = tuple[int, int, FaceTemplate]


def brute_force(references: list[Reference], probe: FaceTemplate, count: int, labels: int) -> list[int]:
    """The slow and obvious answer: every pair through the comparator, sorted by score and then by id."""
    comparator = FaceComparator(FACE_ALGORITHM)
    prepared = comparator.prepare(probe)
    scored = [
        (-comparator.compare(prepared, comparator.prepare(template)), reference)
        for reference, label, template in references
        if label & labels
    ]
    return [reference for _, reference in sorted(scored)[:count]]


def check(index: FaceIndex, references: list[Reference], probes: list[FaceTemplate]) -> None:
    """Index and brute force agree for several counts and filters, in batch and one by one."""
    assert len(index) == len(references)
    prepared = [index.comparator.prepare(p) for p in probes]
    for labels in (ALL_LABELS, 0b01, 0b10, 0b100, 1 << 63):
        for count in (1, 10, 60, len(references) + 5):
            expected = [brute_force(references, p, count, labels) for p in probes]
            assert [a.tolist() for a in index.shortlist(prepared, count, labels)] == expected
            assert index.shortlist(prepared[:1], count, labels)[0].tolist() == expected[0]


def make_references(count: int, seed: int, first_id: int = 1000) -> list[Reference]:
    rng = np.random.default_rng(seed)
    rows = random_units(count, seed=seed)
    ids = first_id + rng.permutation(count)
    labels = rng.choice([0b01, 0b10, 0b11, 1 << 63], size=count)
    return [(int(i), int(label), face_template(row)) for i, label, row in zip(ids, labels, rows, strict=True)]


def make_probes(count: int, seed: int) -> list[FaceTemplate]:
    return [face_template(row) for row in random_units(count, seed=seed)]


def test_equals_brute_force_with_filters() -> None:
    index: ReferenceIndex = FaceIndex(FACE_ALGORITHM)
    references = make_references(400, seed=1)
    index.apply([], references[:150])
    index.apply([], references[150:])
    assert isinstance(index, FaceIndex)
    check(index, references, make_probes(25, seed=2))


def test_equals_brute_force_after_deletions_and_replacements() -> None:
    index = FaceIndex(FACE_ALGORITHM)
    references = make_references(300, seed=3)
    index.apply([], references)
    gone = [i for i, _, _ in references[:40]]
    moved = [
        (i, 0b10, face_template(row))
        for (i, _, _), row in zip(references[40:80], random_units(40, seed=9), strict=True)
    ]
    index.apply([*gone, 999_999], moved)
    check(index, moved + references[80:], make_probes(6, seed=4))


def test_replaying_the_same_change_changes_nothing() -> None:
    index = FaceIndex(FACE_ALGORITHM)
    references = make_references(120, seed=5)
    for _ in range(3):
        index.apply([references[0][0]], references)
    check(index, references, make_probes(4, seed=6))


def test_an_id_twice_in_one_change_keeps_the_later_template() -> None:
    index = FaceIndex(FACE_ALGORITHM)
    older, newer = make_probes(2, seed=7)
    index.apply([], [(5, 1, older), (5, 1, newer)])
    assert len(index) == 1
    assert index.compare(index.comparator.prepare(newer), np.array([5]))[0] == pytest.approx(1.0, abs=1e-6)


def test_compaction_keeps_answers() -> None:
    index = FaceIndex(FACE_ALGORITHM)
    references = make_references(250, seed=8)
    index.apply([], references)
    index.apply([i for i, _, _ in references[::2]], [])
    probes = make_probes(3, seed=9)
    check(index, references[1::2], probes)
    index.compact()
    check(index, references[1::2], probes)
    index.apply([], references[::2])
    check(index, references, probes)


def test_compaction_happens_by_itself_and_frees_the_rows() -> None:
    index = FaceIndex(FACE_ALGORITHM)
    references = make_references(2200, seed=10)
    index.apply([], references)
    index.apply([i for i, _, _ in references[:1500]], [])
    assert index._flat.ntotal == 700
    check(index, references[1500:], make_probes(2, seed=11))


def test_everything_removed_and_filled_again() -> None:
    index = FaceIndex(FACE_ALGORITHM)
    references = make_references(30, seed=12)
    index.apply([], references)
    index.apply([i for i, _, _ in references], [])
    probe = index.comparator.prepare(make_probes(1, seed=13)[0])
    assert len(index) == 0
    assert index.shortlist([probe], 5)[0].tolist() == []
    index.compact()
    assert index.shortlist([probe], 5)[0].tolist() == []
    assert np.isnan(index.compare(probe, np.array([references[0][0]]))).all()
    index.apply([], references)
    check(index, references, make_probes(2, seed=13))


@pytest.mark.parametrize("copies", [5, 100])
def test_ties_are_broken_by_id_also_at_the_cut(copies: int) -> None:
    """More references with one and the same embedding than are asked for: the lowest ids come back."""
    index = FaceIndex(FACE_ALGORITHM)
    base = make_references(200, seed=14)
    twin = make_probes(1, seed=15)[0]
    order = np.random.default_rng(16).permutation(copies)
    twins: list[Reference] = [(int(i), 1, twin) for i in order]
    index.apply([], base[:100])
    index.apply([], twins)
    index.apply([], base[100:])
    prepared = index.comparator.prepare(twin)
    for batch in (1, 30):
        for count in (3, 20, 90):
            expected = brute_force(base + twins, twin, count, ALL_LABELS)
            assert expected[:3] == [0, 1, 2]
            assert all(a.tolist() == expected for a in index.shortlist([prepared] * batch, count))


def test_compare_equals_the_comparator_bit_for_bit_and_gives_nan_for_unknown_ids() -> None:
    index = FaceIndex(FACE_ALGORITHM)
    references = make_references(100, seed=17)
    index.apply([], references)
    index.apply([references[3][0]], [])
    probe = index.comparator.prepare(make_probes(1, seed=18)[0])
    ids = np.array([i for i, _, _ in references] + [-1, 77], np.int64)
    expected: NDArray[np.float64] = np.array(
        [index.comparator.compare(probe, index.comparator.prepare(t)) for _, _, t in references] + [np.nan, np.nan]
    )
    expected[3] = np.nan
    assert np.array_equal(index.compare(probe, ids), expected, equal_nan=True)


def test_an_empty_index_answers() -> None:
    index = FaceIndex(FACE_ALGORITHM)
    probe = index.comparator.prepare(make_probes(1, seed=19)[0])
    assert len(index) == 0
    assert index.dimension is None
    assert [a.tolist() for a in index.shortlist([probe, probe], 10)] == [[], []]
    assert np.isnan(index.compare(probe, np.array([1, 2]))).all()
    assert index.shortlist([], 10) == []
    index.apply([1, 2], [])
    index.compact()
    assert len(index) == 0


def test_other_models_and_lengths_are_refused_and_change_nothing() -> None:
    index = FaceIndex(FACE_ALGORITHM)
    references = make_references(20, seed=20)
    index.apply([], references)
    good = make_probes(1, seed=21)[0]
    other = face_template(random_units(1)[0], algorithm="face-insightface-0123456789ab")
    longer = face_template(random_units(1, 128)[0])
    for bad in (other, longer):
        with pytest.raises(ModelMismatch):
            index.apply([references[0][0]], [(1, 1, good), (2, 1, bad)])
    check(index, references, [good])
    with pytest.raises(ModelMismatch):
        index.shortlist([index.comparator.prepare(longer)], 3)
    with pytest.raises(ModelMismatch):
        index.compare(index.comparator.prepare(longer), np.array([1]))
