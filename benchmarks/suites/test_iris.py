"""Irises: extraction against a textbook pipeline, comparison and search against numpy and FAISS.

All eyes and codes are synthetic.
"""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import cv2
import faiss
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from benchmarks.suites.pairs import Benchmark, Peer, measure
from benchmarks.suites.sizes import Sizes
from enrollment.extract.extractors import Extractors
from enrollment.images import decode_image
from enrollment.synthesis.iris import synthesise_eye
from enrollment.synthesis.iris_templates import bulk_iris_templates, vary
from matcher.comparators import index_for
from matcher.gallery import ShortlistParameters
from matcher.iris.comparison import IrisComparator, PreparedIris
from matcher.iris.parameters import ALGORITHM, PARAMETERS
from matcher.modality import ReferenceIndex
from matcher.positions import Modality, Position
from matcher.templates import IrisTemplate

SEED = 40
COMPARED = 50


@dataclasses.dataclass(frozen=True, eq=False)
class IrisGallery:
    """The same codes in our index, as uint64[n, 32] codes and masks, and in FAISS; a second capture of one as probe."""

    codes: NDArray[np.uint64]
    masks: NDArray[np.uint64]
    index: ReferenceIndex
    flat: Any
    probe: PreparedIris
    mate: int


@pytest.fixture(scope="module")
def gallery(sizes: Sizes) -> IrisGallery:
    templates = bulk_iris_templates(sizes.irises, SEED)
    index = index_for(Modality.IRIS, ALGORITHM)
    for start in range(0, len(templates), 50_000):
        index.apply([], [(start + i, 1, t) for i, t in enumerate(templates[start : start + 50_000])])
    codes = np.stack([t.bits for t in templates])
    masks = np.stack([t.mask for t in templates])
    flat = faiss.IndexBinaryFlat(PARAMETERS.bits)
    flat.add(codes.view(np.uint8))
    mate = sizes.irises // 3
    return IrisGallery(codes, masks, index, flat, index.comparator.prepare(vary(templates[mate], 1)), mate)


def test_extraction(benchmark: Benchmark, extractors: Extractors, sizes: Sizes) -> None:
    benchmark.group = "iris extraction"
    images = [_png(synthesise_eye(SEED + eye, 0)) for eye in range(sizes.images)]

    def ours() -> list[IrisTemplate]:
        return [_template(extractors, image) for image in images]

    def textbook() -> list[NDArray[np.bool_]]:
        return [_textbook_code(decode_image(image, media_type="image/png").grey) for image in images]

    assert all(len(template.bits) == PARAMETERS.words for template in ours())
    assert all(code.size for code in textbook())
    measure(
        benchmark,
        ours,
        [
            Peer(
                "hough-loggabor",
                textbook,
                len(images),
                "OTHER answers, timing only: circles by Hough's transform (Wildes 1997), one-dimensional log-Gabor "
                "(Masek 2003); no lids, no lashes, no true boundaries, no quality, no check that it is an eye",
            )
        ],
        operation="eye, PNG to template",
        operations=len(images),
        rounds=sizes.slow_rounds,
    )


