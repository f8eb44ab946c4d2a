"""What the service needs of image-to-template extraction, which is injected: ``matcher`` knows no image."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol

from matcher.positions import Modality, Position
from matcher.templates import Template


@dataclasses.dataclass(frozen=True)
class ExtractedSample:
    """A template out of an image.

    Attributes:
        quality: 0 (useless) to 100.
        advice: short sentences for whoever captures.
        media_type: what the image's bytes are.
    """

    template: Template
    quality: int
    advice: tuple[str, ...]
    media_type: str


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

    def extract(self, position: Position, data: bytes, media_type: str, ppi: float | None) -> ExtractedSample:
        """Extracts the template of one image.

        Args:
            position: what the image shows.
            data: the file's bytes.
            media_type: as the sender says; may be empty.
            ppi: as the sender says; None when it does not.

        Raises:
            SampleRejected: the image cannot be used.
            ModalityUnavailable: this server cannot extract that modality.
        """
        ...

    def status(self) -> Sequence[ExtractorStatus]:
        """One entry a modality."""
        ...
