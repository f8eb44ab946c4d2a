"""Face image to template: find the faces, take the most prominent one, align it, embed it, judge its quality."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path

import numpy as np

from enrollment.extract.extraction import Extraction
from enrollment.extract.face_alignment import ARCFACE_ALIGNMENT, align
from enrollment.extract.face_loading import load_face_pack
from enrollment.extract.face_pack import FaceBox, FacePack
from enrollment.extract.face_quality import judge, measure
from enrollment.images import DecodedImage
from matcher.errors import SampleRejected
from matcher.positions import Modality
from matcher.templates import FaceTemplate

TEMPLATE_VERSION = 1


@dataclasses.dataclass(frozen=True)
class FaceParameters:
    """Parameters that all packs share.

    Attributes:
        centring: weight of the squared distance from the middle of the image against the area of the box, when one of
            several faces has to be chosen. InsightFace (``scrfd.py``) takes 2; here 4, since field and mugshot cameras
            are aimed at their subject. The two differ on 1 of 2,162 LFW images, where 4 is right.
        min_eye_distance: pixels between the eyes below which a face is refused; a third of the recogniser's own 35.
    """

    centring: float = 4.0
    min_eye_distance: float = 12.0


class FaceExtractor:
    """Image to face template (an ``enrollment.extract.extraction.ModalityExtractor``). Thread-safe.

    Args:
        pack: detector and recogniser.
        parameters: see the class.
    """

    modality = Modality.FACE

    def __init__(self, pack: FacePack, parameters: FaceParameters | None = None) -> None:
        self._pack = pack
        self._parameters = parameters or FaceParameters()
        self.algorithm = pack.algorithm

    def boxes(self, image: DecodedImage) -> list[FaceBox]:
        """All faces of an image, the most prominent (large and central) first; empty when there is none."""
        height, width = image.pixels.shape[:2]

        def prominence(box: FaceBox) -> float:
            x, y = box.centre
            off_centre = float((x - width / 2) ** 2 + (y - height / 2) ** 2)
            return box.width * box.height - self._parameters.centring * off_centre

        return sorted(self._pack.detect(image.rgb), key=prominence, reverse=True)

    def extract(self, image: DecodedImage) -> Extraction:
        """The template of the most prominent face.

        Raises:
            SampleRejected: FACE_NOT_FOUND or FACE_TOO_SMALL.
        """
        boxes = self.boxes(image)
        if not boxes:
            raise SampleRejected(
                "no face was found; face the camera from the front, upright, with the whole face in the picture and "
                "light on it",
                reason="FACE_NOT_FOUND",
            )
        extraction = self.extract_box(image, boxes[0])
        if len(boxes) == 1:
            return extraction
        several = f"{len(boxes)} faces in the picture: the largest near the middle was taken; show one person"
        return dataclasses.replace(extraction, advice=(several, *extraction.advice))

    def extract_box(self, image: DecodedImage, box: FaceBox) -> Extraction:
        """The template of one of the faces that ``boxes`` found in the same image.

        Raises:
            SampleRejected: FACE_TOO_SMALL.
        """
        rgb = image.rgb
        points = self._pack.points(rgb, box)
        distance = float(np.hypot(*(points[1] - points[0])))
        if distance < self._parameters.min_eye_distance:
            raise SampleRejected(
                f"the face is too small ({distance:.0f} pixels between the eyes, at least "
                f"{self._parameters.min_eye_distance:.0f} are needed); move closer",
                reason="FACE_TOO_SMALL",
            )
        aligned = align(rgb, points)
        wanted = self._pack.alignment
        crop = aligned if wanted is ARCFACE_ALIGNMENT else align(rgb, points, wanted)
        embedding = self._pack.embed(crop)
        template = FaceTemplate(self.algorithm, TEMPLATE_VERSION, embedding.vector)
        quality, advice = judge(measure(aligned, points, box.confidence, embedding.strength))
        return Extraction(template, quality, advice)


def load_face_extractor(pack: str | Path = "compact", acknowledged: Collection[str] | None = None) -> FaceExtractor:
    """The extractor with the pack that is configured; see ``load_face_pack``."""
    return FaceExtractor(load_face_pack(pack, acknowledged))
