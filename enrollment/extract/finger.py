"""Fingerprint image to template: resolution, foreground, ridge check, minutiae, quality, advice.

Steps:
    1. resample to exactly 500 ppi (19.69 pixels/mm), the resolution that the network and the cylinders are made for;
    2. find the foreground and check that it has ridges (``finger_ridges``): a face, an eye, a text or an empty plate is
       refused here, in 15 ms; white ridges are made dark (``finger_polarity``);
    3. find minutiae within the foreground (``finger_leader``, or ``finger_mindtct`` where that is chosen);
    4. refuse what has too few or only doubtful ones;
    5. quality by NFIQ 2 (``finger_quality``), and advice for the person who captures (``finger_advice``).
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from enrollment.extract.extraction import Extraction
from enrollment.extract.finger_advice import finger_advice
from enrollment.extract.finger_leader import LeaderNetwork
from enrollment.extract.finger_minutiae import Minutiae, MinutiaeFinder
from enrollment.extract.finger_quality import Nfiq2
from enrollment.extract.finger_ridges import Ridges, find_ridges
from enrollment.images import DecodedImage
from matcher.errors import SampleRejected
from matcher.positions import Modality
from matcher.templates import FingerTemplate

TEMPLATE_VERSION = 1
PPI = 500.0


@dataclasses.dataclass(frozen=True)
class FingerExtractionParameters:
    """Limits and thresholds, fitted on 688 prints of 86 fingers, LFW faces and CASIA and MMU2 eyes.

    Attributes:
        min_ppi, max_ppi: resolutions that are resampled; others are refused, or assumed wrong.
        max_side: of the image, at 500 ppi: 3.2 inches, a slap of four fingers and more.
        max_print: sides of the foreground, at 500 ppi: 2 inches, more than any rolled finger.
        min_ridge_area: square millimetres (least of the prints 26; the most of 880 eyes 14).
        min_ridge_share: part of the foreground (least of the prints 0.24; 99 % of faces under 0.1).
        min_minutiae: fewer prove no identity (least of the prints 11).
        min_likeness: ridge share times the mean quality of the ten best minutiae. Two of the 688 prints, of NFIQ 2 1
            and 11, lie below (0.12, 0.16); above lie 2 of 438 eyes that were enlarged 1.6 times, of others none.
        doubtful_likeness, sure_quality, sure_share: from this likeness on a print passes too where at least this share
            of its minutiae is of that quality: what is no print has many minutiae there and few that are sure. The two
            prints have 0.29 and 0.50, enlarged eyes at most 0.27.
        min_quality: of a minutia. On UPEK, FVC2000 DB1_B and DB4_B (1,008 genuine and 13,440 impostor pairs) EER and
            FNMR at FMR 0.1 % are 0.50/0.60 % at 0.10, 0.41/0.60 at 0.15 and 0.20, 0.40/0.69 at 0.25, 0.60/0.79 at 0.30
            and 0.69/0.89 at 0.35.
        max_minutiae: kept, best first.
    """

    min_ppi: float = 200.0
    max_ppi: float = 1200.0
    max_side: int = 1600
    max_print: int = 1000
    min_ridge_area: float = 20.0
    min_ridge_share: float = 0.18
    min_minutiae: int = 8
    min_likeness: float = 0.185
    doubtful_likeness: float = 0.11
    sure_quality: float = 0.5
    sure_share: float = 0.28
    min_quality: float = 0.20
    max_minutiae: int = 60


class FingerExtractor:
    """Extracts minutiae templates; a ``ModalityExtractor``, thread-safe. A quarter of a second a print on one thread.

    Args:
        finder: of minutiae; a new session of LEADER on the installed model when left out.
        threads: of a new session's single call.
        measure_quality: whether to run NFIQ 2 (0.1 s); without it quality is estimated from ridges and minutiae.

    Raises:
        ModalityUnavailable: the model file is missing or is another one.
    """

    modality = Modality.FINGER

    def __init__(
        self,
        finder: MinutiaeFinder | None = None,
        *,
        threads: int = 1,
        measure_quality: bool = True,
        parameters: FingerExtractionParameters | None = None,
    ) -> None:
        self.parameters = parameters or FingerExtractionParameters()
        self._finder = finder or LeaderNetwork(threads=threads)
        self._nfiq2 = Nfiq2() if measure_quality else None

    @property
    def algorithm(self) -> str:
        """The finder's: templates of different finders are not comparable."""
        return self._finder.algorithm

    def extract(self, image: DecodedImage) -> Extraction:
        """Extracts the template of one print; coordinates are those of the whole image at 500 ppi.

        Raises:
            SampleRejected: PPI_UNSUPPORTED, FINGER_TOO_LARGE (more than one finger, or a wrong resolution), or
                FINGER_NOT_FOUND (no print, or one without usable detail).
        """
        p = self.parameters
        grey = self._at_500_ppi(image)
        ridges = find_ridges(grey)
        is_inverted = ridges.polarity is not None and ridges.polarity.white_ridges
        if is_inverted:
            grey = 255 - grey
            ridges = find_ridges(grey)
        self._check_ridges(ridges)
        crop = np.ascontiguousarray(grey[ridges.top : ridges.bottom, ridges.left : ridges.right])
        found = self._finder.find(crop, min_quality=p.min_quality, max_count=p.max_minutiae)
        likeness = ridges.ridge_share * float(found.quality[:10].mean()) if len(found) else 0.0
        sure = float((found.quality >= p.sure_quality).mean()) if len(found) else 0.0
        least = p.doubtful_likeness if sure >= p.sure_share else p.min_likeness
        if len(found) < p.min_minutiae or likeness < least:
            raise SampleRejected(
                f"the image shows no usable fingerprint: {len(found)} minutiae (at least {p.min_minutiae} are needed) "
                f"and a likeness to friction ridges of {likeness:.2f} (at least {least:g}); "
                "clean the finger and the sensor, press flat and capture again",
                reason="FINGER_NOT_FOUND",
            )
        template = FingerTemplate(
            self.algorithm,
            TEMPLATE_VERSION,
            grey.shape[1],
            grey.shape[0],
            (found.x + ridges.left).astype(np.int16),
            (found.y + ridges.top).astype(np.int16),
            FingerTemplate.encode_angle(found.direction),
            np.round(100.0 * np.clip(found.quality, 0.0, 1.0)).astype(np.uint8),
        )
        measured = self._nfiq2.measure(grey) if self._nfiq2 else None
        quality = measured.score if measured else estimated_quality(ridges, found)
        told = _about_the_image(image, is_inverted) + finger_advice(ridges, grey.shape, found, measured, quality)
        return Extraction(template, quality, told)

    def _at_500_ppi(self, image: DecodedImage) -> NDArray[np.uint8]:
        p = self.parameters
        ppi = PPI if image.ppi is None else image.ppi
        if not p.min_ppi <= ppi <= p.max_ppi:
            raise SampleRejected(
                f"a fingerprint of {ppi:g} ppi cannot be used; scan it at 500 or 1000 ppi "
                f"({p.min_ppi:g}-{p.max_ppi:g} are accepted), or correct the ppi sent",
                reason="PPI_UNSUPPORTED",
            )
        height, width = image.pixels.shape[:2]
        if max(height, width) * PPI / ppi > p.max_side:
            raise _too_large(width / ppi, height / ppi)
        return resample(image.grey, PPI / ppi)

    def _check_ridges(self, ridges: Ridges) -> None:
        p = self.parameters
        if ridges.ridge_area < p.min_ridge_area or ridges.ridge_share < p.min_ridge_share:
            what = (
                "is empty or without contrast" if ridges.foreground < p.min_ridge_area else "shows no friction ridges"
            )
            raise SampleRejected(
                f"the image {what}, so there is no fingerprint to use; check that it is a finger and that the ppi is "
                "right, and capture again with the finger flat on a clean sensor",
                reason="FINGER_NOT_FOUND",
            )
        height, width = ridges.bottom - ridges.top, ridges.right - ridges.left
        if max(height, width) > p.max_print:
            raise _too_large(width / PPI, height / PPI)


