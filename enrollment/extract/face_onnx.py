"""Any ONNX recogniser that a ``pack.toml`` describes, behind the detector and the landmarks of the compact pack."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from enrollment.extract.face_compact import CompactPack
from enrollment.extract.face_description import PackFile, read_pack_file
from enrollment.extract.face_pack import FaceBox, FaceEmbedding, unit_sum
from enrollment.extract.onnx_network import Network
from matcher.errors import ModalityUnavailable


class OnnxPack:
    """See the module. Thread-safe.

    Args:
        folder: with ``pack.toml`` and the file that it names.
        finder: finds faces and their five points.
        threads: of the network's operators.

    Raises:
        ModalityUnavailable: FACE_PACK_UNUSABLE, the description is wrong or the network is not what it says;
            MODEL_MISSING or MODEL_DAMAGED, the file is not there or has another checksum.
    """

    def __init__(self, folder: Path, finder: CompactPack, threads: int = 1) -> None:
        self._file = read_pack_file(folder)
        self._finder = finder
        self.description = self._file.description
        self.algorithm = self.description.algorithm
        self.alignment = self._file.alignment
        path = folder / self._file.file
        data = _read(path, self._file)
        try:
            self._network = Network(data, threads)
            blank = self._network(np.zeros((1, 3, self.alignment.side, self.alignment.side), np.float32))
        except Exception as error:  # onnxruntime raises types of its own
            raise ModalityUnavailable(
                f"{path} is no recogniser for crops of {self.alignment.side} pixels ({type(error).__name__}: "
                f"{str(error)[:200]})",
                reason="FACE_PACK_UNUSABLE",
            ) from error
        if blank.size != self._file.dimension:
            raise ModalityUnavailable(
                f"{path} gives {blank.size} numbers, pack.toml says dimension = {self._file.dimension}",
                reason="FACE_PACK_UNUSABLE",
            )
        self._check_sense(path)

    def _check_sense(self, path: Path) -> None:
        """Raises where crops get no embedding, or all the same, with which everybody would match everybody."""
        crops = np.random.default_rng(0).integers(0, 256, (2, self.alignment.side, self.alignment.side, 3), np.uint8)
        with np.errstate(all="ignore"):
            first, second = (self.embed(crop).vector for crop in crops)
        if not (np.isfinite(first).all() and np.isfinite(second).all()):
            wrong = "gives numbers that are not finite, or all zero"
        elif np.allclose(first, second, atol=1e-6):
            wrong = "gives the same for different crops"
        else:
            return
        raise ModalityUnavailable(
            f"{path} {wrong}; check file, mean and scale of pack.toml", reason="FACE_PACK_UNUSABLE"
        )

    def detect(self, rgb: NDArray[np.uint8]) -> list[FaceBox]:
        """See ``FacePack``."""
        return self._finder.detect(rgb)

    def points(self, rgb: NDArray[np.uint8], box: FaceBox) -> NDArray[np.float64]:
        """See ``FacePack``."""
        return self._finder.points(rgb, box)

    def landmarks(self, rgb: NDArray[np.uint8], box: FaceBox) -> NDArray[np.float64]:
        """See ``LandmarkFinder``."""
        return self._finder.landmarks(rgb, box)

    def embed(self, aligned: NDArray[np.uint8]) -> FaceEmbedding:
        """See ``FacePack``; the crop's and its mirror image's are added."""
        ordered = aligned if self._file.channel_order == "RGB" else aligned[:, :, ::-1]
        mean, scale = np.asarray(self._file.mean, np.float32), np.asarray(self._file.scale, np.float32)
        planes = np.ascontiguousarray(((ordered.astype(np.float32) - mean) / scale).transpose(2, 0, 1)[None])
        mirrored = np.ascontiguousarray(planes[:, :, :, ::-1])
        vector, _ = unit_sum([self._network(planes), self._network(mirrored)])
        return FaceEmbedding(vector, 1.0)


def _read(path: Path, file: PackFile) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModalityUnavailable(
            f"the model file {path} that pack.toml names cannot be read ({error.strerror})", reason="MODEL_MISSING"
        ) from None
    if (digest := hashlib.sha256(data).hexdigest()) != file.sha256:
        raise ModalityUnavailable(
            f"the model file {path} has sha256 {digest}, not the {file.sha256} of pack.toml: it is another one",
            reason="MODEL_DAMAGED",
        )
    return data
