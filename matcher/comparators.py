"""Which comparator and which index serve a template algorithm."""

from __future__ import annotations

from pathlib import Path

from matcher.errors import ModelMismatch
from matcher.face.index import FaceIndex
from matcher.finger.comparison import FingerComparator
from matcher.finger.index import FingerIndex
from matcher.iris.comparison import IrisComparator
from matcher.iris.index import IrisIndex
from matcher.modality import ReferenceIndex
from matcher.positions import Modality


def index_for(modality: Modality, algorithm: str, folder: Path | None = None) -> ReferenceIndex:
    """An empty index for the references of one algorithm.

    Args:
        folder: for what an index does not hold in RAM; None for the system's folder of temporary files.

    Raises:
        ModelMismatch: no comparator knows the algorithm.
    """
    if modality is Modality.FACE:
        # An embedding needs no knowledge of the network it came from: any face model is compared by inner product.
        return FaceIndex(algorithm, folder=folder)
    if modality is Modality.FINGER and algorithm in FingerComparator.algorithms:
        return FingerIndex(folder=folder)
    if modality is Modality.IRIS and algorithm in IrisComparator.algorithms:
        return IrisIndex(folder=folder)
    raise ModelMismatch(
        f"no comparator of this server knows the {modality} algorithm {algorithm!r}; re-extract the sample"
    )
