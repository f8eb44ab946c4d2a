"""Faces: extraction against the same networks run plainly, comparison against numpy, search against FAISS and numpy.

Embeddings of comparison and search are synthetic; extraction sees renditions of the six real people in the group photo
of the package ``insightface``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import statistics
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any
from unittest import mock

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.suites.faiss_threads import faiss_threads
from benchmarks.suites.limits import Work, distance, measured_limits
from benchmarks.suites.networks import OpenCvNetwork, PlainNetwork, keeps_denormals
from benchmarks.suites.pairs import Benchmark, Peer, measure
from benchmarks.suites.sizes import Sizes
from enrollment import demo_faces
from enrollment.extract.extractors import Extractors
from enrollment.extract.face import FaceExtractor, load_face_extractor
from enrollment.extract.face_compact import CompactPack
from enrollment.images import decode_image
from enrollment.models import pack_folder
from enrollment.synthesis.face_templates import bulk_face_vectors, vary
from matcher import inner_products
from matcher.face import index as face_index
from matcher.face.comparison import COMPACT_ALGORITHM, FaceComparator
from matcher.face.index import FaceIndex, FaceView
from matcher.gallery_view import ShortlistParameters
from matcher.positions import Modality, Position
from matcher.templates import FaceTemplate
from matcher.threads import use_threads, workers

SEED = 30
DIMENSION = 512
TIE = 1e-6
"""Scores nearer than this count as equal: float32 inner products are no surer."""


@dataclasses.dataclass(frozen=True, eq=False)
class FaceGallery:
    """The same embeddings as float32[n, 512], in our index and in FAISS; other captures of some of them as probes."""

    rows: NDArray[np.float32]
    index: FaceIndex
    view: FaceView
    flat: Any
    probes: NDArray[np.float32]
    mates: NDArray[np.int64]

    @property
    def count(self) -> int:
        """Length of the shortlist that a server asks for."""
        return ShortlistParameters().count(len(self.rows))


@pytest.fixture(scope="module")
def gallery(sizes: Sizes) -> FaceGallery:
    rows = bulk_face_vectors(sizes.faces, SEED, dimension=DIMENSION)
    index = FaceIndex()
    flat: Any = faiss.IndexFlatIP(DIMENSION)
    for start in range(0, len(rows), 50_000):
        chunk = rows[start : start + 50_000]
        index.append([FaceTemplate(COMPACT_ALGORITHM, 1, row) for row in chunk])
        flat.add(chunk)
    mates = np.linspace(0, len(rows) - 1, sizes.probes).astype(np.int64)
    return FaceGallery(rows, index, index.view(), flat, vary(rows[mates], SEED), mates)


def test_extraction(benchmark: Benchmark, extractors: Extractors, sizes: Sizes) -> None:
    benchmark.group = "face extraction"
    for status in extractors.status():
        if status.modality is Modality.FACE and not status.algorithm:
            pytest.skip(status.detail)
    crops = demo_faces.people(load_face_extractor("compact"))
    images = [demo_faces.rendition(crop, SEED) for crop in crops[: sizes.images]]

    def ours() -> list[NDArray[np.float32]]:
        return [_embedding(extractors.extract(Position.FACE, i, "image/jpeg", None).template) for i in images]

    plain, opencv = _with_network(PlainNetwork), _with_network(OpenCvNetwork)

    def others(extractor: FaceExtractor) -> list[NDArray[np.float32]]:
        return [_embedding(extractor.extract(decode_image(i, media_type="image/jpeg")).template) for i in images]

    assert keeps_denormals()
    found = np.stack(ours())
    for other in (others(plain), others(opencv)):
        assert (np.einsum("ij,ij->i", found, np.stack(other)) > 0.9999).all()
    same = "the same embeddings (cosine above 0.9999); detector, alignment and networks are the same"
    measure(
        benchmark,
        ours,
        [
            Peer(
                "plain-onnxruntime",
                lambda: others(plain),
                len(images),
                f"{same}, onnxruntime with its defaults, one thread",
            ),
            Peer("opencv-dnn", lambda: others(opencv), len(images), f"{same}, run by OpenCV's dnn module, one thread"),
        ],
        operation="face, JPEG to template",
        operations=len(images),
        rounds=sizes.slow_rounds,
    )


def test_comparison(benchmark: Benchmark, sizes: Sizes) -> None:
    benchmark.group = "face 1:1"
    comparator = FaceComparator()
    first = bulk_face_vectors(100, SEED, dimension=DIMENSION)
    second = vary(first, SEED)
    left, right = (
        [comparator.prepare(FaceTemplate(COMPACT_ALGORITHM, 1, row)) for row in rows] for rows in (first, second)
    )
    repeats = 50

    def ours() -> list[float]:
        return [comparator.compare(a, b) for _ in range(repeats) for a, b in zip(left, right, strict=True)]

    def numpy() -> list[float]:
        return [float(np.dot(a, b)) for _ in range(repeats) for a, b in zip(left, right, strict=True)]

    np.testing.assert_allclose(ours(), numpy(), atol=TIE)
    measure(
        benchmark,
        ours,
        [Peer("numpy-dot", numpy, repeats * len(left), "the same within 1e-6, in float32 where ours sums in float64")],
        operation="comparison of two embeddings",
        operations=repeats * len(left),
        rounds=sizes.rounds,
    )


def test_rescoring(benchmark: Benchmark, gallery: FaceGallery, sizes: Sizes) -> None:
    benchmark.group = "face 1:N"
    probe = _prepared(gallery)[0]
    references = np.random.default_rng(SEED).choice(len(gallery.rows), 1000, replace=False).astype(np.int64)

    repeats = 50

    def ours() -> NDArray[np.float64]:
        return gallery.view.compare(probe, references)

    def numpy() -> NDArray[np.float32]:
        product: NDArray[np.float32] = gallery.rows[references] @ probe
        return product

    np.testing.assert_allclose(ours(), numpy(), atol=TIE)
    same = "the same within 1e-6, in float32 where ours sums in float64"
    measure(
        benchmark,
        lambda: [ours() for _ in range(repeats)],
        [Peer("numpy-matmul", lambda: [numpy() for _ in range(repeats)], repeats * len(references), same)],
        operation=f"comparison with one of {len(references):,} faces of a shortlist",
        operations=repeats * len(references),
        rounds=sizes.rounds,
    )


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch", ["one", "batch"])
@pytest.mark.parametrize("length", ["top-50", "shortlist"])
def test_search(
    benchmark: Benchmark, gallery: FaceGallery, sizes: Sizes, length: str, batch: str, threads: int
) -> None:
    benchmark.group = "face 1:N"
    if threads > len(os.sched_getaffinity(0)):
        pytest.skip(f"there are no {threads} processors")
    number = 1 if batch == "one" else sizes.probes
    count = 50 if length == "top-50" else gallery.count
    probes = _prepared(gallery)[:number]
    stacked = np.stack(probes)

    def ours() -> list[NDArray[np.int64]]:
        return gallery.view.shortlist(probes, count)

    def flat() -> NDArray[np.int64]:
        ids: NDArray[np.int64] = gallery.flat.search(stacked, count)[1]
        return ids

    with _threads(threads):
        for probe, own, theirs, mate in zip(probes, ours(), flat(), gallery.mates, strict=False):
            assert own[0] == mate
            _assert_same_shortlist(gallery.rows, probe, own, theirs)
        same = f"the same {count:,} nearest (scores within 1e-6 of each other count as equal)"
        measure(
            benchmark,
            ours,
            [Peer("faiss-flat", flat, number, f"{same}; IndexFlatIP, OpenMP with {threads} threads")],
            operation=f"search of {len(gallery.rows):,} faces for the {count:,} nearest, {number} at a time",
            operations=number,
            rounds=sizes.rounds if number == 1 else sizes.slow_rounds,
        )
        numbers = float(len(gallery.rows) * gallery.view.numbers_scanned)
        work = Work(read_bytes=numbers, int8_products=numbers * number)
        seconds = benchmark.extra_info["seconds_per_operation"] * number
        benchmark.extra_info.update(
            limit=distance(seconds, work, measured_limits(threads)),
            profile=_profile(ours),
            scan=face_index.describe(),
        )


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    """So many threads for both, ours and FAISS."""
    before = workers().count
    use_threads(count)
    try:
        with faiss_threads(count):
            yield
    finally:
        use_threads(before)


def _profile(search: Callable[[], object]) -> dict[str, float]:
    """Where the time of a search goes, on one thread: the median seconds of its parts over five searches."""
    taken: dict[str, list[float]] = {}

    def timed(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timing(*arguments: Any) -> Any:
            began = perf_counter()
            try:
                return call(*arguments)
            finally:
                taken[name][-1] += perf_counter() - began

        return timing

    parts: list[tuple[Any, str, str]] = [
        (inner_products._TileProduct, "__call__", "product by onnxruntime"),
        (inner_products, "_select", "selection"),
        (inner_products, "_multiply_and_select", "product and selection in one loop"),
        (face_index, "cosines_of_pairs", "rescoring"),
    ]
    with _threads(1), contextlib.ExitStack() as patches:
        for owner, attribute, name in parts:
            patches.enter_context(mock.patch.object(owner, attribute, timed(name, getattr(owner, attribute))))
        everything = timed("everything", search)
        for _ in range(5):
            for name in ("everything", *(name for _, _, name in parts)):
                taken.setdefault(name, []).append(0.0)
            everything()
    return {name: statistics.median(seconds) for name, seconds in taken.items() if any(seconds)}


def _assert_same_shortlist(
    rows: NDArray[np.float32], probe: NDArray[np.float32], own: NDArray[np.int64], theirs: NDArray[np.int64]
) -> None:
    assert len(own) == len(set(own.tolist())) == len(set(theirs.tolist()))
    wide = probe.astype(np.float64)
    scores = [np.sort(rows[ids].astype(np.float64) @ wide)[::-1] for ids in (own, theirs)]
    np.testing.assert_allclose(scores[0], scores[1], atol=TIE, rtol=0.0)
    # Whoever is on one list alone ties with the last of it.
    alone = np.setxor1d(own, theirs)
    assert (np.abs(rows[alone].astype(np.float64) @ wide - scores[0][-1]) <= TIE).all()


def _prepared(gallery: FaceGallery) -> list[NDArray[np.float32]]:
    prepare = gallery.index.comparator.prepare
    return [prepare(FaceTemplate(COMPACT_ALGORITHM, 1, row)) for row in gallery.probes]


def _with_network(network: Callable[[bytes, int], object]) -> FaceExtractor:
    """The compact pack with its networks, as they are published, run by something else."""
    with (
        mock.patch("enrollment.extract.face_compact.Network", network),
        mock.patch("enrollment.extract.face_compact.rewrite", lambda published: published),
    ):
        return FaceExtractor(CompactPack(pack_folder()))


def _embedding(template: object) -> NDArray[np.float32]:
    assert isinstance(template, FaceTemplate)
    return template.embedding
