"""FAISS can be switched to for every modality, and finds the same people."""

from __future__ import annotations

import functools

import pytest

from enrollment.synthesis.finger_templates import bulk_finger_templates, vary
from matcher.comparators import Scan, index_for, search_paths
from matcher.errors import ModelMismatch
from matcher.found_subjects import Probe
from matcher.gallery import Gallery
from matcher.gallery_view import ShortlistParameters
from matcher.positions import Modality, Position
from tests.matcher.people import enrolled, face, face_probe, iris


def test_faiss_everywhere_finds_the_same_mates() -> None:
    fingers = bulk_finger_templates(40, 3)
    people = [
        enrolled(
            i + 1,
            f"p{i}",
            [
                (3 * i, Position.RIGHT_INDEX, fingers[i]),
                (3 * i + 1, Position.FACE, face(i)),
                (3 * i + 2, Position.IRIS_LEFT, iris(i)),
            ],
        )
        for i in range(40)
    ]
    galleries = [Gallery(ShortlistParameters(minimum=5), functools.partial(index_for, scan=scan)) for scan in Scan]
    for gallery in galleries:
        gallery.apply(people)
    probes = [
        face_probe(7),
        Probe(Position.IRIS_LEFT, iris(8, 1)),
        Probe(Position.RIGHT_INDEX, vary(fingers[9], 1)),
    ]
    for number, probe in enumerate(probes, 7):
        best = [
            max(g.search([probe]), key=lambda s: s.comparisons[0].raw if s.comparisons else -9.0) for g in galleries
        ]
        assert {subject.subject_id for subject in best} == {f"p{number}"}
        assert best[0] == best[1]


def test_what_scans_is_told_for_every_modality() -> None:
    for scan in Scan:
        assert set(search_paths(scan)) == {modality.value for modality in Modality}
        assert all(search_paths(scan).values())
    assert "FAISS" in search_paths(Scan.FASTEST)["face"]


def test_an_algorithm_that_nothing_compares_is_refused() -> None:
    with pytest.raises(ModelMismatch, match="re-extract"):
        index_for(Modality.IRIS, "iris-other-1")
