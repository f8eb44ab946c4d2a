"""What a face pack must offer to ``FaceExtractor``: a detector, five points, and a recogniser."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from enrollment.extract.face_alignment import Alignment
from enrollment.extract.face_description import PackDescription


@dataclasses.dataclass(frozen=True, eq=False)
class FaceBox:
    """One face found in an image.

    Attributes:
        left, top, right, bottom: pixels of the image; may lie outside of it where the face is cut off.
        confidence: how sure the detector is, 0-1, on the pack's own scale.
        points: float64[5, 2], eyes, nose tip and corners of the mouth, where the detector itself finds them.
        turn: quarter turns, anticlockwise, that make the face upright (``np.rot90``): 0 where it is.
    """

    left: float
    top: float
    right: float
    bottom: float
    confidence: float
    points: NDArray[np.float64] | None = None
    turn: int = 0

    @property
    def width(self) -> float:
        """In pixels."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """In pixels."""
        return self.bottom - self.top

    @property
    def centre(self) -> tuple[float, float]:
        """x and y in pixels."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2


@dataclasses.dataclass(frozen=True, eq=False)
class FaceEmbedding:
    """What a recogniser gives.

    Attributes:
        vector: float32[d], unit length.
        strength: 0-1, how much of a face the recogniser saw, from the vector's length before it was scaled (Meng et
            al., "MagFace", CVPR 2021); 1 where the pack's lengths are not known.
        agreement: 0-1, how alike two views of the same face are to the recogniser (Terhoerst et al., "SER-FIQ", CVPR
            2020, with views instead of dropout); 1 where the pack's range is not known.
    """

    vector: NDArray[np.float32]
    strength: float
    agreement: float = 1.0


def unit_sum(outputs: Sequence[NDArray[np.float32]]) -> tuple[NDArray[np.float32], float]:
    """The direction of the sum of vectors, float32[d] of unit length, and the length of their mean."""
    total = np.sum(outputs, axis=0, dtype=np.float64).ravel()
    length = float(np.linalg.norm(total))
    return (total / length).astype(np.float32), length / len(outputs)


def agreement(outputs: Sequence[NDArray[np.float32]]) -> float:
    """The cosine of two vectors, -1 to 1; of more, the least of any two."""
    units = [np.ravel(o).astype(np.float64) / max(float(np.linalg.norm(o)), 1e-9) for o in outputs]
    return min((float(a @ b) for i, a in enumerate(units) for b in units[:i]), default=1.0)


@runtime_checkable
class LandmarkFinder(Protocol):
    """What a pack offers besides, when it finds more than five points."""

    def landmarks(self, rgb: NDArray[np.uint8], box: FaceBox) -> NDArray[np.float64]:
        """float64[68, 2] in pixels, in the order of iBUG 300-W (Sagonas et al., ICCVW 2013)."""
        ...


@runtime_checkable
class LandmarkRecogniser(LandmarkFinder, Protocol):
    """A pack that aligns crops of its own by all landmarks, in place of the one that ``embed`` takes."""

    def embed_landmarks(self, rgb: NDArray[np.uint8], landmarks: NDArray[np.float64]) -> FaceEmbedding:
        """The embedding of the face of an image, uint8[height, width, 3], whose landmarks are these."""
        ...


class FacePack(Protocol):
    """A detector and a recogniser that go together; thread-safe."""

    algorithm: str
    """Id of the recogniser, which its templates carry; ``description.algorithm``."""
    description: PackDescription
    """Licence, provenance and the like."""
    alignment: Alignment
    """The crop that ``embed`` takes."""

    def detect(self, rgb: NDArray[np.uint8]) -> list[FaceBox]:
        """All faces of an image, uint8[height, width, 3] RGB, in any order."""
        ...

    def points(self, rgb: NDArray[np.uint8], box: FaceBox) -> NDArray[np.float64]:
        """float64[5, 2] in pixels: eyes, nose tip, corners of the mouth; the left one of the upright face first."""
        ...

    def embed(self, aligned: NDArray[np.uint8]) -> FaceEmbedding:
        """The embedding of a crop cut by ``alignment``, uint8[side, side, 3] RGB."""
        ...
