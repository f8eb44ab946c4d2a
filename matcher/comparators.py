"""Which comparator and which index serve a template algorithm, and what scans the references."""

from __future__ import annotations

import enum
from pathlib import Path

from matcher.errors import ModelMismatch
from matcher.face.index import FaceIndex, FaceScan
from matcher.face.index import describe as describe_faces
from matcher.finger.comparison import FingerComparator
from matcher.finger.index import FingerIndex
from matcher.finger.nearest import VectorSearch
from matcher.iris.comparison import IrisComparator
from matcher.iris.index import IrisIndex
from matcher.iris.view import IrisScan
from matcher.modality import ReferenceIndex
from matcher.positions import Modality


class Scan(enum.StrEnum):
    """What finds the references worth comparing."""

    FASTEST = "fastest"
    """Whatever is fastest here: compiled loops, onnxruntime or FAISS."""

    FAISS = "faiss"
    """FAISS for every modality: slower, and of irises it misses some, since it knows no masks. To check by."""


def index_for(
    modality: Modality, algorithm: str, folder: Path | None = None, scan: Scan = Scan.FASTEST
) -> ReferenceIndex:
    """An empty index for the references of one algorithm.

    Args:
        folder: for what an index does not hold in RAM; None for the system's folder of temporary files.
        scan: what scans it.

    Raises:
        ModelMismatch: no comparator knows the algorithm.
    """
    by_faiss = scan is Scan.FAISS
    if modality is Modality.FACE:
        # An embedding needs no knowledge of the network it came from: any face model is compared by inner product.
        return FaceIndex(algorithm, FaceScan.FAISS if by_faiss else FaceScan.AUTO, folder=folder)
    if modality is Modality.FINGER and algorithm in FingerComparator.algorithms:
        return FingerIndex(folder=folder, search=VectorSearch.FAISS if by_faiss else VectorSearch.FASTEST)
    if modality is Modality.IRIS and algorithm in IrisComparator.algorithms:
        return IrisIndex(scan=IrisScan.FAISS if by_faiss else IrisScan.TWO_STAGES, folder=folder)
    raise ModelMismatch(
        f"no comparator of this server knows the {modality} algorithm {algorithm!r}; re-extract the sample"
    )


def search_paths(scan: Scan) -> dict[str, str]:
    """What scans the references of each modality, in words."""
    if scan is Scan.FAISS:
        return {
            "finger": "FAISS, then cylinders",
            "face": "FAISS",
            "iris": "FAISS, which knows no masks and misses some",
        }
    return {
        "finger": "compiled loop over int8 vectors (FAISS where there are few), then cylinders",
        "face": describe_faces(),
        "iris": "compiled loops in two stages",
    }
