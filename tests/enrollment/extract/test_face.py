"""The face extractor: what it takes, refuses and advises, on a photo of six people and with the packs there are."""

from __future__ import annotations

import concurrent.futures
import functools
import io
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from PIL import Image

from enrollment.demo_faces import PEOPLE, STRANGER, group_photo, people, rendition
from enrollment.extract.extraction import ModalityExtractor
from enrollment.extract.face import FaceExtractor, FaceParameters, load_face_extractor
from enrollment.extract.face_alignment import ARCFACE_ALIGNMENT, ARCFACE_POINTS, similarity
from enrollment.extract.face_compact import CompactPack, five_points, shipped_means
from enrollment.extract.face_description import PackDescription
from enrollment.extract.face_pack import FaceBox, FaceEmbedding, unit_sum
from enrollment.images import DecodedImage, decode_image
from enrollment.models import RECOGNISER, pack_folder, read_model
from matcher.errors import FaceUndecided, ModalityUnavailable, SampleRejected
from matcher.face.comparison import COMPACT_ALGORITHM
from matcher.positions import Modality
from matcher.service.extraction import FaceChoice, SampleUse
from matcher.templates import FaceTemplate, template_from_bytes
from tests.enrollment.extract.face_samples import compact_extractor, evaluation_pack, needs_compact_pack


class FixedPack:
    """A pack whose detector reports the boxes it was given; its embedding says where the eyes were."""

    algorithm = "face-fixed-1"
    description = PackDescription(algorithm, "", 64, "none", True, "made in a test")
    alignment = ARCFACE_ALIGNMENT

    def __init__(self, boxes: list[FaceBox]) -> None:
        self._boxes = boxes

    def detect(self, rgb: NDArray[np.uint8]) -> list[FaceBox]:
        assert rgb.ndim == 3
        return list(self._boxes)

    def points(self, rgb: NDArray[np.uint8], box: FaceBox) -> NDArray[np.float64]:
        unit = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])
        return unit * [box.width, box.height] + [box.left, box.top]

    def embed(self, aligned: NDArray[np.uint8]) -> FaceEmbedding:
        assert aligned.shape == (112, 112, 3)
        vector = np.zeros(64, np.float32)
        vector[int(aligned[40, 40, 0]) % 64] = 1.0
        return FaceEmbedding(vector, 1.0)


def square(x: float, y: float, side: float) -> FaceBox:
    return FaceBox(x - side / 2, y - side / 2, x + side / 2, y + side / 2, 1.0)


def noise_image(height: int = 400, width: int = 600) -> DecodedImage:
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return DecodedImage(pixels, None, "image/png")


def embedding(extractor: FaceExtractor, data: bytes) -> NDArray[np.float32]:
    template = extractor.extract(decode_image(data)).template
    assert isinstance(template, FaceTemplate)
    return template.embedding


@functools.cache
def six_people() -> list[NDArray[np.uint8]]:
    return people(compact_extractor())


# What holds for every pack


def test_the_most_prominent_face_is_taken_and_others_are_mentioned() -> None:
    central, corner, small = square(300, 200, 120), square(80, 80, 140), square(320, 230, 40)
    extractor = FaceExtractor(FixedPack([small, corner, central]))
    assert extractor.boxes(noise_image()) == [central, corner, small]
    extraction = extractor.extract(noise_image())
    assert extraction.advice[0].startswith("3 faces in the picture")
    assert extraction.template == extractor.extract_box(noise_image(), central).template
    assert [(f.left, f.taken) for f in extraction.faces] == [(240, True), (10, False), (300, False)]
    alone = FaceExtractor(FixedPack([central])).extract(noise_image())
    assert not any("faces in the picture" in text for text in alone.advice)


def test_an_enrolment_takes_the_face_that_is_named() -> None:
    central, corner = square(300, 200, 120), square(80, 80, 140)
    extractor = FaceExtractor(FixedPack([corner, central]), FaceParameters(enrolment_gate=0))
    with pytest.raises(FaceUndecided):
        extractor.extract_for(noise_image(), SampleUse(enrols=True))
    named = extractor.extract_for(noise_image(), SampleUse(enrols=True, face=FaceChoice(number=2)))
    assert named.template == extractor.extract_box(noise_image(), corner).template
    assert not any("faces in the picture" in text for text in named.advice)


