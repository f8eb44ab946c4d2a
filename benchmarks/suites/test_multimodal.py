"""What gallery, search engine and server add to the bare indexes: 1:N with a finger, a face and an iris.

The peer is the sum of what the three indexes take for the same shortlists and the same comparisons, so the ratio is
below 1 and says which part of the time is index work. All templates are synthetic.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ambis.v1 import enrollment_service_pb2, identification_service_pb2
from benchmarks.suites.pairs import Benchmark, Peer, measure
from benchmarks.suites.sizes import Sizes
from enrollment.client import AmbisClient, image_sample
from enrollment.server_process import ServerProcess
from enrollment.synthesis import face_templates, finger_templates, iris_templates
from matcher.changes import EncounterEnrolled, Reference
from matcher.comparators import index_for
from matcher.face.comparison import COMPACT_ALGORITHM
from matcher.found_subjects import Probe
from matcher.gallery import Gallery
from matcher.gallery_view import ShortlistParameters
from matcher.modality import Comparator, IndexView
from matcher.positions import Position
from matcher.templates import FaceTemplate, Template

SEED = 50
POSITIONS = (Position.RIGHT_INDEX, Position.FACE, Position.IRIS_RIGHT)


@dataclasses.dataclass(frozen=True, eq=False)
class People:
    """Synthetic people, each with a template at every one of ``POSITIONS``, and other captures of one of them."""

    references: list[tuple[Template, ...]]
    probes: tuple[Probe, ...]
    mate: int


class BareIndexes:
    """The three indexes with nothing around them; rows are the numbers of the people."""

    def __init__(self, people: People) -> None:
        self._views: list[IndexView] = []
        self._comparators: list[Comparator] = []
        for column, probe in enumerate(people.probes):
            index = index_for(probe.template.modality, probe.template.algorithm)
            index.append([templates[column] for templates in people.references])
            self._views.append(index.view())
            self._comparators.append(index.comparator)
        self._templates = [probe.template for probe in people.probes]
        self._count = ShortlistParameters().count(len(people.references))

    def search(self) -> tuple[NDArray[np.int64], list[NDArray[np.float64]]]:
        """The union of the shortlists, ascending, and the raw scores of each modality for it."""
        prepared = [c.prepare(t) for c, t in zip(self._comparators, self._templates, strict=True)]
        found = [v.shortlist([p], self._count)[0] for v, p in zip(self._views, prepared, strict=True)]
        union = np.unique(np.concatenate(found))
        return union, [v.compare(p, union) for v, p in zip(self._views, prepared, strict=True)]


@pytest.fixture(scope="module")
def people(sizes: Sizes) -> People:
    fingers = finger_templates.bulk_finger_templates(sizes.people, SEED)
    vectors = face_templates.bulk_face_vectors(sizes.people, SEED)
    irises = iris_templates.bulk_iris_templates(sizes.people, SEED)
    faces = [FaceTemplate(COMPACT_ALGORITHM, 1, row) for row in vectors]
    mate = sizes.people // 3
    other_face = FaceTemplate(COMPACT_ALGORITHM, 1, face_templates.vary(vectors[mate : mate + 1], SEED)[0])
    captures = (finger_templates.vary(fingers[mate], 1), other_face, iris_templates.vary(irises[mate], 1))
    probes = tuple(Probe(position, template) for position, template in zip(POSITIONS, captures, strict=True))
    return People(list(zip(fingers, faces, irises, strict=True)), probes, mate)


@pytest.fixture(scope="module")
def bare(people: People) -> BareIndexes:
    return BareIndexes(people)


@pytest.fixture
def server(people: People, tmp_path: Path) -> Iterator[AmbisClient]:
    """A client of a real server, in a process of its own, that has enrolled everybody."""
    with ServerProcess(tmp_path / "data") as running, AmbisClient(running.address) as client:
        for response in client.bulk_enrol(_requests(people)):
            assert response.HasField("result"), response.error.message
        yield client


def test_gallery_search(benchmark: Benchmark, people: People, bare: BareIndexes, sizes: Sizes) -> None:
    benchmark.group = "multimodal 1:N"
    gallery = Gallery()
    gallery.apply(
        [
            EncounterEnrolled(
                number + 1,
                _subject(number),
                "1",
                ("default",),
                tuple(Reference(3 * number + c, POSITIONS[c], template) for c, template in enumerate(templates)),
            )
            for number, templates in enumerate(people.references)
        ]
    )
    union, raw = bare.search()
    expected = {
        _subject(int(number)): {p: s for p, s in zip(POSITIONS, scores, strict=True) if not np.isnan(s)}
        for number, *scores in zip(union, *raw, strict=True)
    }
    found = gallery.search(people.probes)
    assert {s.subject_id: {c.probe_position: c.raw for c in s.comparisons} for s in found} == expected
    measure(
        benchmark,
        lambda: gallery.search(people.probes),
        [Peer("bare-indexes", bare.search, 1, "the same people with the same raw scores, without labels or positions")],
        operation=f"search of {sizes.people:,} people with a finger, a face and an iris, in this process",
        operations=1,
        rounds=sizes.rounds,
    )


def test_identify_over_grpc(
    benchmark: Benchmark, people: People, bare: BareIndexes, server: AmbisClient, sizes: Sizes
) -> None:
    benchmark.group = "multimodal 1:N"
    samples = [image_sample(p.position, p.template.to_bytes()) for p in people.probes]
    search = identification_service_pb2.Search(samples=samples, max_candidates=10)
    best = server.identify(search).candidates[0]
    assert best.subject_id == _subject(people.mate)
    union, raw = bare.search()
    at = int(np.searchsorted(union, people.mate))
    assert {e.probe_position: e.raw_score for e in best.evidence} == {
        int(p): float(scores[at]) for p, scores in zip(POSITIONS, raw, strict=True)
    }
    measure(
        benchmark,
        lambda: server.identify(search),
        [
            Peer(
                "bare-indexes", bare.search, 1, "the same mate with the same raw scores; no fusion, no verdict, no wire"
            )
        ],
        operation=f"Identify of one of {sizes.people:,} people by a finger, a face and an iris, templates over gRPC",
        operations=1,
        rounds=sizes.rounds,
    )


def _requests(people: People) -> Iterator[enrollment_service_pb2.BulkEnrollRequest]:
    for number, templates in enumerate(people.references):
        samples = [image_sample(p, t.to_bytes()) for p, t in zip(POSITIONS, templates, strict=True)]
        yield enrollment_service_pb2.BulkEnrollRequest(
            transaction_id=f"benchmark-{number}",
            idempotency_key=f"benchmark-{number:08d}",
            sequence=number,
            encounter=enrollment_service_pb2.Encounter(subject_id=_subject(number), samples=samples),
        )


def _subject(number: int) -> str:
    return f"synthetic-{number:08d}"
