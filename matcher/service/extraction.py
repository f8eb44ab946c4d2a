"""What the service needs of image-to-template extraction, which is injected: ``matcher`` knows no image."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol

from matcher.faces import FoundFace
from matcher.positions import Modality, Position
from matcher.templates import Template


@dataclasses.dataclass(frozen=True)
class FaceChoice:
    """Which face of an image to take; one of the two is set.

    Attributes:
        number: its place, from 1, among the faces found.
        box: left, top, right, bottom in pixels; the face that overlaps most with it.
    """

    number: int | None = None
    box: tuple[float, float, float, float] | None = None


@dataclasses.dataclass(frozen=True)
class SampleUse:
    """What an image is extracted for.

    Attributes:
        enrols: it goes on record: it must show one person, or say which, and be of some quality. A search only warns.
        any_quality: enrol it whatever its quality.
        face: which of several faces is meant; None where nobody says.
    """

    enrols: bool = False
    any_quality: bool = False
    face: FaceChoice | None = None


SEARCH = SampleUse()


@dataclasses.dataclass(frozen=True)
class QualityComponent:
    """One thing that was measured of a sample.

    Attributes:
        score: 0 (useless) to 100.
        value, unit: what was measured.
    """

    name: str
    score: int
    value: float
    unit: str


@dataclasses.dataclass(frozen=True)
class ExtractedSample:
    """A template out of an image.

    Attributes:
        quality: 0 (useless) to 100.
        advice: short sentences for whoever captures.
        media_type: what the image's bytes are.
        faces: that were found, where it shows any.
        components: what the quality is made of, where the extractor says.
    """

    template: Template
    quality: int
    advice: tuple[str, ...]
    media_type: str
    faces: tuple[FoundFace, ...] = ()
    components: tuple[QualityComponent, ...] = ()


@dataclasses.dataclass(frozen=True)
class ExtractorStatus:
    """Whether images of a modality can be used.

    Attributes:
        algorithm: of new templates; empty where images cannot be used.
        detail: why not, and what to do; empty when ready.
    """

    modality: Modality
    algorithm: str
    detail: str


class TemplateExtractor(Protocol):
    """Image to template; thread-safe."""

    def extract(
        self, position: Position, data: bytes, media_type: str, ppi: float | None, use: SampleUse = SEARCH
    ) -> ExtractedSample:
        """Extracts the template of one image.

        Args:
            position: what the image shows.
            data: the file's bytes.
            media_type: as the sender says; may be empty.
            ppi: as the sender says; None when it does not.
            use: what for.

        Raises:
            FaceUndecided: it shows several faces, and one has to be told.
            SampleRejected: the image cannot be used.
            ModalityUnavailable: this server cannot extract that modality.
        """
        ...

    def status(self) -> Sequence[ExtractorStatus]:
        """One entry a modality."""
        ...
