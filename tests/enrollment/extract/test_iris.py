"""IrisExtractor from end to end: synthetic eyes match themselves and nobody else; what is no eye is refused."""

from __future__ import annotations

import concurrent.futures
import csv
import importlib.resources
import io
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from enrollment.extract.extraction import Extraction
from enrollment.extract.iris import IrisExtractor
from enrollment.extract.iris_quality import QUALITY, QualityParameters
from enrollment.images import DecodedImage, decode_image
from enrollment.synthesis.iris import synthesise_eye
from matcher.errors import SampleRejected
from matcher.iris.comparison import IrisComparator
from matcher.templates import template_from_bytes

EXTRACTOR = IrisExtractor()
COMPARATOR = IrisComparator()
EYES, CAPTURES = 8, 3


def decoded(pixels: NDArray[np.uint8]) -> DecodedImage:
    return DecodedImage(pixels, None, "image/png")


def hd_norm(a: Extraction, b: Extraction) -> float:
    return 0.5 - COMPARATOR.compare(COMPARATOR.prepare(a.template), COMPARATOR.prepare(b.template))


@pytest.fixture(scope="module")
def extractions() -> list[list[Extraction]]:
    return [[EXTRACTOR.extract(decoded(synthesise_eye(e, c))) for c in range(CAPTURES)] for e in range(EYES)]


def test_captures_of_one_eye_match_and_different_eyes_do_not(extractions: list[list[Extraction]]) -> None:
    flat = [(e, x) for e, captures in enumerate(extractions) for x in captures]
    pairs = [(a[0] == b[0], hd_norm(a[1], b[1])) for i, a in enumerate(flat) for b in flat[i + 1 :]]
    assert max(d for same, d in pairs if same) < 0.34
    strangers = np.array([d for same, d in pairs if not same])
    # The best of many alignments has a tail: of 2,484 such pairs 5 % lay below 0.40 and none below 0.364; among real
    # eyes (CASIA-Iris-V1, MMU2) 2 to 3 % below 0.40 and 0.01 % below 0.36.
    assert np.mean(strangers < 0.40) < 0.07
    assert strangers.min() > 0.35


def test_an_extraction_is_whole(extractions: list[list[Extraction]]) -> None:
    for extraction in (x for captures in extractions for x in captures):
        assert 0 <= extraction.quality <= 100
        assert extraction.template.algorithm == EXTRACTOR.algorithm in COMPARATOR.algorithms
        assert template_from_bytes(extraction.template.to_bytes()) == extraction.template
    assert np.median([x.quality for captures in extractions for x in captures]) > 50


@pytest.mark.parametrize("size", [(320, 240), (1280, 960)])
def test_size_of_the_picture_does_not_matter(size: tuple[int, int], extractions: list[list[Extraction]]) -> None:
    resized = cv2.resize(synthesise_eye(1, 0), size, interpolation=cv2.INTER_AREA)
    assert hd_norm(EXTRACTOR.extract(decoded(np.asarray(resized, np.uint8))), extractions[1][1]) < 0.34


def test_a_tilted_head_still_matches(extractions: list[list[Extraction]]) -> None:
    eye = synthesise_eye(2, 0)
    turn = cv2.getRotationMatrix2D((320, 240), 10, 1.0)
    tilted = cv2.warpAffine(eye, turn, (640, 480), borderMode=cv2.BORDER_REPLICATE)
    assert hd_norm(EXTRACTOR.extract(decoded(np.asarray(tilted, np.uint8))), extractions[2][0]) < 0.34


def test_a_grey_picture_saved_as_colour_or_jpeg_is_as_good(extractions: list[list[Extraction]]) -> None:
    eye = synthesise_eye(3, 0)
    as_colour = EXTRACTOR.extract(decoded(np.repeat(eye[:, :, None], 3, axis=2)))
    assert as_colour.template == extractions[3][0].template
    buffer = io.BytesIO()
    Image.fromarray(eye).save(buffer, "JPEG", quality=85)
    assert hd_norm(EXTRACTOR.extract(decode_image(buffer.getvalue())), extractions[3][1]) < 0.34


def test_threads_give_what_one_thread_gives(extractions: list[list[Extraction]]) -> None:
    pictures = [decoded(synthesise_eye(e, 0)) for e in range(4)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(EXTRACTOR.extract, pictures * 2))
    assert [f.template for f in found] == [extractions[e][0].template for e in range(4)] * 2


def test_a_hanging_lid_costs_quality_and_is_told(extractions: list[list[Extraction]]) -> None:
    eye = synthesise_eye(0, 0)
    eye[:235] = 190
    extraction = EXTRACTOR.extract(decoded(eye))
    assert extraction.quality < extractions[0][0].quality - 20
    assert "open the eye wider" in extraction.advice


