"""Is it an eye, and how good is the picture of it: measurements, the verdict, the unified score, advice in words."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
from numpy.typing import NDArray

from enrollment.extract.iris_geometry import ANGLES, DIRECTIONS, Boundary, EyeSegmentation


@dataclasses.dataclass(frozen=True)
class EyeMeasurements:
    """What a segmented picture is judged by.

    Attributes:
        usable_area: share of the unrolled iris that is visible, 0-1.
        pupil_edge, limbus_edge: mean gradients along the circles, grey levels a pixel (coarse picture).
        pupil_share: share of the pupil's circle that grows brighter outwards, 0-1.
        pupil_spread: standard deviation of the grey levels inside the pupil.
        pupil_contrast: median of the iris minus median of the pupil, grey levels.
        sclera_contrast: median beside the iris minus median of its outer part, at the sides, grey levels.
        limbus_share: share of the lateral limbus that grows brighter outwards, on the worse side, 0-1.
        texture: standard deviation of the visible iris about its local mean, grey levels.
        iris_radius: pixels of the picture as it was sent.
        dilation: pupil radius over iris radius.
        margin: least distance from the iris centre to a side of the picture, over the iris radius.
        pupil_round: share of directions in which the pupil's rim brightens by a third of ``pupil_contrast``, 0-1.
        balance: difference of the medians of the two sides of the iris, grey levels.
        iris_spread: standard deviation (robust) of the visible iris, grey levels.
        glare: share of the iris's ring that is saturated or glinting, 0-1.
    """

    usable_area: float
    pupil_edge: float
    limbus_edge: float
    pupil_share: float
    pupil_spread: float
    pupil_contrast: float
    sclera_contrast: float
    limbus_share: float
    texture: float
    iris_radius: float
    dilation: float
    margin: float
    pupil_round: float
    balance: float
    iris_spread: float
    glare: float


Ramp = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class QualityParameters:
    """Limits of judgement: pairs are (value that counts 0, value that counts 1), linear between.

    Set so that of CASIA-Iris-V1 and MMU2 hardly an eye is refused while faces, fingerprints, printed circles and noise
    are. "Relative" values are divided by ``pupil_contrast``, so that they do not depend on exposure.

    Attributes:
        least_confidence: product of the ramps below which a picture shows no eye.
        least_radius: pixels of the picture as sent; a smaller iris cannot be told from other dark discs, nor compared.
        colour: mean difference of the colour channels above which the picture was not taken in near infrared.
        area_quality: usable area to quality; the remaining ramps make up the confidence.
        enrolment_gate, probe_gate: quality below which a picture should not be enrolled, not be searched with; the
            advice says so. Of the first halves of the eyes 5 % (CASIA-Iris-V1) and 17 % (MMU2, lids low and irises
            small) lie below the one, 1 % and 3 % below the other.
    """

    least_confidence: float = 0.15
    least_radius: float = 34.0
    colour: float = 12.0
    enrolment_gate: int = 40
    probe_gate: int = 25
    area_quality: Ramp = (0.25, 0.85)
    pupil_share: Ramp = (0.6, 0.9)
    pupil_edge: Ramp = (1.5, 4.5)
    pupil_contrast: Ramp = (4.0, 20.0)
    pupil_round: Ramp = (0.66, 0.82)
    pupil_spread_relative: Ramp = (0.45, 0.2)
    limbus_share: Ramp = (0.05, 0.4)
    limbus_edge: Ramp = (0.5, 1.5)
    sclera_contrast: Ramp = (0.0, 8.0)
    texture: Ramp = (1.0, 2.5)
    texture_relative: Ramp = (0.5, 0.2)
    iris_spread_relative: Ramp = (0.6, 0.38)
    iris_spread: Ramp = (45.0, 25.0)
    harsh_texture: Ramp = (25.0, 16.0)
    balance_relative: Ramp = (0.9, 0.5)
    usable_area: Ramp = (0.2, 0.45)
    margin: Ramp = (0.3, 0.8)
    glare: Ramp = (0.3, 0.1)


QUALITY = QualityParameters()


def confidence(m: EyeMeasurements, q: QualityParameters = QUALITY) -> float:
    """How surely the picture shows an eye, segmented well, 0-1: a product of ramps, so one absurdity suffices."""
    contrast = max(m.pupil_contrast, 1.0)
    ramps = (
        _ramp(m.pupil_share, q.pupil_share),
        _ramp(m.pupil_edge, q.pupil_edge),
        _ramp(m.pupil_contrast, q.pupil_contrast),
        _ramp(m.pupil_round, q.pupil_round),
        _ramp(m.pupil_spread / contrast, q.pupil_spread_relative),
        _ramp(m.limbus_share, q.limbus_share),
        _ramp(m.limbus_edge, q.limbus_edge),
        _ramp(m.sclera_contrast, q.sclera_contrast),
        _ramp(m.texture, q.texture),
        _ramp(m.texture / contrast, q.texture_relative),
        _ramp(m.iris_spread / contrast, q.iris_spread_relative),
        _ramp(m.iris_spread, q.iris_spread),
        _ramp(m.texture, q.harsh_texture),
        _ramp(m.balance / contrast, q.balance_relative),
        _ramp(m.usable_area, q.usable_area),
        _ramp(m.margin, q.margin),
        _ramp(m.glare, q.glare),
    )
    return float(np.prod(ramps))


def quality(m: EyeMeasurements, q: QualityParameters = QUALITY) -> int:
    """Unified quality, 0-100: usable area times segmentation confidence.

    Of the components of ISO/IEC 29794-6 these alone foretold genuine scores (Spearman -0.4 to -0.5).
    """
    return round(100.0 * _ramp(m.usable_area, q.area_quality) * confidence(m, q))


def advice(m: EyeMeasurements, q: QualityParameters = QUALITY) -> tuple[str, ...]:
    """What whoever captures should do, most helpful first; empty when all is well."""
    words = []
    if m.iris_radius < 50:
        words.append("move closer")
    if m.margin < 0.9:
        words.append("centre the eye in the picture")
    if m.glare > 0.04:
        words.append("remove glasses or turn away from the light")
    if m.usable_area < 0.7:
        words.append("open the eye wider")
    if m.pupil_edge < 3.5 or m.texture < 3.0:
        words.append("hold the camera still and let it focus")
    if m.dilation > 0.6:
        words.append("use more light: the pupil is wide")
    unified = quality(m, q)
    if unified < q.probe_gate:
        words.append("take another picture: with this one a search may miss")
    elif unified < q.enrolment_gate:
        words.append("to enrol, take a better picture")
    return tuple(words)


def _ramp(value: float, limits: Ramp) -> float:
    zero, one = limits
    return min(max((value - zero) / (one - zero), 0.0), 1.0)


def measure(
    fine: NDArray[np.uint8],
    eye: EyeSegmentation,
    sheet: NDArray[np.float32],
    visible: NDArray[np.bool_],
    enlargement: float,
) -> EyeMeasurements:
    """Measures a segmented eye.

    Args:
        fine: uint8[height, width], the picture that was segmented.
        eye: its segmentation.
        sheet, visible: the unrolled iris.
        enlargement: size of the picture as sent over that of ``fine``.
    """
    pupil, limbus = eye.pupil.circle, eye.limbus.circle
    inside = _ring(eye.filled, eye.pupil, np.linspace(0.1, 0.8, 8))
    dark = float(np.median(inside))
    # Robust, for a glint in the pupil is normal, and its rim remains when it is painted over.
    spread = 1.4826 * float(np.median(np.abs(inside - dark)))
    iris_values = sheet[visible] if visible.any() else sheet.ravel()
    side = _lateral()
    steps = np.linspace(0.8, 1.25, 19)
    profile = cv2.blur(_ring(fine, eye.limbus, steps), (3, 1))
    within, beyond = profile[:, steps < 0.95], profile[:, steps > 1.07]
    rise = np.median(beyond, axis=1) - np.median(within, axis=1)
    right, left = side & (np.cos(DIRECTIONS) > 0), side & (np.cos(DIRECTIONS) < 0)
    share = min(float(np.mean(rise[right] > 3)), float(np.mean(rise[left] > 3)))
    contrast = float(np.median(iris_values)) - dark
    rim = _ring(eye.filled, eye.pupil, np.array([0.75, 0.85, 1.15, 1.25]))
    steep = rim[:, 2:].mean(axis=1) - rim[:, :2].mean(axis=1) > max(contrast, 3.0) / 3.0
    halves = [_median(sheet, visible, side) for side in (slice(-64, 64), slice(192, 320))]
    smooth = cv2.GaussianBlur(sheet, (0, 0), 12)
    detail = (cv2.GaussianBlur(sheet, (0, 0), 1.5) - smooth)[visible]
    height, width = fine.shape
    ring = _ring(fine, eye.limbus, np.linspace(0.6, 0.95, 6))
    return EyeMeasurements(
        usable_area=float(visible.mean()),
        pupil_edge=eye.pupil_edge,
        limbus_edge=eye.limbus_edge,
        pupil_share=eye.pupil_share,
        pupil_spread=spread,
        pupil_contrast=contrast,
        sclera_contrast=float(np.median(rise[side])),
        limbus_share=share,
        texture=float(detail.std()) if detail.size > 50 else 0.0,
        iris_radius=limbus.radius * enlargement,
        dilation=pupil.radius / limbus.radius,
        margin=min(limbus.x, limbus.y, width - limbus.x, height - limbus.y) / limbus.radius,
        pupil_round=float(steep.mean()),
        balance=abs(halves[0] - halves[1]),
        iris_spread=1.4826 * float(np.median(np.abs(iris_values - np.median(iris_values)))),
        glare=float(np.mean(ring > 245)),
    )


def _median(sheet: NDArray[np.float32], visible: NDArray[np.bool_], columns: slice) -> float:
    """Median of the visible part of some columns (which may wrap round), of all of them where nothing is visible."""
    index = np.arange(columns.start, columns.stop) % sheet.shape[1]
    values, seen = sheet[:, index], visible[:, index]
    return float(np.median(values[seen] if seen.any() else values))


def _lateral() -> NDArray[np.bool_]:
    """bool[256], directions within 20 degrees above and 40 below the horizontal, at either side."""
    sine = np.sin(DIRECTIONS)
    return np.asarray((sine > -np.sin(np.radians(20))) & (sine < np.sin(np.radians(40))))


def _ring(fine: NDArray[np.uint8], boundary: Boundary, steps: NDArray[np.float64]) -> NDArray[np.float32]:
    """float32[256, len(steps)], grey levels at multiples of a boundary's radius."""
    radii = boundary.radii[:, None] * steps
    map_x = np.asarray(boundary.x + np.cos(DIRECTIONS)[:, None] * radii, np.float32)
    map_y = np.asarray(boundary.y + np.sin(DIRECTIONS)[:, None] * radii, np.float32)
    values = cv2.remap(fine, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(values, np.float32).reshape(ANGLES, len(steps))
