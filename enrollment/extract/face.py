"""Face image to template: find the faces, take the one that is meant, align it, embed it, judge its quality."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path

import numpy as np

from enrollment.extract.extraction import Extraction
from enrollment.extract.face_alignment import ARCFACE_ALIGNMENT, align
from enrollment.extract.face_choice import chosen_face, found_faces, most_prominent_first
from enrollment.extract.face_compact import five_points
from enrollment.extract.face_loading import load_face_pack
from enrollment.extract.face_measures import measure
from enrollment.extract.face_pack import FaceBox, FacePack, LandmarkFinder, LandmarkRecogniser
from enrollment.extract.face_quality import judge
from enrollment.images import DecodedImage
from matcher.errors import SampleRejected
from matcher.positions import Modality
from matcher.service.extraction import SEARCH, SampleUse
from matcher.templates import FaceTemplate

TEMPLATE_VERSION = 1


@dataclasses.dataclass(frozen=True)
class FaceParameters:
    """Parameters that all packs share.

    Attributes:
        min_eye_distance: pixels between the eyes below which a face is refused; a third of the recogniser's own 35.
        enrolment_gate: quality below which a face does not go on record unless the request says that it must; 1 or 2 of
            1,000 press photos (LFW) lie below.
    """

    min_eye_distance: float = 12.0
    enrolment_gate: int = 5


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
        """All faces of an image, the most prominent first; empty when there is none."""
        height, width = image.pixels.shape[:2]
        return most_prominent_first(self._pack.detect(image.rgb), width, height)

    def extract(self, image: DecodedImage) -> Extraction:
        """The template of the most prominent face, as a search takes it.

        Raises:
            SampleRejected: FACE_NOT_FOUND or FACE_TOO_SMALL.
        """
        return self.extract_for(image, SEARCH)

    def extract_for(self, image: DecodedImage, use: SampleUse) -> Extraction:
        """The template of the face that is meant.

        Raises:
            SampleRejected: FACE_NOT_FOUND or FACE_TOO_SMALL; QUALITY_TOO_LOW, for an enrolment.
            FaceUndecided: SEVERAL_FACES, for an enrolment that does not say which; FACE_CHOICE_INVALID, there is no
                such face as the one asked for.
        """
        boxes = self.boxes(image)
        if not boxes:
            raise SampleRejected(
                "no face was found; face the camera from the front, with the whole face in the picture and light on it",
                reason="FACE_NOT_FOUND",
            )
        taken = chosen_face(boxes, use)
        extraction = self.extract_box(image, boxes[taken], len(boxes))
        advice = extraction.advice
        if len(boxes) > 1 and use.face is None:
            advice = (f"{len(boxes)} faces in the picture: the most prominent was taken; show one person", *advice)
        gate = self._parameters.enrolment_gate
        if use.enrols and not use.any_quality and extraction.quality < gate:
            raise SampleRejected(
                f"the face's quality is {extraction.quality} of 100, at least {gate} is needed to enrol it: "
                f"{'; '.join(advice) or 'take another picture'}. Where none can be had, say that low quality is "
                "accepted",
                reason="QUALITY_TOO_LOW",
            )
        return dataclasses.replace(extraction, advice=advice, faces=found_faces(boxes, taken))

    def extract_box(self, image: DecodedImage, box: FaceBox, faces: int = 1) -> Extraction:
        """The template of one of the faces that ``boxes`` found in the same image.

        Args:
            faces: how many it found.

        Raises:
            SampleRejected: FACE_TOO_SMALL.
        """
        rgb = image.rgb
        landmarks = self._pack.landmarks(rgb, box) if isinstance(self._pack, LandmarkFinder) else None
        points = self._pack.points(rgb, box) if landmarks is None else five_points(landmarks)
        distance = float(np.hypot(*(points[1] - points[0])))
        if distance < self._parameters.min_eye_distance:
            raise SampleRejected(
                f"the face is too small ({distance:.0f} pixels between the eyes, at least "
                f"{self._parameters.min_eye_distance:.0f} are needed); move closer",
                reason="FACE_TOO_SMALL",
            )
        aligned = align(rgb, points)
        wanted = self._pack.alignment
        if landmarks is not None and isinstance(self._pack, LandmarkRecogniser):
            embedding = self._pack.embed_landmarks(rgb, landmarks)
        else:
            crop = aligned if wanted is ARCFACE_ALIGNMENT else align(rgb, points, wanted)
            embedding = self._pack.embed(crop)
        template = FaceTemplate(self.algorithm, TEMPLATE_VERSION, embedding.vector)
        quality = judge(measure(rgb, aligned, points, landmarks, box, embedding, faces))
        return Extraction(template, quality.score, quality.advice, components=quality.components)


def load_face_extractor(pack: str | Path = "compact", acknowledged: Collection[str] | None = None) -> FaceExtractor:
    """The extractor with the pack that is configured; see ``load_face_pack``."""
    return FaceExtractor(load_face_pack(pack, acknowledged))
