"""Local shards against one gallery."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import numpy as np
import pytest

from enrollment.synthesis.finger_templates import bulk_finger_templates
from matcher.changes import OwnedReference, Reference, SubjectDeleted
from matcher.errors import ModelMismatch, StorageFailure
from matcher.filters import SearchFilter
from matcher.found_subjects import FoundSubjects, Probe, SubjectComparisons
from matcher.gallery import Gallery
from matcher.gallery_view import GallerySearch
from matcher.mapped import MappedArray
from matcher.positions import Modality, Position
from matcher.shards.local import LocalShards
from matcher.templates import FaceTemplate
from tests.matcher.people import FACE, enrolled, face, face_probe, iris


def search(shards: LocalShards, probes: list[Probe], galleries: tuple[str, ...] = ()) -> FoundSubjects:
    (found,) = shards.search([GallerySearch(tuple(probes), SearchFilter(galleries))]).subjects
    if not isinstance(found, FoundSubjects):
        raise found
    return found


def test_three_shards_equal_one_gallery() -> None:
    changes = [enrolled(i + 1, f"p{i}", [(i, Position.FACE, face(i))], (f"g{i % 2}",)) for i in range(40)]
    one, three = Gallery(), LocalShards(3)
    one.apply([*changes, SubjectDeleted(41, "p7")])
    three.apply(changes[:20], 20)
    three.apply([*changes[20:], SubjectDeleted(41, "p7")], 41)
    assert three.applied_lsn == 41
    for galleries in ((), ("g0",), ("g0", "g1")):
        assert three.subjects(SearchFilter(galleries)) == one.subjects(SearchFilter(galleries))
        expected = {s.subject_id: s.comparisons[0].raw for s in one.search([face_probe(3)], SearchFilter(galleries))}
        found = {s.subject_id: s.comparisons[0].raw for s in search(three, [face_probe(3)], galleries)}
        assert found == pytest.approx(expected)
    assert three.galleries() == one.galleries()
    assert three.references() == one.references()
    assert list(three.compare([face_probe(3)], "p3") or ()) == [one.compare([face_probe(3)], "p3")]
    assert three.compare([face_probe(3)], "p7") is None
    (refused,) = three.check([face(1, algorithm="face-other-1")])
    assert isinstance(refused, ModelMismatch)
    three.close()


def test_what_does_not_fit_beside_the_references_of_any_shard_is_refused() -> None:
    """Embeddings of another length under the same name; the gallery with the others may be any of them."""
    vector = np.full(64, 0.125, np.float32)
    for number in range(8):
        shards = LocalShards(3)
        shards.apply([enrolled(1, f"p{number}", [(1, Position.FACE, face(1))])], 1)
        first, refused, last = shards.check([face(2), FaceTemplate(FACE, 1, vector), face(3)])
        assert isinstance(refused, ModelMismatch)
        assert "64 numbers" in refused.message
        assert (first, last) == (face(2), face(3))
        shards.close()


def test_at_least_one_shard() -> None:
    with pytest.raises(ValueError, match="at least one"):
        LocalShards(0)


NEXT = "face-next-1"


def changed(number: int) -> OwnedReference:
    """The face of person ``number`` as another model has it."""
    return OwnedReference(f"p{number}", "1", Reference(number, Position.FACE, face(500 + number, algorithm=NEXT)))


def next_probe(number: int) -> Probe:
    return Probe(Position.FACE, face(500 + number, 9, algorithm=NEXT))


def by_subject(found: FoundSubjects) -> dict[str, SubjectComparisons]:
    return {s.subject_id: s for s in found}


@pytest.mark.parametrize("shards", [1, 3])
def test_replaced_references_are_as_if_they_had_been_there_from_the_start(shards: int) -> None:
    """All but persons 4 and 5 get a template of the next model; irises stay."""
    people = range(30)
    eyes = {i: (100 + i, Position.IRIS_LEFT, iris(i)) for i in people}
    kept = [i for i in people if i not in (4, 5)]
    found = LocalShards(shards)
    found.apply(
        [enrolled(i + 1, f"p{i}", [(i, Position.FACE, face(i)), eyes[i]], (f"g{i % 2}",)) for i in people],
        30,
    )
    expected = LocalShards(shards)
    references = {i: [(i, Position.FACE, changed(i).reference.template)] for i in kept}
    expected.apply([enrolled(i + 1, f"p{i}", [*references.get(i, []), eyes[i]], (f"g{i % 2}",)) for i in people], 31)

    def pages() -> Iterator[list[OwnedReference]]:
        for start in range(0, len(kept), 7):
            # Searches go on with the old model's templates while the index is built.
            assert search(found, [face_probe(3)])
            with pytest.raises(ModelMismatch):
                search(found, [next_probe(3)])
            yield [changed(i) for i in kept[start : start + 7]]

    def commit() -> int:
        assert search(found, [face_probe(3)])
        return 31

    found.replace(Modality.FACE, NEXT, pages(), commit)
    assert found.applied_lsn == 31
    assert found.references() == expected.references()
    assert found.galleries() == expected.galleries()
    for galleries in ((), ("g0",), ("g1",)):
        assert found.subjects(SearchFilter(galleries)) == expected.subjects(SearchFilter(galleries))
        eye = Probe(Position.IRIS_LEFT, iris(4, 1))
        for probes in ([next_probe(3)], [eye], [next_probe(8), eye]):
            assert by_subject(search(found, probes, galleries)) == by_subject(search(expected, probes, galleries))
    with pytest.raises(ModelMismatch):
        search(found, [face_probe(3)])
    assert isinstance(found.check([face(1)])[0], ModelMismatch)
    # Deletions and enrolments go on.
    for shard in (found, expected):
        shard.apply([SubjectDeleted(32, "p3"), SubjectDeleted(33, "p4")], 33)
        shard.apply([enrolled(34, "p77", [(777, Position.FACE, face(577, algorithm=NEXT))])], 34)
    assert found.references() == expected.references()
    assert "p3" not in {s.subject_id for s in search(found, [next_probe(3)])}
    assert list(found.compare([next_probe(77)], "p77") or ()) == list(expected.compare([next_probe(77)], "p77") or ())
    found.close()
    expected.close()


@pytest.mark.parametrize("where", ["while building", "at the commit"])
def test_a_replacement_that_fails_changes_nothing(where: str) -> None:
    shards = LocalShards(2)
    shards.apply([enrolled(i + 1, f"p{i}", [(i, Position.FACE, face(i))]) for i in range(10)], 10)
    before = sorted(s.subject_id for s in search(shards, [face_probe(3)]))

    def pages() -> Iterator[list[OwnedReference]]:
        yield [changed(i) for i in range(5)]
        if where == "while building":
            raise StorageFailure("the disk is gone")

    def commit() -> int:
        raise StorageFailure("the disk is gone")

    with pytest.raises(StorageFailure):
        shards.replace(Modality.FACE, NEXT, pages(), commit)
    assert shards.applied_lsn == 10
    assert shards.references() == {(Modality.FACE, FACE): 10}
    assert sorted(s.subject_id for s in search(shards, [face_probe(3)])) == before
    shards.close()


def test_cylinders_are_read_ahead_where_there_is_room_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    shards = LocalShards(3)
    fingers = bulk_finger_templates(12, 7)
    shards.apply([enrolled(1, f"p{i}", [(i, Position.RIGHT_INDEX, finger)]) for i, finger in enumerate(fingers)], 1)
    read: list[int] = []
    monkeypatch.setattr(MappedArray, "read_through", lambda array, _: read.append(array.used_bytes))
    shards.read_ahead()
    assert len(read) == 3
    monkeypatch.setattr("matcher.shards.local.available_bytes", lambda: sum(read) - 1)
    shards.read_ahead()
    assert len(read) == 3


def test_a_disk_that_cannot_be_read_ahead_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    shards = LocalShards()
    shards.apply([enrolled(1, "p", [(1, Position.RIGHT_INDEX, bulk_finger_templates(1, 7)[0])])], 1)
    monkeypatch.setattr(MappedArray, "read_through", broken)
    shards.read_ahead()