def test_a_distant_eye_is_told_to_come_closer() -> None:
    small = cv2.resize(synthesise_eye(1, 0), (250, 188), interpolation=cv2.INTER_AREA)
    assert "move closer" in EXTRACTOR.extract(decoded(np.asarray(small, np.uint8))).advice


def printed_circles(outer: int, inner: int) -> NDArray[np.uint8]:
    page = np.full((480, 640), 235, np.uint8)
    cv2.circle(page, (320, 240), outer, 120, -1)
    cv2.circle(page, (320, 240), inner, 20, -1)
    return page


def closed_eye() -> NDArray[np.uint8]:
    """Skin with a dark, curved line of lashes."""
    rng = np.random.default_rng(6)
    skin = 190 + cv2.GaussianBlur(rng.normal(0, 60, (480, 640)).astype(np.float32), (0, 0), 8)
    xs = np.arange(60, 580)
    line = np.stack([xs, 260 + 40 * (1 - ((xs - 320) / 260) ** 2)], -1).astype(np.int32)
    cv2.polylines(skin, [line], False, 60.0, 6, cv2.LINE_AA)
    for x, y in line[::12]:
        cv2.line(skin, (int(x), int(y)), (int(x + (x - 320) / 10), int(y) + 30), 70.0, 2, cv2.LINE_AA)
    return np.asarray(np.clip(skin + rng.normal(0, 3, skin.shape), 0, 255), np.uint8)


def ridges() -> NDArray[np.uint8]:
    """Concentric ridges, as a whorl has them."""
    ys, xs = np.mgrid[0:480, 0:400]
    rng = np.random.default_rng(7)
    print_ = 128 + 100 * np.cos(np.hypot(xs - 200, (ys - 240) * 0.8) * (2 * np.pi / 9))
    return np.asarray(np.clip(print_ + rng.normal(0, 12, print_.shape), 0, 255), np.uint8)


def writing() -> NDArray[np.uint8]:
    page = np.full((480, 640), 245, np.uint8)
    for line in range(8):
        cv2.putText(page, "NO EYE HERE OOO", (20, 60 + 50 * line), cv2.FONT_HERSHEY_SIMPLEX, 1.6, 10, 4)
    return page


NO_EYES = {
    "white": np.full((480, 640), 255, np.uint8),
    "black": np.zeros((480, 640), np.uint8),
    "black disc": printed_circles(60, 60),
    "printed eye": printed_circles(110, 42),
    "large printed eye": printed_circles(150, 60),
    "noise": np.random.default_rng(8).integers(0, 256, (480, 640)).astype(np.uint8),
    "ridges": ridges(),
    "closed eye": closed_eye(),
    "writing": writing(),
    "smallest picture": np.full((32, 32), 90, np.uint8),
    "widest picture": np.random.default_rng(9).integers(0, 256, (32, 8000)).astype(np.uint8),
    "tallest picture": np.random.default_rng(9).integers(0, 256, (8000, 32)).astype(np.uint8),
    "a line": np.full((1, 640), 90, np.uint8),
}


@pytest.mark.parametrize("name", NO_EYES)
def test_what_is_no_eye_is_refused(name: str) -> None:
    with pytest.raises(SampleRejected) as refused:
        EXTRACTOR.extract(decoded(NO_EYES[name]))
    assert refused.value.reason == "IRIS_NOT_FOUND"
    assert "near-infrared" in refused.value.message


def test_people_are_no_eyes() -> None:
    """The group photograph of the insightface package, whole and by parts, in grey."""
    photo = importlib.resources.files("insightface") / "data/images/t1.jpg"
    grey = decode_image(photo.read_bytes()).grey
    parts = [grey] + [grey[y : y + 300, x : x + 300] for y in (0, 200, 400) for x in range(0, 900, 200)]
    refused = []
    for part in parts:
        try:
            EXTRACTOR.extract(decoded(np.ascontiguousarray(part)))
        except SampleRejected as error:
            refused.append(error.reason)
    assert len(refused) >= len(parts) - 1
    assert set(refused) == {"IRIS_NOT_FOUND"}


@pytest.mark.parametrize(
    "name",
    ["chelsea.png", "astronaut.png", "camera.png", "coffee.png", "coins.png", "horse.png", "page.png", "rocket.jpg"],
)
def test_cats_and_other_things_are_no_eyes(name: str) -> None:
    """Pictures that come with scikit-image, in grey; the first is a cat that looks at the camera."""
    folder = pytest.importorskip("skimage").__path__[0]
    picture = Path(folder) / "data" / name
    if not picture.exists():
        pytest.skip(f"this scikit-image comes without {name}")
    with pytest.raises(SampleRejected) as refused:
        EXTRACTOR.extract(decoded(decode_image(picture.read_bytes()).grey))
    assert refused.value.reason == "IRIS_NOT_FOUND"


