"""A gallery against a plain dictionary of templates."""

from __future__ import annotations

import errno
import os
import threading

import numpy as np
import pytest

from enrollment.synthesis.finger_templates import bulk_finger_templates
from matcher.changes import SubjectDeleted
from matcher.errors import ModelMismatch, StorageFailure, TemplateInvalid
from matcher.gallery import Gallery, Probe, ShortlistParameters
from matcher.positions import Position
from matcher.templates import FingerTemplate
from tests.matcher.people import enrolled, face, face_probe, iris


def gallery_of(count: int, **options: int) -> Gallery:
    gallery = Gallery(ShortlistParameters(**options)) if options else Gallery()
    gallery.apply([enrolled(i + 1, f"p{i}", [(i, Position.FACE, face(i))]) for i in range(count)])
    return gallery


def best(gallery: Gallery, probe: Probe, galleries: tuple[str, ...] = ()) -> str:
    found = gallery.search([probe], galleries)
    return max(found, key=lambda s: max((c.raw for c in s.comparisons), default=-9.0)).subject_id


def test_search_scores_equal_plain_comparison() -> None:
    gallery = gallery_of(50)
    probe = face_probe(7)
    found = {s.subject_id: s.comparisons[0].raw for s in gallery.search([probe])}
    assert isinstance(probe.template, type(face(0)))
    for i in range(50):
        expected = float(probe.template.embedding.astype(np.float64) @ face(i).embedding.astype(np.float64))
        assert found[f"p{i}"] == pytest.approx(expected, abs=1e-5)
    assert max(found, key=lambda s: found[s]) == "p7"


def test_shortlist_is_capped_but_keeps_the_best() -> None:
    gallery = gallery_of(300, minimum=5)
    found = gallery.search([face_probe(123)])
    assert len(found) == 5
    assert best(gallery, face_probe(123)) == "p123"


def test_candidate_of_one_modality_gets_scores_of_all() -> None:
    gallery = Gallery(ShortlistParameters(minimum=1, fraction=1e-9))
    # p0's face resembles the probe, p1's eye does; each must come back with both comparisons.
    gallery.apply(
        [
            enrolled(1, "p0", [(1, Position.FACE, face(0)), (2, Position.IRIS_LEFT, iris(0))]),
            enrolled(2, "p1", [(3, Position.FACE, face(1)), (4, Position.IRIS_LEFT, iris(1))]),
            enrolled(3, "p2", [(5, Position.FACE, face(2)), (6, Position.IRIS_LEFT, iris(2))]),
        ]
    )
    found = gallery.search([face_probe(0), Probe(Position.IRIS_LEFT, iris(1, 5))])
    assert {s.subject_id: len(s.comparisons) for s in found} == {"p0": 2, "p1": 2}


def test_applying_again_changes_nothing() -> None:
    gallery = gallery_of(3)
    change = enrolled(9, "p9", [(9, Position.FACE, face(9))])
    gallery.apply([change])
    gallery.apply([change, change])
    assert gallery.subjects() == 4
    assert sum(gallery.references().values()) == 4
    assert len(gallery.search([face_probe(9)])) == 4
    gallery.apply([SubjectDeleted(10, "p9")])
    gallery.apply([SubjectDeleted(10, "p9")])
    assert gallery.subjects() == 3
    assert "p9" not in {s.subject_id for s in gallery.search([face_probe(9)])}


def test_enrol_and_delete_in_one_group() -> None:
    gallery = gallery_of(1)
    gallery.apply([enrolled(2, "x", [(5, Position.FACE, face(5))]), SubjectDeleted(3, "x")])
    assert gallery.subjects() == 1
    gallery.apply([SubjectDeleted(4, "p0"), enrolled(5, "p0", [(6, Position.FACE, face(60))])])
    assert best(gallery, face_probe(60)) == "p0"
    assert sum(gallery.references().values()) == 1


