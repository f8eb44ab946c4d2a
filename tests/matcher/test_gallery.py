"""A gallery against a plain dictionary of templates."""

from __future__ import annotations

import errno
import os
import threading
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from enrollment.synthesis.finger_templates import bulk_finger_templates
from matcher.changes import EncounterEnrolled, OwnedReference, Reference, SubjectDeleted
from matcher.errors import AmbisError, ModelMismatch, StorageFailure, TemplateInvalid
from matcher.face.index import FaceIndex
from matcher.filters import SearchFilter, Sex
from matcher.found_subjects import Probe
from matcher.gallery import Gallery
from matcher.gallery_view import GallerySearch, ShortlistParameters
from matcher.iris.index import IrisIndex
from matcher.mapped import MappedArray
from matcher.part import CompactionParameters
from matcher.positions import Modality, Position
from matcher.templates import FingerTemplate
from tests.matcher.people import enrolled, face, face_probe, iris


def among(*names: str) -> SearchFilter:
    return SearchFilter(galleries=names)


def gallery_of(count: int, **options: int) -> Gallery:
    gallery = Gallery(ShortlistParameters(**options)) if options else Gallery()
    gallery.apply([enrolled(i + 1, f"p{i}", [(i, Position.FACE, face(i))]) for i in range(count)])
    return gallery


def best(gallery: Gallery, probe: Probe) -> str:
    found = gallery.search([probe])
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
    gallery = Gallery(ShortlistParameters(minimum=1))
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
    assert gallery.subjects(among("red")) == 1
    assert gallery.subjects(among("blue")) == 2
    assert gallery.subjects(among("green")) == 0
    assert {s.subject_id for s in gallery.search([face_probe(1)], among("red"))} == {"a"}
    assert {s.subject_id for s in gallery.search([face_probe(1)], among("blue"))} == {"b"}
    assert list(gallery.search([face_probe(1)], among("green"))) == []
    both = gallery.search([face_probe(1), Probe(Position.IRIS_LEFT, iris(1, 2))], among("blue"))
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
    assert list(gallery.search([Probe(Position.IRIS_LEFT, iris(1))])) == []


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
    gallery = Gallery(ShortlistParameters(minimum=1))
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
    p = ShortlistParameters(minimum=1000)
    assert p.count(1000, 10, 11) == 1000  # nothing is left out of a small part, whoever shares it
    assert p.count(1001) == 1000
    assert p.count(10_000, probes=2) == 500
    assert p.count(10_000, probes=1, parts=10) == 100
    assert p.count(2_000_000, probes=10, parts=2) == 50
    assert p.count(2_000_000, probes=32, parts=100) == 1


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
    # Nor does the disk fill up between the room for the first reference of a position and that reference.
    gallery.apply([enrolled(2, "b", [(2, Position.IRIS_RIGHT, iris(3))])])
    assert best(gallery, Probe(Position.IRIS_RIGHT, iris(3, 5))) == "b"
    with pytest.raises(StorageFailure, match="free disk space"):
        gallery.reserve([(Position.RIGHT_INDEX, bulk_finger_templates(1, 3)[0])])
    assert sum(gallery.references().values()) == 2


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


def test_filters_apply_within_the_scan() -> None:
    """However alike those are who do not pass, whoever passes is found; what is not known passes."""
    gallery = Gallery(ShortlistParameters(minimum=3))
    # The likest of all are men of 1950; then come others.
    people = [(f"man{i}", Sex.MALE, 1950, "arrest") for i in range(20)]
    people += [
        ("woman", Sex.FEMALE, 1950, "arrest"),
        ("young", Sex.MALE, 1999, "border"),
        ("anybody", Sex.UNKNOWN, 0, ""),
    ]
    gallery.apply(
        [
            EncounterEnrolled(n + 1, name, "1", ("g",), (Reference(n, Position.FACE, face(5, n + 1)),), sex, born, kind)
            for n, (name, sex, born, kind) in enumerate(people)
        ]
    )

    def found(**which: Any) -> set[str]:
        chosen = gallery.search([face_probe(5, 99)], SearchFilter(**which))
        assert gallery.subjects(SearchFilter(**which)) >= len(chosen)
        return {s.subject_id.rstrip("0123456789") for s in chosen}

    assert found(sexes=(Sex.FEMALE,)) == {"woman", "anybody"}
    assert found(born=(1990, 2000)) == {"young", "anybody"}
    assert found(born=(1999, 1999), sexes=(Sex.FEMALE,)) == {"anybody"}
    assert found(encounter_types=("border",)) == {"young"}
    assert found(encounter_types=("border", "")) == {"young", "anybody"}
    assert found(encounter_types=("nothing",)) == set()
    assert found(galleries=("g",), sexes=(Sex.FEMALE, Sex.OTHER)) == {"woman", "anybody"}
    assert found(galleries=("h",)) == set()
    gallery.apply([SubjectDeleted(99, "anybody")])
    assert found(sexes=(Sex.FEMALE,)) == {"woman"}
    assert gallery.subjects(SearchFilter(sexes=(Sex.FEMALE,))) == 1