def test_low_quality_keeps_a_face_from_being_enrolled_unless_it_is_accepted() -> None:
    extractor = FaceExtractor(FixedPack([square(300, 200, 120)]))
    black = DecodedImage(np.zeros((400, 600, 3), np.uint8), None, "image/png")
    with pytest.raises(SampleRejected, match="too dark") as caught:
        extractor.extract_for(black, SampleUse(enrols=True))
    assert caught.value.reason == "QUALITY_TOO_LOW"
    assert extractor.extract_for(black, SampleUse(enrols=True, any_quality=True)).quality == 0
    searched = extractor.extract(black)
    assert searched.quality == 0
    assert any("too dark" in text for text in searched.advice)
    assert {c.name: c.score for c in searched.components}["exposure"] == 0


def test_no_face_and_too_small_a_face_are_refused_with_advice() -> None:
    with pytest.raises(SampleRejected, match="face the camera") as caught:
        FaceExtractor(FixedPack([])).extract(noise_image())
    assert caught.value.reason == "FACE_NOT_FOUND"
    with pytest.raises(SampleRejected, match="move closer") as caught:
        FaceExtractor(FixedPack([square(300, 200, 25)])).extract(noise_image())
    assert caught.value.reason == "FACE_TOO_SMALL"


def test_a_grey_image_is_taken_too() -> None:
    grey = DecodedImage(noise_image().grey, None, "image/png")
    extraction = FaceExtractor(FixedPack([square(300, 200, 100)])).extract(grey)
    assert template_from_bytes(extraction.template.to_bytes()) == extraction.template
    assert 0 <= extraction.quality <= 100


def test_sum_of_vectors() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(0, 1, (2, 1, 512)).astype(np.float32)
    vector, length = unit_sum([a, b])
    assert vector.dtype == np.float32
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-6)
    assert np.allclose(vector * length, (a + b).ravel() / 2, atol=1e-5)


def test_five_points_out_of_68() -> None:
    landmarks = np.column_stack([np.arange(68.0), 100.0 + np.arange(68.0)])
    expected = [(37 + 38 + 40 + 41) / 4, (43 + 44 + 46 + 47) / 4, 30, (48 + 60) / 2, (54 + 64) / 2]
    assert five_points(landmarks).tolist() == [[v, 100 + v] for v in expected]


# Packs that are missing or broken


def test_a_missing_compact_pack_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMBIS_MODELS", str(tmp_path))
    with pytest.raises(ModalityUnavailable, match="ambis models fetch") as caught:
        load_face_extractor()
    assert caught.value.reason == "MODALITY_UNAVAILABLE"


def test_a_damaged_compact_pack_is_not_loaded(tmp_path: Path) -> None:
    (tmp_path / "fr_feature.onnx").write_bytes(b"not a network")
    (tmp_path / "fr_landmark.onnx").write_bytes(b"not a network")
    with pytest.raises(ModalityUnavailable, match="damaged"):
        load_face_extractor(tmp_path)


@pytest.mark.parametrize("content", ["absent", "empty", "garbage"])
def test_a_folder_that_is_no_insightface_pack_is_refused_without_a_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    def no_download(*_: object, **__: object) -> str:
        raise AssertionError("a download was tried")

    monkeypatch.setattr("insightface.app.face_analysis.ensure_available", no_download)
    folder = tmp_path / "buffalo_l"
    if content != "absent":
        folder.mkdir()
    if content == "garbage":
        (folder / "det.onnx").write_bytes(b"garbage")
    with pytest.raises(ModalityUnavailable, match="buffalo_l"):
        load_face_extractor(folder)


# The compact pack on real faces


@needs_compact_pack
def test_finds_the_six_people_of_the_group_photo() -> None:
    extractor: ModalityExtractor = compact_extractor()
    assert extractor.modality is Modality.FACE
    assert extractor.algorithm == COMPACT_ALGORITHM
    photo = group_photo()
    boxes = compact_extractor().boxes(photo)
    assert len(boxes) == PEOPLE
    height, width = photo.pixels.shape[:2]
    for box in boxes:
        assert 0 < box.left < box.right < width
        assert 0 < box.top < box.bottom < height
    extraction = extractor.extract(photo)
    assert "6 faces" in extraction.advice[0]
    assert len(extraction.faces) == PEOPLE
    assert len(extraction.components) == 15
    assert len(six_people()) == PEOPLE


@needs_compact_pack
def test_renditions_of_one_person_match_and_different_people_do_not() -> None:
    """Genuine scores stay above 0.7 and impostor scores below 0.5: on LFW, 0.41 is reached by 1 impostor in 10,000."""
    each = 4
    vectors = np.array(
        [embedding(compact_extractor(), rendition(crop, 1000 + s)) for crop in six_people() for s in range(each)]
    )
    scores = vectors @ vectors.T
    who = np.repeat(np.arange(PEOPLE), each)
    same = who[:, None] == who
    assert scores[same].min() > 0.7
    assert scores[~same].max() < 0.5
    assert scores[(who == STRANGER)[:, None] & (who != STRANGER)].max() < 0.25