def test_gallery_filter_applies_to_candidates_and_evidence() -> None:
    gallery = Gallery()
    gallery.apply(
        [
            enrolled(1, "a", [(1, Position.FACE, face(1))], ("red",)),
            enrolled(2, "b", [(2, Position.FACE, face(2))], ("blue",)),
            enrolled(3, "a", [(3, Position.IRIS_LEFT, iris(1))], ("blue",), encounter="2"),
        ]
    )
    assert gallery.subjects() == 2
    assert gallery.subjects(["red"]) == 1
    assert gallery.subjects(["blue"]) == 2
    assert gallery.subjects(["green"]) == 0
    assert {s.subject_id for s in gallery.search([face_probe(1)], ["red"])} == {"a"}
    assert {s.subject_id for s in gallery.search([face_probe(1)], ["blue"])} == {"b"}
    assert gallery.search([face_probe(1)], ["green"]) == []
    both = gallery.search([face_probe(1), Probe(Position.IRIS_LEFT, iris(1, 2))], ["blue"])
    evidence = {s.subject_id: [c.reference_position for c in s.comparisons] for s in both}
    assert evidence == {"a": [Position.IRIS_LEFT], "b": [Position.FACE]}
    assert gallery.galleries() == {"red": (1, 1), "blue": (2, 2)}


def test_several_captures_of_one_position_are_one_piece_of_evidence() -> None:
    gallery = Gallery()
    gallery.apply([enrolled(1, "a", [(1, Position.FACE, face(1)), (2, Position.FACE, face(1, 3))])])
    found = gallery.search([face_probe(1, 4), face_probe(1, 5)])[0]
    assert len(found.comparisons) == 1
    assert found.comparisons[0].comparisons == 4


def test_unknown_positions_are_paired_one_to_one() -> None:
    gallery = Gallery()
    left, right = iris(1), iris(2)
    gallery.apply([enrolled(1, "a", [(1, Position.IRIS_LEFT, left), (2, Position.IRIS_RIGHT, right)])])
    probes = [Probe(Position.IRIS_UNKNOWN, iris(2, 7)), Probe(Position.IRIS_UNKNOWN, iris(2, 8))]
    comparisons = gallery.search(probes)[0].comparisons
    assert sorted(c.reference_position for c in comparisons) == [Position.IRIS_RIGHT, Position.IRIS_LEFT]
    # Each is the best of its own two and of the other probe's with the same eye.
    assert {c.comparisons for c in comparisons} == {3}
    known = gallery.search([Probe(Position.IRIS_LEFT, iris(1, 7))])[0].comparisons
    assert [c.reference_position for c in known] == [Position.IRIS_LEFT]


def test_unknown_against_unknown_is_one_piece_of_evidence() -> None:
    # Two captures of one eye, of unknown position, must not count twice against two encounters of that eye.
    gallery = Gallery()
    gallery.apply(
        [
            enrolled(1, "a", [(1, Position.IRIS_UNKNOWN, iris(1))]),
            enrolled(2, "a", [(2, Position.IRIS_UNKNOWN, iris(1, 2))], encounter="2"),
        ]
    )
    probes = [Probe(Position.IRIS_UNKNOWN, iris(1, 7)), Probe(Position.IRIS_UNKNOWN, iris(1, 8))]
    (only,) = gallery.search(probes)[0].comparisons
    assert only.comparisons == 4
    face_too = gallery.search([*probes, Probe(Position.IRIS_LEFT, iris(1, 9))])[0].comparisons
    assert [c.comparisons for c in face_too] == [6]


def test_one_reference_tried_by_many_probes_costs_their_number() -> None:
    gallery = Gallery()
    gallery.apply([enrolled(1, "a", [(1, Position.IRIS_UNKNOWN, iris(1))])])
    probes = [Probe(Position.IRIS_LEFT, iris(5)), Probe(Position.IRIS_RIGHT, iris(1, 6))]
    (only,) = gallery.search(probes)[0].comparisons
    assert (only.probe_position, only.comparisons) == (Position.IRIS_RIGHT, 2)


def test_other_algorithms_are_refused_not_ignored() -> None:
    gallery = gallery_of(2)
    with pytest.raises(ModelMismatch, match="face-test-1"):
        gallery.search([Probe(Position.FACE, face(1, algorithm="face-other-1"))])
    gallery.apply([enrolled(9, "new", [(9, Position.FACE, face(9, algorithm="face-other-1"))])])
    for algorithm in ("face-test-1", "face-other-1"):  # either would miss the people of the other without a word
        with pytest.raises(ModelMismatch):
            gallery.search([Probe(Position.FACE, face(1, algorithm=algorithm))])
    gallery.apply([SubjectDeleted(10, "new")])
    assert best(gallery, face_probe(1)) == "p1"
    # A modality that nobody has enrolled is no error: there is nothing to compare with.
    assert gallery.search([Probe(Position.IRIS_LEFT, iris(1))]) == []