def test_searches_together_answer_as_one_by_one() -> None:
    gallery = Gallery(ShortlistParameters(minimum=10))
    gallery.apply(
        [
            enrolled(
                i, f"p{i}", [(2 * i, Position.FACE, face(i)), (2 * i + 1, Position.IRIS_LEFT, iris(i))], (f"g{i % 2}",)
            )
            for i in range(1, 60)
        ]
    )
    none = np.zeros(0, np.int16)
    strange = FingerTemplate("finger-other-1", 1, 300, 400, none, none, none.astype(np.uint16), none.astype(np.uint8))
    searches = [
        GallerySearch((face_probe(3),)),
        GallerySearch((face_probe(4), Probe(Position.IRIS_UNKNOWN, iris(4, 1))), among("g0")),
        GallerySearch((Probe(Position.FACE, face(1, algorithm="face-other-1")),)),
        GallerySearch((face_probe(5), face_probe(6)), among("g1")),
        GallerySearch((Probe(Position.RIGHT_THUMB, strange),)),
    ]
    together = gallery.view().search(searches)
    for search, found in zip(searches, together, strict=True):
        if isinstance(found, AmbisError):
            with pytest.raises(type(found)):
                gallery.search(search.probes, search.filter)
        else:
            assert list(found) == list(gallery.search(search.probes, search.filter))
    assert isinstance(together[2], ModelMismatch)
    assert gallery.view().search([]) == []


def test_a_view_shows_one_moment() -> None:
    gallery = gallery_of(5)
    view = gallery.view()
    gallery.apply([enrolled(9, "new", [(9, Position.FACE, face(9))]), SubjectDeleted(10, "p1")])
    gallery.apply([enrolled(11, "p2", [(11, Position.FACE, face(12))], encounter="2")])
    (before,) = view.search([GallerySearch((face_probe(1),))])
    assert not isinstance(before, AmbisError)
    assert {s.subject_id for s in before} == {f"p{i}" for i in range(5)}
    assert {c.comparisons for s in before for c in s.comparisons} == {1}
    assert view.roster.subjects() == 5
    after = gallery.search([face_probe(1)])
    assert {s.subject_id for s in after} == {"p0", "p2", "p3", "p4", "new"}
    assert {s.subject_id: s.comparisons[0].comparisons for s in after}["p2"] == 2


def test_compaction_drops_what_was_deleted_and_nothing_else() -> None:
    gallery = Gallery(compaction=CompactionParameters(least=10**9))
    eyes = {i: (100 + i, Position.IRIS_LEFT, iris(i)) for i in range(40)}
    gallery.apply([enrolled(i + 1, f"p{i}", [(i, Position.FACE, face(i)), eyes[i]]) for i in range(40)])
    gallery.apply([enrolled(50, "p3", [(203, Position.FACE, face(3, 2))], encounter="2")])
    gallery.apply([SubjectDeleted(60 + i, f"p{i}") for i in range(0, 40, 2)])
    probes = [face_probe(3), Probe(Position.IRIS_LEFT, iris(7, 1))]
    before = {s.subject_id: s for s in gallery.search(probes)}
    ram = sum(use.ram for use in gallery.memory())
    gallery.compact()
    assert {s.subject_id: s for s in gallery.search(probes)} == before
    assert gallery.references() == {
        (iris(1).modality, iris(1).algorithm): 20,
        (face(1).modality, face(1).algorithm): 21,
    }
    assert sum(use.ram for use in gallery.memory()) < ram
    gallery.apply([enrolled(90, "p77", [(500, Position.FACE, face(77))]), SubjectDeleted(91, "p3")])
    assert best(gallery, face_probe(77)) == "p77"
    assert "p3" not in {s.subject_id for s in gallery.search(probes)}