@pytest.mark.parametrize("radius", [40, 60, 140])
@pytest.mark.parametrize("size", [(320, 240), (640, 480), (1280, 960)])
def test_irises_of_every_size_in_pictures_of_every_size(radius: int, size: tuple[int, int]) -> None:
    width, height = size
    scale = radius / 109  # the synthetic iris' mean radius in a picture of 640 x 480
    eye = cv2.resize(synthesise_eye(3, 1), (round(640 * scale), round(480 * scale)), interpolation=cv2.INTER_AREA)
    reference = EXTRACTOR.extract(decoded(synthesise_eye(3, 0)))
    skin = 190 + cv2.GaussianBlur(np.random.default_rng(1).normal(0, 60, (height, width)).astype(np.float32), (0, 0), 9)
    picture = np.asarray(np.clip(skin, 0, 255), np.uint8)
    cut_x, cut_y = max(0, (eye.shape[1] - width) // 2), max(0, (eye.shape[0] - height) // 2)
    part = eye[cut_y : cut_y + height, cut_x : cut_x + width]
    x, y = (width - part.shape[1]) // 3, (height - part.shape[0]) // 3  # off the centre, where there is room
    picture[y : y + part.shape[0], x : x + part.shape[1]] = part
    assert hd_norm(EXTRACTOR.extract(decoded(picture)), reference) < 0.36


def test_a_low_quality_is_told_to_those_who_enrol_and_to_those_who_search(extractions: list[list[Extraction]]) -> None:
    eye = synthesise_eye(0, 0)
    told = set()
    for lid in range(180, 300, 8):
        hanging = eye.copy()
        hanging[:lid] = 190
        try:
            extraction = EXTRACTOR.extract(decoded(hanging))
        except SampleRejected:
            continue
        gate = [a for a in extraction.advice if "picture:" in a or "better picture" in a]
        expected = 1 if extraction.quality < QUALITY.enrolment_gate else 0
        assert len(gate) == expected
        told.update(gate)
    assert told
    assert not any("better picture" in a for x in extractions[0] for a in x.advice if x.quality >= 40)


def test_a_colour_picture_is_refused_for_its_colour() -> None:
    eye = np.repeat(synthesise_eye(0, 0)[:, :, None], 3, axis=2)
    eye[..., 2] = eye[..., 2] // 2
    with pytest.raises(SampleRejected, match="colour") as refused:
        EXTRACTOR.extract(decoded(eye))
    assert refused.value.reason == "IRIS_NOT_FOUND"


@pytest.mark.parametrize("size", [(20_000, 33), (33, 20_000), (3_000, 40), (32, 32)])
def test_a_strip_is_no_eye(size: tuple[int, int]) -> None:
    with pytest.raises(SampleRejected) as refused:
        EXTRACTOR.extract(decoded(np.random.default_rng(1).integers(0, 256, size, np.uint8)))
    assert refused.value.reason == "IRIS_NOT_FOUND"


def test_an_iris_that_hardly_shows_is_refused_even_by_a_lenient_judge() -> None:
    eye = synthesise_eye(0, 0)
    for x in range(0, 640, 8):  # bars everywhere: a pupil can be guessed, no texture can be read
        eye[:, x : x + 5] = 250
    lenient = IrisExtractor(quality_parameters=QualityParameters(least_confidence=-1.0, least_radius=0.0))
    with pytest.raises(SampleRejected) as refused:
        lenient.extract(decoded(eye))
    assert refused.value.reason in ("IRIS_HIDDEN", "IRIS_NOT_FOUND")


def _real_samples(modality: str, count: int) -> list[Path]:
    shared = Path(os.environ.get("AMBIS_SHARED", str(Path(__file__).resolve().parents[4] / "shared")))
    manifest = shared / "data" / "manifest.csv"
    if not manifest.exists():
        pytest.skip("no shared data: set AMBIS_SHARED to the folder that holds data/manifest.csv")
    with manifest.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["modality"] == modality]
    step = max(1, len(rows) // count)
    return [manifest.parent / row["path"] for row in rows[::step][:count]]


@pytest.mark.parametrize("modality", ["face", "finger"])
def test_real_faces_and_fingerprints_are_refused(modality: str) -> None:
    accepted = 0
    samples = _real_samples(modality, 60)
    for path in samples:
        try:
            EXTRACTOR.extract(decoded(decode_image(path.read_bytes()).grey))
            accepted += 1
        except SampleRejected:
            pass
    assert accepted <= 0.08 * len(samples)
