"""Local shards against one gallery."""

from __future__ import annotations

import pytest

from matcher.changes import SubjectDeleted
from matcher.errors import ModelMismatch
from matcher.gallery import Gallery
from matcher.positions import Position
from matcher.shards.local import LocalShards
from tests.matcher.people import enrolled, face, face_probe


def test_three_shards_equal_one_gallery() -> None:
    changes = [enrolled(i + 1, f"p{i}", [(i, Position.FACE, face(i))], (f"g{i % 2}",)) for i in range(40)]
    one, three = Gallery(), LocalShards(3)
    one.apply([*changes, SubjectDeleted(41, "p7")])
    three.apply(changes[:20], 20)
    three.apply([*changes[20:], SubjectDeleted(41, "p7")], 41)
    assert three.applied_lsn == 41
    for galleries in ((), ("g0",), ("g0", "g1")):
        assert three.subjects(galleries) == one.subjects(galleries)
        expected = {s.subject_id: s.comparisons[0].raw for s in one.search([face_probe(3)], galleries)}
        found = {s.subject_id: s.comparisons[0].raw for s in three.search([face_probe(3)], galleries)}
        assert found == pytest.approx(expected)
    assert three.galleries() == one.galleries()
    assert three.references() == one.references()
    assert three.compare([face_probe(3)], "p3") == one.compare([face_probe(3)], "p3")
    assert three.compare([face_probe(3)], "p7") is None
    with pytest.raises(ModelMismatch):
        three.check(face(1, algorithm="face-other-1"))
    three.close()


def test_at_least_one_shard() -> None:
    with pytest.raises(ValueError, match="at least one"):
        LocalShards(0)
