"""What to tell the person who captures a fingerprint, from its place, its ink and NFIQ 2's components."""

from __future__ import annotations

import dataclasses

from enrollment.extract.finger_minutiae import Minutiae
from enrollment.extract.finger_quality import FingerQuality
from enrollment.extract.finger_ridges import Ridges


@dataclasses.dataclass(frozen=True)
class FingerAdviceParameters:
    """When advice is given; looked at on 688 real prints.

    Attributes:
        small_area: square millimetres of ridges.
        small_foreground: NFIQ 2's SufficientFingerprintForeground, in pixels at 500 ppi: 77 mm2, what 2 % of the prints
            do not reach. NIST asks for 50,000, which many sensors cannot show at all.
        few_minutiae: of our own.
        low_quality: NFIQ 2 score.
        dry, wet: ink share (``finger_polarity.Polarity``) below and above which a poor print is called so.
        broken_ridges: NFIQ 2's FingerJetFX_MinutiaeCount; more are the ends of ridges that a dry finger breaks up.
        room: part of the image that is free beside a print that runs off the other side.
    """

    small_area: float = 70.0
    small_foreground: float = 30_000.0
    few_minutiae: int = 15
    low_quality: int = 25
    dry: float = 0.25
    wet: float = 0.45
    broken_ridges: float = 90.0
    room: float = 0.12


def finger_advice(
    ridges: Ridges,
    shape: tuple[int, ...],
    found: Minutiae,
    quality: FingerQuality | None,
    estimate: int,
    parameters: FingerAdviceParameters | None = None,
) -> tuple[str, ...]:
    """Sentences for the person who captures; empty when all is well.

    Args:
        ridges: of the print, ridges dark.
        shape: height and width of the image at 500 ppi.
        found: its minutiae.
        quality: what NFIQ 2 says, None where it could not be measured.
        estimate: the quality that is reported, NFIQ 2's or one in its stead.
    """
    p = parameters or FingerAdviceParameters()
    components = quality.components if quality else {}
    advice = _placement(ridges, shape, p)
    if (
        ridges.ridge_area < p.small_area
        or components.get("SufficientFingerprintForeground", p.small_foreground) < p.small_foreground
    ):
        advice.append("only a small part of the finger shows: press flatter and move so that the whole finger shows")
    if estimate < p.low_quality:
        advice.append(_ink(ridges, components.get("FingerJetFX_MinutiaeCount", 0.0), p))
    if len(found) < p.few_minutiae:
        advice.append("few details were found: capture again, or add another finger")
    return tuple(advice)


def _ink(ridges: Ridges, jet_minutiae: float, p: FingerAdviceParameters) -> str:
    ink = ridges.polarity.ink if ridges.polarity else 0.5
    if ink > p.wet:
        return "the finger is too wet or pressed too hard, and ridges merge: dry it, clean the sensor, press less hard"
    if ink < p.dry or jet_minutiae > p.broken_ridges:
        return "the finger is too dry, and ridges are broken: moisten it slightly and press harder"
    return "the ridges are unclear: clean the sensor and press flatter, without sliding"


def _placement(ridges: Ridges, shape: tuple[int, ...], p: FingerAdviceParameters) -> list[str]:
    """Advice where the print runs off one side while the other has room. Every print may run off the bottom."""
    top, right, _, left = ridges.runs_off
    height, width = shape[0], shape[1]
    advice = []
    if left and not right and width - ridges.right > p.room * width:
        advice.append("the finger runs off the left edge: press in the middle, farther to the right")
    if right and not left and ridges.left > p.room * width:
        advice.append("the finger runs off the right edge: press in the middle, farther to the left")
    if top and height - ridges.bottom > p.room * height:
        advice.append("the finger runs off the top edge: press in the middle, farther down")
    return advice