def test_comparison(benchmark: Benchmark, sizes: Sizes) -> None:
    benchmark.group = "iris 1:1"
    comparator = IrisComparator()
    templates = bulk_iris_templates(COMPARED, SEED)
    left = [comparator.prepare(t) for t in templates]
    # Half of the pairs are of one eye, half of two.
    others = [vary(t, i) if i % 2 else templates[i - 1] for i, t in enumerate(templates)]
    right = [comparator.prepare(t) for t in others]

    def ours() -> list[float]:
        return [comparator.compare(a, b) for a, b in zip(left, right, strict=True)]

    def numpy() -> list[float]:
        return [float(_numpy_scores(a, *b.unrotated)[0]) for a, b in zip(left, right, strict=True)]

    np.testing.assert_array_equal(ours(), numpy())
    repeats = 200
    measure(
        benchmark,
        lambda: [ours() for _ in range(repeats)],
        [
            Peer(
                "numpy",
                lambda: [numpy() for _ in range(repeats // 50)],
                repeats // 50 * COMPARED,
                "the same scores, bit for bit; the same method with np.bitwise_count",
            )
        ],
        operation="comparison of two codes, 17 rotations",
        operations=repeats * COMPARED,
        rounds=sizes.rounds,
    )


def test_search(benchmark: Benchmark, gallery: IrisGallery, sizes: Sizes) -> None:
    benchmark.group = "iris 1:N"
    total = len(gallery.codes)
    count = min(ShortlistParameters().count(total), total)

    def ours() -> NDArray[np.int64]:
        return gallery.index.shortlist([gallery.probe], count)[0]

    def numpy() -> NDArray[np.int64]:
        scores = np.concatenate(
            [
                _numpy_scores(gallery.probe, gallery.codes[at : at + 4096], gallery.masks[at : at + 4096])
                for at in range(0, total, 4096)
            ]
        )
        ranks = np.where(np.isnan(scores), np.inf, -scores)
        return np.lexsort((np.arange(total), ranks))[:count]

    def flat() -> int:
        distances, ids = gallery.flat.search(gallery.probe.bits.view(np.uint8), count)
        return int(ids[np.unravel_index(np.argmin(distances), distances.shape)])

    np.testing.assert_array_equal(ours(), numpy())
    assert ours()[0] == gallery.mate
    assert flat() == gallery.mate
    measure(
        benchmark,
        ours,
        [
            Peer(
                "numpy",
                numpy,
                total,
                f"the same {count:,} best in the same order; the same method, blocks of 4,096, one thread",
            ),
            Peer(
                "faiss-binary-flat",
                flat,
                total,
                "the same best candidate, OTHER shortlist: IndexBinaryFlat, 17 rotations, knows no masks; one thread",
            ),
        ],
        operation=f"reference of a search of {total:,} eyes, 17 rotations, one probe",
        operations=total,
        rounds=sizes.rounds,
    )


def _numpy_scores(probe: PreparedIris, codes: NDArray[np.uint64], masks: NDArray[np.uint64]) -> NDArray[np.float64]:
    """The comparison as one would write it in numpy: float64[n], NaN where too few bits can be compared."""
    best = np.full(len(codes), np.nan)
    for bits, mask in zip(probe.bits, probe.masks, strict=True):
        common = masks & mask
        compared = np.bitwise_count(common).sum(axis=1, dtype=np.int64)
        different = np.bitwise_count((codes ^ bits) & common).sum(axis=1, dtype=np.int64)
        best = np.fmax(best, (compared - 2 * different) * PARAMETERS.weights[compared])
    return best


def _textbook_code(grey: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """A textbook's iris code, bool[20, 240, 2].

    Circles: R. Wildes, "Iris recognition: an emerging biometric technology", Proc. IEEE 85(9), 1997, by OpenCV's
    ``HoughCircles``. Sheet and filter: L. Masek, "Recognition of human iris patterns for biometric identification",
    University of Western Australia, 2003: 20 x 240, wavelength 18, sigma over f 0.5.
    """
    scale = 320 / max(grey.shape)
    small = cv2.medianBlur(cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), 5)
    limbus = _circle(small, small.shape[0] // 6, small.shape[0] // 2)
    pupil = _circle(small, small.shape[0] // 20, max(int(0.7 * limbus[2]), small.shape[0] // 20 + 2))
    angle = np.arange(240) * (2 * np.pi / 240)
    share = ((np.arange(20) + 0.5) / 20)[:, None]
    x = (1 - share) * (pupil[0] + pupil[2] * np.cos(angle)) + share * (limbus[0] + limbus[2] * np.cos(angle))
    y = (1 - share) * (pupil[1] + pupil[2] * np.sin(angle)) + share * (limbus[1] + limbus[2] * np.sin(angle))
    sheet = cv2.remap(
        grey, (x / scale).astype(np.float32), (y / scale).astype(np.float32), cv2.INTER_LINEAR
    ).astype(np.float64)  # fmt: skip
    frequency = np.fft.fftfreq(240)
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = np.exp(-(np.log(frequency * 18) ** 2) / (2 * np.log(0.5) ** 2))
    gain = np.where(frequency > 0, gain, 0.0)
    response = np.fft.ifft(np.fft.fft(sheet, axis=1) * gain, axis=1)
    return np.stack([response.real > 0, response.imag > 0], axis=-1)


def _circle(grey: NDArray[Any], smallest: int, largest: int) -> NDArray[np.float32]:
    """The strongest circle (x, y, radius) of these radii; the middle of the picture where there is none."""
    found = cv2.HoughCircles(
        grey, cv2.HOUGH_GRADIENT, 1.0, 20.0, param1=60, param2=15, minRadius=smallest, maxRadius=largest
    )
    if found is None:
        return np.array([grey.shape[1] / 2, grey.shape[0] / 2, (smallest + largest) / 2], np.float32)
    return np.asarray(found, np.float32).reshape(-1, found.shape[-1])[0, :3]


def _template(extractors: Extractors, image: bytes) -> IrisTemplate:
    template = extractors.extract(Position.IRIS_RIGHT, image, "image/png", None).template
    assert isinstance(template, IrisTemplate)
    return template


def _png(pixels: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()
