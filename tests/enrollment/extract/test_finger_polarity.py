"""White ridges are told from dark ones and corrected, on synthetic prints and, if present, on real ones."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from enrollment.extract.finger import FingerExtractor
from enrollment.extract.finger_ridges import find_ridges
from enrollment.images import DecodedImage, decode_image
from enrollment.synthesis.finger import synthesise_finger
from matcher.templates import FingerTemplate
from tests.enrollment.extract import ridge_images

SHARED = Path(os.environ.get("AMBIS_SHARED", Path(__file__).parents[4] / "shared"))


@pytest.fixture(scope="module")
def extractor() -> FingerExtractor:
    return FingerExtractor(measure_quality=False)


def evidence(image: NDArray[np.uint8]) -> float:
    polarity = find_ridges(image).polarity
    assert polarity is not None
    return polarity.evidence


def f1(a: FingerTemplate, b: FingerTemplate) -> float:
    """Of minutiae within 3 pixels and 6 degrees, each used once."""
    near = np.hypot(a.x[:, None] - b.x[None].astype(np.float64), a.y[:, None] - b.y[None].astype(np.float64)) <= 3
    turned = np.abs(np.angle(np.exp(1j * (a.angle_radians[:, None] - b.angle_radians[None])))) <= np.radians(6)
    fits = near & turned
    return float(fits.any(axis=1).sum() + fits.any(axis=0).sum()) / (len(a) + len(b))


def template_of(extractor: FingerExtractor, image: NDArray[np.uint8], ppi: float = 500.0) -> FingerTemplate:
    template = extractor.extract(DecodedImage(image, ppi, "image/png")).template
    assert isinstance(template, FingerTemplate)
    return template


@pytest.mark.parametrize("finger", range(50, 56))
def test_synthetic_prints_are_dark_and_their_negatives_are_not(finger: int) -> None:
    image = synthesise_finger(finger, finger % 3)
    assert evidence(image) > 0.5
    assert evidence(255 - image) < -0.5


def test_a_print_that_fills_its_image_is_left_as_it_is() -> None:
    image = synthesise_finger(57, 0)[140:340, 110:290]
    polarity = find_ridges(image).polarity
    assert polarity is not None
    assert not polarity.white_ridges


def test_an_image_without_a_print_has_no_polarity() -> None:
    assert find_ridges(np.full((200, 200), 255, np.uint8)).polarity is None


@pytest.mark.parametrize("ppi", [500.0, 1000.0])
def test_an_inverted_print_gives_the_same_minutiae_and_advice(extractor: FingerExtractor, ppi: float) -> None:
    places = ridge_images.minutiae_places()
    for image in (synthesise_finger(58, 1), ridge_images.print_image(places, ppi / 500)):
        upright = extractor.extract(DecodedImage(image, ppi, "image/png"))
        inverted = extractor.extract(DecodedImage(255 - image, ppi, "image/png"))
        assert isinstance(upright.template, FingerTemplate)
        assert isinstance(inverted.template, FingerTemplate)
        assert f1(upright.template, inverted.template) >= 0.95
        assert not any("white" in line for line in upright.advice)
        assert any("white" in line for line in inverted.advice)


def test_thin_and_merged_ridges_are_told_apart() -> None:
    def ink(image: NDArray[np.uint8]) -> float:
        polarity = find_ridges(image).polarity
        assert polarity is not None
        return polarity.ink

    image = synthesise_finger(59, 0)
    pen = np.ones((5, 5), np.uint8)
    thin = np.asarray(cv2.dilate(image, pen), np.uint8)
    merged = np.asarray(cv2.erode(image, pen), np.uint8)
    assert ink(thin) < 0.3 < ink(image) < 0.6 < ink(merged)


def test_every_real_print_is_dark_and_its_negative_is_corrected(extractor: FingerExtractor) -> None:
    manifest = SHARED / "data" / "manifest.csv"
    if not manifest.is_file():
        pytest.skip("real samples are not here: set AMBIS_SHARED to the folder that holds data/manifest.csv")
    with manifest.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["modality"] == "finger"]
    images = [decode_image((SHARED / "data" / r["path"]).read_bytes(), ppi=500.0).grey for r in rows[3::23]]
    assert all(evidence(image) > 0.3 for image in images)
    assert all(evidence(255 - image) < -0.3 for image in images)
    for image in images[::6]:
        assert f1(template_of(extractor, image), template_of(extractor, 255 - image)) >= 0.95
