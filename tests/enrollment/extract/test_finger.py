"""The fingerprint extractor on prints whose minutiae are known, on what is no print, and on real prints if present."""

from __future__ import annotations

import csv
import dataclasses
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from enrollment.extract.extraction import ModalityExtractor
from enrollment.extract.finger import FingerExtractionParameters, FingerExtractor, resample
from enrollment.extract.finger_minutiae import Minutiae
from enrollment.images import DecodedImage, decode_image
from enrollment.synthesis.finger import synthesise_finger
from matcher.errors import SampleRejected
from matcher.finger.comparison import FingerComparator
from matcher.finger.parameters import FINGER_ALGORITHM
from matcher.positions import Modality
from matcher.templates import FingerTemplate, template_from_bytes
from tests.enrollment.extract import ridge_images

SHARED = Path(os.environ.get("AMBIS_SHARED", Path(__file__).parents[4] / "shared"))


@pytest.fixture(scope="module")
def extractor() -> FingerExtractor:
    return FingerExtractor()


@pytest.fixture(scope="module")
def places() -> NDArray[np.float64]:
    return ridge_images.minutiae_places()


def decoded(pixels: NDArray[np.uint8], ppi: float | None = 500.0) -> DecodedImage:
    return DecodedImage(pixels, ppi, "image/png")


def template_of(extractor: FingerExtractor, pixels: NDArray[np.uint8], ppi: float | None = 500.0) -> FingerTemplate:
    template = extractor.extract(decoded(pixels, ppi)).template
    assert isinstance(template, FingerTemplate)
    return template


