"""A face pack of InsightFace (SCRFD detector, ArcFace-like recogniser) out of a folder; never a download.

InsightFace's public packs are licensed for non-commercial research only: the operator supplies one whose licence covers
the use. Detector: Guo et al., "Sample and Computation Redistribution for Efficient Face Detection", arXiv:2105.04714.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from enrollment.extract.denormals import flushed_denormals
from enrollment.extract.face_alignment import ALIGNED_SIDE, ARCFACE_ALIGNMENT
from enrollment.extract.face_description import PackDescription
from enrollment.extract.face_detection import turned_back
from enrollment.extract.face_pack import FaceBox, FaceEmbedding, unit_sum
from enrollment.extract.onnx_network import load_session, session_options
from matcher.errors import ModalityUnavailable


class InsightFacePack:
    """See the module. Thread-safe.

    Args:
        folder: an existing folder that holds the pack's ONNX files.
        threads: of one network's operator.

    Raises:
        ModalityUnavailable: FACE_PACK_MISSING, no such folder; FACE_PACK_UNUSABLE, its files are no detector and
            recogniser that can be used.
    """

    alignment = ARCFACE_ALIGNMENT

    def __init__(self, folder: Path, threads: int = 1) -> None:
        # FaceAnalysis downloads a pack when its name is not an existing folder, so look before it does.
        if not folder.is_dir() or not any(folder.glob("*.onnx")):
            raise ModalityUnavailable(
                f"{folder} is no folder with a pack.toml or ONNX files; name one with a pack.toml, the folder of an "
                "InsightFace pack, or 'compact'",
                reason="FACE_PACK_MISSING",
            )
        from insightface.app import FaceAnalysis  # slow to import, and few installations use it

        try:
            with flushed_denormals():
                app = FaceAnalysis(
                    name=str(folder.resolve()),
                    allowed_modules=["detection", "recognition"],
                    providers=["CPUExecutionProvider"],
                    sess_options=session_options(threads),
                )
                app.prepare(ctx_id=-1)
        except Exception as error:  # insightface raises bare AssertionErrors, onnxruntime types of its own
            raise ModalityUnavailable(
                f"the face pack in {folder} cannot be loaded ({type(error).__name__}: {str(error)[:200]}); it needs a "
                "detector and a recogniser of InsightFace",
                reason="FACE_PACK_UNUSABLE",
            ) from error
        recogniser = app.models.get("recognition")
        if recogniser is None or tuple(recogniser.input_size) != (ALIGNED_SIDE, ALIGNED_SIDE):
            raise ModalityUnavailable(
                f"the face pack in {folder} has no recogniser for crops of {ALIGNED_SIDE} x {ALIGNED_SIDE} pixels",
                reason="FACE_PACK_UNUSABLE",
            )
        self._detector: Any = app.det_model
        self._recogniser: Any = recogniser
        data = Path(recogniser.model_file).read_bytes()
        # The detector keeps what InsightFace makes, a session for each size of picture.
        recogniser.session = load_session(data, threads)
        digest = hashlib.sha256(data).hexdigest()
        self.algorithm = f"face-insightface-{digest[:12]}"
        self.description = PackDescription(
            algorithm=self.algorithm,
            sha256=digest,
            dimension=int(recogniser.output_shape[-1]),
            licence="InsightFace pack: non-commercial research only, unless you hold another licence",
            commercial_use=False,
            provenance=f"supplied by the operator: {Path(recogniser.model_file).name}",
        )

    def detect(self, rgb: NDArray[np.uint8]) -> list[FaceBox]:
        """See ``FacePack``; where there is no face, the picture is turned by 90, 180 and 270 degrees."""
        height, width = rgb.shape[:2]
        for turn in range(4):
            if found := self._upright(np.rot90(rgb, turn)):
                return [turned_back(box, turn, height, width) for box in found]
        return []

    def _upright(self, rgb: NDArray[np.uint8]) -> list[FaceBox]:
        with flushed_denormals():
            boxes, points = self._detector.detect(np.ascontiguousarray(rgb[:, :, ::-1]))
        if points is None:
            return []
        return [
            FaceBox(left, top, right, bottom, min(max(score, 0.0), 1.0), np.asarray(five, np.float64))
            for (left, top, right, bottom, score), five in zip(boxes.tolist(), points, strict=True)
        ]

    def points(self, rgb: NDArray[np.uint8], box: FaceBox) -> NDArray[np.float64]:
        """See ``FacePack``; the detector has found them already."""
        if box.points is None:
            raise ValueError("this box does not come from this pack's detector")
        return box.points

    def embed(self, aligned: NDArray[np.uint8]) -> FaceEmbedding:
        """See ``FacePack``."""
        bgr = np.ascontiguousarray(aligned[:, :, ::-1])
        mirrored = np.ascontiguousarray(bgr[:, ::-1])
        with flushed_denormals():
            outputs = [self._recogniser.get_feat(seen) for seen in (bgr, mirrored)]
        vector, _ = unit_sum(outputs)
        return FaceEmbedding(vector, 1.0)
