"""What can be measured of one face: the quantities on which its quality rests, in their units.

In the spirit of the components of ISO/IEC 29794-5; not the measures that the standard defines.
"""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
from numpy.typing import NDArray

from enrollment.extract.face_alignment import ALIGNED_SIDE, ARCFACE_POINTS, similarity, warp
from enrollment.extract.face_pack import FaceBox, FaceEmbedding

NOSE_DEPTH = 0.55
"""How far the tip of the nose lies before the plane of the eyes, in eye distances (about 35 of 63 mm)."""
_FACE = (slice(30, 102), slice(26, 86))
"""From the brows to the mouth and from cheek to cheek, in the aligned crop."""
_HEAD_CENTRE, _HEAD_AXES = (56, 58), (30, 42)
"""An ellipse round head and hair in the surroundings, which are the aligned crop of twice the field."""


@dataclasses.dataclass(frozen=True)
class FaceMeasures:
    """What is measured on one face.

    Attributes:
        eye_distance: between the eye centres, pixels of the image.
        yaw, pitch: degrees; positive: nose to the right of the image, nose down. From five points, rough.
        roll: degrees by which the line of the eyes is turned clockwise in the image.
        sharpness: variance of the Laplacian over variance of the grey levels, in the aligned crop; no unit.
        brightness: median grey level of the face, 0-255.
        contrast: 5th to 95th percentile of its grey levels, 0-255.
        white, black: shares of its pixels at 250 and above, 5 and below.
        clutter: mean slope of the grey levels around head and shoulders, grey levels a pixel of the aligned crop of
            twice the field.
        mouth: gap between the lips in eye distances; None where the pack finds no lips.
        eyes: height of the lids' opening over the eye's width, of the eye less open (the aspect ratio of Soukupova and
            Cech, "Real-Time Eye Blink Detection using Facial Landmarks", CVWW 2016); None likewise.
        faces: in the picture.
        confidence: of the detector, 0-1.
        strength, agreement: of the embedding; see ``FaceEmbedding``.
    """

    eye_distance: float
    yaw: float
    pitch: float
    roll: float
    sharpness: float
    brightness: float
    contrast: float
    white: float
    black: float
    clutter: float
    mouth: float | None
    eyes: float | None
    faces: int
    confidence: float
    strength: float
    agreement: float


def measure(
    rgb: NDArray[np.uint8],
    aligned: NDArray[np.uint8],
    points: NDArray[np.float64],
    landmarks: NDArray[np.float64] | None,
    box: FaceBox,
    embedding: FaceEmbedding,
    faces: int = 1,
) -> FaceMeasures:
    """Measures one face.

    Args:
        rgb: uint8[height, width, 3], the image.
        aligned: uint8[112, 112, 3] RGB, the crop that ``face_alignment.align`` cuts.
        points: float64[5, 2] in pixels of the image.
        landmarks: float64[68, 2] likewise, in the order of iBUG 300-W; None where the pack finds five points only.
        faces: that the detector found in the image.
    """
    grey = cv2.cvtColor(aligned, cv2.COLOR_RGB2GRAY)
    face = grey[_FACE]
    low, middle, high = (float(v) for v in np.percentile(face, (5, 50, 95)))
    laplacian = cv2.Laplacian(grey, cv2.CV_64F)[_FACE]
    yaw, pitch = head_pose(points)
    across = points[1] - points[0]
    return FaceMeasures(
        eye_distance=float(np.hypot(*across)),
        yaw=yaw,
        pitch=pitch,
        roll=math.degrees(math.atan2(across[1], across[0])),
        sharpness=float(laplacian.var() / max(float(face.var()), 1.0)),
        brightness=middle,
        contrast=high - low,
        white=float((face >= 250).mean()),
        black=float((face <= 5).mean()),
        clutter=clutter(rgb, points),
        mouth=None if landmarks is None else mouth_gap(landmarks),
        eyes=None if landmarks is None else eye_opening(landmarks),
        faces=faces,
        confidence=box.confidence,
        strength=embedding.strength,
        agreement=embedding.agreement,
    )


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


def clutter(rgb: NDArray[np.uint8], points: NDArray[np.float64]) -> float:
    """Mean slope of the grey levels around the head, of what lies in the image; 0 where nothing does."""
    centre = (ALIGNED_SIDE - 1) / 2
    matrix = similarity(points, (ARCFACE_POINTS - centre) / 2 + centre)
    grey = cv2.cvtColor(warp(rgb, matrix, ALIGNED_SIDE, repeat_border=False), cv2.COLOR_RGB2GRAY)
    inside = warp(np.full(rgb.shape[:2], 255, np.uint8), matrix, ALIGNED_SIDE, repeat_border=False)
    # One pixel less: the image's own edge is no clutter.
    around = cv2.erode(inside, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=255)
    cv2.ellipse(around, _HEAD_CENTRE, _HEAD_AXES, 0, 0, 360, 0, -1)
    # Neck and shoulders.
    around[_HEAD_CENTRE[1] + _HEAD_AXES[1] // 2 :] = 0
    seen = around == 255
    if not seen.any():
        return 0.0
    slopes = np.hypot(cv2.Sobel(grey, cv2.CV_64F, 1, 0), cv2.Sobel(grey, cv2.CV_64F, 0, 1)) / 8.0
    return float(slopes[seen].mean())


def mouth_gap(landmarks: NDArray[np.float64]) -> float:
    """Mean gap between the inner edges of the lips, in eye distances."""
    gap = np.hypot(*(landmarks[[61, 62, 63]] - landmarks[[67, 66, 65]]).T).mean()
    eyes = np.hypot(*(landmarks[36:42].mean(axis=0) - landmarks[42:48].mean(axis=0)))
    return float(gap / max(float(eyes), 1e-6))


def eye_opening(landmarks: NDArray[np.float64]) -> float:
    """Opening of the lids over width of the eye, of the eye less open."""

    def ratio(corner: int) -> float:
        upper, lower = landmarks[[corner + 1, corner + 2]], landmarks[[corner + 5, corner + 4]]
        width = float(np.hypot(*(landmarks[corner + 3] - landmarks[corner])))
        return float(np.hypot(*(upper - lower).T).mean()) / max(width, 1e-6)

    return min(ratio(36), ratio(42))
