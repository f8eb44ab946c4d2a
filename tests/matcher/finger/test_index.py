"""The finger index against brute force over a plain list of templates."""

from __future__ import annotations

import dataclasses
import errno
import os
import statistics
import threading

import numpy as np
import pytest

from matcher.errors import ModelMismatch, StorageFailure
from matcher.finger.comparison import FingerComparator
from matcher.finger.index import FingerIndex, FingerView, ShortlistParameters
from matcher.finger.nearest import VectorSearch
from matcher.finger.rows import rows_of
from matcher.gallery_view import ShortlistParameters as GalleryParameters
from matcher.growing import GrowingArray
from matcher.mapped import MappedArray
from matcher.modality import Comparator, IndexView, ReferenceIndex
from matcher.templates import FingerTemplate
from tests.matcher.finger import reference
from tests.matcher.finger.prints import random_finger, second_impression

COMPARATOR = FingerComparator()


FEW = ShortlistParameters(looked_at_per_candidate=4, most_looked_at=24, compared_per_candidate=2, most_compared=12)


def slow_shortlist(
    index: FingerIndex, probe: FingerTemplate, gallery: dict[int, FingerTemplate], count: int
) -> list[int]:
    """The nearest by the vectors' inner product, of them those that place and first look speak for, then the best of
    those by the fast stage, one reference at a time."""
    finger = COMPARATOR.prepare(probe)
    (own,) = index.model.encode([finger]).astype(np.int64)
    near = {}
    for row, template in gallery.items():
        (vector,) = index.model.encode([COMPARATOR.prepare(template)]).astype(np.int64)
        near[row] = int(own @ vector)
    looked_at = sorted(gallery, key=lambda r: (-near[r], r))[: index.parameters.looked_at(count)]
    compared = index.parameters.compared(count)
    if compared < len(looked_at):
        like = {
            row: reference.first_look(finger, COMPARATOR.prepare(gallery[row]), COMPARATOR.comparison)
            for row in looked_at
        }
        mean, deviation = statistics.fmean(like.values()), statistics.pstdev(like.values())
        worth = {
            row: (like[row] - mean) / deviation - statistics.NormalDist().inv_cdf((place + 0.5) / len(gallery))
            for place, row in enumerate(looked_at)
        }
        looked_at = sorted(looked_at, key=lambda r: (-worth[r], r))[:compared]
    if count >= len(looked_at):
        return looked_at[:count]
    relaxed = {}
    for row in looked_at:
        rows = rows_of([COMPARATOR.prepare(gallery[row])])
        relaxed[row] = float(COMPARATOR.relaxed_rows(finger, rows, np.zeros(1, np.int64))[0])
    return sorted(looked_at, key=lambda r: (-relaxed[r], r))[:count]


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def filled(count: int, seed: int = 0) -> tuple[FingerIndex, list[FingerTemplate]]:
    rng = np.random.default_rng(seed)
    index = FingerIndex(COMPARATOR)
    templates = [random_finger(rng, int(n)) for n in rng.integers(15, 50, count)]
    index.append(templates)
    return index, templates


def assert_holds(view: FingerView, templates: list[FingerTemplate], probe: FingerTemplate) -> None:
    """The view finds and compares exactly these."""
    finger, rows = COMPARATOR.prepare(probe), np.arange(len(templates), dtype=np.int64)
    assert len(view) == len(templates)
    assert sorted(view.shortlist([finger], len(templates))[0].tolist()) == rows.tolist()
    assert view.compare(finger, rows).tolist() == [COMPARATOR.compare(finger, COMPARATOR.prepare(t)) for t in templates]


def test_it_is_a_reference_index_with_a_comparator() -> None:
    index: ReferenceIndex = FingerIndex()
    comparator: Comparator = index.comparator
    view: IndexView = index.view()
    assert comparator.algorithms == {"finger-leader-1", "finger-mindtct-1"}
    assert len(index) == len(view) == 0


