"""The finger index against brute force over a plain dictionary."""

from __future__ import annotations

import dataclasses
import errno
import os

import numpy as np
import pytest

from matcher.errors import ModelMismatch, StorageFailure
from matcher.finger.comparison import FingerComparator, rows_of
from matcher.finger.index import FingerIndex, ShortlistParameters
from matcher.modality import ALL_LABELS, Comparator, ReferenceIndex
from matcher.slots import SlotTable
from matcher.templates import FingerTemplate
from tests.matcher.finger.prints import random_finger, second_impression

COMPARATOR = FingerComparator()


def slow_shortlist(
    index: FingerIndex, probe: FingerTemplate, gallery: dict[int, FingerTemplate], count: int
) -> list[int]:
    """The nearest by the vectors' inner product, then the best of them by the fast stage, one reference at a time."""
    finger = COMPARATOR.prepare(probe)
    (own,) = index.model.encode([finger]).astype(np.int64)
    near = {}
    for reference, template in gallery.items():
        (vector,) = index.model.encode([COMPARATOR.prepare(template)]).astype(np.int64)
        near[reference] = int(own @ vector)
    looked_at = sorted(gallery, key=lambda r: -near[r])[: index.parameters.scanned(count)]
    if count >= len(looked_at):
        return looked_at[:count]
    relaxed = {}
    for reference in looked_at:
        rows = rows_of([COMPARATOR.prepare(gallery[reference])])
        relaxed[reference] = float(COMPARATOR.relaxed_rows(finger, rows, np.zeros(1, np.int64))[0])
    return sorted(looked_at, key=lambda r: -relaxed[r])[:count]


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def filled(count: int, seed: int = 0) -> tuple[FingerIndex, dict[int, tuple[int, FingerTemplate]]]:
    rng = np.random.default_rng(seed)
    index = FingerIndex(COMPARATOR)
    content = {1000 + 7 * i: (1 << int(rng.integers(0, 3)), random_finger(rng, int(n)))
               for i, n in enumerate(rng.integers(15, 50, count))}  # fmt: skip
    index.apply([], [(reference, labels, template) for reference, (labels, template) in content.items()])
    return index, content


def test_it_is_a_reference_index_with_a_comparator() -> None:
    index: ReferenceIndex = FingerIndex()
    comparator: Comparator = index.comparator
    assert comparator.algorithms == {"finger-leader-1", "finger-mindtct-1"}
    assert len(index) == 0


def test_an_empty_index_answers() -> None:
    index = FingerIndex(COMPARATOR)
    probe = COMPARATOR.prepare(random_finger(np.random.default_rng(0), 20))
    assert [s.tolist() for s in index.shortlist([probe, probe], 10)] == [[], []]
    assert np.isnan(index.compare(probe, np.array([1, 2], np.int64))).all()
    index.apply([5], [])
    assert index.shortlist([], 10) == []


@pytest.mark.parametrize("count", [1, 5, 29, 30, 40])
def test_a_shortlist_is_that_of_the_slow_way(count: int) -> None:
    index, content = filled(30)
    index.parameters = ShortlistParameters(scanned_per_candidate=2, most_scanned=20)
    gallery = {reference: template for reference, (_, template) in content.items()}
    probe = second_impression(np.random.default_rng(1), gallery[1007])
    (found,) = index.shortlist([COMPARATOR.prepare(probe)], count)
    assert found.tolist() == slow_shortlist(index, probe, gallery, count)


def test_mates_come_first_and_lists_are_filled() -> None:
    index, content = filled(200, seed=2)
    rng = np.random.default_rng(3)
    mates = list(content)[::20]
    probes = [COMPARATOR.prepare(second_impression(rng, content[m][1])) for m in mates]
    lists = index.shortlist(probes, 25)
    assert [s[0] for s in lists] == mates
    assert all(len(s) == len(set(s.tolist())) == 25 for s in lists)
    for probe, together in zip(probes, lists, strict=True):
        assert index.shortlist([probe], 25)[0].tolist() == together.tolist()