def test_changes_during_a_compaction_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = Gallery(compaction=CompactionParameters(least=10**9))
    gallery.apply([enrolled(i + 1, f"p{i}", [(i, Position.FACE, face(i))]) for i in range(30)])
    gallery.apply([SubjectDeleted(40, "p1")])
    copy = FaceIndex.copy

    def slow(index: FaceIndex, rows: NDArray[np.int64]) -> FaceIndex:
        made = copy(index, rows)
        gallery.apply([enrolled(50, "late", [(50, Position.FACE, face(50))]), SubjectDeleted(51, "p2")])
        assert best(gallery, face_probe(50)) == "late"
        return made

    monkeypatch.setattr(FaceIndex, "copy", slow)
    gallery.compact()
    people = {s.subject_id for s in gallery.search([face_probe(50)])}
    assert people == {"p0", "late", *(f"p{i}" for i in range(3, 30))}
    assert best(gallery, face_probe(50)) == "late"
    assert best(gallery, face_probe(17)) == "p17"
    assert gallery.references() == {(face(1).modality, face(1).algorithm): 29}


def test_two_compactions_at_once_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = Gallery(compaction=CompactionParameters(least=10**9))
    gallery.apply([enrolled(i + 1, f"p{i}", [(i, Position.FACE, face(i))]) for i in range(30)])
    gallery.apply([SubjectDeleted(40, "p1")])
    copy, other, calls = FaceIndex.copy, threading.Thread(target=gallery.compact), iter(range(9))
    begun, ended = threading.Event(), threading.Event()

    def slow(index: FaceIndex, rows: NDArray[np.int64]) -> FaceIndex:
        made = copy(index, rows)
        if next(calls) == 0:
            gallery.apply([enrolled(50, "late", [(50, Position.FACE, face(50))])])
            other.start()
            begun.wait(0.3)
        else:
            begun.set()
            assert ended.wait(30)
        return made

    monkeypatch.setattr(FaceIndex, "copy", slow)
    gallery.compact()
    ended.set()
    other.join()
    assert best(gallery, face_probe(50)) == "late"
    assert len(gallery.search([face_probe(50)])) == 30