def distances(template: FingerTemplate, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64[minutiae, places]."""
    return np.hypot(template.x[:, None] - places[:, 0], template.y[:, None] - places[:, 1])


def test_it_is_a_modality_extractor(extractor: FingerExtractor) -> None:
    anything: ModalityExtractor = extractor
    assert anything.modality is Modality.FINGER
    assert anything.algorithm in FingerComparator.algorithms


def test_known_minutiae_are_found_where_they_are(extractor: FingerExtractor, places: NDArray[np.float64]) -> None:
    result = extractor.extract(decoded(ridge_images.print_image(places)))
    template = result.template
    assert isinstance(template, FingerTemplate)
    apart = distances(template, places)
    assert (apart.min(axis=0) < 4).mean() >= 0.9
    assert (apart.min(axis=1) < 4).mean() >= 0.9
    ridge = ridge_images.ridge_direction(template.x.astype(np.float64), template.y.astype(np.float64))
    turned = np.mod(template.angle_radians - ridge + np.pi / 2, np.pi) - np.pi / 2
    assert np.abs(turned).mean() < 0.15
    assert (template.width, template.height) == (320, 400)
    assert 30 <= result.quality <= 100
    assert result.advice == ()
    assert template_from_bytes(template.to_bytes()) == template


def test_angles_are_counter_clockwise(extractor: FingerExtractor, places: NDArray[np.float64]) -> None:
    picture = ridge_images.print_image(places)
    upright = template_of(extractor, picture)
    turned = template_of(extractor, np.ascontiguousarray(np.rot90(picture)))
    expected = np.stack([upright.y, upright.width - 1 - upright.x.astype(np.int64)], axis=1).astype(np.float64)
    apart = distances(turned, expected)
    assert apart.min(axis=0).max() < 5
    partner = apart.argmin(axis=0)
    by = (turned.angle[partner].astype(np.int64) - upright.angle.astype(np.int64)) % 65536 * (360 / 65536)
    assert np.abs(by - 90).max() < 12


@pytest.mark.parametrize("ppi", [300.0, 750.0, 1000.0])
def test_any_resolution_gives_the_places_at_500_ppi(
    extractor: FingerExtractor, places: NDArray[np.float64], ppi: float
) -> None:
    template = template_of(extractor, ridge_images.print_image(places, ppi / 500), ppi)
    assert (template.width, template.height) == (320, 400)
    assert (distances(template, places).min(axis=0) < 4).mean() >= 0.9
    comparator = FingerComparator()
    at_500 = comparator.prepare(template_of(extractor, ridge_images.print_image(places)))
    assert comparator.compare(at_500, comparator.prepare(template)) > 20.0


@pytest.mark.parametrize("ppi", [250.0, 1000.0])
def test_a_scan_at_another_resolution_matches_the_one_at_500_ppi(extractor: FingerExtractor, ppi: float) -> None:
    comparator = FingerComparator()
    strangers = [comparator.prepare(template_of(extractor, synthesise_finger(finger, 0))) for finger in (81, 82)]
    picture = synthesise_finger(80, 0)
    size = (round(picture.shape[1] * ppi / 500), round(picture.shape[0] * ppi / 500))
    scanned = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS), np.uint8)
    at_500 = comparator.prepare(template_of(extractor, picture))
    other = comparator.prepare(template_of(extractor, scanned, ppi))
    assert comparator.compare(at_500, other) > 5 * max(comparator.compare(s, other) for s in strangers)
    assert comparator.compare(at_500, other) > 0.5 * comparator.compare(at_500, at_500)


def test_resampling_keeps_places_exactly() -> None:
    y, x = np.mgrid[:401, :307].astype(np.float64)
    spot = np.round(255 * np.exp(-((x - 200.3) ** 2 + (y - 120.8) ** 2) / 60)).astype(np.uint8)
    for scale in (0.5, 500 / 508, 1.6667):
        small = resample(spot, scale).astype(np.float64)
        assert small.shape == (int(401 * scale), int(307 * scale))
        yy, xx = np.mgrid[: small.shape[0], : small.shape[1]]
        # Pixel centres lie at +0.5.
        assert ((small * xx).sum() / small.sum() + 0.5) / scale == pytest.approx(200.8, abs=0.1)
        assert ((small * yy).sum() / small.sum() + 0.5) / scale == pytest.approx(121.3, abs=0.1)
    assert np.array_equal(resample(spot, 1.0), spot)


def test_the_place_of_the_print_in_the_image_does_not_matter(
    extractor: FingerExtractor, places: NDArray[np.float64]
) -> None:
    wide = np.full((700, 800), 235, np.uint8)
    wide[150:550, 300:620] = ridge_images.print_image(places)
    template = template_of(extractor, wide)
    assert (template.width, template.height) == (800, 700)
    assert (distances(template, places + np.array([300, 150])).min(axis=0) < 4).mean() >= 0.9


def test_an_unknown_resolution_is_taken_for_500_and_said(
    extractor: FingerExtractor, places: NDArray[np.float64]
) -> None:
    picture = ridge_images.print_image(places)
    result = extractor.extract(decoded(picture, None))
    assert result.template == template_of(extractor, picture)
    assert any("500 ppi was assumed" in line for line in result.advice)


def test_half_a_finger_gets_advice(extractor: FingerExtractor, places: NDArray[np.float64]) -> None:
    picture = np.full((400, 320), 235, np.uint8)
    picture[:, :200] = ridge_images.print_image(places)[:, 120:]
    picture[:, 185:] = 235
    result = extractor.extract(decoded(picture))
    assert any("left edge" in line for line in result.advice)


def test_colour_images_are_prints_too(extractor: FingerExtractor, places: NDArray[np.float64]) -> None:
    picture = ridge_images.print_image(places)
    assert template_of(extractor, np.repeat(picture[:, :, None], 3, axis=2)) == template_of(extractor, picture)


@pytest.mark.parametrize(
    "picture",
    [
        np.full((300, 300), 240, np.uint8),
        np.zeros((300, 300), np.uint8),
        np.random.default_rng(0).integers(0, 256, (400, 400), dtype=np.uint8),
        ridge_images.text_page(),
        ridge_images.stripes(),
        ridge_images.eye_like(),
        ridge_images.print_image(ridge_images.minutiae_places())[150:190, 150:190],
        np.tile(np.array([[0, 255], [255, 0]], np.uint8), (150, 150)),
    ],
    ids=["white", "black", "noise", "text", "stripes", "eye", "scrap", "checkerboard"],
)
def test_what_is_no_print_is_refused(extractor: FingerExtractor, picture: NDArray[np.uint8]) -> None:
    with pytest.raises(SampleRejected, match="capture again") as caught:
        extractor.extract(decoded(picture))
    assert caught.value.reason == "FINGER_NOT_FOUND"


@pytest.mark.parametrize("ppi", [72.0, 199.0, 1201.0, 4000.0])
def test_resolutions_that_cannot_be_used_are_refused(extractor: FingerExtractor, ppi: float) -> None:
    with pytest.raises(SampleRejected, match="500 or 1000 ppi") as caught:
        extractor.extract(decoded(ridge_images.stripes(), ppi))
    assert caught.value.reason == "PPI_UNSUPPORTED"


@pytest.mark.parametrize("shape", [(4000, 3000), (1400, 1400)])
def test_more_than_a_finger_is_refused(extractor: FingerExtractor, shape: tuple[int, int]) -> None:
    with pytest.raises(SampleRejected, match="more than one finger") as caught:
        extractor.extract(decoded(ridge_images.stripes(max(shape))[: shape[0], : shape[1]]))
    assert caught.value.reason == "FINGER_TOO_LARGE"


def test_threads_share_one_extractor(extractor: FingerExtractor) -> None:
    pictures = [ridge_images.print_image(ridge_images.minutiae_places(seed=s), seed=s) for s in range(4)]
    alone = [extractor.extract(decoded(p)) for p in pictures]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda p: extractor.extract(decoded(p)), pictures))
    assert alone == together


def test_quality_can_be_estimated_without_nfiq2(extractor: FingerExtractor, places: NDArray[np.float64]) -> None:
    quick = FingerExtractor(measure_quality=False)
    picture = ridge_images.print_image(places)
    result = quick.extract(decoded(picture))
    assert result.template == template_of(extractor, picture)
    assert 20 <= result.quality <= 40


def test_parameters_are_obeyed(places: NDArray[np.float64]) -> None:
    standard = FingerExtractor().parameters
    few = FingerExtractor(
        measure_quality=False, parameters=dataclasses.replace(standard, max_minutiae=10, min_quality=0.5)
    )
    template = template_of(few, ridge_images.print_image(places))
    assert len(template) == 10
    assert template.quality.min() >= 50
    assert np.all(np.diff(template.quality.astype(np.int64)) <= 0)


@pytest.mark.parametrize(
    ("doubtful_likeness", "sure_share", "told"),
    [(0.0, 0.5, None), (0.0, 0.51, "at least 2"), (1.5, 0.5, "at least 1.5")],
)
def test_a_doubtful_print_passes_where_enough_minutiae_are_sure(
    places: NDArray[np.float64], doubtful_likeness: float, sure_share: float, told: str | None
) -> None:
    class HalfSure:
        algorithm = FINGER_ALGORITHM

        def find(self, grey: NDArray[np.uint8], *, min_quality: float, max_count: int) -> Minutiae:
            x = 9 * np.arange(10, dtype=np.int64) + 50
            quality = np.where(np.arange(10) < 5, 0.5, 0.49)
            return Minutiae(x, x.copy(), np.zeros(10), quality)

    parameters = FingerExtractionParameters(
        min_likeness=2.0, doubtful_likeness=doubtful_likeness, sure_quality=0.5, sure_share=sure_share
    )
    picky = FingerExtractor(HalfSure(), measure_quality=False, parameters=parameters)
    picture = ridge_images.print_image(places)
    if told is None:
        assert len(template_of(picky, picture)) == 10
    else:
        with pytest.raises(SampleRejected, match=told):
            template_of(picky, picture)


def real_samples(modality: str) -> Iterator[tuple[str, DecodedImage]]:
    manifest = SHARED / "data" / "manifest.csv"
    if not manifest.is_file():
        pytest.skip("real samples are not here: set AMBIS_SHARED to the folder that holds data/manifest.csv")
    with manifest.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["modality"] == modality]
    for row in rows[:: max(1, len(rows) // 24)][:24]:
        ppi = float(row["ppi"]) if row["ppi"] else 500.0
        yield row["path"], decode_image((SHARED / "data" / row["path"]).read_bytes(), ppi=ppi)


def test_real_prints_are_accepted(extractor: FingerExtractor) -> None:
    counts = {path: len(template_of(extractor, image.grey, image.ppi)) for path, image in real_samples("finger")}
    assert min(counts.values()) >= 8
    assert np.median(list(counts.values())) > 20


@pytest.mark.parametrize("ppi", [250.0, 1000.0])
def test_a_real_print_at_another_resolution_matches_itself(extractor: FingerExtractor, ppi: float) -> None:
    comparator = FingerComparator()
    images = [image.grey for _, image in real_samples("finger")][::4]
    at_500 = [comparator.prepare(template_of(extractor, image)) for image in images]
    for i, image in enumerate(images):
        size = (round(image.shape[1] * ppi / 500), round(image.shape[0] * ppi / 500))
        scanned = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS), np.uint8)
        other = comparator.prepare(template_of(extractor, scanned, ppi))
        scores = [comparator.compare(a, other) for a in at_500]
        assert np.argmax(scores) == i
        assert scores[i] > 2 * max(score for k, score in enumerate(scores) if k != i)


def test_real_faces_are_refused(extractor: FingerExtractor) -> None:
    # A driver in a suit of fine stripes, who is among these, is refused by a hair: another CPU may decide otherwise.
    reasons = []
    for _, image in real_samples("face"):
        try:
            extractor.extract(image)
            reasons.append("accepted")
        except SampleRejected as refusal:
            reasons.append(refusal.reason)
    assert set(reasons) <= {"FINGER_NOT_FOUND", "accepted"}
    assert reasons.count("accepted") <= 1


def test_two_impressions_of_a_real_finger_match(extractor: FingerExtractor) -> None:
    comparator = FingerComparator()
    manifest = SHARED / "data" / "manifest.csv"
    if not manifest.is_file():
        pytest.skip("real samples are not here: set AMBIS_SHARED to the folder that holds data/manifest.csv")
    with manifest.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["subject_id"].startswith("fvc2002_DB1_B")]
    chosen = [row for row in rows if row["encounter"] in ("1", "2")][:8]
    prepared = []
    for row in chosen:
        image = decode_image((SHARED / "data" / row["path"]).read_bytes(), ppi=float(row["ppi"]))
        prepared.append((row["subject_id"], comparator.prepare(extractor.extract(image).template)))
    for i, (subject, a) in enumerate(prepared):
        for other, b in prepared[i + 1 :]:
            score = comparator.compare(a, b)
            assert score > 12.0 if subject == other else score < 10.0