def test_a_list_longer_than_may_be_looked_at_is_that_of_the_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    index, content = filled(60, seed=12)
    index.parameters = ShortlistParameters(scanned_per_candidate=2, most_scanned=20)
    probe = COMPARATOR.prepare(second_impression(np.random.default_rng(13), content[1007][1]))
    monkeypatch.setattr(index, "_scan", None)
    (found,) = index.shortlist([probe], 25)
    (near,) = index.nearest([probe], 25, np.ones(60, np.bool_))
    assert found.tolist() == [1000 + 7 * slot for slot in near.tolist()]


def test_no_more_references_are_looked_at_than_allowed() -> None:
    p = ShortlistParameters(scanned_per_candidate=20, most_scanned=20_000)
    assert [p.scanned(n) for n in (1, 100, 1000, 5000, 30_000)] == [20, 2000, 20_000, 20_000, 30_000]


def test_a_vector_is_computed_anew_before_it_is_stored_and_then_believed() -> None:
    index, content = filled(3)
    template = content[1000][1]
    (right,) = index.model.encode([COMPARATOR.prepare(template)])
    false = dataclasses.replace(template, vector=np.flip(right).copy(), vector_model=index.model.number)
    stored = index.complete(false)
    np.testing.assert_array_equal(stored.vector, right)
    assert stored.vector_model == index.model.number
    index.apply([], [(1, 1, stored), (2, 1, false)])
    np.testing.assert_array_equal(index.vectors()[-2], right)
    np.testing.assert_array_equal(index.vectors()[-1], np.flip(right))
    # Of another model: computed.
    index.apply([], [(3, 1, dataclasses.replace(false, vector_model=index.model.number + 1))])
    np.testing.assert_array_equal(index.vectors()[-1], right)


def test_a_foreign_template_is_not_completed() -> None:
    index = FingerIndex(COMPARATOR)
    with pytest.raises(ModelMismatch):
        index.complete(random_finger(np.random.default_rng(0), 10, algorithm="finger-other-1"))


def test_a_reference_takes_less_than_512_bytes_of_ram() -> None:
    index, content = filled(100, seed=11)
    assert index.bytes_in_ram() / len(content) <= 512
    minutiae = sum(min(len(t), 60) for _, t in content.values())
    assert index.bytes_mapped() == 58 * minutiae + 20 * len(content)


@pytest.mark.parametrize("labels", [1, 2, 4, 5, ALL_LABELS, 8])
def test_labels_filter_inside_the_scan(labels: int) -> None:
    index, content = filled(90, seed=4)
    qualifying = {r for r, (bits, _) in content.items() if bits & labels}
    rng = np.random.default_rng(5)
    probe = COMPARATOR.prepare(second_impression(rng, content[1000][1]))
    (found,) = index.shortlist([probe], 20, labels)
    assert len(found) == min(20, len(qualifying))
    assert set(found.tolist()) <= qualifying
    (every,) = index.shortlist([probe], 90, labels)
    assert set(every.tolist()) == qualifying
    # The same references alone in an index of their own give the same list: the others took no place.
    alone = FingerIndex(COMPARATOR)
    alone.apply([], [(r, 1, template) for r, (bits, template) in content.items() if bits & labels])
    assert alone.shortlist([probe], 20)[0].tolist() == found.tolist()


def test_compare_equals_the_comparator_in_the_order_asked() -> None:
    index, content = filled(40, seed=6)
    probe = COMPARATOR.prepare(random_finger(np.random.default_rng(7), 33))
    ids = np.array([1007, 1000, 99, 1007, 1000 + 7 * 39], np.int64)
    scores = index.compare(probe, ids)
    assert np.isnan(scores[2])
    for reference, score in zip(ids.tolist(), scores.tolist(), strict=True):
        if reference != 99:
            assert score == COMPARATOR.compare(probe, COMPARATOR.prepare(content[reference][1]))