def test_an_empty_index_answers() -> None:
    view = FingerIndex(COMPARATOR).view()
    probe = COMPARATOR.prepare(random_finger(np.random.default_rng(0), 20))
    assert [s.tolist() for s in view.shortlist([probe, probe], 10)] == [[], []]
    assert view.compare(probe, np.zeros(0, np.int64)).tolist() == []
    assert view.shortlist([], 10) == []


@pytest.mark.parametrize("search", VectorSearch)
@pytest.mark.parametrize("count", [1, 3, 5, 11, 12, 13, 23, 24, 25, 29, 30, 40])
def test_a_shortlist_is_that_of_the_slow_way(count: int, search: VectorSearch) -> None:
    index, templates = filled(30)
    index.search = search
    index.parameters = FEW
    probe = second_impression(np.random.default_rng(1), templates[7])
    (found,) = index.view().shortlist([COMPARATOR.prepare(probe)], count)
    assert found.tolist() == slow_shortlist(index, probe, dict(enumerate(templates)), count)


def test_a_shortlist_is_the_same_whatever_the_parts_it_is_made_in(monkeypatch: pytest.MonkeyPatch) -> None:
    index, templates = filled(30)
    index.parameters = FEW
    probe = COMPARATOR.prepare(second_impression(np.random.default_rng(1), templates[7]))
    whole = [index.view().shortlist([probe], count)[0].tolist() for count in (1, 3, 5)]
    for name, size in (("_SIDE_BY_SIDE", 3), ("_LOOKED_AT_SIDE_BY_SIDE", 5)):
        monkeypatch.setattr(f"matcher.finger.index.{name}", size)
    assert [index.view().shortlist([probe], count)[0].tolist() for count in (1, 3, 5)] == whole


def test_mates_come_first_and_lists_are_filled() -> None:
    index, templates = filled(200, seed=2)
    rng, view = np.random.default_rng(3), index.view()
    mates = list(range(0, 200, 20))
    probes = [COMPARATOR.prepare(second_impression(rng, templates[m])) for m in mates]
    lists = view.shortlist(probes, 25)
    assert [s[0] for s in lists] == mates
    assert all(len(s) == len(set(s.tolist())) == 25 for s in lists)
    for probe, together in zip(probes, lists, strict=True):
        assert view.shortlist([probe], 25)[0].tolist() == together.tolist()


def test_a_list_longer_than_may_be_looked_at_is_that_of_the_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    index, templates = filled(60, seed=12)
    index.parameters = FEW
    probe = COMPARATOR.prepare(second_impression(np.random.default_rng(13), templates[7]))
    monkeypatch.setattr(FingerView, "_likest", None)
    monkeypatch.setattr(FingerView, "_best", None)
    view = index.view()
    (found,) = view.shortlist([probe], 25)
    (near,) = view.nearest([probe], 25)
    assert found.tolist() == near.tolist()


def test_no_more_references_are_looked_at_than_allowed() -> None:
    p = ShortlistParameters(
        looked_at_per_candidate=10, most_looked_at=10_000, compared_per_candidate=2, most_compared=1500
    )
    assert [p.looked_at(n) for n in (1, 100, 1000, 5000, 30_000)] == [10, 1000, 10_000, 10_000, 30_000]
    assert [p.compared(n) for n in (1, 100, 1000, 5000, 30_000)] == [2, 200, 1500, 5000, 30_000]


@pytest.mark.parametrize("probes", [1, 2, 10])
def test_a_search_looks_at_as_many_references_however_many_fingers_it_has(probes: int) -> None:
    count = GalleryParameters().count(1_000_000, probes)
    assert probes * ShortlistParameters().looked_at(count) == 100_000
    assert probes * ShortlistParameters().compared(count) == 10_000


