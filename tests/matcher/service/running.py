"""A real server in this process, with an extractor that turns short texts into templates."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence
from pathlib import Path

from matcher.calibration import Calibrations
from matcher.decision import DecisionParameters
from matcher.errors import ModalityUnavailable, SampleRejected
from matcher.positions import Modality, Position
from matcher.service.extraction import ExtractedSample, ExtractorStatus
from matcher.service.server import AmbisServer, ServerOptions
from tests.matcher.people import FACE, IRIS, calibrations, face, iris


class TextExtractor:
    """``face 7 2`` is capture 2 of the face of person 7, ``iris 7 2`` of the eye; anything else is rejected."""

    def extract(self, position: Position, data: bytes, media_type: str, ppi: float | None) -> ExtractedSample:
        """See TemplateExtractor."""
        if position.modality is Modality.FINGER:
            raise ModalityUnavailable("no fingers here; send faces")
        words = data.decode(errors="replace").split()
        if len(words) != 3 or words[0] != position.modality.value:
            raise SampleRejected(f"this shows no {position.modality}", reason="NOT_A_SAMPLE", field="image.data")
        if words[1] == "crash":
            raise RuntimeError("a bug in an extractor")
        make = face if position.modality is Modality.FACE else iris
        return ExtractedSample(make(int(words[1]), int(words[2])), 80, ("hold still",), "text/plain")

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

    def extract(self, position: Position, data: bytes, media_type: str, ppi: float | None) -> ExtractedSample:
        """See TemplateExtractor."""
        if position.modality is Modality.FACE:
            raise ModalityUnavailable("no faces here")
        return super().extract(position, data, media_type, ppi)

    def status(self) -> Sequence[ExtractorStatus]:
        """See TemplateExtractor."""
        return [ExtractorStatus(Modality.FACE, "", "no faces here"), ExtractorStatus(Modality.IRIS, IRIS, "")]


class NextTextExtractor(TextExtractor):
    """The same with another model of faces, which rejects those of persons 900 to 999. ``gate`` holds it up."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.extracted: list[str] = []

    def extract(self, position: Position, data: bytes, media_type: str, ppi: float | None) -> ExtractedSample:
        """See TemplateExtractor."""
        if position.modality is not Modality.FACE:
            return super().extract(position, data, media_type, ppi)
        self.gate.wait(20)
        text = data.decode()
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