def test_searches_while_changes_are_applied() -> None:
    gallery = gallery_of(200)
    stop = threading.Event()
    failures: list[BaseException] = []

    def search() -> None:
        try:
            while not stop.is_set():
                assert best(gallery, face_probe(42)) == "p42"
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    for i in range(1000, 1300):
        gallery.apply([enrolled(i, f"p{i}", [(i, Position.FACE, face(i))])])
        if i % 3 == 0:
            gallery.apply([SubjectDeleted(i, f"p{i}")])
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert gallery.subjects() == 400


def test_a_known_position_is_searched_among_its_own_and_unknown_ones() -> None:
    """Other eyes take no place in the shortlist, however alike they are."""
    gallery = Gallery(ShortlistParameters(minimum=1, fraction=1e-9))
    gallery.apply(
        [
            *(enrolled(i, f"left{i}", [(i, Position.IRIS_LEFT, iris(7, i))]) for i in range(1, 6)),
            *(enrolled(i, f"right{i}", [(i, Position.IRIS_RIGHT, iris(i))]) for i in range(6, 10)),
            *(enrolled(i, f"unknown{i}", [(i, Position.IRIS_UNKNOWN, iris(i))]) for i in range(10, 14)),
        ]
    )
    known = {s.subject_id for s in gallery.search([Probe(Position.IRIS_RIGHT, iris(7, 99))])}
    assert {name.rstrip("0123456789") for name in known} == {"right", "unknown"}
    assert "right7" in known
    anywhere = {s.subject_id.rstrip("0123456789") for s in gallery.search([Probe(Position.IRIS_UNKNOWN, iris(7, 99))])}
    assert anywhere == {"left", "right", "unknown"}
    assert gallery.references() == {(iris(1).modality, iris(1).algorithm): 13}


def test_probes_of_a_modality_share_its_shortlist() -> None:
    p = ShortlistParameters(minimum=1000, fraction=0.01)
    assert p.count(1000, 10, 11) == 1000  # nothing is left out of a small index, whoever shares it
    assert p.count(1001) == 1000
    assert p.count(100_001) == 1001
    assert p.count(100_001, probes=2) == 501
    assert p.count(10_000, probes=2) == 500
    assert p.count(10_000, probes=1, indexes=10) == 100
    assert p.count(1_000_000, probes=10, indexes=2) == 1000


def test_a_template_is_completed_by_its_index() -> None:
    gallery = gallery_of(1)
    assert gallery.check(face(3)) == face(3)
    (print_,) = bulk_finger_templates(1, 3)
    stored = gallery.check(print_)
    assert isinstance(stored, FingerTemplate)
    assert len(stored.vector) > 0
    assert len(print_.vector) == 0


def test_room_is_made_before_references_come(monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = Gallery()
    gallery.apply([enrolled(1, "a", [(1, Position.IRIS_LEFT, iris(1))])])
    gallery.reserve([(Position.IRIS_LEFT, iris(2)), (Position.IRIS_RIGHT, iris(3)), (Position.FACE, face(1))])
    assert gallery.references() == {(iris(1).modality, iris(1).algorithm): 1}

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StorageFailure, match="free disk space"):
        gallery.reserve([(Position.IRIS_LEFT, iris(2))] * 5000)
    assert best(gallery, Probe(Position.IRIS_LEFT, iris(1, 5))) == "a"


def test_a_probe_that_is_like_nothing_is_refused_and_not_answered_with_nobody() -> None:
    gallery = Gallery()
    (print_,) = bulk_finger_templates(1, 3)
    gallery.apply([enrolled(1, "a", [(1, Position.RIGHT_INDEX, print_)])])
    none = np.zeros(0, np.int16)
    empty = FingerTemplate(
        print_.algorithm, 1, 300, 400, none, none.copy(), none.astype(np.uint16), none.astype(np.uint8)
    )
    probe = Probe(Position.RIGHT_INDEX, empty)
    with pytest.raises(TemplateInvalid, match="capture again"):
        gallery.search([probe])
    with pytest.raises(TemplateInvalid, match="capture again"):
        gallery.compare([probe], "a")