@needs_compact_pack
def test_renditions_differ_by_seed_and_repeat_with_it() -> None:
    crop = six_people()[0]
    assert rendition(crop, 1) == rendition(crop, 1)
    assert rendition(crop, 1) != rendition(crop, 2)


@needs_compact_pack
def test_size_of_the_photo_hardly_matters() -> None:
    """A photo of 40 megapixels is reduced for the detector; one a third as large needs the second, magnified try."""
    crop = Image.fromarray(six_people()[0])
    vectors = []
    for side in (90, crop.width, 3000):
        stream = io.BytesIO()
        crop.resize((side, side * crop.height // crop.width), Image.Resampling.LANCZOS).save(stream, "PNG")
        vectors.append(embedding(compact_extractor(), stream.getvalue()))
    scores = np.array(vectors) @ np.array(vectors).T
    assert scores.min() > 0.75


@needs_compact_pack
def test_quality_falls_with_blur_and_darkness() -> None:
    crop = six_people()[0]
    extractor = compact_extractor()
    good = extractor.extract(DecodedImage(crop, None, "image/png"))
    soft = np.asarray(cv2.GaussianBlur(crop, (0, 0), 4.0), np.uint8)
    blurred = extractor.extract(DecodedImage(soft, None, "image/png"))
    dark = extractor.extract(DecodedImage((crop * 0.12).astype(np.uint8), None, "image/png"))
    assert good.quality >= 45
    assert good.advice == ()
    assert blurred.quality < good.quality - 20
    assert dark.quality < good.quality - 20
    assert any("hold still" in text for text in blurred.advice)
    assert any("too dark" in text for text in dark.advice)


@needs_compact_pack
@pytest.mark.parametrize("shape", [(300, 300), (64, 64), (40, 900)])
def test_images_without_a_face_are_refused(shape: tuple[int, int]) -> None:
    for pixels in (noise_image(*shape).pixels, np.full((*shape, 3), 128, np.uint8)):
        with pytest.raises(SampleRejected) as caught:
            compact_extractor().extract(DecodedImage(pixels, None, "image/png"))
        assert caught.value.reason == "FACE_NOT_FOUND"


@needs_compact_pack
def test_threads_get_the_answers_that_one_thread_gets() -> None:
    files = [rendition(crop, 7) for crop in six_people()] * 2
    alone = [embedding(compact_extractor(), data) for data in files]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda data: embedding(compact_extractor(), data), files))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


