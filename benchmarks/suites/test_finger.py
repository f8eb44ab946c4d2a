"""Fingers: extraction against mindtct and the unmodified network, comparison against bozorth3, search against both.

All prints and minutiae are synthetic.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator

import faiss
import nbis
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from benchmarks.suites.limits import Work, distance, measured_limits
from benchmarks.suites.networks import PublishedLeader, keeps_denormals
from benchmarks.suites.pairs import Benchmark, Peer, measure
from benchmarks.suites.sizes import Sizes
from enrollment.extract.extractors import Extractors
from enrollment.extract.finger import FingerExtractionParameters, FingerExtractor
from enrollment.extract.finger_leader import LeaderNetwork
from enrollment.extract.finger_minutiae import MinutiaeFinder
from enrollment.extract.finger_quality import Nfiq2
from enrollment.images import DecodedImage, decode_image
from enrollment.synthesis.finger import synthesise_finger
from enrollment.synthesis.finger_templates import bulk_finger_templates, vary
from matcher.comparators import index_for
from matcher.finger.comparison import FingerComparator
from matcher.finger.cylinders import PreparedFinger
from matcher.finger.index import FingerIndex
from matcher.finger.parameters import FINGER_ALGORITHM
from matcher.gallery_view import ShortlistParameters
from matcher.modality import Comparator, IndexView
from matcher.positions import Position
from matcher.templates import FingerTemplate
from matcher.threads import use_threads, workers

SEED = 20
RESCORED = 1000


@dataclasses.dataclass(frozen=True, eq=False)
class Prints:
    """Two impressions of each of some synthetic fingers, as PNG files."""

    first: list[bytes]
    second: list[bytes]


@dataclasses.dataclass(frozen=True, eq=False)
class Minutiae:
    """The minutiae of ``Prints``, ours (LEADER, prepared for comparison) and mindtct's."""

    first: list[PreparedFinger]
    second: list[PreparedFinger]
    first_mindtct: list[nbis.Minutiae]
    second_mindtct: list[nbis.Minutiae]


