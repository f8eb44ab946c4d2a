"""How useful a face image is, and what the person who takes it should change.

Not the quality measure of ISO/IEC 29794-5: a few of its components (inter-eye distance, sharpness, exposure, pose),
what detector and recogniser themselves report, each mapped to 0-1 by a ramp, and the product of them times 100.
"""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
from numpy.typing import NDArray

from enrollment.extract.face_alignment import ARCFACE_POINTS


@dataclasses.dataclass(frozen=True)
class Ramp:
    """0 at ``low`` and below, 1 at ``high`` and above, straight between; ``low`` may be the larger one."""

    low: float
    high: float

    def __call__(self, value: float) -> float:
        """0-1."""
        return float(np.clip((value - self.low) / (self.high - self.low), 0.0, 1.0))


@dataclasses.dataclass(frozen=True)
class FaceQualityParameters:
    """Ramps, and the score of a component below which its advice is given.

    Attributes:
        eye_distance: pixels. The recogniser's crop has 35 between the eyes: below that it is magnified.
        sharpness: share of fine detail (``FaceMeasures.sharpness``); of 2,152 press photos (LFW) 1% lie below 0.029.
        contrast: spread of grey levels in the face; of the same photos 5% lie below 74.
        clipped: share of pixels without detail because they are full white or black.
        yaw, pitch: degrees away from frontal; of the same photos 1% lie beyond 35 and 39. Pitch counts less: from five
            points a smile looks like a lowered head.
        confidence: of the detector.
        strength: of the embedding (``FaceEmbedding.strength``).
        advise_below: component score that calls for advice.
    """

    eye_distance: Ramp = Ramp(8.0, 40.0)
    sharpness: Ramp = Ramp(0.0, 0.04)
    contrast: Ramp = Ramp(20.0, 80.0)
    clipped: Ramp = Ramp(0.5, 0.1)
    yaw: Ramp = Ramp(60.0, 20.0)
    pitch: Ramp = Ramp(90.0, 30.0)
    confidence: Ramp = Ramp(-0.5, 0.8)
    strength: Ramp = Ramp(0.0, 1.0)
    advise_below: float = 0.5


@dataclasses.dataclass(frozen=True)
class FaceMeasures:
    """What is measured on one face.

    Attributes:
        eye_distance: between the eye centres, pixels of the image.
        sharpness: variance of the Laplacian over variance of the grey levels, in the aligned crop; no unit.
        brightness: median grey level of the face, 0-255.
        contrast: 5th to 95th percentile of its grey levels, 0-255.
        white, black: shares of its pixels at 250 and above, 5 and below.
        yaw, pitch: degrees; positive: nose to the right of the image, nose down. From five points, rough.
        confidence: of the detector, 0-1.
        strength: of the embedding, 0-1.
    """

    eye_distance: float
    sharpness: float
    brightness: float
    contrast: float
    white: float
    black: float
    yaw: float
    pitch: float
    confidence: float
    strength: float


NOSE_DEPTH = 0.55
"""How far the tip of the nose lies before the plane of the eyes, in eye distances (about 35 of 63 mm)."""


def head_pose(points: NDArray[np.float64]) -> tuple[float, float]:
    """Yaw and pitch in degrees, from how far the nose tip has moved against eyes and mouth.

    Args:
        points: float64[5, 2]; see ``ARCFACE_POINTS``.
    """

    def nose_place(five: NDArray[np.float64]) -> tuple[float, float]:
        """Sideways in eye distances, and downwards as a share of the way from eyes to mouth; free of roll."""
        eyes, mouth = five[:2].mean(axis=0), five[3:].mean(axis=0)
        across = five[1] - five[0]
        distance = max(float(np.hypot(*across)), 1e-6)
        x_axis = across / distance
        y_axis = np.array([-x_axis[1], x_axis[0]])
        down = float((mouth - eyes) @ y_axis) / distance
        nose = five[2] - eyes
        return float(nose @ x_axis) / distance, float(nose @ y_axis) / distance / max(down, 1e-6)

    sideways, downwards = nose_place(points)
    _, downwards_frontal = nose_place(ARCFACE_POINTS)
    yaw = math.degrees(math.atan(sideways / NOSE_DEPTH))
    # The nose moves by NOSE_DEPTH * sin(pitch); from eyes to mouth it is 1.15 eye distances.
    pitch = math.degrees(math.asin(float(np.clip((downwards - downwards_frontal) * 1.15 / NOSE_DEPTH, -1.0, 1.0))))
    return yaw, pitch


def measure(
    aligned: NDArray[np.uint8], points: NDArray[np.float64], confidence: float, strength: float
) -> FaceMeasures:
    """Measures one face.

    Args:
        aligned: uint8[112, 112, 3] RGB.
        points: float64[5, 2] in pixels of the image it was aligned from.
        confidence: of the detector, 0-1.
        strength: of the embedding, 0-1.
    """
    grey = cv2.cvtColor(aligned, cv2.COLOR_RGB2GRAY)
    face = grey[30:102, 26:86]
    low, middle, high = (float(v) for v in np.percentile(face, (5, 50, 95)))
    laplacian = cv2.Laplacian(grey, cv2.CV_64F)[30:102, 26:86]
    yaw, pitch = head_pose(points)
    return FaceMeasures(
        eye_distance=float(np.hypot(*(points[1] - points[0]))),
        sharpness=float(laplacian.var() / max(float(face.var()), 1.0)),
        brightness=middle,
        contrast=high - low,
        white=float((face >= 250).mean()),
        black=float((face <= 5).mean()),
        yaw=yaw,
        pitch=pitch,
        confidence=confidence,
        strength=strength,
    )


def judge(measures: FaceMeasures, parameters: FaceQualityParameters | None = None) -> tuple[int, tuple[str, ...]]:
    """Quality 0-100, and advice for the person who takes the picture, most pressing first."""
    p = parameters or FaceQualityParameters()
    if measures.brightness < 128:
        light = "more light on the face"
    else:
        light = "less light on the face, and none from behind or the side"
    scored = [
        (p.eye_distance(measures.eye_distance), "move closer"),
        (p.yaw(abs(measures.yaw)), "face the camera"),
        (p.pitch(abs(measures.pitch)), "face the camera, at the height of the eyes"),
        (p.contrast(measures.contrast), light),
        (p.clipped(measures.white + measures.black), light),
        (p.sharpness(measures.sharpness), "hold still, and wait for the focus"),
        (p.confidence(measures.confidence), "show the whole face, uncovered and from the front"),
        (p.strength(measures.strength), "show the whole face, uncovered and from the front"),
    ]
    quality = round(100.0 * math.prod(score for score, _ in scored))
    pressing = sorted((score, text) for score, text in scored if score < p.advise_below)
    return quality, tuple(dict.fromkeys(text for _, text in pressing))