def published_vectors(views: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """The published network's vectors of crops, added, scaled, and less the centre."""
    assert np.array([1e-40], np.float32)[0] * np.float32(1.0) > 0.0, "this thread has lost its denormals"
    plain = onnxruntime.InferenceSession(read_model(pack_folder(), RECOGNISER), providers=["CPUExecutionProvider"])
    planes = [((v[:, :, ::-1].astype(np.float32) - 127.5) / 128.0).transpose(2, 0, 1)[None] for v in views]
    outputs = [plain.run(None, {"input": np.ascontiguousarray(p)})[0] for p in planes]
    return unit_sum([unit_sum(outputs)[0] - shipped_means().centre])[0]


@needs_compact_pack
def test_the_embedding_is_that_of_the_published_network_on_a_crop_and_its_mirror_image() -> None:
    noise = np.random.default_rng(8).integers(0, 255, (112, 112, 3), dtype=np.uint8)
    aligned = np.asarray(cv2.GaussianBlur(noise, (0, 0), 2.0), np.uint8)
    ours = CompactPack(pack_folder()).embed(aligned).vector
    assert float(ours @ published_vectors([aligned, aligned[:, ::-1]])) == pytest.approx(1.0, abs=1e-5)


@needs_compact_pack
def test_the_two_views_are_aligned_by_four_points_and_by_the_inner_landmarks() -> None:
    """Landmarks that lie on the mean places leave the picture as it is, but for the wider view's scale."""
    noise = np.random.default_rng(8).integers(0, 255, (112, 112, 3), dtype=np.uint8)
    picture = np.asarray(cv2.GaussianBlur(noise, (0, 0), 2.0), np.uint8)
    landmarks = shipped_landmarks()
    ours = CompactPack(pack_folder()).embed_landmarks(picture, landmarks).vector
    scale = np.array([[0.95, 0, 0.05 * 55.5], [0, 0.95, 0.05 * 55.5]])
    wide = np.asarray(cv2.warpAffine(picture, scale, (112, 112)), np.uint8)
    four = [0, 1, 3, 4]
    matrix = similarity(five_points(landmarks)[four], ARCFACE_POINTS[four])
    assert np.allclose(matrix, np.eye(2, 3), atol=2.0), "the mean landmarks are those of an aligned face"
    crop = np.asarray(cv2.warpAffine(picture, matrix, (112, 112)), np.uint8)
    assert float(ours @ published_vectors([crop[:, ::-1], wide])) == pytest.approx(1.0, abs=1e-4)


@needs_compact_pack
def test_a_batch_of_faces_gives_what_each_gives_alone() -> None:
    pack = CompactPack(pack_folder())
    photo = group_photo().rgb
    faces = [(photo, pack.landmarks(photo, box)) for box in pack.detect(photo)]
    faces += [(np.ascontiguousarray(crop[:, ::-1]), shipped_landmarks()) for crop in six_people()[:2]]
    assert len(faces) == 8
    alone = [pack.embed_landmarks(*face) for face in faces]
    for size in (1, 4, 8):
        together = [e for k in range(0, 8, size) for e in pack.embed_batch(faces[k : k + size])]
        for a, b in zip(alone, together, strict=True):
            assert np.abs(a.vector - b.vector).max() < 1e-6
            assert (a.strength, a.agreement) == pytest.approx((b.strength, b.agreement), abs=1e-6)
    assert len({round(float(e.vector[0]), 6) for e in alone}) == 8, "different faces"
    assert pack.embed_batch([]) == []


def shipped_landmarks() -> NDArray[np.float64]:
    """68 landmarks of a face that fills a picture of 112 pixels."""
    return np.concatenate([np.zeros((17, 2)), shipped_means().landmarks])


@needs_compact_pack
@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "I;16", "P", "1-sided EXIF"])
def test_every_kind_of_picture_gives_the_same_person(mode: str) -> None:
    crop = Image.fromarray(six_people()[0])
    stream = io.BytesIO()
    if mode == "CMYK":
        crop.convert("CMYK").save(stream, "JPEG", quality=95)
    elif mode == "I;16":
        grey = np.asarray(crop.convert("L"), np.uint16) * 257
        Image.fromarray(grey).save(stream, "PNG")
    elif mode == "1-sided EXIF":
        exif = Image.Exif()
        exif[0x0112] = 6  # stored lying on its side, to be turned by 90 degrees clockwise
        crop.transpose(Image.Transpose.ROTATE_90).save(stream, "JPEG", exif=exif, quality=95)
    else:
        crop.convert(mode).save(stream, "PNG")
    plain = io.BytesIO()
    crop.save(plain, "PNG")
    image = decode_image(stream.getvalue())
    assert image.pixels.shape[:2] == (crop.height, crop.width)
    extractor = compact_extractor()
    assert float(embedding(extractor, stream.getvalue()) @ embedding(extractor, plain.getvalue())) > 0.7


@needs_compact_pack
@pytest.mark.parametrize(("side", "reason"), [(31, "IMAGE_TOO_SMALL"), (40, "FACE_TOO_SMALL|FACE_NOT_FOUND")])
def test_tiny_pictures_are_refused_with_a_reason(side: int, reason: str) -> None:
    stream = io.BytesIO()
    Image.fromarray(six_people()[0]).resize((side, side)).save(stream, "PNG")
    with pytest.raises(SampleRejected) as caught:
        compact_extractor().extract(decode_image(stream.getvalue()))
    assert caught.value.reason in reason.split("|")


# An InsightFace pack


@pytest.mark.skipif(evaluation_pack() is None, reason="no evaluation face pack: set AMBIS_SHARED to the shared folder")
def test_an_insightface_pack_from_a_folder() -> None:
    folder = evaluation_pack()
    assert folder is not None
    extractor = load_face_extractor(str(folder))
    assert extractor.algorithm.startswith("face-insightface-")
    assert len(extractor.algorithm) == len("face-insightface-") + 12
    crops = people(extractor)
    vectors = np.array([embedding(extractor, rendition(crop, s)) for crop in crops for s in (1, 2)])
    assert vectors.shape == (2 * PEOPLE, 512)
    scores = vectors @ vectors.T
    who = np.repeat(np.arange(PEOPLE), 2)
    same = who[:, None] == who
    assert scores[same].min() > 0.7
    assert scores[~same].max() < 0.5
    with pytest.raises(SampleRejected):
        extractor.extract(noise_image())
