"""The chain of detectors: who is asked when, and what real pictures come to."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import cast

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from enrollment.demo_faces import group_photo, people
from enrollment.extract.face_detection import FaceDetection, turned_back
from enrollment.extract.face_hog import HogDetector
from enrollment.extract.face_pack import FaceBox
from enrollment.extract.face_small_network import SmallNetworkDetector, _starts
from enrollment.images import DecodedImage
from enrollment.models import DETECTOR, pack_folder, read_model
from matcher.templates import FaceTemplate
from tests.enrollment.extract.face_samples import compact_extractor, needs_compact_pack

Image = NDArray[np.uint8]
BLANK = np.zeros((60, 100, 3), np.uint8)


class FixedDetectors:
    """Detectors that find what they are told, and remember what they were asked."""

    def __init__(
        self,
        hog: Sequence[FaceBox] = (),
        magnified: Sequence[FaceBox] = (),
        network: Sequence[Sequence[FaceBox]] = ((), (), (), ()),
        tiles: Sequence[FaceBox] = (),
        strengths: Sequence[float] = (3.0, 2.3, 2.3, 2.3),
    ) -> None:
        self.asked: list[str] = []
        self._network = list(network)
        answers = {False: list(hog), True: list(magnified)}

        def ask_hog(rgb: Image, *, magnified: bool = False) -> list[FaceBox]:
            self.asked.append("magnified" if magnified else "hog")
            return answers[magnified]

        class Network:
            def __call__(inner, rgb: Image) -> list[FaceBox]:  # noqa: N805
                self.asked.append(f"network {rgb.shape[1]} x {rgb.shape[0]}")
                return list(self._network.pop(0))

            def tiled(inner, rgb: Image) -> list[FaceBox]:  # noqa: N805
                self.asked.append("tiles")
                return list(tiles)

        self.detection = FaceDetection(
            cast(HogDetector, ask_hog), cast(SmallNetworkDetector, Network()), lambda _, box: strengths[box.turn]
        )


def box(confidence: float = 0.0) -> FaceBox:
    return FaceBox(10, 20, 30, 40, confidence)


def test_a_certain_face_ends_the_search() -> None:
    made = FixedDetectors(hog=[box(0.9), box(0.1)])
    assert made.detection(BLANK) == [*made.detection(BLANK)]
    assert made.asked == ["hog", "hog"]


def test_detectors_are_asked_in_order_until_one_finds_a_face() -> None:
    turned = ["network 60 x 100", "network 100 x 60", "network 60 x 100"]
    clear = FixedDetectors(hog=[box(0.2)], strengths=(3.2, 9.0, 9.0, 9.0))
    assert len(clear.detection(BLANK)) == 1
    assert clear.asked == ["hog"]
    doubtful = FixedDetectors(hog=[box(0.2)], network=[(), (), ()])
    assert len(doubtful.detection(BLANK)) == 1
    assert doubtful.asked == ["hog", *turned]
    small = FixedDetectors(magnified=[box(0.2)], network=[(), (), ()])
    assert len(small.detection(BLANK)) == 1
    assert small.asked == ["hog", "magnified", *turned]
    covered = FixedDetectors(network=[[box()], (), (), ()])
    assert len(covered.detection(BLANK)) == 1
    assert covered.asked == ["hog", "magnified", "network 100 x 60", *turned]
    nowhere = FixedDetectors(tiles=[box()])
    assert len(nowhere.detection(BLANK)) == 1
    assert nowhere.asked == [*covered.asked, "tiles"]
    assert FixedDetectors().detection(BLANK) == []


def test_the_way_up_is_where_the_recogniser_sees_most_of_a_face() -> None:
    def way(strengths: Sequence[float]) -> int:
        made = FixedDetectors(hog=[box(0.3)], network=[[box()], [box()], [box()]], strengths=strengths)
        return made.detection(BLANK)[0].turn

    assert way([3.0, 2.5, 2.5, 2.5]) == 0
    assert way([2.5, 2.5, 3.2, 2.5]) == 2
    assert way([2.5, 2.5, 2.7, 2.5]) == 0, "few pictures are turned"


def test_what_only_the_network_found_must_be_a_face_to_the_recogniser() -> None:
    made = FixedDetectors(network=[[box()], [box()], (), ()], tiles=[box()], strengths=(1.0, 1.0, 1.0, 1.0))
    assert made.detection(BLANK) == []


@pytest.mark.parametrize("turn", [0, 1, 2, 3])
def test_boxes_and_points_of_turned_pictures_come_back(turn: int) -> None:
    rng = np.random.default_rng(turn)
    image = np.zeros((60, 100), np.uint8)
    image[23:41, 57:79] = 255
    image[30, 60] = 77
    turned = np.rot90(image, turn)
    rows, columns = np.nonzero(turned)
    y, x = np.argwhere(turned == 77)[0]
    points = np.array([[x, y], *rng.uniform(0, 50, (4, 2))], np.float64)
    found = FaceBox(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1, 0.5, points)
    back = turned_back(found, turn, 60, 100)
    assert (back.left, back.top, back.right, back.bottom) == (57, 23, 79, 41)
    assert (back.turn, back.confidence) == (turn, 0.5)
    assert back.points is not None
    assert back.points[0].tolist() == [60, 30]


def test_tiles_cover_every_length() -> None:
    for length in (1, 100, 240, 241, 400, 1000, 2048):
        starts = _starts(length, 240, 80)
        seen = np.zeros(length, bool)
        for start in starts:
            seen[start : start + 240] = True
        assert seen.all()
        assert all(b - a <= 160 for a, b in itertools.pairwise(starts))
        assert length <= 240 or starts[-1] + 240 == length


# Real faces


def six() -> list[Image]:
    return people(compact_extractor())


def vector(pixels: Image) -> NDArray[np.float32]:
    template = compact_extractor().extract(DecodedImage(np.ascontiguousarray(pixels), None, "image/png")).template
    assert isinstance(template, FaceTemplate)
    return template.embedding


@needs_compact_pack
@pytest.mark.parametrize("turn", [1, 2, 3])
def test_turned_pictures_give_the_template_of_the_upright_one(turn: int) -> None:
    for crop in six():
        assert float(vector(crop) @ vector(np.rot90(crop, turn))) > 0.8


@needs_compact_pack
def test_faces_of_forty_pixels_in_a_large_picture_are_found() -> None:
    for crop in six()[:3]:
        side = 100  # of which the face is two fifths
        scene = np.full((768, 1024, 3), 110, np.uint8)
        scene[420 : 420 + side, 700 : 700 + side] = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
        found = compact_extractor().boxes(DecodedImage(scene, None, "image/png"))
        assert any(700 < b.centre[0] < 800 and 420 < b.centre[1] < 520 for b in found)


@needs_compact_pack
def test_a_face_that_fills_the_picture_is_found() -> None:
    photo = group_photo()
    for face in compact_extractor().boxes(photo):
        tight = photo.rgb[round(face.top) : round(face.bottom), round(face.left) : round(face.right)]
        assert float(vector(tight) @ vector(_around(photo.rgb, face))) > 0.5


def _around(rgb: Image, face: FaceBox) -> Image:
    reach = round(face.width)
    x, y = map(round, face.centre)
    return rgb[max(y - reach, 0) : y + reach, max(x - reach, 0) : x + reach]


@needs_compact_pack
def test_the_small_network_sees_the_same_faces_whole_and_in_tiles() -> None:
    detector = SmallNetworkDetector(read_model(pack_folder(), DETECTOR))
    photo = group_photo().rgb
    tiles = detector.tiled(photo)
    for face in compact_extractor().boxes(group_photo()):
        whole = detector(_around(photo, face))
        away = [np.hypot(b.centre[0] - face.centre[0], b.centre[1] - face.centre[1]) for b in tiles]
        nearest = tiles[int(np.argmin(away))]
        assert np.hypot(nearest.centre[0] - face.centre[0], nearest.centre[1] - face.centre[1]) < 0.4 * face.width
        assert 0.6 < nearest.width / face.width < 1.6
        assert any(0.6 < b.width / face.width < 1.6 for b in whole)
