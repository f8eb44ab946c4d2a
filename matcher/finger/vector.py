"""A fingerprint's minutiae as one vector of fixed length, whose inner products find the fingers worth comparing.

Steps:
    1. each minutia is described by the soft cells of its cylinder (``cylinders.cell_contributions`` through a sigmoid),
       its direction and its place relative to the middle of all minutiae: 388 numbers;
    2. linear discriminant analysis leaves 64 of them, those that differ least between impressions of one minutia and
       most between minutiae (R. A. Fisher 1936; within-class scatter from minutiae that are known to be the same);
    3. each minutia is shared among its nearest visual words, and the differences to them are summed a word (VLAD: H.
       Jegou, M. Douze, C. Schmid, P. Perez, "Aggregating local descriptors into a compact image representation", CVPR
       2010); signed square roots, then each word's sum divided by the root of its length, then unit length;
    4. a second discriminant analysis, now of impressions and fingers, leaves 480 numbers; unit length; int8.

A finger is found by it whatever else the gallery holds: the numbers are fitted once
(``benchmarks/fit_finger_vectors.py``) and stand in ``vector_model.npz`` with what they were fitted on. Prints are taken
as roughly upright: direction and place are part of a minutia's description.

The vector narrows a search, nothing else: whoever is found is compared minutia by minutia.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.resources
import io
import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from matcher.compiled import kernel
from matcher.errors import InvalidInput
from matcher.finger.cylinders import TURN, PreparedFinger, cell_contributions
from matcher.finger.parameters import CylinderParameters, VectorParameters

MODEL_FILE = "vector_model.npz"
_BATCH = 256
"""Fingers whose sums are projected by one matrix product: 4 MB of them."""


def describe_minutiae(
    finger: PreparedFinger, cylinders: CylinderParameters, p: VectorParameters
) -> NDArray[np.float32]:
    """float32[n, bits + 4]: step 1."""
    x, y = finger.x.astype(np.float64), finger.y.astype(np.float64)
    theta = finger.angle.astype(np.float64) * (2.0 * math.pi / TURN)
    cells = cell_contributions(finger.x, finger.y, finger.angle, cylinders)
    soft = 1.0 / (1.0 + np.exp((-p.steepness * (cells - p.centre)).astype(np.float32)))
    place = np.stack([np.cos(theta), np.sin(theta), (x - x.mean()) / p.length, (y - y.mean()) / p.length], axis=1)
    return np.concatenate([soft, place], axis=1).astype(np.float32)


def sum_residuals(
    reduced: NDArray[np.float32], words: NDArray[np.float32], nearest: int, softness: float
) -> NDArray[np.float32]:
    """float32[words * d], unit length: step 3, for the reduced minutiae (float32[n, d]) of one finger."""
    squares = np.einsum("wd,wd->w", words, words)
    distance = np.einsum("nd,nd->n", reduced, reduced)[:, None] - 2.0 * (reduced @ words.T) + squares
    sums = np.zeros(words.shape, np.float32)
    _sum_shared(reduced, words, distance, nearest, softness, sums)
    return sums.ravel()


@kernel
def _sum_shared(
    reduced: NDArray[np.float32],
    words: NDArray[np.float32],
    distance: NDArray[np.float32],
    nearest: int,
    softness: float,
    sums: NDArray[np.float32],
) -> None:
    """Fills in ``sums``, float32[words, d] of zeros.

    Args:
        distance: float32[n, words], squared.
    """
    n, d = reduced.shape
    near, share = np.empty(nearest, np.int64), np.empty(nearest)
    for i in range(n):
        kept = 0
        for w in range(words.shape[0]):
            # Among the nearest so far, in order.
            if kept < nearest or distance[i, w] < distance[i, near[kept - 1]]:
                kept = min(kept + 1, nearest)
                k = kept - 1
                while k > 0 and distance[i, w] < distance[i, near[k - 1]]:
                    near[k] = near[k - 1]
                    k -= 1
                near[k] = w
        total = 0.0
        for k in range(kept):
            share[k] = math.exp(-(distance[i, near[k]] - distance[i, near[0]]) / softness)
            total += share[k]
        for k in range(kept):
            w, part = near[k], np.float32(share[k] / total)
            for j in range(d):
                sums[w, j] += part * (reduced[i, j] - words[w, j])
    everything = 0.0
    for w in range(words.shape[0]):
        # The roots' squares are the sums themselves.
        length = 0.0
        for j in range(d):
            length += abs(sums[w, j])
        scale = np.float32(1.0 / math.sqrt(max(math.sqrt(length), 1e-12)))
        for j in range(d):
            root = math.sqrt(abs(sums[w, j])) * scale
            sums[w, j] = root if sums[w, j] >= 0.0 else -root
        everything += length * scale * scale
    unit = np.float32(1.0 / max(math.sqrt(everything), 1e-12))
    for w in range(words.shape[0]):
        for j in range(d):
            sums[w, j] *= unit


@dataclasses.dataclass(frozen=True, eq=False)
class VectorModel:
    """The fitted numbers, and vectors by them; thread-safe.

    Attributes:
        number: of the model, 1-65535; vectors of different ones are not comparable.
        middle: float32[388], subtracted from a minutia's description.
        reduce: float32[388, 64], step 2.
        words: float32[64, 64], step 3; softness: of the shares, > 0.
        mean: float32[4096], subtracted from the sums; project: float32[4096, 480], step 4.
        about: what it was fitted on and how well it did.
    """

    number: int
    middle: NDArray[np.float32]
    reduce: NDArray[np.float32]
    words: NDArray[np.float32]
    softness: float
    mean: NDArray[np.float32]
    project: NDArray[np.float32]
    about: Mapping[str, Any]
    parameters: VectorParameters = dataclasses.field(default_factory=VectorParameters)
    cylinders: CylinderParameters = dataclasses.field(default_factory=CylinderParameters)

    def __post_init__(self) -> None:
        p = self.parameters
        described, sums = self.cylinders.bits + 4, p.words * p.reduced
        shapes = {
            "middle": (described,),
            "reduce": (described, p.reduced),
            "words": (p.words, p.reduced),
            "mean": (sums,),
            "project": (sums, p.numbers),
        }
        for name, shape in shapes.items():
            array: NDArray[np.float32] = getattr(self, name)
            if array.dtype != np.float32 or array.shape != shape or not np.isfinite(array).all():
                raise InvalidInput(f"vector model: {name} is not {shape} finite numbers", reason="MODEL_INVALID")
        if not (1 <= self.number <= 0xFFFF and math.isfinite(self.softness) and self.softness > 0):
            raise InvalidInput("vector model: its number or softness is out of range", reason="MODEL_INVALID")

    @classmethod
    @functools.cache
    def load(cls) -> VectorModel:
        """The model that ships."""
        return cls.from_bytes((importlib.resources.files("matcher.finger") / MODEL_FILE).read_bytes())

    @classmethod
    def from_bytes(cls, data: bytes) -> VectorModel:
        """Reads what ``to_bytes`` wrote; raises InvalidInput on anything else."""
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                head = json.loads(str(file["head"]))
                arrays = {name: file[name].astype(np.float32) for name in _ARRAYS}
            return cls(
                number=int(head["number"]), softness=float(head["softness"]), about=dict(head["about"]), **arrays
            )
        except (OSError, EOFError, zipfile.BadZipFile, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidInput(f"vector model: {error}", reason="MODEL_INVALID") from None

    def to_bytes(self) -> bytes:
        """The model file: float16 arrays, and the rest as JSON."""
        head = json.dumps(
            {"number": self.number, "softness": self.softness, "about": dict(self.about)}, indent=1, sort_keys=True
        )
        buffer = io.BytesIO()
        np.savez(buffer, head=np.array(head), **{n: getattr(self, n).astype(np.float16) for n in _ARRAYS})
        return buffer.getvalue()

    def encode(self, fingers: Sequence[PreparedFinger]) -> NDArray[np.int8]:
        """int8[len(fingers), 480]: their vectors; 0 where a finger has fewer than ``least_minutiae``."""
        p = self.parameters
        result = np.zeros((len(fingers), p.numbers), np.int8)
        usable = [i for i, finger in enumerate(fingers) if len(finger) >= p.least_minutiae]
        for start in range(0, len(usable), _BATCH):
            batch = usable[start : start + _BATCH]
            sums = np.stack([self._sums(fingers[i]) for i in batch])
            vectors = (sums - self.mean) @ self.project
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
            result[batch] = np.clip(np.rint(vectors * p.scale), -127, 127).astype(np.int8)
        return result

    def _sums(self, finger: PreparedFinger) -> NDArray[np.float32]:
        described = describe_minutiae(finger, self.cylinders, self.parameters)
        reduced: NDArray[np.float32] = np.matmul(described - self.middle, self.reduce)
        return sum_residuals(reduced, self.words, self.parameters.nearest, self.softness)


_ARRAYS = ("middle", "reduce", "words", "mean", "project")