def test_room_that_was_made_is_there_after_a_compaction(monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = gallery_of(9)
    copy, reserve = FaceIndex.copy, FaceIndex.reserve
    reserved: list[tuple[FaceIndex, int]] = []

    def slow(index: FaceIndex, rows: NDArray[np.int64]) -> FaceIndex:
        made = copy(index, rows)
        gallery.reserve([(Position.FACE, face(7)), (Position.FACE, face(8))])
        return made

    def noted(index: FaceIndex, references: int) -> None:
        reserved.append((index, references))
        reserve(index, references)

    monkeypatch.setattr(FaceIndex, "copy", slow)
    monkeypatch.setattr(FaceIndex, "reserve", noted)
    gallery.compact()
    assert [references for _, references in reserved] == [2, 2]
    assert reserved[0][0] is not reserved[1][0]


def test_a_change_of_model_during_a_compaction(caplog: pytest.LogCaptureFixture) -> None:
    """Of parts that are to be copied, one may be gone when its turn comes."""
    gallery = Gallery(compaction=CompactionParameters(least=2, share=0.1))
    made: list[EncounterEnrolled] = [
        enrolled(i + 1, f"p{i}", [(i, Position.IRIS_LEFT, iris(i)), (100 + i, Position.FACE, face(i))])
        for i in range(10)
    ]
    gallery.apply(made)
    replacement = gallery.replacement(face(0).modality, "face-test-2")
    template = face(7, algorithm="face-test-2")
    replacement.add([OwnedReference("p7", "1", Reference(200, Position.FACE, template))])
    changed: list[None] = []

    def change() -> None:
        if not changed:
            changed.append(None)
            replacement.take_effect()

    gallery.after_compaction = change
    gallery.apply([SubjectDeleted(20 + i, f"p{i}") for i in range(3)])
    wait_for_compaction()
    assert changed
    gallery.apply([SubjectDeleted(30 + i, f"p{i}") for i in range(3, 6)])
    wait_for_compaction()
    assert not caplog.records
    assert {len(part) for part in gallery.view().parts.values()} == {4, 1}
    assert best(gallery, Probe(Position.FACE, template)) == "p7"


def test_a_part_that_a_change_of_model_takes_away_is_not_waited_for_by_compaction(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gallery = Gallery(compaction=CompactionParameters(least=2, share=0.1))
    gallery.apply(
        [
            enrolled(i + 1, f"p{i}", [(2 * i, Position.IRIS_LEFT, iris(i)), (2 * i + 1, Position.FACE, face(i))])
            for i in range(20)
        ]
    )
    copying, changed = threading.Event(), threading.Event()
    real = IrisIndex.copy

    def slow(index: IrisIndex, rows: NDArray[np.int64]) -> IrisIndex:
        copying.set()
        assert changed.wait(30)
        return real(index, rows)

    monkeypatch.setattr(IrisIndex, "copy", slow)
    gallery.apply([SubjectDeleted(30 + i, f"p{i}") for i in range(5)])
    assert copying.wait(30)
    other = "face-other-1"
    replacement = gallery.replacement(Modality.FACE, other)
    replacement.add(
        [OwnedReference(f"p{i}", "1", Reference(i, Position.FACE, face(i, algorithm=other))) for i in range(5, 20)]
    )
    replacement.take_effect()
    changed.set()
    wait_for_compaction()
    gallery.apply([SubjectDeleted(40 + i, f"p{i}") for i in range(5, 10)])
    wait_for_compaction()
    view = gallery.view()
    assert sorted(len(part) for part in view.parts.values()) == [10, 10]


def test_a_compaction_that_has_no_room_leaves_all_as_it_was(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gallery = Gallery(compaction=CompactionParameters(least=2, share=0.1))
    gallery.apply([enrolled(i + 1, f"p{i}", [(i, Position.FACE, face(i))]) for i in range(30)])

    def full(*_: object) -> None:
        raise StorageFailure("the disk is full", reason="DISK_FULL")

    monkeypatch.setattr(FaceIndex, "copy", full)
    for i in range(5):
        gallery.apply(
            [SubjectDeleted(40 + i, f"p{i}"), enrolled(50 + i, f"q{i}", [(50 + i, Position.FACE, face(50 + i))])]
        )
    wait_for_compaction()
    assert "the disk is full" in caplog.text
    assert gallery.references() == {(face(1).modality, face(1).algorithm): 30}
    monkeypatch.undo()
    gallery.apply([SubjectDeleted(60 + i, f"p{i}") for i in range(5, 15)])
    wait_for_compaction()
    assert gallery.references() == {(face(1).modality, face(1).algorithm): 20}
    assert best(gallery, face_probe(52)) == "q2"
    assert "p7" not in {s.subject_id for s in gallery.search([face_probe(7)])}


def wait_for_compaction() -> None:
    for thread in threading.enumerate():
        if thread.name == "compaction":
            thread.join()


def test_enrolment_deletion_and_compaction_under_searches() -> None:
    """Every search sees the people who stay, none sees whoever was gone before it began."""
    gallery = Gallery(compaction=CompactionParameters(least=20, share=0.05))
    gallery.apply([enrolled(i, f"stay{i}", [(i, Position.FACE, face(i))]) for i in range(100)])
    gone: list[str] = []
    stop = threading.Event()
    failures: list[BaseException] = []

    def search() -> None:
        try:
            while not stop.is_set():
                dead = set(gone)
                found = {s.subject_id for s in gallery.search([face_probe(42)])}
                assert {f"stay{i}" for i in range(100)} <= found
                assert not dead & found
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    for i in range(1000, 1400):
        gallery.apply([enrolled(i, f"p{i}", [(i, Position.FACE, face(i))])])
        if i % 5:
            gallery.apply([SubjectDeleted(i, f"p{i}")])
            gone.append(f"p{i}")
    stop.set()
    for thread in threads:
        thread.join()
    wait_for_compaction()
    assert not failures
    assert gallery.subjects() == 180
    assert len(gallery.search([face_probe(42)])) == 180
    assert sum(gallery.references().values()) == 180


def test_before_it_compares_it_asks_the_disk_for_all_that_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = gallery_of(300, minimum=300)
    asked: list[int] = []
    monkeypatch.setattr("matcher.mapped._in_memory", lambda *_: False)
    monkeypatch.setattr(MappedArray, "fetch", lambda _, begins, ends: asked.append(len(begins)))
    gallery.search([face_probe(3)])
    assert asked == [300]
