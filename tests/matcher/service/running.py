"""A real server in this process, with an extractor that turns short texts into templates."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence
from pathlib import Path

from matcher.calibration import Calibrations
from matcher.decision import DecisionParameters
from matcher.errors import FaceUndecided, ModalityUnavailable, SampleRejected
from matcher.faces import FoundFace
from matcher.positions import Modality, Position
from matcher.service.extraction import SEARCH, ExtractedSample, ExtractorStatus, QualityComponent, SampleUse
from matcher.service.server import AmbisServer, ServerOptions
from tests.matcher.people import FACE, IRIS, calibrations, face, iris


class TextExtractor:
    """``face 7 2`` is capture 2 of the face of person 7, ``iris 7 2`` of the eye; anything else is rejected.

    ``face 7 2, face 8 1`` shows two, of which the first is the largest.
    """

    def extract(
        self, position: Position, data: bytes, media_type: str, ppi: float | None, use: SampleUse = SEARCH
    ) -> ExtractedSample:
        """See TemplateExtractor."""
        if position.modality is Modality.FINGER:
            raise ModalityUnavailable("no fingers here; send faces")
        shown = data.decode(errors="replace").split(",")
        number = use.face.number if use.face is not None else None
        faces = [FoundFace(100.0 * i, 0.0, 100.0 * i + 80, 80.0, 1.0, taken=i == (number or 1) - 1) for i in range(9)]
        if use.enrols and len(shown) > 1 and use.face is None:
            raise FaceUndecided("which of them?", faces=faces[: len(shown)], field="image")
        words = shown[(number or 1) - 1].split()
        if len(words) != 3 or words[0] != position.modality.value:
            raise SampleRejected(f"this shows no {position.modality}", reason="NOT_A_SAMPLE", field="image.data")
        if words[1] == "crash":
            raise RuntimeError("a bug in an extractor")
        make = face if position.modality is Modality.FACE else iris
        quality = 3 if words[2] == "99" else 80
        if use.enrols and quality < 5 and not use.any_quality:
            raise SampleRejected("too dark", reason="QUALITY_TOO_LOW")
        return ExtractedSample(
            make(int(words[1]), int(words[2])),
            quality,
            ("hold still",),
            "text/plain",
            tuple(faces[: len(shown)]) if position.modality is Modality.FACE else (),
            (QualityComponent("sharpness", quality, 0.125, "share"),),
        )

    def status(self) -> Sequence[ExtractorStatus]:
        """See TemplateExtractor."""
        return [
            ExtractorStatus(Modality.FINGER, "", "no fingers here"),
            ExtractorStatus(Modality.FACE, FACE, ""),
            ExtractorStatus(Modality.IRIS, IRIS, ""),
        ]


NEXT_FACE = "face-next-1"


class FacelessTextExtractor(TextExtractor):
    """The same without a model of faces."""

    def extract(
        self, position: Position, data: bytes, media_type: str, ppi: float | None, use: SampleUse = SEARCH
    ) -> ExtractedSample:
        """See TemplateExtractor."""
        if position.modality is Modality.FACE:
            raise ModalityUnavailable("no faces here")
        return super().extract(position, data, media_type, ppi, use)

    def status(self) -> Sequence[ExtractorStatus]:
        """See TemplateExtractor."""
        return [ExtractorStatus(Modality.FACE, "", "no faces here"), ExtractorStatus(Modality.IRIS, IRIS, "")]


class NextTextExtractor(TextExtractor):
    """The same with another model of faces, which rejects those of persons 900 to 999. ``gate`` holds it up."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.extracted: list[str] = []

    def extract(
        self, position: Position, data: bytes, media_type: str, ppi: float | None, use: SampleUse = SEARCH
    ) -> ExtractedSample:
        """See TemplateExtractor."""
        if position.modality is not Modality.FACE:
            return super().extract(position, data, media_type, ppi, use)
        self.gate.wait(20)
        shown = data.decode().split(",")
        box = use.face.box if use.face is not None else None
        if use.enrols and len(shown) > 1 and box is None:
            raise FaceUndecided("which of them?", faces=())
        text = shown[round(box[0] / 100) if box else 0].strip()
        self.extracted.append(text)
        _, person, capture = text.split()
        if 900 <= int(person) < 1000:
            raise SampleRejected("the next model finds no face", reason="FACE_NOT_FOUND")
        template = face(10_000 + int(person), int(capture), algorithm=NEXT_FACE)
        return ExtractedSample(template, 70, (), "text/plain")

    def status(self) -> Sequence[ExtractorStatus]:
        """See TemplateExtractor."""
        return [ExtractorStatus(Modality.FACE, NEXT_FACE, ""), ExtractorStatus(Modality.IRIS, IRIS, "")]


def start(
    folder: Path,
    options: ServerOptions | None = None,
    successor: TextExtractor | None = None,
    extractor: TextExtractor | None = None,
) -> AmbisServer:
    """Starts a server on a free port."""
    known = list(calibrations())
    (of_faces,) = (c for c in known if c.algorithm == FACE)
    artefacts = Calibrations([*known, dataclasses.replace(of_faces, algorithm=NEXT_FACE)])
    return AmbisServer(
        folder,
        extractor or TextExtractor(),
        artefacts,
        DecisionParameters(),
        options or ServerOptions(),
        successor=successor,
    )
