"""Irises: extraction against a textbook pipeline, comparison and search against numpy and FAISS.

All eyes and codes are synthetic.
"""

from __future__ import annotations

import copy
import dataclasses
import io
from collections.abc import Callable
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
from matcher.gallery_view import ShortlistParameters
from matcher.iris.comparison import IrisComparator, PreparedIris
from matcher.iris.index import IrisIndex
from matcher.iris.parameters import PARAMETERS, CodeParameters
from matcher.iris.view import IrisScan
from matcher.positions import Position
from matcher.templates import IrisTemplate

SEED = 40
COMPARED = 50
MATES = 200
BLOCK = 4096


@dataclasses.dataclass(frozen=True, eq=False)
class IrisGallery:
    """The same search codes in our index, in its other mode, as uint64[n, 32] codes and masks, and in FAISS.

    The probe is a second capture of one of the eyes, the mate.
    """

    codes: NDArray[np.uint64]
    masks: NDArray[np.uint64]
    two_stages: IrisIndex
    exact: IrisIndex
    flat: Any
    probe: PreparedIris
    mate: int
    count: int


@pytest.fixture(scope="module")
def gallery(sizes: Sizes) -> IrisGallery:
    templates = bulk_iris_templates(sizes.irises, SEED)
    two_stages = IrisIndex()
    for start in range(0, len(templates), 50_000):
        two_stages.append(templates[start : start + 50_000])
    exact = copy.copy(two_stages)
    exact.scan = IrisScan.EXACT
    codes = np.stack([t.search.bits for t in templates])
    masks = np.stack([t.search.mask for t in templates])
    flat = faiss.IndexBinaryFlat(PARAMETERS.search.bits)
    flat.add(codes.view(np.uint8))
    mate = sizes.irises // 3
    probe = two_stages.check(vary(templates[mate], 1))
    count = min(ShortlistParameters().count(len(templates)), len(templates))
    return IrisGallery(codes, masks, two_stages, exact, flat, probe, mate, count)


def test_extraction(benchmark: Benchmark, extractors: Extractors, sizes: Sizes) -> None:
    benchmark.group = "iris extraction"
    images = [_png(synthesise_eye(SEED + eye, 0)) for eye in range(sizes.images)]

    def ours() -> list[IrisTemplate]:
        return [_template(extractors, image) for image in images]

    def textbook() -> list[NDArray[np.bool_]]:
        return [_textbook_code(decode_image(image, media_type="image/png").grey) for image in images]

    assert all(len(template.verification) == PARAMETERS.verification.words for template in ours())
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
        return [_numpy_deformed(a, b) for a, b in zip(left, right, strict=True)]

    np.testing.assert_array_equal(ours(), numpy())
    repeats = 100
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
        operation="comparison of two codes of 8,192 bits, 17 rotations, the best two with moving sectors",
        operations=repeats * COMPARED,
        rounds=sizes.rounds,
    )


def test_search(benchmark: Benchmark, gallery: IrisGallery, sizes: Sizes) -> None:
    benchmark.group = "iris 1:N"
    prefix = PARAMETERS.prefix
    words = prefix.words

    def numpy() -> NDArray[np.int64]:
        first = _numpy_scores(gallery, slice(words), prefix, np.arange(len(gallery.codes)))
        worth = np.flatnonzero(first >= PARAMETERS.prefix_threshold)
        if len(worth) < gallery.count:
            worth = np.sort(_numpy_best(np.arange(len(first)), first, gallery.count))
        whole = _numpy_scores(gallery, slice(PARAMETERS.search.words), PARAMETERS.search, worth)
        return _numpy_best(worth, whole, gallery.count)

    _check_mates(gallery)
    benchmark.extra_info["mates"] = f"0 of {MATES} that the exact scan finds are lost: below {3 / MATES:.1%} at 95 %"
    _measure_search(benchmark, gallery, gallery.two_stages, numpy, "in two stages", sizes)


def test_exact_search(benchmark: Benchmark, gallery: IrisGallery, sizes: Sizes) -> None:
    benchmark.group = "iris 1:N"
    everyone = np.arange(len(gallery.codes))

    def numpy() -> NDArray[np.int64]:
        whole = _numpy_scores(gallery, slice(PARAMETERS.search.words), PARAMETERS.search, everyone)
        return _numpy_best(everyone, whole, gallery.count)

    _measure_search(benchmark, gallery, gallery.exact, numpy, "exact", sizes)


def _check_mates(gallery: IrisGallery) -> None:
    """Second captures of the first eyes: whatever the exact scan finds, the two stages find."""
    eyes = bulk_iris_templates(MATES, SEED)
    probes = [gallery.two_stages.check(vary(eye, 2 + number, flips=0.28)) for number, eye in enumerate(eyes)]
    fast, exact = (i.view().shortlist(probes, gallery.count) for i in (gallery.two_stages, gallery.exact))
    assert [int(ids[0]) for ids in exact] == list(range(MATES))
    assert [int(ids[0]) for ids in fast] == list(range(MATES))


