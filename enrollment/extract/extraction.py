"""What every extractor returns and what it must offer."""

from __future__ import annotations

import dataclasses
from typing import Protocol, runtime_checkable

from enrollment.images import DecodedImage
from matcher.faces import FoundFace
from matcher.positions import Modality
from matcher.service.extraction import QualityComponent, SampleUse
from matcher.templates import Template


@dataclasses.dataclass(frozen=True)
class Extraction:
    """A template and what is worth telling about the image it came from.

    Attributes:
        template: the features.
        quality: unified quality score, 0 (useless) to 100 (ISO/IEC 29794-1).
        advice: short sentences that help the person who captures, e.g. "press flatter"; empty when all is well.
        faces: that were found, where the image shows any.
        components: what the quality is made of, where the extractor says.
    """

    template: Template
    quality: int
    advice: tuple[str, ...] = ()
    faces: tuple[FoundFace, ...] = ()
    components: tuple[QualityComponent, ...] = ()


class ModalityExtractor(Protocol):
    """Image to template for one modality; thread-safe; raises SampleRejected for what is no usable sample."""

    @property
    def modality(self) -> Modality:
        """What it extracts."""
        ...

    @property
    def algorithm(self) -> str:
        """Algorithm id of its templates."""
        ...

    def extract(self, image: DecodedImage) -> Extraction:
        """Extracts the one template of the image."""
        ...


@runtime_checkable
class PurposefulExtractor(Protocol):
    """A ModalityExtractor to which it matters what an image is for."""

    def extract_for(self, image: DecodedImage, use: SampleUse) -> Extraction:
        """Extracts the template that is asked for, or refuses what may be searched with but not enrolled."""
        ...
