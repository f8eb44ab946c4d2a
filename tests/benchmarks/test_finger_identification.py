"""Identification by one finger and two, on synthetic fingers in the place of real ones."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from benchmarks import finger_identification as module
from benchmarks.finger_identification import (
    FingerGallery,
    Outcome,
    Search,
    interleave,
    measure,
    outcome,
    rates,
    rounds,
    search_one,
    search_two,
)
from benchmarks.finger_realism import Print
from enrollment.evaluation.bootstrap import BootstrapParameters
from enrollment.evaluation.progress import no_progress
from enrollment.synthesis.finger_templates import bulk_finger_templates, vary
from matcher.finger.cylinders import PreparedFinger

P = BootstrapParameters(resamples=20)
REAL, STRANGERS = 4, 30


@pytest.fixture(scope="module")
def gallery() -> FingerGallery:
    made = bulk_finger_templates(REAL + 2 * STRANGERS, 3)
    return FingerGallery(made[:REAL], [made[REAL : REAL + STRANGERS], made[REAL + STRANGERS :]])


def probe(gallery: FingerGallery, finger: int) -> PreparedFinger:
    prepared: PreparedFinger = gallery.index.comparator.prepare(vary(bulk_finger_templates(REAL, 3)[finger], 9))
    return prepared


@pytest.mark.parametrize("hand", [0, 1])
def test_a_hand_is_the_real_fingers_and_its_own_strangers(gallery: FingerGallery, hand: int) -> None:
    found = gallery.shortlist(probe(gallery, 2), hand, 1000)
    assert sorted(found.tolist()) == list(range(REAL + STRANGERS))
    assert found[0] == 2
    rows = gallery.rows(hand, np.arange(gallery.size))
    assert rows.tolist() == [*range(REAL), *range(REAL + hand * STRANGERS, REAL + (hand + 1) * STRANGERS)]
    assert gallery.columns(hand, rows).tolist() == list(range(gallery.size))
    scores = gallery.compare(probe(gallery, 2), hand, found)
    assert np.argmax(scores) == 0


def test_without_a_probe_there_is_no_evidence(gallery: FingerGallery) -> None:
    assert not gallery.compare(None, 1, np.arange(3)).any()


def test_the_shortlists_of_two_fingers_take_turns() -> None:
    assert interleave(np.array([5, 1, 2]), np.array([7, 5, 3, 4])).tolist() == [5, 7, 1, 2, 3, 4]
    assert interleave(np.array([5, 1]), np.zeros(0, np.int64)).tolist() == [5, 1]


def test_an_outcome_with_the_mate_in_the_shortlist_beside_it_and_outside() -> None:
    found, scores = np.array([7, 3, 5, 8]), np.array([1.0, 4.0, 6.0, 9.0])
    # The fourth makes up for the mate in the search without it.
    assert outcome(found, scores, 3, 3) == Outcome(4.0, 2.0, 6.0, 9.0)
    assert outcome(found, scores, 8, 3) == Outcome(-math.inf, math.inf, 6.0, 6.0)
    assert outcome(found, scores, 99, 3) == Outcome(-math.inf, math.inf, 6.0, 6.0)
    assert outcome(found, np.array([4.0, 4.0, 1.0, 0.0]), 3, 3).rank == 2.0


@pytest.mark.parametrize("count", [2, 10, 16])
def test_in_rounds_everybody_meets_everybody_once(count: int) -> None:
    made = rounds(range(count))
    assert len(made) == count - 1
    assert all(sorted(itertools.chain(*pairs)) == list(range(count)) for pairs in made)
    met = [frozenset(pair) for pairs in made for pair in pairs]
    assert len(met) == len(set(met)) == math.comb(count, 2)


def test_one_finger_is_found_exactly_where_the_whole_gallery_is_compared(gallery: FingerGallery) -> None:
    prepared = probe(gallery, 1)
    search = search_one(gallery, prepared, gallery.shortlist(prepared, 0, 1000), "a", 17, 1, 0)
    everybody = gallery.compare(prepared, 0, np.arange(gallery.size))
    assert search.fingers == (17, 17)
    assert search.hits == (True, True, True)
    assert search.ends[-1].score == everybody[1]
    assert search.ends[-1].rank == 1.0
    assert search.ends[-1].open == np.delete(everybody, 1).max()


def test_two_fingers_add_up(gallery: FingerGallery) -> None:
    people = [(0, 1), (2, 3)]
    right, left = probe(gallery, 2), probe(gallery, 3)
    orders = gallery.shortlist(right, 0, 1000), gallery.shortlist(left, 1, 1000)
    search = search_two(gallery, people, 1, (right, left), orders, "a", (2, 3))
    strangers = np.arange(REAL, gallery.size)
    scores = gallery.compare(right, 0, np.array([0, 2, *strangers]))
    scores += gallery.compare(left, 1, np.array([1, 3, *strangers]))
    assert search.hits == (True, True, True)
    assert search.ends[-1] == Outcome(scores[1], 1.0, np.delete(scores, 1).max(), np.delete(scores, 1).max())
    alone = search_two(gallery, people, 1, (right, None), (orders[0], orders[1][:0]), "a", (2, 3))
    assert alone.ends[-1].score == gallery.compare(right, 0, np.array([2]))[0]


def test_rates_count_failures_as_misses_and_not_as_non_mated_searches() -> None:
    found = [Search("a", (k, k), (True, True, True), [Outcome(9.0, 1.0, 2.0, 2.0)]) for k in range(39)]
    one = rates([*found, Search.without_template("a", 39, 1)], P)
    assert one["shortlist"]["0.01"]["missed"] == 1
    assert one["shortlist"]["0.01"]["rate"] == pytest.approx(39 / 40)
    assert (one["searches"], one["fingers"], one["failed"]) == (40, 40, 1)
    (end,) = one["end_to_end"]
    assert end["rank1"]["missed"] == 1
    assert end["open"]["non_mated"] == 39
    assert end["open"]["missed_at_fpir"] == {"0.1": 1, "0.01": None}


def test_the_whole_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("fvc2002_DB1_B", "fvc2002_DB4_B")
    templates = bulk_finger_templates(9, 30)
    prints = [
        Print(
            names[finger // 4],
            f"{names[finger // 4]}_{finger}",
            finger,
            impression,
            vary(templates[finger], impression),
        )
        for finger in range(8)
        for impression in range(3)
    ]
    # An image that was refused, and one finger under two labels.
    prints[2] = Print(prints[2].dataset, prints[2].name, 0, 2, None)
    prints += [
        Print("upek", f"upek_{8 + k}", 8 + k, i, vary(templates[(1, 8)[k]], 5 + i)) for k in (0, 1) for i in (0, 1)
    ]
    monkeypatch.setattr(module, "ROUNDS", 3)
    found = measure(prints, 60, P, no_progress)
    assert found["gallery_fingers"] == 60
    assert found["synthetic"] == 50
    assert found["gallery_people"] == 55
    assert found["same_finger"] == [("fvc2002_DB1_B_1", "upek_8")]
    vectors = found["vectors"]
    assert {name: one["searches"] for name, one in vectors.items()} == {
        "one_finger": 2 * 8 * 2,
        "two_fingers": 2 * (6 * 2),
    }
    # Less than a finger of sixty is none at all; the image that was refused is never found.
    assert vectors["one_finger"]["missed"]["0.1"] >= 2
    assert vectors["two_fingers"]["missed"]["0.1"] == 0
    assert found["one_finger"]["all"]["searches"] == 2 * 8 * 2
    assert found["one_finger"]["real"]["failed"] == 2
    assert found["one_finger"]["SFinGe"]["end_to_end"][-1]["rank1"]["rate"] == 1.0
    assert found["two_fingers"]["all"]["searches"] == 2 * (2 * 3 * 2)
    assert found["two_fingers"]["all"]["failed"] == 0
    assert found["two_fingers"]["SFinGe"]["end_to_end"][-1]["rank1"]["rate"] == 1.0
