"""Near-infrared picture of one eye to iris template.

Steps: reduce -> segment (``iris_segmentation``) -> unroll and mask (``iris_normalisation``) -> judge (``iris_quality``)
-> encode (``iris_encoding``).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from enrollment.extract.extraction import Extraction
from enrollment.extract.iris_encoding import encode
from enrollment.extract.iris_normalisation import even_out, unroll
from enrollment.extract.iris_parameters import PARAMETERS, IrisExtractionParameters
from enrollment.extract.iris_quality import QUALITY, QualityParameters, advice, confidence, measure, quality
from enrollment.extract.iris_segmentation import reduce, segment
from enrollment.images import DecodedImage
from matcher.errors import SampleRejected
from matcher.iris.parameters import ALGORITHM
from matcher.iris.parameters import PARAMETERS as COMPARISON
from matcher.positions import Modality


class IrisExtractor:
    """Extracts iris codes; stateless and thread-safe.

    Works on upright pictures of one eye, iris radius 40 pixels and more. The first picture takes some seconds longer:
    the search loops are compiled then.
    """

    modality = Modality.IRIS
    algorithm = ALGORITHM

    def __init__(
        self, parameters: IrisExtractionParameters = PARAMETERS, quality_parameters: QualityParameters = QUALITY
    ) -> None:
        self.parameters = parameters
        self.quality_parameters = quality_parameters

    def extract(self, image: DecodedImage) -> Extraction:
        """The template of the picture's iris, its quality and advice.

        Raises:
            SampleRejected: IRIS_NOT_FOUND where the picture shows no iris, or none large enough, or was taken in
                visible light; IRIS_HIDDEN where too little of the iris shows for any comparison.
        """
        p, q = self.parameters, self.quality_parameters
        if image.pixels.ndim == 3 and _colour(image.pixels) > q.colour:
            raise _not_found("this is a colour picture")
        grey = image.grey
        fine = reduce(grey, p.fine_side)
        eye = segment(fine, p)
        if eye is None:
            raise _not_found("nothing in it looks like a pupil")
        sheet, visible = unroll(fine, eye, p)
        measured = measure(fine, eye, sheet, visible, grey.shape[1] / fine.shape[1])
        if confidence(measured, q) < q.least_confidence:
            raise _not_found("what is most like a pupil and an iris in it is not like them enough")
        if measured.iris_radius < q.least_radius:
            raise _not_found(f"the only iris in it has a radius of {measured.iris_radius:.0f} pixels; move closer")
        template = encode(even_out(sheet, visible, p), visible, p)
        code = COMPARISON.verification
        comparable = int(np.bitwise_count(template.verification.mask).sum())
        if comparable < code.least_bits:
            raise SampleRejected(
                f"lids, lashes or glare hide the iris: {comparable} of {code.bits} bits can be read; "
                "open the eye wider and remove glasses",
                reason="IRIS_HIDDEN",
            )
        return Extraction(template, quality(measured, q), advice(measured))


def _not_found(why: str) -> SampleRejected:
    return SampleRejected(
        f"no iris was found: {why}. Send an upright near-infrared picture of one open eye that fills it",
        reason="IRIS_NOT_FOUND",
    )


def _colour(pixels: NDArray[np.uint8]) -> float:
    """Mean difference of the largest and the smallest colour channel, grey levels, on a sample of the pixels."""
    sample = pixels[::4, ::4].astype(np.int16)
    return float(np.mean(sample.max(axis=2) - sample.min(axis=2)))
