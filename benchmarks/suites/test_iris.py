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

from benchmarks.suites.iris_limits import first_stage_seconds, population_counts_a_second, read_bandwidth
from benchmarks.suites.pairs import Benchmark, Peer, measure
from benchmarks.suites.sizes import Sizes
from enrollment.extract.extractors import Extractors
from enrollment.images import decode_image
from enrollment.synthesis.iris import synthesise_eye
from enrollment.synthesis.iris_templates import bulk_iris_codes, bulk_iris_templates, vary
from matcher.gallery_view import ShortlistParameters
from matcher.iris.comparison import IrisComparator, PreparedIris
from matcher.iris.index import IrisIndex
from matcher.iris.parameters import ALGORITHM, PARAMETERS, VERSION
from matcher.iris.view import IrisScan, IrisView
from matcher.positions import Position
from matcher.templates import IrisCode, IrisTemplate
from matcher.threads import workers

SEED = 40
COMPARED = 50
MATES = 200
PROBES = 16
BLOCK = 4096

ACCEPTED = 0.159
"""Score of search codes that one real stranger in 10,000 reaches (CASIA1 and MMU2)."""


@dataclasses.dataclass(frozen=True, eq=False)
class IrisGallery:
    """The same search codes in views of each scan, word by word for numpy, uint64[32, n], and in FAISS.

    The probes are second captures of some of the eyes, the mates.
    """

    codes: NDArray[np.uint64]
    masks: NDArray[np.uint64]
    views: dict[IrisScan, IrisView]
    flat: Any
    probes: list[PreparedIris]
    mates: list[int]
    count: int