def resample(grey: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """uint8[h, w] scaled by exactly ``scale``, with an anti-aliasing Lanczos filter.

    The size is rounded down, and the remainder of less than a pixel is cut off at the right and bottom, so that a pixel
    (x, y) of the result lies at (x / scale, y / scale) of the input.
    """
    if math.isclose(scale, 1.0, rel_tol=1e-6):
        return np.ascontiguousarray(grey)
    height, width = grey.shape
    new = (max(1, math.floor(width * scale + 1e-6)), max(1, math.floor(height * scale + 1e-6)))
    box = (0.0, 0.0, min(new[0] / scale, float(width)), min(new[1] / scale, float(height)))
    return np.asarray(Image.fromarray(grey).resize(new, Image.Resampling.LANCZOS, box=box))


def _about_the_image(image: DecodedImage, is_inverted: bool) -> tuple[str, ...]:
    told = []
    if image.ppi is None:
        told.append("the resolution is unknown and 500 ppi was assumed: send the ppi with the image")
    if is_inverted:
        told.append("the ridges are white and were taken for dark ones: set the scanner to dark ridges on white")
    return tuple(told)


def estimated_quality(ridges: Ridges, found: Minutiae) -> int:
    """0-100 from ridges and minutiae, for prints that NFIQ 2 cannot measure: clear ridges over 100 mm2 give the most.

    A stand-in, not ISO/IEC 29794-4. Capped at 40: where NFIQ 2 gives up, something is wrong with the image.
    """
    area = min(ridges.ridge_area / 100.0, 1.0)
    return round(40.0 * area * ridges.ridge_share * float(found.quality.mean()))


def _too_large(width: float, height: float) -> SampleRejected:
    return SampleRejected(
        f"the image spans {width * 25.4:.0f} x {height * 25.4:.0f} mm, more than one finger; "
        "send each finger by itself, or correct the ppi",
        reason="FINGER_TOO_LARGE",
    )
