"""The compact face pack: dlib's built-in detector, and a landmark and a recognition network of 6 MB together.

1. Detector: histograms of oriented gradients and a linear classifier over an image pyramid (N. Dalal and B. Triggs,
   CVPR 2005; D. King, "Max-Margin Object Detection", arXiv:1502.00046), compiled into ``dlib-bin``. It finds upright
   frontal and half-turned faces of 80 pixels and more; where it finds none, the image is tried once at twice the size.
2. Landmarks: 68 points (order of the iBUG 300-W annotation: Sagonas et al., ICCVW 2013), of which eye centres, nose tip
   and corners of the mouth are used.
3. Recogniser: 512 numbers from the aligned crop and from its mirror image, added and scaled to unit length.
"""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path
from typing import Any

import cv2
import dlib
import numpy as np
from numpy.typing import NDArray

from enrollment.extract.face_alignment import ARCFACE_ALIGNMENT, warp
from enrollment.extract.face_description import PackDescription
from enrollment.extract.face_pack import FaceBox, FaceEmbedding, unit_sum
from enrollment.extract.face_quality import Ramp
from enrollment.extract.onnx_network import Network
from enrollment.models import COMPACT, LANDMARKS, RECOGNISER, read_model
from matcher.face.comparison import COMPACT_ALGORITHM


@dataclasses.dataclass(frozen=True)
class CompactParameters:
    """Parameters of the compact pack.

    Attributes:
        detection_side: larger images are reduced to this longest side for the detector, in pixels. Faces of more than
            an eighth of that (a sixteenth at the second try) are found.
        certain_score: detector score at which it counts as fully certain; chosen so that nine tenths of 2,162 press
            photos (LFW) reach it.
        landmark_side: input of the landmark network.
        landmark_scale, landmark_shift: its crop is a square of this many widths of the detector's box, moved down by
            this many widths. Found by comparison with the key points of another detector (SCRFD) on 150 LFW images:
            disagreement is least, 3.7% of the eye distance, and flat, for 1.0-1.2 and 0.05-0.1.
        pixel_offset, pixel_scale: recogniser input is (pixel - offset) / scale, BGR.
        weak_length, strong_length: of the recogniser's vector before scaling, where ``FaceEmbedding.strength`` is 0 and
            1; of 573 LFW images a tenth lie below 3.2 and none below 2.4, and the rank correlation of length and mean
            genuine score is 0.46.
    """

    detection_side: int = 1024
    certain_score: float = 1.0
    landmark_side: int = 64
    landmark_scale: float = 1.1
    landmark_shift: float = 0.07
    pixel_offset: float = 127.5
    pixel_scale: float = 128.0
    weak_length: float = 1.8
    strong_length: float = 3.2


COMPACT_DESCRIPTION = PackDescription(
    algorithm=COMPACT_ALGORITHM,
    sha256=RECOGNISER.sha256,
    dimension=512,
    licence="MIT as published",
    commercial_use=True,
    provenance=f"npm package {COMPACT.package} {COMPACT.version}",
)


class CompactPack:
    """See the module. Thread-safe: each thread has its own detector, whose scanner keeps state.

    Args:
        folder: with ``fr_landmark.onnx`` and ``fr_feature.onnx``; both are verified by checksum.

    Raises:
        ModalityUnavailable: a file is missing or damaged.
    """

    algorithm = COMPACT_ALGORITHM
    description = COMPACT_DESCRIPTION
    alignment = ARCFACE_ALIGNMENT

    def __init__(self, folder: Path, parameters: CompactParameters | None = None, threads: int = 1) -> None:
        self._parameters = parameters or CompactParameters()
        self._landmarks = Network(read_model(folder, LANDMARKS), threads)
        self._recogniser = Network(read_model(folder, RECOGNISER), threads)
        self._local = threading.local()

    def detect(self, rgb: NDArray[np.uint8]) -> list[FaceBox]:
        """See ``FacePack``."""
        side = self._parameters.detection_side
        shrink = min(1.0, side / max(rgb.shape[:2]))
        small = rgb
        if shrink < 1.0:
            size = (max(round(rgb.shape[1] * shrink), 1), max(round(rgb.shape[0] * shrink), 1))
            small = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
        small = np.ascontiguousarray(small)
        detector = self._detector()
        rectangles, scores, _ = detector.run(small, 0, 0.0)
        if not len(rectangles):
            rectangles, scores, _ = detector.run(small, 1, 0.0)
        across, down = rgb.shape[1] / small.shape[1], rgb.shape[0] / small.shape[0]
        return [
            FaceBox(
                r.left() * across,
                r.top() * down,
                r.right() * across,
                r.bottom() * down,
                float(np.clip(score / self._parameters.certain_score, 0.0, 1.0)),
            )
            for r, score in zip(rectangles, scores, strict=True)
        ]

    def points(self, rgb: NDArray[np.uint8], box: FaceBox) -> NDArray[np.float64]:
        """See ``FacePack``."""
        return five_points(self.landmarks(rgb, box))

    def landmarks(self, rgb: NDArray[np.uint8], box: FaceBox) -> NDArray[np.float64]:
        """float64[68, 2], the landmarks of one face in pixels, in the order of iBUG 300-W."""
        p = self._parameters
        width = p.landmark_scale * box.width
        x, y = box.centre
        left, top = x - width / 2, y + p.landmark_shift * box.width - width / 2
        scale = p.landmark_side / width
        # Pixel centres: crop = scale * (original + 0.5 - left) - 0.5.
        matrix = np.array([[scale, 0.0, scale * (0.5 - left) - 0.5], [0.0, scale, scale * (0.5 - top) - 0.5]])
        crop = warp(rgb, matrix, p.landmark_side, repeat_border=True)
        grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255.0
        unit = self._landmarks(grey[None, None]).astype(np.float64).reshape(68, 2)
        return unit * width + [left, top]

    def embed(self, aligned: NDArray[np.uint8]) -> FaceEmbedding:
        """See ``FacePack``."""
        p = self._parameters
        bgr = (aligned[:, :, ::-1].astype(np.float32) - p.pixel_offset) / p.pixel_scale
        planes = np.ascontiguousarray(bgr.transpose(2, 0, 1)[None])
        mirrored = np.ascontiguousarray(planes[:, :, :, ::-1])
        vector, length = unit_sum([self._recogniser(planes), self._recogniser(mirrored)])
        return FaceEmbedding(vector, Ramp(p.weak_length, p.strong_length)(length))

    def _detector(self) -> Any:
        if not hasattr(self._local, "detector"):
            self._local.detector = dlib.get_frontal_face_detector()
        return self._local.detector


def five_points(landmarks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Eye centres (of the four points on each pair of lids), nose tip and corners of the mouth (outer and inner).

    Args:
        landmarks: float64[68, 2] in the order of iBUG 300-W, counted from 0.

    Returns:
        float64[5, 2].
    """
    groups = ([37, 38, 40, 41], [43, 44, 46, 47], [30], [48, 60], [54, 64])
    return np.stack([landmarks[group].mean(axis=0) for group in groups])
