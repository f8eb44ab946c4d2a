"""IrisIndex against brute force by the slow comparisons, with label filters, removals, replacements and compaction."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from matcher.errors import ModelMismatch, StorageFailure, TemplateInvalid
from matcher.iris.comparison import IrisComparator
from matcher.iris.index import IrisIndex, IrisScan
from matcher.iris.parameters import PARAMETERS
from matcher.modality import ALL_LABELS
from matcher.templates import IrisCode, IrisTemplate, spread_columns
from tests.matcher.iris.codes import random_template, reference_search_score, second_capture, tables, template

Records = dict[int, tuple[int, IrisTemplate]]
Ranks = dict[int, float]
COMPARATOR = IrisComparator()


def ranks_of(probe: IrisTemplate, records: Records, columns: int = PARAMETERS.search.columns) -> Ranks:
    """Minus the search score of every reference, infinite where it cannot be compared."""
    scores = {i: reference_search_score(probe, template, columns) for i, (_, template) in records.items()}
    return {i: math.inf if math.isnan(score) else -score for i, score in scores.items()}


def exact(probe: IrisTemplate, records: Records, count: int, labels: int = ALL_LABELS) -> list[int]:
    ranks = ranks_of(probe, records)
    return sorted((i for i in records if records[i][0] & labels), key=lambda i: (ranks[i], i))[:count]


def two_stages(probe: IrisTemplate, records: Records, count: int, labels: int = ALL_LABELS) -> list[int]:
    """The shortlist by the steps of ``matcher.iris.index``."""
    first, whole = ranks_of(probe, records, PARAMETERS.prefix_columns), ranks_of(probe, records)
    chosen = sorted((i for i in records if records[i][0] & labels), key=lambda i: (first[i], i))
    above = [i for i in chosen if first[i] <= -PARAMETERS.prefix_threshold]
    unjudged = {i for i in chosen if first[i] == math.inf}
    worth = unjudged.union(above if len(above) >= count else chosen[:count])
    return sorted(worth, key=lambda i: (whole[i], i))[:count]


REFERENCE: dict[IrisScan, Callable[[IrisTemplate, Records, int, int], list[int]]] = {
    IrisScan.EXACT: exact,
    IrisScan.TWO_STAGES: two_stages,
}


def gallery(seed: int, size: int) -> Records:
    """Ids in no order, labels 1, 2 or both, masks from nearly nothing to everything."""
    rng = np.random.default_rng(seed)
    ids = rng.permutation(10 * size)[:size]
    return {int(i): (int(rng.integers(1, 4)), random_template(rng, float(rng.uniform(0.15, 1.0)))) for i in ids}


def index_of(records: Records, scan: IrisScan = IrisScan.TWO_STAGES) -> IrisIndex:
    index = IrisIndex(scan=scan)
    index.apply([], [(i, label, template) for i, (label, template) in records.items()])
    return index


def equal(a: NDArray[np.int64], b: list[int]) -> bool:
    return a.dtype == np.int64 and a.tolist() == b


@pytest.mark.parametrize("scan", list(IrisScan))
@pytest.mark.parametrize("count", [1, 7, 150, 1000])
@pytest.mark.parametrize("labels", [1, 2, ALL_LABELS])
def test_shortlist_equals_brute_force(scan: IrisScan, count: int, labels: int) -> None:
    records = gallery(1, 150)
    index = index_of(records, scan)
    rng = np.random.default_rng(2)
    probes = [random_template(rng), second_capture(records[next(iter(records))][1], rng, 5)]
    found = index.shortlist([COMPARATOR.prepare(p) for p in probes], count, labels)
    for probe, ids in zip(probes, found, strict=True):
        assert equal(ids, REFERENCE[scan](probe, records, count, labels))


def test_more_than_were_asked_for_pass_the_first_stage() -> None:
    """Ten captures of one eye: all of them are compared as a whole, and the best five returned."""
    rng = np.random.default_rng(12)
    eye = random_template(rng, 0.9)
    records = gallery(13, 80) | {2000 + k: (1, second_capture(eye, rng, k - 5, 0.1 + 0.02 * k)) for k in range(10)}
    found = index_of(records).shortlist([COMPARATOR.prepare(eye)], 5)[0]
    assert found.tolist() == exact(eye, records, 5)
    assert min(found) >= 2000


@pytest.mark.parametrize("scan", list(IrisScan))
@pytest.mark.parametrize("size", [63, 64, 65, 129])
def test_equal_scores_are_ordered_by_id_in_either_stage(scan: IrisScan, size: int) -> None:
    """Few different eyes, each on record many times, the ids in no order."""
    rng = np.random.default_rng(size)
    eyes = [random_template(rng, float(rng.uniform(0.5, 1.0))) for _ in range(9)]
    # The beginnings of all codes are alike, so that the first stage sees one eye only.
    first = spread_columns(PARAMETERS.search.columns)[: PARAMETERS.prefix_columns]
    for k in range(1, 9):
        (bits, mask), verification = tables(eyes[k])
        bits[first], mask[first] = tables(eyes[0])[0][0][first], tables(eyes[0])[0][1][first]
        eyes[k] = template((bits, mask), verification)
    records: Records = {int(i): (1, eyes[k % 9]) for k, i in enumerate(rng.permutation(1000)[:size])}
    index = index_of(records, scan)
    for probe in (random_template(rng), random_template(rng, 0.1)):
        for count in (1, 5, size - 1, size):
            (ids,) = index.shortlist([COMPARATOR.prepare(probe)], count)
            assert equal(ids, REFERENCE[scan](probe, records, count, ALL_LABELS))


def test_a_mate_whose_first_bits_are_hidden_is_found() -> None:
    rng = np.random.default_rng(16)
    eye = random_template(rng, 1.0)
    hidden = np.zeros((PARAMETERS.search.columns, PARAMETERS.search.column_bits), bool)
    hidden[spread_columns(PARAMETERS.search.columns)[: PARAMETERS.prefix_columns]] = True
    (bits, mask), verification = tables(eye)
    mate = template((bits, mask & ~hidden), verification)
    records: Records = {i: (1, second_capture(eye, rng, 0, 0.3)) for i in range(70)} | {500: (1, mate)}
    index = index_of(records)
    (ids,) = index.shortlist([COMPARATOR.prepare(mate)], 3)
    assert ids[0] == 500


def test_scores_of_both_stages_equal_the_slow_ones() -> None:
    records = gallery(3, 70)
    index = index_of(records)
    probe = random_template(np.random.default_rng(4), 0.5)
    prepared, rows = COMPARATOR.prepare(probe), np.arange(70)
    whole = [reference_search_score(probe, t) for _, t in records.values()]
    first = [reference_search_score(probe, t, PARAMETERS.prefix_columns) for _, t in records.values()]
    np.testing.assert_array_equal(index.compare_search_codes(prepared, rows), whole)
    selected = rows % 3 > 0
    selected[64:] = False  # all of the second block
    np.testing.assert_array_equal(index.compare_prefixes(prepared, selected), np.where(selected, first, -np.inf))
    assert 5 < np.isnan(whole).sum() < 65, "some masks must be too small, or the test shows nothing of them"


def test_compare_equals_the_comparator() -> None:
    records = gallery(3, 80)
    index = index_of(records)
    probe = COMPARATOR.prepare(random_template(np.random.default_rng(4), 0.5))
    ids = np.array([*records, -5, 10**12], np.int64)
    expected = [COMPARATOR.compare(probe, COMPARATOR.prepare(t)) for _, t in records.values()] + [math.nan] * 2
    np.testing.assert_array_equal(index.compare(probe, ids), expected)
    assert np.isnan(expected).sum() > 2, "some masks must be too small, or the test shows nothing of them"


@pytest.mark.parametrize("scan", list(IrisScan))
@pytest.mark.parametrize("labels", [1, 2])
def test_both_scans_find_every_mate_under_a_filter(scan: IrisScan, labels: int) -> None:
    rng = np.random.default_rng(5)
    records: Records = {i: (1 + i % 2, random_template(rng, 0.75)) for i in range(600)}
    index = index_of(records, scan)
    mates = [i for i in range(600) if records[i][0] == labels][::12]
    probes = [second_capture(records[i][1], rng, int(rng.integers(-8, 9)), 0.25) for i in mates]
    found = index.shortlist([COMPARATOR.prepare(p) for p in probes], 10, labels)
    for mate, ids in zip(mates, found, strict=True):
        assert ids[0] == mate
        assert len(ids) == len(set(ids.tolist())) == 10
        assert all(records[int(i)][0] & labels for i in ids)


def test_follows_removals_replacements_and_compaction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("matcher.slots.SlotTable.COMPACT_MINIMUM", 20)
    for scan in IrisScan:
        rng = np.random.default_rng(6)
        records = gallery(7, 90)
        index = index_of(records, scan)
        for step in range(12):
            removed = [int(i) for i in rng.choice(list(records), 6, replace=False)]
            kept = [i for i in records if i not in removed]
            added = {1000 + step: (1, random_template(rng)), kept[0]: (2, random_template(rng))}
            index.apply([*removed, 999_999], [(i, label, t) for i, (label, t) in added.items()])
            records = {i: records[i] for i in kept} | added
            assert len(index) == len(records)
            probe = second_capture(records[kept[0]][1], rng, -4)
            labels, count = [(1, 1000), (2, 3), (ALL_LABELS, 5)][step % 3]
            (ids,) = index.shortlist([COMPARATOR.prepare(probe)], count, labels)
            assert equal(ids, REFERENCE[scan](probe, records, count, labels))
            assert index.shortlist([COMPARATOR.prepare(probe)], 3)[0][0] == kept[0]
            wanted = np.array([kept[0], kept[-1], removed[0]])
            scores = index.compare(COMPARATOR.prepare(probe), wanted)
            assert scores[0] > 0.15
            assert math.isnan(scores[2])


@pytest.mark.parametrize("scan", list(IrisScan))
def test_empty_index_and_empty_request(scan: IrisScan) -> None:
    index = IrisIndex(scan=scan)
    probe = COMPARATOR.prepare(random_template(np.random.default_rng(8)))
    assert index.shortlist([probe, probe], 5)[1].tolist() == []
    assert np.isnan(index.compare(probe, np.array([1, 2], np.int64))).all()
    index = index_of(gallery(9, 5), scan)
    assert index.shortlist([probe], 0)[0].tolist() == []
    assert index.shortlist([], 5) == []
    assert index.shortlist([probe], 5, labels=1 << 40)[0].tolist() == []


def test_a_bad_addition_changes_nothing() -> None:
    records = gallery(10, 5)
    index = index_of(records)
    good = random_template(np.random.default_rng(11))
    bad = IrisTemplate("iris-other", 1, good.columns, good.search, good.verification)
    with pytest.raises(ModelMismatch):
        index.apply(list(records), [(1, 1, good), (2, 1, bad)])
    assert len(index) == 5


def test_what_no_search_would_find_is_not_taken_on_record() -> None:
    index = IrisIndex()
    eye = random_template(np.random.default_rng(17), 1.0)
    (bits, mask), verification = tables(eye)
    least = PARAMETERS.search.least_bits
    for shown in (least, least - 1):
        few = np.zeros(mask.size, bool)
        few[:shown] = True
        thin = template((bits, few.reshape(mask.shape)), verification)
        if shown == least:
            assert index.complete(thin) is thin
        else:
            with pytest.raises(TemplateInvalid, match="255 of 2048") as refused:
                index.complete(thin)
            assert refused.value.reason == "TEMPLATE_UNUSABLE"


def test_a_full_disk_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    records = gallery(14, 6)
    index = index_of(records)
    rng = np.random.default_rng(15)
    probe = COMPARATOR.prepare(random_template(rng))
    before = index.shortlist([probe], 10)[0].tolist()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("matcher.mapped.os.posix_fallocate", full)
    many = [(1000 + k, 1, random_template(rng)) for k in range(1100)]
    with pytest.raises(StorageFailure, match="free disk space"):
        index.apply(list(records), many)
    assert len(index) == 6
    assert index.shortlist([probe], 10)[0].tolist() == before


@pytest.mark.parametrize("bits", [0, PARAMETERS.search.least_bits - 1])
def test_a_template_that_no_shortlist_would_hold_is_refused(bits: int) -> None:
    """Its verification code compares well, so that a small gallery would find it and a large one would not."""
    whole = random_template(np.random.default_rng(3), 1.0)
    kept = np.packbits(np.arange(PARAMETERS.search.bits) < bits, bitorder="little").view(np.uint64)
    mask = whole.search.mask & kept
    hidden = dataclasses.replace(whole, search=IrisCode(whole.search.bits & mask, mask))
    assert COMPARATOR.compare(COMPARATOR.prepare(hidden), COMPARATOR.prepare(whole)) > 0
    index = IrisIndex()
    index.check(whole)
    for refuse in (index.check, index.complete):
        with pytest.raises(TemplateInvalid, match="no search would find it") as refused:
            refuse(hidden)
        assert refused.value.reason == "TEMPLATE_UNUSABLE"