def _measure_search(
    benchmark: Benchmark,
    gallery: IrisGallery,
    index: IrisIndex,
    numpy: Callable[[], NDArray[np.int64]],
    how: str,
    sizes: Sizes,
) -> None:
    total, count = len(gallery.codes), gallery.count

    def ours() -> NDArray[np.int64]:
        return index.view().shortlist([gallery.probe], count)[0]

    def flat() -> int:
        distances, ids = gallery.flat.search(gallery.probe.search_bits.view(np.uint8), count)
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
                f"the same {count:,} best in the same order; the same method, blocks of {BLOCK:,}, one thread",
            ),
            Peer(
                "faiss-binary-flat",
                flat,
                total,
                "the same best candidate, OTHER shortlist: IndexBinaryFlat, 17 rotations, knows no masks; one thread",
            ),
        ],
        operation=f"reference of a search of {total:,} eyes, 17 rotations, one probe, {how}",
        operations=total,
        rounds=sizes.slow_rounds,
    )


def _numpy_scores(
    gallery: IrisGallery, words: slice, code: CodeParameters, rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The comparison of search codes as one would write it in numpy: float64[n], NaN: too few bits to compare."""
    scores = np.empty(len(rows))
    for at in range(0, len(rows), BLOCK):
        codes, masks = (table[rows[at : at + BLOCK], words] for table in (gallery.codes, gallery.masks))
        best = np.full(len(codes), -np.inf)
        for bits, mask in zip(gallery.probe.search_bits[:, words], gallery.probe.search_masks[:, words], strict=True):
            common = masks & mask
            compared = np.bitwise_count(common).sum(axis=1, dtype=np.int64)
            x = compared - 2 * np.bitwise_count((codes ^ bits) & common).sum(axis=1, dtype=np.int64)
            quotient = x * np.abs(x) / np.maximum(compared, 1)
            np.maximum(best, np.where(compared >= code.least_bits, quotient, -np.inf), out=best)
        found = np.copysign(0.5 * np.sqrt(np.abs(best) / code.reference_bits), best)
        scores[at : at + BLOCK] = np.where(np.isinf(best), np.nan, found)
    return scores


def _numpy_best(rows: NDArray[np.int64], scores: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """The ``count`` rows of highest score, best first, equal scores by row, NaN last."""
    return rows[np.lexsort((rows, np.where(np.isnan(scores), np.inf, -scores)))][:count]


def _numpy_deformed(a: PreparedIris, b: PreparedIris) -> float:
    """The comparison of verification codes by the steps of ``matcher.iris.deformation``, in numpy."""
    p, code = PARAMETERS, PARAMETERS.verification
    if a.verification.ravel().tolist() > b.verification.ravel().tolist():
        a, b = b, a
    own, mask = a.verification
    window = np.arange(code.columns)
    shifts = np.arange(-p.max_shift, p.max_shift + 1)

    def agreement(moved: NDArray[np.uint64], shift: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
        """For each shift and column how many more bits agree than differ, and how many are compared."""
        other = moved[:, p.padding + shift[:, None] + window]
        common = mask & other[1]
        n = np.bitwise_count(common).astype(np.int64)
        return n - 2 * np.bitwise_count((own ^ other[0]) & common).astype(np.int64), n

    x, n = (counts.sum(axis=1) for counts in agreement(b.moved[p.row_reach], shifts))
    rigid = np.where(n >= code.least_bits, x * np.abs(x) / np.maximum(n, 1), -np.inf)
    rows = np.repeat(np.arange(-p.row_reach, p.row_reach + 1), 2 * p.column_reach + 1)
    columns = np.tile(np.arange(-p.column_reach, p.column_reach + 1), 2 * p.row_reach + 1)
    best = -np.inf
    for k in np.argsort(-rigid, kind="stable")[: p.refined]:
        if np.isinf(rigid[k]):
            break
        counts = [agreement(moved, shifts[k] + columns[rows == r]) for r, moved in enumerate(b.moved, -p.row_reach)]
        x, n = (
            np.concatenate(part).reshape(len(rows), p.sectors, -1).sum(axis=2) for part in zip(*counts, strict=True)
        )
        less = x - p.deformation_cost * n * (np.abs(rows) + np.abs(columns))[:, None]
        chosen = np.argmax(less, axis=0), np.arange(p.sectors)
        total, compared = float(np.add.accumulate(less[chosen])[-1]), int(n[chosen].sum())
        if compared >= code.least_bits:
            best = max(best, total * abs(total) / compared)
    return float(np.copysign(0.5 * np.sqrt(abs(best) / code.reference_bits), best)) if best > -np.inf else np.nan


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