@dataclasses.dataclass(frozen=True, eq=False)
class FingerGallery:
    """An index of bulk minutiae sets, and another impression of one of them."""

    comparator: Comparator
    view: IndexView
    count: int
    probe: PreparedFinger
    mate: int
    some: list[FingerTemplate]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As the peers: FAISS has one here, and bozorth3 locks the process."""
    threads = workers().count
    use_threads(1)
    yield
    use_threads(threads)


@pytest.fixture(scope="module")
def prints(sizes: Sizes) -> Prints:
    first, second = (
        [_png(synthesise_finger(SEED + finger, impression)) for finger in range(sizes.prints)] for impression in (0, 1)
    )
    return Prints(first, second)


@pytest.fixture(scope="module")
def minutiae(prints: Prints, extractors: Extractors) -> Minutiae:
    comparator, mindtct = FingerComparator(), _mindtct(measure_quality=False)

    def ours(images: list[bytes]) -> list[PreparedFinger]:
        return [comparator.prepare(_extract(extractors, image)) for image in images]

    def theirs(images: list[bytes]) -> list[nbis.Minutiae]:
        return [mindtct.extract_minutiae(image) for image in images]

    return Minutiae(ours(prints.first), ours(prints.second), theirs(prints.first), theirs(prints.second))


@pytest.fixture(scope="module")
def gallery(sizes: Sizes) -> FingerGallery:
    templates = bulk_finger_templates(sizes.fingers, SEED)
    index = index_for(templates[0].modality, templates[0].algorithm)
    for start in range(0, len(templates), 10_000):
        index.append(templates[start : start + 10_000])
    mate = sizes.fingers // 3
    return FingerGallery(
        index.comparator,
        index.view(),
        len(templates),
        index.comparator.prepare(vary(templates[mate], 1)),
        mate,
        templates[:RESCORED],
    )


def test_extraction(benchmark: Benchmark, prints: Prints, extractors: Extractors, sizes: Sizes) -> None:
    benchmark.group = "finger extraction"
    images = prints.first[: sizes.images]
    p = FingerExtractionParameters()
    tuned, unmodified = LeaderNetwork(), PublishedLeader()
    nfiq2, mindtct = Nfiq2(), _mindtct(measure_quality=True)

    def ours() -> list[FingerTemplate]:
        return [_extract(extractors, image) for image in images]

    def whole(network: MinutiaeFinder) -> list[NDArray[np.int64]]:
        found = []
        for image in images:
            grey = decode_image(image, media_type="image/png", ppi=500.0).grey
            one = network.find(grey, min_quality=p.min_quality, max_count=p.max_minutiae)
            nfiq2.measure(grey)
            found.append(np.stack([one.x, one.y], axis=1))
        return found

    def with_mindtct() -> list[nbis.Minutiae]:
        found = [mindtct.extract_minutiae(image) for image in images]
        for one in found:
            one.quality()
        return found

    assert keeps_denormals()
    templates = ours()
    for peer in (whole(unmodified), whole(tuned)):
        for template, points in zip(templates, peer, strict=True):
            # The border of the crop, and what is found outside of it, make the difference.
            assert _share_found(np.stack([template.x, template.y], axis=1), points, 3.0) > 0.8
    for template, theirs in zip(templates, with_mindtct(), strict=True):
        points = np.array([[m.position().x, m.position().y] for m in theirs.get()])
        assert _share_found(np.stack([template.x, template.y], axis=1), points, 12.0) > 0.6

    measure(
        benchmark,
        ours,
        [
            Peer(
                "leader-unmodified",
                lambda: whole(unmodified),
                len(images),
                "the same minutiae but for the border: the network on the whole image, onnxruntime's defaults, one "
                "thread, then NFIQ 2",
            ),
            Peer(
                "leader-uncropped",
                lambda: whole(tuned),
                len(images),
                "the same minutiae but for the border: our session on the whole image, then NFIQ 2",
            ),
            Peer(
                "mindtct",
                with_mindtct,
                len(images),
                "other minutiae, with an EER several times higher (see DESIGN); NBIS mindtct with NFIQ 2",
            ),
        ],
        operation="print, PNG to template with NFIQ 2",
        operations=len(images),
        rounds=sizes.slow_rounds,
    )


@pytest.mark.parametrize("width_height", [(388, 374), (640, 480)], ids=["388x374", "640x480"])
def test_minutiae(benchmark: Benchmark, sizes: Sizes, width_height: tuple[int, int]) -> None:
    benchmark.group = "finger minutiae"
    width, height = width_height
    images = [synthesise_finger(SEED + finger, 0, size=(height, width)) for finger in range(sizes.images)]
    p = FingerExtractionParameters()
    extractor, tuned, unmodified = FingerExtractor(measure_quality=False), LeaderNetwork(), PublishedLeader()
    mindtct = _mindtct(measure_quality=False)

    def ours() -> list[FingerTemplate]:
        found = []
        for image in images:
            template = extractor.extract(DecodedImage(image, 500.0, "image/png")).template
            assert isinstance(template, FingerTemplate)
            found.append(template)
        return found

    def whole(finder: MinutiaeFinder) -> list[NDArray[np.int64]]:
        found = [finder.find(image, min_quality=p.min_quality, max_count=p.max_minutiae) for image in images]
        return [np.stack([one.x, one.y], axis=1) for one in found]

    def with_mindtct() -> list[nbis.Minutiae]:
        return [mindtct.extract_minutiae(b"P5 %d %d 255\n" % (width, height) + image.tobytes()) for image in images]

    assert keeps_denormals()
    templates, published, uncropped = ours(), whole(unmodified), whole(tuned)
    for template, theirs, same in zip(templates, published, uncropped, strict=True):
        assert _share_found(same.astype(np.int16), theirs, 3.0) >= 0.99
        assert _share_found(np.stack([template.x, template.y], axis=1), theirs, 3.0) > 0.9
    measure(
        benchmark,
        ours,
        [
            Peer(
                "leader-unmodified",
                lambda: whole(unmodified),
                len(images),
                "the same minutiae but for the border: the published network on the whole image, onnxruntime's "
                "defaults, one thread, and nothing else",
            ),
            Peer(
                "leader-uncropped",
                lambda: whole(tuned),
                len(images),
                "the same minutiae but for the border: our rewritten network on the whole image, and nothing else",
            ),
            Peer(
                "mindtct",
                with_mindtct,
                len(images),
                "other minutiae, with an EER several times higher (see DESIGN); NBIS mindtct in this process",
            ),
        ],
        operation=f"print of {width} x {height}, pixels to template without NFIQ 2",
        operations=len(images),
        rounds=sizes.slow_rounds,
    )


@pytest.mark.parametrize("kind", ["genuine", "impostor"])
def test_comparison(benchmark: Benchmark, minutiae: Minutiae, sizes: Sizes, kind: str) -> None:
    benchmark.group = "finger 1:1"
    m, comparator, n = minutiae, FingerComparator(), sizes.prints
    ours_scores = [[comparator.compare(a, b) for b in m.second] for a in m.first]
    their_scores = [[a.compare(b) for b in m.second_mindtct] for a in m.first_mindtct]
    # The same question, the same answer: both put the finger's own second impression first.
    assert np.argmax(ours_scores, axis=1).tolist() == list(range(n))
    assert np.argmax(their_scores, axis=1).tolist() == list(range(n))

    pairs = [(i, j) for i in range(n) for j in range(n) if (i == j) == (kind == "genuine")]
    repeats = 20

    def ours() -> None:
        for _ in range(repeats):
            for i, j in pairs:
                comparator.compare(m.first[i], m.second[j])

    def theirs() -> None:
        for i, j in pairs:
            m.first_mindtct[i].compare(m.second_mindtct[j])

    measure(
        benchmark,
        ours,
        [
            Peer(
                "bozorth3",
                theirs,
                len(pairs),
                "the same mate first for every probe; on mindtct's minutiae of the same images",
            )
        ],
        operation=f"comparison of two {kind} impressions",
        operations=repeats * len(pairs),
        rounds=sizes.slow_rounds,
    )


def test_rescoring(benchmark: Benchmark, minutiae: Minutiae, gallery: FingerGallery, sizes: Sizes) -> None:
    benchmark.group = "finger 1:N"
    references = np.arange(min(RESCORED, gallery.count), dtype=np.int64)

    def ours() -> NDArray[np.float64]:
        return gallery.view.compare(gallery.probe, references)

    assert np.isfinite(ours()).all()
    measure(
        benchmark,
        ours,
        [_bozorth3(minutiae)],
        operation=f"comparison with one of {len(references):,} fingers of a shortlist",
        operations=len(references),
        rounds=sizes.rounds,
    )
    seconds = benchmark.extra_info["seconds_per_operation"]
    # Of all cylinders of the probe with all of a reference: what no way of comparing them can do without.
    words = len(gallery.probe) * float(np.mean([len(t) for t in gallery.some])) * gallery.probe.bits.shape[1]
    benchmark.extra_info.update(
        comparisons_per_second_and_core=1.0 / seconds,
        limit=distance(seconds, Work(counted_words=words), measured_limits(1)),
    )


def test_search(benchmark: Benchmark, minutiae: Minutiae, gallery: FingerGallery, sizes: Sizes) -> None:
    benchmark.group = "finger 1:N"
    count = ShortlistParameters().count(gallery.count)
    everybody = np.arange(gallery.count, dtype=np.int64)

    def ours() -> tuple[int, float]:
        found = gallery.view.shortlist([gallery.probe], count)[0]
        scores = gallery.view.compare(gallery.probe, found)
        best = int(np.argmax(scores))
        return int(found[best]), float(scores[best])

    def exhaustive() -> tuple[int, float]:
        scores = gallery.view.compare(gallery.probe, everybody)
        return int(np.argmax(scores)), float(scores.max())

    assert ours() == exhaustive()
    assert ours()[0] == gallery.mate
    measure(
        benchmark,
        ours,
        [
            Peer("exhaustive", exhaustive, gallery.count, "the same best candidate and score: our 1:1 with everybody"),
            _bozorth3(minutiae),
        ],
        operation=f"reference of a search of {gallery.count:,} fingers, one probe",
        operations=gallery.count,
        rounds=sizes.rounds,
    )


@pytest.fixture(scope="module")
def vectors(sizes: Sizes) -> FingerIndex:
    """Fingers of three minutiae each, so that they are made quickly, with random vectors."""
    index = FingerIndex()
    few = np.zeros(3, np.int16), np.zeros(3, np.int16), np.zeros(3, np.uint16), np.full(3, 50, np.uint8)
    bare = FingerTemplate(FINGER_ALGORITHM, 1, 300, 400, *few)
    p = index.model.parameters
    rng = np.random.default_rng(SEED)
    for start in range(0, sizes.vectors, 10_000):
        drawn = rng.normal(0.0, p.scale / np.sqrt(p.numbers), (min(10_000, sizes.vectors - start), p.numbers))
        whole = np.clip(np.rint(drawn), -127, 127).astype(np.int8)
        made = [dataclasses.replace(bare, vector=v, vector_model=index.model.number) for v in whole]
        index.append(made)
    return index


def test_vectors(benchmark: Benchmark, vectors: FingerIndex, sizes: Sizes) -> None:
    """The first step of a shortlist, as ``FingerIndex`` takes it."""
    benchmark.group = "finger 1:N"
    probe = vectors.comparator.prepare(bulk_finger_templates(1, SEED)[0])
    view, count = vectors.view(), ShortlistParameters().count(sizes.vectors)
    rows = view.vectors().astype(np.float32)
    (searched,) = vectors.model.encode([probe]).astype(np.float32)
    flat = faiss.IndexFlatIP(rows.shape[1])
    flat.add(rows)

    def ours() -> NDArray[np.int64]:
        return view.nearest([probe], count)[0]

    def theirs() -> NDArray[np.int64]:
        return np.asarray(flat.search(searched[None], count)[1][0])

    def plain() -> NDArray[np.int64]:
        scores = rows @ searched
        best = np.argpartition(scores, len(scores) - count)[-count:]
        return np.asarray(best[np.argsort(-scores[best], kind="stable")])

    # The products are whole numbers below 2^24, which float32 holds; ties may fall either way.
    exact = rows @ searched
    for found in (ours(), theirs()):
        assert exact[found].tolist() == exact[plain()].tolist()
    measure(
        benchmark,
        ours,
        [
            Peer("faiss-flat", theirs, sizes.vectors, "the same order: IndexFlatIP over the same vectors in float32"),
            Peer("numpy", plain, sizes.vectors, "the same order: matrix product in float32 and argpartition"),
        ],
        operation=f"reference of {sizes.vectors:,}, the {count:,} nearest by their vectors; the probe's is made, too",
        operations=sizes.vectors,
        rounds=sizes.rounds,
    )


def _bozorth3(m: Minutiae) -> Peer:
    impostors = [(a, b) for i, a in enumerate(m.first_mindtct) for j, b in enumerate(m.second_mindtct) if i != j]

    def call() -> None:
        for a, b in impostors:
            a.compare(b)

    return Peer(
        "bozorth3",
        call,
        len(impostors),
        f"EXTRAPOLATED from {len(impostors)} comparisons of strangers among synthetic images, each taken as one "
        "reference; bozorth3 has no index",
    )


def _mindtct(*, measure_quality: bool) -> nbis.NbisExtractor:
    return nbis.new_nbis_extractor(
        nbis.NbisExtractorSettings(
            min_quality=0.0, get_center=False, check_fingerprint=False, compute_nfiq2=measure_quality, ppi=500.0
        )
    )


def _extract(extractors: Extractors, image: bytes) -> FingerTemplate:
    template = extractors.extract(Position.RIGHT_INDEX, image, "image/png", 500.0).template
    assert isinstance(template, FingerTemplate)
    return template


def _share_found(ours: NDArray[np.int16], theirs: NDArray[np.int64], reach: float) -> float:
    """Share of our minutiae that have one of theirs within ``reach`` pixels."""
    distance = np.hypot(*(ours[:, None].astype(np.float64) - theirs[None]).transpose(2, 0, 1))
    return float((distance.min(axis=1) <= reach).mean())


def _png(pixels: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", dpi=(500, 500))
    return stream.getvalue()
