"""All modalities' extractors behind the one interface that the server is given."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

from enrollment.extract.extraction import ModalityExtractor, PurposefulExtractor
from enrollment.images import ImageLimits, decode_image
from matcher.errors import AmbisError, ModalityUnavailable, SampleRejected
from matcher.positions import Modality, Position
from matcher.service.extraction import SEARCH, ExtractedSample, ExtractorStatus, SampleUse

log = logging.getLogger(__name__)


class Extractors:
    """A TemplateExtractor: decodes, and hands the image to the extractor of the position's modality.

    Args:
        extractors: at most one a modality.
        missing: for a modality without one, why it is missing and what to do.
        limits: bytes and pixels of one image.
    """

    def __init__(
        self,
        extractors: Iterable[ModalityExtractor],
        missing: Mapping[Modality, str] | None = None,
        limits: ImageLimits | None = None,
    ) -> None:
        self._extractors = {e.modality: e for e in extractors}
        self._missing = dict(missing or {})
        self._limits = limits or ImageLimits()

    def extract(
        self, position: Position, data: bytes, media_type: str, ppi: float | None, use: SampleUse = SEARCH
    ) -> ExtractedSample:
        """See TemplateExtractor."""
        extractor = self._extractors.get(position.modality)
        if extractor is None:
            raise ModalityUnavailable(self._why_missing(position.modality), field="image")
        image = decode_image(data, media_type=media_type, ppi=ppi, limits=self._limits)
        try:
            if isinstance(extractor, PurposefulExtractor):
                extraction = extractor.extract_for(image, use)
            else:
                extraction = extractor.extract(image)
        except AmbisError:
            raise
        except Exception as error:
            log.exception("the %s extractor failed on an image of %s", position.modality, image.pixels.shape)
            raise SampleRejected(
                f"the {position.modality} extractor could not work on this image; take another one. The server's log "
                "has the details",
                reason="EXTRACTION_FAILED",
            ) from error
        return ExtractedSample(
            extraction.template,
            extraction.quality,
            extraction.advice,
            image.media_type,
            extraction.faces,
            extraction.components,
        )

    def with_extractor(self, extractor: ModalityExtractor) -> Extractors:
        """The same with another extractor of its modality."""
        others = [e for m, e in self._extractors.items() if m is not extractor.modality]
        return Extractors([*others, extractor], self._missing, self._limits)

    def status(self) -> Sequence[ExtractorStatus]:
        """See TemplateExtractor."""
        return [
            ExtractorStatus(m, self._extractors[m].algorithm, "")
            if m in self._extractors
            else ExtractorStatus(m, "", self._why_missing(m))
            for m in Modality
        ]

    def _why_missing(self, modality: Modality) -> str:
        return self._missing.get(modality) or f"this server extracts no {modality} images"
