"""IrisIndex against brute force by the comparator, with label filters, removals, replacements and compaction."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from matcher.errors import ModelMismatch
from matcher.iris.comparison import IrisComparator
from matcher.iris.index import IrisIndex, IrisScan
from matcher.modality import ALL_LABELS
from matcher.templates import IrisTemplate
from tests.matcher.iris.codes import random_template, second_capture

Records = dict[int, tuple[int, IrisTemplate]]
COMPARATOR = IrisComparator()


def brute_force(probe: IrisTemplate, records: Records, count: int, labels: int = ALL_LABELS) -> list[int]:
    prepared = COMPARATOR.prepare(probe)
    ranked = []
    for reference, (label, template) in records.items():
        if label & labels:
            score = COMPARATOR.compare(prepared, COMPARATOR.prepare(template))
            ranked.append((math.inf if math.isnan(score) else -score, reference))
    return [reference for _, reference in sorted(ranked)[:count]]


def gallery(seed: int, size: int) -> Records:
    """Ids in no order, labels 1, 2 or both, masks from nearly nothing to everything."""
    rng = np.random.default_rng(seed)
    ids = rng.permutation(10 * size)[:size]
    return {int(i): (int(rng.integers(1, 4)), random_template(rng, float(rng.uniform(0.3, 1.0)))) for i in ids}


def index_of(records: Records, scan: IrisScan = IrisScan.EXACT) -> IrisIndex:
    index = IrisIndex(scan=scan)
    index.apply([], [(i, label, template) for i, (label, template) in records.items()])
    return index


def equal(a: NDArray[np.int64], b: list[int]) -> bool:
    return a.dtype == np.int64 and a.tolist() == b


@pytest.mark.parametrize("count", [1, 7, 150, 1000])
@pytest.mark.parametrize("labels", [1, 2, ALL_LABELS])
def test_exact_shortlist_equals_brute_force(count: int, labels: int) -> None:
    records = gallery(1, 150)
    index = index_of(records)
    rng = np.random.default_rng(2)
    probes = [random_template(rng), second_capture(records[next(iter(records))][1], rng, 5)]
    found = index.shortlist([COMPARATOR.prepare(p) for p in probes], count, labels)
    for probe, ids in zip(probes, found, strict=True):
        assert equal(ids, brute_force(probe, records, count, labels))


def test_compare_equals_the_comparator() -> None:
    records = gallery(3, 80)
    index = index_of(records)
    probe = COMPARATOR.prepare(random_template(np.random.default_rng(4), 0.6))
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
    for probe, mate, ids in zip(probes, mates, found, strict=True):
        assert ids[0] == mate
        assert len(ids) == len(set(ids.tolist())) == 10
        assert all(records[int(i)][0] & labels for i in ids)
        if scan is IrisScan.EXACT:
            assert equal(ids, brute_force(probe, records, 10, labels))


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
            probe = random_template(rng)
            for labels in (1, 2, ALL_LABELS):
                (ids,) = index.shortlist([COMPARATOR.prepare(probe)], 1000, labels)
                assert equal(ids, brute_force(probe, records, 1000, labels))
            probe = second_capture(records[kept[0]][1], rng, -4)
            (ids,) = index.shortlist([COMPARATOR.prepare(probe)], 3)
            assert ids[0] == kept[0]


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
    bad = IrisTemplate("iris-other", 1, good.columns, good.bits, good.mask)
    with pytest.raises(ModelMismatch):
        index.apply(list(records), [(1, 1, good), (2, 1, bad)])
    assert len(index) == 5
