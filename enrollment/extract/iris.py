"""Near-infrared picture of one eye to iris template.

Steps: reduce -> segment (``iris_segmentation``) -> unroll and mask (``iris_normalisation``) -> judge (``iris_quality``)
-> encode (``iris_encoding``).
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from enrollment.extract.extraction import Extraction
from enrollment.extract.iris_encoding import encode
from enrollment.extract.iris_geometry import Circle
from enrollment.extract.iris_network import IrisNetwork
from enrollment.extract.iris_normalisation import even_out, unroll
from enrollment.extract.iris_parameters import PARAMETERS, IrisExtractionParameters
from enrollment.extract.iris_quality import (
    QUALITY,
    EyeMeasurements,
    QualityParameters,
    advice,
    confidence,
    measure,
    quality,
)
from enrollment.extract.iris_segmentation import reduce, segment
from enrollment.images import DecodedImage
from matcher.errors import SampleRejected
from matcher.iris.parameters import ALGORITHM
from matcher.iris.parameters import PARAMETERS as COMPARISON
from matcher.positions import Modality

_LEAST_SIDE = 32
"""Pixels of a reduced picture, below which no iris is in it: a strip."""


class IrisExtractor:
    """Extracts iris codes; stateless and thread-safe.

    Works on upright pictures of one eye, iris radius 40 pixels and more. The first picture takes some seconds longer:
    the search loops are compiled then.

    Args:
        parameters, quality_parameters: constants.
        network: segments instead of the classical search (``iris_network``).
    """

    modality = Modality.IRIS
    algorithm = ALGORITHM

    def __init__(
        self,
        parameters: IrisExtractionParameters = PARAMETERS,
        quality_parameters: QualityParameters = QUALITY,
        network: IrisNetwork | None = None,
    ) -> None:
        self.parameters = parameters
        self.quality_parameters = quality_parameters
        self.network = network

    def extract(self, image: DecodedImage) -> Extraction:
        """The template of the picture's iris, its quality and advice.

        Raises:
            SampleRejected: IRIS_NOT_FOUND where the picture shows no iris, or none large enough, or was taken in
                visible light; IRIS_HIDDEN where too little of the iris shows for any comparison.
        """
        p, q = self.parameters, self.quality_parameters
        if image.pixels.ndim == 3 and _colour(image.pixels) > q.colour:
            raise _not_found("this is a colour picture")
        view = self._look(image.grey)
        if view is None:
            raise _not_found("nothing in it looks like a pupil")
        measured = view.measured
        if view.confidence < q.least_confidence:
            raise _not_found("what is most like a pupil and an iris in it is not like them enough")
        if measured.iris_radius < q.least_radius:
            raise _not_found(f"the only iris in it has a radius of {measured.iris_radius:.0f} pixels; move closer")
        template = encode(even_out(view.sheet, view.visible, p), view.visible, p)
        for code, layout in ((template.verification, COMPARISON.verification), (template.search, COMPARISON.search)):
            comparable = int(np.bitwise_count(code.mask).sum())
            if comparable < layout.least_bits:
                raise SampleRejected(
                    f"lids, lashes or glare hide the iris: {comparable} of {layout.bits} bits can be read; "
                    "open the eye wider and remove glasses",
                    reason="IRIS_HIDDEN",
                )
        return Extraction(template, quality(measured, q), advice(measured, q))

    def _look(self, grey: NDArray[np.uint8]) -> _View | None:
        """The eye in a picture of any size; None where nothing looks like a pupil.

        Of a large picture with a small iris, what was found is looked at again, cut out and as large as it was sent;
        where nothing was found that is like an eye, it is searched once more for one too small for the first search.
        """
        p, q = self.parameters, self.quality_parameters
        fine = reduce(grey, p.fine_side)
        view = self._view(fine, grey.shape[1] / fine.shape[1], p)
        if max(fine.shape) > p.coarse_side and (view is None or view.confidence < q.least_confidence):
            smaller = self._view(fine, grey.shape[1] / fine.shape[1], dataclasses.replace(p, coarse_side=p.fine_side))
            if smaller is not None and (view is None or smaller.confidence > view.confidence):
                view = smaller
        if view is None or view.enlargement <= 1.0 or view.limbus.radius >= p.focus_radius:
            return view
        part = _cut_out(grey, view.limbus.scaled(view.enlargement))
        cut = reduce(part, p.fine_side)
        closer = self._view(cut, part.shape[1] / cut.shape[1], p)
        return closer if closer is not None and closer.confidence >= 0.8 * view.confidence else view

    def _view(self, fine: NDArray[np.uint8], enlargement: float, p: IrisExtractionParameters) -> _View | None:
        if min(fine.shape) < _LEAST_SIDE:
            return None
        eye = self.network.segment(fine) if self.network is not None else segment(fine, p)
        if eye is None:
            return None
        sheet, visible = unroll(fine, eye, p)
        measured = measure(fine, eye, sheet, visible, enlargement)
        sure = confidence(measured, self.quality_parameters)
        return _View(sheet, visible, measured, sure, eye.limbus.circle, enlargement)


@dataclasses.dataclass(frozen=True, eq=False)
class _View:
    """An eye seen in a picture, or in a part of it; ``enlargement`` is the size as sent over that looked at."""

    sheet: NDArray[np.float32]
    visible: NDArray[np.bool_]
    measured: EyeMeasurements
    confidence: float
    limbus: Circle
    enlargement: float


def _not_found(why: str) -> SampleRejected:
    return SampleRejected(
        f"no iris was found: {why}. Send an upright near-infrared picture of one open eye that fills it",
        reason="IRIS_NOT_FOUND",
    )


def _cut_out(grey: NDArray[np.uint8], limbus: Circle) -> NDArray[np.uint8]:
    """The eye with as much round it as an eye's picture should have."""
    reach = 2.4 * limbus.radius
    x0, x1 = max(0, int(limbus.x - 1.25 * reach)), int(limbus.x + 1.25 * reach) + 1
    y0, y1 = max(0, int(limbus.y - reach)), int(limbus.y + reach) + 1
    return np.ascontiguousarray(grey[y0:y1, x0:x1])


def _colour(pixels: NDArray[np.uint8]) -> float:
    """Mean difference of the largest and the smallest colour channel, grey levels, on a sample of the pixels."""
    sample = pixels[::4, ::4].astype(np.int16)
    return float(np.mean(sample.max(axis=2) - sample.min(axis=2)))
