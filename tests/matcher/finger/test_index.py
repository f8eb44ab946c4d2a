"""The finger index against brute force over a plain dictionary."""

from __future__ import annotations

import numpy as np
import pytest

from matcher.errors import ModelMismatch
from matcher.finger.comparison import FingerComparator
from matcher.finger.index import FingerIndex, ShortlistParameters
from matcher.modality import ALL_LABELS, Comparator, ReferenceIndex
from matcher.slots import SlotTable
from matcher.templates import FingerTemplate
from tests.matcher.finger.prints import random_finger, second_impression

COMPARATOR = FingerComparator()


def slow_votes(probe: FingerTemplate, gallery: dict[int, FingerTemplate], nearest: int) -> dict[int, float]:
    """Votes by sorting the distances to every cylinder there is. Ties at rank ``nearest`` must not occur."""
    p = COMPARATOR.prepare(probe)
    entries = []
    for reference, template in gallery.items():
        f = COMPARATOR.prepare(template)
        entries += [(reference, f.bits[j], int(f.angle[j])) for j in range(len(f))]
    votes = dict.fromkeys(gallery, 0.0)
    for i in range(len(p)):
        distances = [int(np.bitwise_count(p.bits[i] ^ bits).sum()) for _, bits, _ in entries]
        best: dict[int, float] = {}
        for at in np.argsort(distances, kind="stable")[:nearest]:
            reference, bits, angle = entries[at]
            turn = abs((int(p.angle[i]) - angle + 32768) % 65536 - 32768)
            both = float(np.sqrt(np.bitwise_count(p.bits[i]).sum()) + np.sqrt(np.bitwise_count(bits).sum()))
            if turn <= 16384 and both > 0:
                best[reference] = max(best.get(reference, 0.0), 1 - np.sqrt(distances[at]) / both - 0.3)
        for reference, value in best.items():
            votes[reference] += value
    return votes


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


def test_votes_are_those_of_brute_force() -> None:
    index, content = filled(30)
    rng = np.random.default_rng(1)
    gallery = {reference: template for reference, (_, template) in content.items()}
    rows = sum(len(t) for t in gallery.values())
    # All rows vote, so that no tie at the edge of the neighbours can matter.
    index.parameters = ShortlistParameters(neighbours=rows)
    probe = second_impression(rng, gallery[1007])
    (found,) = index.shortlist([COMPARATOR.prepare(probe)], 10)
    votes = slow_votes(probe, gallery, rows)
    assert found.tolist() == sorted(votes, key=lambda r: -votes[r])[:10]
    assert found[0] == 1007


def test_few_neighbours_still_find_the_mate_and_fill_the_list() -> None:
    index, content = filled(200, seed=2)
    index.parameters = ShortlistParameters(neighbours=20, neighbours_per_candidate=1.0)
    rng = np.random.default_rng(3)
    mates = list(content)[::20]
    probes = [COMPARATOR.prepare(second_impression(rng, content[m][1])) for m in mates]
    lists = index.shortlist(probes, 25)
    assert [s[0] for s in lists] == mates
    assert all(len(s) == len(set(s.tolist())) == 25 for s in lists)
    for probe, together in zip(probes, lists, strict=True):
        assert index.shortlist([probe], 25)[0].tolist() == together.tolist()


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