@pytest.fixture(scope="module")
def gallery(sizes: Sizes) -> IrisGallery:
    tables = bulk_iris_codes(sizes.irises, SEED)
    index = IrisIndex()

    def template(row: int) -> IrisTemplate:
        bits, mask, long_bits, long_mask = (table[row] for table in tables)
        return IrisTemplate(
            ALGORITHM, VERSION, PARAMETERS.search.columns, IrisCode(bits, mask), IrisCode(long_bits, long_mask)
        )

    for start in range(0, sizes.irises, 10_000):
        index.append([template(row) for row in range(start, min(start + 10_000, sizes.irises))])
    views = {}
    for scan in IrisScan:
        index.scan = scan
        views[scan] = index.view()
    flat = faiss.IndexBinaryFlat(PARAMETERS.search.bits)
    flat.add(tables[0].view(np.uint8))
    mates = [(2 * k + 1) * sizes.irises // (2 * PROBES) for k in range(PROBES)]
    probes = [index.check(vary(template(mate), mate)) for mate in mates]
    count = min(ShortlistParameters().count(sizes.irises), sizes.irises)
    codes, masks = (np.ascontiguousarray(table.T) for table in tables[:2])
    return IrisGallery(codes, masks, views, flat, probes, mates, count)


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


@pytest.mark.parametrize("probes", [1, PROBES])
def test_search(benchmark: Benchmark, gallery: IrisGallery, sizes: Sizes, probes: int) -> None:
    benchmark.group = "iris 1:N"
    _check_mates(gallery)
    benchmark.extra_info["mates"] = f"0 of {MATES} that the exact scan finds are lost: below {3 / MATES:.1%} at 95 %"
    _measure_search(benchmark, gallery, IrisScan.TWO_STAGES, gallery.probes[:probes], sizes)


def test_exact_search(benchmark: Benchmark, gallery: IrisGallery, sizes: Sizes) -> None:
    benchmark.group = "iris 1:N"
    _measure_search(benchmark, gallery, IrisScan.EXACT, gallery.probes[:1], sizes)


def test_search_by_faiss(benchmark: Benchmark, gallery: IrisGallery, sizes: Sizes) -> None:
    benchmark.group = "iris 1:N"
    _measure_search(benchmark, gallery, IrisScan.FAISS, gallery.probes[:1], sizes)


def _check_mates(gallery: IrisGallery) -> None:
    """Second captures of the first eyes: whatever the exact scan finds, the two stages find."""
    eyes = bulk_iris_templates(MATES, SEED)
    comparator = IrisComparator()
    probes = [comparator.prepare(vary(eye, 2 + number, flips=0.28)) for number, eye in enumerate(eyes)]
    for scan in (IrisScan.EXACT, IrisScan.TWO_STAGES):
        found = gallery.views[scan].shortlist(probes, gallery.count)
        assert [int(rows[0]) for rows in found] == list(range(MATES))


def _measure_search(
    benchmark: Benchmark, gallery: IrisGallery, scan: IrisScan, probes: list[PreparedIris], sizes: Sizes
) -> None:
    total, count, view = gallery.codes.shape[1], gallery.count, gallery.views[scan]
    rotated = np.concatenate([probe.search_bits for probe in probes]).view(np.uint8)

    def ours() -> list[NDArray[np.int64]]:
        return view.shortlist(probes, count)

    def numpy() -> list[NDArray[np.float64]]:
        return _numpy_scores(gallery, probes)

    def flat() -> NDArray[np.int64]:
        distances, rows = gallery.flat.search(rotated, count)
        nearest = np.argmin(distances[:, 0].reshape(len(probes), -1), axis=1)
        return np.asarray(rows[:, 0].reshape(len(probes), -1)[np.arange(len(probes)), nearest], np.int64)

    everyone = np.arange(total)
    same = []
    assert flat()[0] == gallery.mates[0]
    for probe, mate, rows, whole in zip(probes, gallery.mates, ours(), numpy(), strict=False):
        assert rows[0] == mate
        np.testing.assert_array_equal(view.compare_search_codes(probe, rows), whole[rows])
        if scan is not IrisScan.FAISS:
            assert np.isin(np.flatnonzero(whole >= ACCEPTED), rows).all()
        best = everyone[np.lexsort((everyone, np.where(np.isnan(whole), np.inf, -whole)))][:count]
        same.append(float(np.isin(best, rows).mean()))
    benchmark.extra_info["mates that FAISS alone puts first"] = int(np.sum(flat() == gallery.mates[: len(probes)]))
    benchmark.extra_info["of the exact shortlist"] = f"{np.mean(same):.1%}"
    operations = total * len(probes)
    measure(
        benchmark,
        ours,
        [
            Peer(
                "numpy",
                numpy,
                operations,
                "the same distances of all that is found and all that would be accepted; every reference by the whole "
                f"code with np.bitwise_count, word by word, blocks of {BLOCK:,}, the same threads",
            ),
            Peer(
                "faiss-binary-flat",
                flat,
                operations,
                "OTHER answers: IndexBinaryFlat, 17 rotations, knows no masks; one thread",
            ),
        ],
        operation=f"reference of a search of {total:,} eyes, 17 rotations, {len(probes)} probes, {scan.value}",
        operations=operations,
        rounds=sizes.slow_rounds,
    )
    seconds = benchmark.extra_info["seconds_per_operation"]
    benchmark.extra_info["eyes a second a core"] = round(1.0 / seconds / workers().count)
    benchmark.extra_info["limits"] = _limits(gallery, scan, probes, seconds * workers().count)


def _limits(gallery: IrisGallery, scan: IrisScan, probes: list[PreparedIris], seconds: float) -> dict[str, float | str]:
    """Where the time of a reference and probe (seconds of one core) goes, and what no such search could go below."""
    limits: dict[str, float | str] = {"read bandwidth of a core, GB/s": round(read_bandwidth() / 1e9, 1)}
    code = PARAMETERS.search
    if scan is IrisScan.EXACT:
        counted = 2 * PARAMETERS.rotations * code.words
        limits["words counted a reference"] = counted
        limits["of the processor's rate of counting"] = f"{counted / population_counts_a_second() / seconds:.0%}"
        limits["of the bandwidth"] = f"{2 * code.words * 8 / read_bandwidth() / seconds:.0%}"
    if scan is IrisScan.TWO_STAGES:
        first, share = first_stage_seconds(probes[0], gallery.codes[:, :8192].T, gallery.masks[:, :8192].T)
        read = PARAMETERS.prefix.bits // 4 + share * 2 * code.words * 8
        limits["first stage in cache, of the time"] = f"{first / seconds:.0%}"
        limits["let through by the first stage"] = f"{share:.1%}"
        limits["bytes read a reference, at most"] = round(read)
        limits["of the bandwidth"] = f"{read / len(probes) / read_bandwidth() / seconds:.0%}"
    return limits


def _numpy_scores(gallery: IrisGallery, probes: list[PreparedIris]) -> list[NDArray[np.float64]]:
    """The comparison of search codes as one would write it in numpy: float64[n] a probe, NaN: too few bits."""
    code, total = PARAMETERS.search, gallery.codes.shape[1]
    scores = [np.empty(total) for _ in probes]

    def score(part: tuple[int, int]) -> None:
        for at in range(*part, BLOCK):
            own = slice(at, min(at + BLOCK, part[1]))
            codes, masks = gallery.codes[:, own], gallery.masks[:, own]
            common, different = np.empty_like(codes), np.empty_like(codes)
            counts = np.empty(codes.shape, np.uint8)
            for probe, of in zip(probes, scores, strict=True):
                best = np.full(codes.shape[1], -np.inf)
                for bits, mask in zip(probe.search_bits, probe.search_masks, strict=True):
                    np.bitwise_and(masks, mask[:, None], out=common)
                    compared = np.bitwise_count(common, out=counts).sum(axis=0, dtype=np.uint16).astype(np.int64)
                    np.bitwise_xor(codes, bits[:, None], out=different)
                    np.bitwise_and(different, common, out=different)
                    x = np.bitwise_count(different, out=counts).sum(axis=0, dtype=np.uint16).astype(np.int64)
                    x = compared - 2 * x
                    quotient = x * np.abs(x) / np.maximum(compared, 1)
                    np.maximum(best, np.where(compared >= code.least_bits, quotient, -np.inf), out=best)
                found = np.copysign(0.5 * np.sqrt(np.abs(best) / code.reference_bits), best)
                of[own] = np.where(np.isinf(best), np.nan, found)

    workers().map(score, workers().ranges(total))
    return scores


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