def test_changes_are_what_a_dictionary_would_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SlotTable, "COMPACT_MINIMUM", 10)
    monkeypatch.setattr("matcher.finger.index._COMPACTED_AT_ONCE", 7)
    rng = np.random.default_rng(8)
    index = FingerIndex(COMPARATOR)
    expected: dict[int, tuple[int, FingerTemplate]] = {}
    compactions = 0
    probe = COMPARATOR.prepare(random_finger(rng, 30))
    for _ in range(40):
        removals = [int(r) for r in rng.integers(0, 60, 6)]
        additions = [
            (int(r), 1 << int(rng.integers(0, 64)), random_finger(rng, int(rng.integers(0, 30))))
            for r in rng.integers(0, 60, 5)
        ]
        before = index._table.size
        index.apply(removals, additions)
        compactions += index._table.size < before + 5
        for r in removals:
            expected.pop(r, None)
        for r, labels, template in additions:
            expected[r] = (labels, template)
        assert len(index) == len(expected)
        assert set(index.shortlist([probe], 100)[0].tolist()) == set(expected)
        ids = np.array(sorted(expected), np.int64)
        scores = [COMPARATOR.compare(probe, COMPARATOR.prepare(expected[int(r)][1])) for r in ids]
        assert index.compare(probe, ids).tolist() == scores
        label = 1 << int(rng.integers(0, 64))
        qualifying = {r for r, (bits, _) in expected.items() if bits & label}
        assert set(index.shortlist([probe], 100, label)[0].tolist()) == qualifying
    assert compactions > 0


def test_a_full_disk_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    index, content = filled(5)
    monkeypatch.setattr(os, "posix_fallocate", full_disk)
    rng = np.random.default_rng(0)
    with pytest.raises(StorageFailure):
        index.apply([1000], [(r, 1, random_finger(rng, 40)) for r in range(1, 60)])
    probe = COMPARATOR.prepare(content[1000][1])
    assert set(index.shortlist([probe], 9)[0].tolist()) == set(content)
    index.apply([], [(1, 1, content[1000][1])])
    assert index.compare(probe, np.array([1, 1000])).tolist() == [COMPARATOR.compare(probe, probe)] * 2


def test_where_the_disk_has_no_room_to_compact_the_living_are_found_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(SlotTable, "COMPACT_MINIMUM", 10)
    index, content = filled(30)
    gone = list(content)[:20]
    monkeypatch.setattr(os, "posix_fallocate", full_disk)
    index.apply(gone, [])
    assert "20 deleted fingers" in caplog.text
    probe = COMPARATOR.prepare(content[1000 + 7 * 25][1])
    alive = np.array(list(content)[20:], np.int64)
    for size in (30, 10):
        assert index._table.size == size
        assert set(index.shortlist([probe], 30)[0].tolist()) == set(alive.tolist())
        expected = [COMPARATOR.compare(probe, COMPARATOR.prepare(content[r][1])) for r in alive.tolist()]
        assert index.compare(probe, alive).tolist() == expected
        monkeypatch.undo()  # there is room again
        monkeypatch.setattr(SlotTable, "COMPACT_MINIMUM", 10)
        index.apply([], [])


def test_a_foreign_template_changes_nothing() -> None:
    index, content = filled(5)
    foreign = random_finger(np.random.default_rng(0), 10, algorithm="finger-other-1")
    with pytest.raises(ModelMismatch):
        index.apply([1000], [(1, 1, foreign)])
    assert len(index) == 5
    assert set(index.shortlist([COMPARATOR.prepare(content[1000][1])], 5)[0].tolist()) == set(content)


def test_prints_without_minutiae_are_kept_and_score_nothing() -> None:
    index = FingerIndex(COMPARATOR)
    rng = np.random.default_rng(9)
    index.apply([], [(1, 1, random_finger(rng, 0)), (2, 1, random_finger(rng, 0))])
    empty, probe = COMPARATOR.prepare(random_finger(rng, 0)), COMPARATOR.prepare(random_finger(rng, 30))
    assert [sorted(s.tolist()) for s in index.shortlist([empty, probe], 5)] == [[1, 2], [1, 2]]
    assert index.compare(probe, np.array([1, 2], np.int64)).tolist() == [0.0, 0.0]
