"""The compact face pack: two detectors, a landmark and a recognition network of 7 MB together.

1. Detectors: ``face_detection`` says which, and in which order.
2. Landmarks: 68 points (order of the iBUG 300-W annotation: Sagonas et al., ICCVW 2013).
3. Recogniser: 512 numbers from each of two views of the face, aligned in two ways: the mirror image by eye centres and
   corners of the mouth, and a slightly wider one by all points of brows, nose, eyes and mouth. Added, scaled to unit
   length, less what the vectors of all people have in common, scaled again.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.resources
import json
import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from enrollment.extract.face_alignment import (
    ALIGNED_SIDE,
    ARCFACE_ALIGNMENT,
    ARCFACE_POINTS,
    align,
    similarity,
    warp,
)
from enrollment.extract.face_description import PackDescription
from enrollment.extract.face_detection import FaceDetection
from enrollment.extract.face_hog import HogDetector
from enrollment.extract.face_pack import FaceBox, FaceEmbedding, agreement, unit_sum
from enrollment.extract.face_quality import Ramp
from enrollment.extract.face_recogniser_graph import rewrite
from enrollment.extract.face_small_network import SmallNetworkDetector
from enrollment.extract.onnx_network import Network
from enrollment.models import COMPACT, DETECTOR, LANDMARKS, RECOGNISER, read_model
from matcher.face.comparison import COMPACT_ALGORITHM

_EYES_AND_MOUTH = [0, 1, 3, 4]
"""Of the five points: without the tip of the nose, which moves most where a head is turned."""
INNER_LANDMARKS = slice(17, 68)
"""Brows, nose, eyes and mouth; the outline of the jaw is the least sure of the 68."""


@dataclasses.dataclass(frozen=True)
class CompactParameters:
    """Parameters of landmarks and recogniser.

    Attributes:
        landmark_side: input of the landmark network.
        landmark_scale, landmark_shift: its crop is a square of this many widths of the detector's box, moved down by
            this many widths. Found by comparison with the key points of another detector (SCRFD) on 150 LFW images:
            disagreement is least, 3.7% of the eye distance, and flat, for 1.0-1.2 and 0.05-0.1.
        pixel_offset, pixel_scale: recogniser input is (pixel - offset) / scale, BGR.
        wide_scale: size of the face in the wider view against that in the mirror image. Of the people of LFW that fits
            may see, 0.9, 0.92 and 0.95 miss as many; with both views aligned by the five points they miss half as many
            again at FMR 1e-4 (6 instead of 4 of 613).
        weak_length, strong_length: of the recogniser's vector before scaling, where ``FaceEmbedding.strength`` is 0 and
            1; on the people of LFW that fits may see, half lie below 3.6 and 1% below 2.65, and the rank correlation of
            length and mean genuine score is 0.45.
        unlike_views, alike_views: cosine of the two views' vectors, where ``FaceEmbedding.agreement`` is 0 and 1; of
            the same, half lie below 0.958 and 1% below 0.875.
    """

    landmark_side: int = 64
    landmark_scale: float = 1.1
    landmark_shift: float = 0.07
    pixel_offset: float = 127.5
    pixel_scale: float = 128.0
    wide_scale: float = 0.95
    weak_length: float = 2.0
    strong_length: float = 4.0
    unlike_views: float = 0.80
    alike_views: float = 0.94


COMPACT_DESCRIPTION = PackDescription(
    algorithm=COMPACT_ALGORITHM,
    sha256=RECOGNISER.sha256,
    dimension=512,
    licence="MIT as published",
    commercial_use=True,
    provenance=f"npm package {COMPACT.package} {COMPACT.version}",
)


class CompactPack:
    """See the module. Thread-safe.

    Args:
        folder: with ``fr_detect.onnx``, ``fr_landmark.onnx`` and ``fr_feature.onnx``; all are verified by checksum.
        threads: of one operator of a network.
        means: what all faces have in common; None for the shipped ones.

    Raises:
        ModalityUnavailable: a file is missing or damaged.
    """

    algorithm = COMPACT_ALGORITHM
    description = COMPACT_DESCRIPTION
    alignment = ARCFACE_ALIGNMENT

    def __init__(
        self,
        folder: Path,
        parameters: CompactParameters | None = None,
        threads: int = 1,
        means: CompactMeans | None = None,
    ) -> None:
        self._parameters = parameters or CompactParameters()
        self._landmarks = Network(read_model(folder, LANDMARKS), threads)
        self._recogniser = Network(rewrite(read_model(folder, RECOGNISER)), threads)
        network = SmallNetworkDetector(read_model(folder, DETECTOR), threads=threads)
        self._detection = FaceDetection(HogDetector(), network, self._length)
        self._means = shipped_means() if means is None else means
        middle = (ALIGNED_SIDE - 1) / 2
        self._wide = self._parameters.wide_scale * (self._means.landmarks - middle) + middle

    def detect(self, rgb: NDArray[np.uint8]) -> list[FaceBox]:
        """See ``FacePack``."""
        return self._detection(rgb)

    def points(self, rgb: NDArray[np.uint8], box: FaceBox) -> NDArray[np.float64]:
        """See ``FacePack``."""
        return five_points(self.landmarks(rgb, box))

    def landmarks(self, rgb: NDArray[np.uint8], box: FaceBox) -> NDArray[np.float64]:
        """float64[68, 2], the landmarks of one face in pixels, in the order of iBUG 300-W."""
        p = self._parameters
        # Down and to the right as the face has them.
        angle = box.turn * math.pi / 2
        right = np.array([round(math.cos(angle)), round(math.sin(angle))], np.float64)
        down = np.array([-right[1], right[0]])
        width = p.landmark_scale * box.width
        centre = np.array(box.centre) + p.landmark_shift * box.width * down
        corner = centre - (right + down) * width / 2
        scale = p.landmark_side / width
        # Pixel centres: crop = scale * (original + 0.5 - corner) - 0.5.
        linear = scale * np.stack([right, down])
        matrix = np.column_stack([linear, linear @ (0.5 - corner) - 0.5])
        crop = warp(rgb, matrix, p.landmark_side, repeat_border=True)
        grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255.0
        unit = self._landmarks(grey[None, None]).astype(np.float64).reshape(68, 2)
        return np.asarray(corner + width * unit @ np.stack([right, down]), np.float64)

    def embed(self, aligned: NDArray[np.uint8]) -> FaceEmbedding:
        """See ``FacePack``; for points that are not this pack's own."""
        return self._embedding(list(self._vectors([aligned[:, ::-1], aligned])))

    def embed_landmarks(self, rgb: NDArray[np.uint8], landmarks: NDArray[np.float64]) -> FaceEmbedding:
        """See ``LandmarkRecogniser``."""
        return self.embed_batch([(rgb, landmarks)])[0]

    def embed_batch(self, faces: Sequence[tuple[NDArray[np.uint8], NDArray[np.float64]]]) -> list[FaceEmbedding]:
        """The same of several faces, each an image with landmarks, in one run of the network."""
        if not faces:
            return []
        views = [view for rgb, landmarks in faces for view in self._views(rgb, landmarks)]
        vectors = self._vectors(views)
        return [self._embedding(list(vectors[k : k + 2])) for k in range(0, len(views), 2)]

    def _views(
        self, rgb: NDArray[np.uint8], landmarks: NDArray[np.float64]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The two crops of a face, see the module."""
        by_four = similarity(five_points(landmarks)[_EYES_AND_MOUTH], ARCFACE_POINTS[_EYES_AND_MOUTH])
        by_all = similarity(landmarks[INNER_LANDMARKS], self._wide)
        crop, wide = (warp(rgb, matrix, ALIGNED_SIDE, repeat_border=False) for matrix in (by_four, by_all))
        return crop[:, ::-1], wide

    def _embedding(self, outputs: Sequence[NDArray[np.float32]]) -> FaceEmbedding:
        """One embedding of the recogniser's vectors of several views."""
        p = self._parameters
        vector, length = unit_sum(outputs)
        centred, _ = unit_sum([vector - self._means.centre])
        seen = Ramp(p.weak_length, p.strong_length)(length)
        alike = Ramp(p.unlike_views, p.alike_views)(agreement(outputs))
        return FaceEmbedding(centred, seen, alike)

    def _vectors(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """The recogniser's vectors of crops, each uint8[112, 112, 3] RGB: float32[crops, 512], of any length."""
        p = self._parameters
        bgr = (np.stack(crops)[..., ::-1].astype(np.float32) - p.pixel_offset) / p.pixel_scale
        return self._recogniser(np.ascontiguousarray(bgr.transpose(0, 3, 1, 2)))

    def _length(self, rgb: NDArray[np.uint8], box: FaceBox) -> float:
        """Length of the recogniser's vector for a box."""
        return float(np.linalg.norm(self._vectors([align(rgb, self.points(rgb, box))])))


@dataclasses.dataclass(frozen=True, eq=False)
class CompactMeans:
    """What many people's faces have in common.

    What all have in common tells nobody apart (J. Mu and P. Viswanath, "All-but-the-Top", ICLR 2018, algorithm 1, first
    step).

    Attributes:
        centre: float32[512], the mean of their vectors.
        landmarks: float64[51, 2], the mean places of the inner landmarks in the crop that is aligned by five points.
    """

    centre: NDArray[np.float32]
    landmarks: NDArray[np.float64]


@functools.cache
def shipped_means() -> CompactMeans:
    """Those in ``face_compact_means.json``, which says whose they are."""
    text = importlib.resources.files("enrollment.extract").joinpath("face_compact_means.json").read_text()
    found = json.loads(text)
    return CompactMeans(np.array(found["centre"], np.float32), np.array(found["landmarks"], np.float64))


def five_points(landmarks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Eye centres (of the four points on each pair of lids), nose tip and corners of the mouth (outer and inner).

    Args:
        landmarks: float64[68, 2] in the order of iBUG 300-W, counted from 0.

    Returns:
        float64[5, 2].
    """
    groups = ([37, 38, 40, 41], [43, 44, 46, 47], [30], [48, 60], [54, 64])
    return np.stack([landmarks[group].mean(axis=0) for group in groups])
