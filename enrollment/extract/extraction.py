"""What every extractor returns and what it must offer."""

from __future__ import annotations

import dataclasses
from typing import Protocol

from enrollment.images import DecodedImage
from matcher.positions import Modality
from matcher.templates import Template


@dataclasses.dataclass(frozen=True)
class Extraction:
    """A template and what is worth telling about the image it came from.

    Attributes:
        template: the features.
        quality: unified quality score, 0 (useless) to 100 (ISO/IEC 29794-1).
        advice: short sentences that help the person who captures, e.g. "press flatter"; empty when all is well.
    """

    template: Template
    quality: int
    advice: tuple[str, ...] = ()


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