def test_a_vector_is_computed_anew_before_it_is_stored_and_then_believed() -> None:
    index, templates = filled(3)
    prepared = COMPARATOR.prepare(templates[0])
    (right,) = index.model.encode([prepared])
    false = dataclasses.replace(templates[0], vector=np.flip(right).copy(), vector_model=index.model.number)
    (stored,) = index.complete([false], [prepared])
    assert isinstance(stored, FingerTemplate)
    np.testing.assert_array_equal(stored.vector, right)
    assert stored.vector_model == index.model.number
    # Of another model: computed.
    index.append([stored, false, dataclasses.replace(false, vector_model=index.model.number + 1)])
    np.testing.assert_array_equal(index.view().vectors()[-3:], np.stack([right, np.flip(right), right]))


def test_a_reference_takes_less_than_512_bytes_of_ram() -> None:
    index, templates = filled(100, seed=11)
    use = index.memory()
    assert sum(part.ram for part in use) / len(templates) <= 496
    # Whole words: key, count, cylinders, and three int16 a minutia.
    assert sum(part.mapped for part in use) == sum(8 * (2 + 6 * n + -(-6 * n // 8)) for n in map(len, templates))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_the_filter_applies_inside_the_scan(share: float) -> None:
    index, templates = filled(90, seed=4)
    index.parameters = FEW
    rng = np.random.default_rng(5)
    selected = rng.random(90) < share
    chosen = {int(row): templates[row] for row in np.flatnonzero(selected)}
    probe = second_impression(rng, templates[0])
    prepared = COMPARATOR.prepare(probe)
    for count in (2, 5, 9, 90):
        (found,) = index.view().shortlist([prepared], count, selected)
        assert found.tolist() == slow_shortlist(index, probe, chosen, count)
        assert len(found) == min(count, len(chosen))


def test_compare_equals_the_comparator_in_the_order_asked() -> None:
    index, templates = filled(40, seed=6)
    probe = COMPARATOR.prepare(random_finger(np.random.default_rng(7), 33))
    rows = np.array([1, 0, -1, 1, 39], np.int64)
    scores = index.view().compare(probe, rows)
    assert np.isnan(scores[2])
    for row, score in zip(rows.tolist(), scores.tolist(), strict=True):
        if row >= 0:
            assert score == COMPARATOR.compare(probe, COMPARATOR.prepare(templates[row]))


def test_long_lists_are_compared_in_parts() -> None:
    index, templates = filled(20, seed=14)
    probe = COMPARATOR.prepare(second_impression(np.random.default_rng(7), templates[3]))
    rows = np.random.default_rng(15).integers(0, 20, 1100)
    once = index.view().compare(probe, np.arange(20, dtype=np.int64))
    assert index.view().compare(probe, rows).tolist() == once[rows].tolist()


def test_what_must_be_read_from_the_disk_is_asked_for_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    index, templates = filled(300, seed=14)
    monkeypatch.setattr("matcher.mapped._in_memory", lambda *_: False)
    asked: list[tuple[list[int], list[int]]] = []
    monkeypatch.setattr(MappedArray, "fetch", lambda _, begins, ends: asked.append((begins.tolist(), ends.tolist())))
    index.view().fetch(np.arange(299, -1, -1))
    ((begins, ends),) = asked
    sizes = [8 * (2 + 6 * n + -(-6 * n // 8)) for n in map(len, templates)]
    assert [8 * (end - begin) for begin, end in zip(begins, ends, strict=True)] == sizes[::-1]
    probe = COMPARATOR.prepare(second_impression(np.random.default_rng(7), templates[3]))
    index.view().shortlist([probe], 5)
    assert len(asked[1:]) == 1, "what the fast stage looks at"


def test_views_are_of_their_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    # Small ones, so that all arrays grow and move meanwhile.
    monkeypatch.setattr(GrowingArray, "FIRST_BYTES", 512)
    monkeypatch.setattr(MappedArray, "FIRST_ROWS", 16)
    rng = np.random.default_rng(8)
    index, templates = FingerIndex(COMPARATOR), [random_finger(rng, int(n)) for n in rng.integers(0, 40, 60)]
    probe = random_finger(rng, 30)
    views = []
    for begin in range(0, 60, 6):
        index.append(templates[begin : begin + 6])
        views.append(index.view())
    for i, view in enumerate(views, 1):
        assert_holds(view, templates[: 6 * i], probe)


def test_searches_run_while_rows_are_appended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GrowingArray, "FIRST_BYTES", 512)
    monkeypatch.setattr(MappedArray, "FIRST_ROWS", 16)
    rng = np.random.default_rng(16)
    templates = [random_finger(rng, int(n)) for n in rng.integers(3, 40, 150)]
    probe = COMPARATOR.prepare(second_impression(rng, templates[0]))
    expected = [COMPARATOR.compare(probe, COMPARATOR.prepare(t)) for t in templates]
    index = FingerIndex(COMPARATOR)
    index.append(templates[:1])
    done, failures = threading.Event(), []

    def search() -> None:
        while not done.is_set():
            view = index.view()
            rows = np.arange(len(view), dtype=np.int64)
            (found,) = view.shortlist([probe], 3)
            if view.compare(probe, rows).tolist() != expected[: len(view)] or found[0] != 0:
                failures.append(len(view))

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for template in templates[1:]:
        index.append([template])
    done.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(index) == 150


def test_a_copy_holds_what_was_chosen_and_goes_its_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("matcher.finger.index._COPIED_AT_ONCE", 7)
    index, templates = filled(40, seed=17)
    chosen = np.array([3, 4, 5, 9, 12, 13, 14, 20, 33, 39, 2], np.int64)
    copy = index.copy(chosen)
    probe = random_finger(np.random.default_rng(18), 30)
    kept = [templates[row] for row in chosen]
    assert_holds(copy.view(), kept, probe)
    np.testing.assert_array_equal(copy.view().vectors(), index.view().vectors()[chosen])
    copy.append(templates[:1])
    index.append(templates[1:2])
    assert_holds(copy.view(), [*kept, templates[0]], probe)
    assert_holds(index.view(), [*templates, templates[1]], probe)
    assert len(index.copy(np.zeros(0, np.int64))) == 0


def test_a_full_disk_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    index, templates = filled(5)
    monkeypatch.setattr(os, "posix_fallocate", full_disk)
    rng = np.random.default_rng(0)
    with pytest.raises(StorageFailure):
        index.append([random_finger(rng, 40) for _ in range(200)])
    with pytest.raises(StorageFailure):
        index.reserve(1_000_000)
    with pytest.raises(StorageFailure):
        index.copy(np.arange(5, dtype=np.int64))
    probe = random_finger(rng, 30)
    assert_holds(index.view(), templates, probe)
    monkeypatch.undo()
    index.append(templates[:2])
    assert_holds(index.view(), templates + templates[:2], probe)


def test_what_is_reserved_can_be_appended(monkeypatch: pytest.MonkeyPatch) -> None:
    index, _ = filled(1)
    index.reserve(300)
    monkeypatch.setattr(os, "posix_fallocate", full_disk)
    index.append([random_finger(np.random.default_rng(0), 90) for _ in range(300)])
    assert len(index) == 301


def test_a_foreign_template_changes_nothing() -> None:
    index, templates = filled(5)
    foreign = random_finger(np.random.default_rng(0), 10, algorithm="finger-other-1")
    with pytest.raises(ModelMismatch):
        index.check(foreign)
    with pytest.raises(ModelMismatch):
        index.append([templates[0], foreign])
    assert_holds(index.view(), templates, templates[0])


def test_prints_without_minutiae_are_kept_and_score_nothing() -> None:
    index = FingerIndex(COMPARATOR)
    rng = np.random.default_rng(9)
    index.append([random_finger(rng, 0), random_finger(rng, 0)])
    empty, probe = COMPARATOR.prepare(random_finger(rng, 0)), COMPARATOR.prepare(random_finger(rng, 30))
    assert [s.tolist() for s in index.view().shortlist([empty, probe], 5)] == [[0, 1], [0, 1]]
    assert index.view().compare(probe, np.array([0, 1], np.int64)).tolist() == [0.0, 0.0]
